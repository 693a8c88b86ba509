"""What a class says of its runs by names in its body: `schedule`, `keep`, hooks.

A name that is annotated is a parameter, and says nothing of this.
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Container, Mapping
from datetime import UTC, tzinfo
from typing import TYPE_CHECKING, Any, ClassVar, get_origin

from msgspec import Struct

from ptsflow.errors import DeclarationError
from ptsflow.workflow import units
from ptsflow.workflow.cron import Cron

if TYPE_CHECKING:
    from ptsflow.workflow.workflow import Workflow

#: The names, and what people mean who give them to a step.
OPTION_NAMES = {
    "order": 'order = "plan", without def',
    "schedule": 'schedule = Cron("5 * * * *"), without def',
    "keep": 'keep = "30d", without def',
    "remind": 'remind = "6h", without def',
    "on_failure": "def on_failure(self, end) without @step, or a command",
    "on_recovery": "def on_recovery(self, end) without @step, or a command",
    "on_done": "def on_done(self, end) without @step, or a command",
}

#: A command, an address, or a method that is given how a run ended.
Hook = str | Callable[..., Any]


class ClassOptions(Struct, frozen=True, kw_only=True):
    """What a class says of its runs; None of what it does not say."""

    schedule: Cron | None = None
    #: How long done containers are kept, in milliseconds.
    keep_ms: int | None = None
    #: After how long a failure that goes on is told again, in milliseconds.
    remind_ms: int | None = None
    on_failure: Hook | None = None
    on_recovery: Hook | None = None
    on_done: Hook | None = None


#: What may be called when a run ends.
_HOOKS = ("on_failure", "on_recovery", "on_done")


def hook_of(options: ClassOptions, name: str) -> Hook | None:
    """Return a hook of a class; the one of the whole site if the class has none."""
    own: Hook | None = getattr(options, name)
    return own or os.environ.get(f"PTSFLOW_{name.upper()}", "").strip() or None


def has_hooks(options: ClassOptions) -> bool:
    """Whether anything is called when a run ends."""
    return any(hook_of(options, name) for name in _HOOKS)


def zone_of(cls: type, hints: Mapping[str, Any]) -> tzinfo:
    """Return the time zone of a class's schedule; UTC if it has none.

    Args:
        cls: the class.
        hints: its annotations.
    """
    hint = hints.get("schedule", ClassVar)
    is_parameter = hint is not ClassVar and get_origin(hint) is not ClassVar
    schedule = getattr(cls, "schedule", None)
    return schedule.zone if isinstance(schedule, Cron) and not is_parameter else UTC


def collect_options(cls: type, parameters: Container[str]) -> ClassOptions:
    """Return what a class and its bases say of its runs.

    Raises:
        DeclarationError: a value does not fit.
    """
    said = {
        name: getattr(cls, name, None)
        for name in OPTION_NAMES
        if name not in parameters
    }
    given = {name: value for name, value in said.items() if value is not None}
    if not given:
        return _NOTHING
    return ClassOptions(
        schedule=_schedule(cls, given),
        keep_ms=_milliseconds(cls, given, "keep"),
        remind_ms=_milliseconds(cls, given, "remind"),
        on_failure=_hook(cls, given, "on_failure"),
        on_recovery=_hook(cls, given, "on_recovery"),
        on_done=_hook(cls, given, "on_done"),
    )


_NOTHING = ClassOptions()


def check_options(cls: type[Workflow], options: ClassOptions) -> None:
    """Refuse what a class says that does not fit the rest of it.

    Raises:
        DeclarationError: its schedule does not fit.
    """
    is_abstract = any(step.is_abstract for step in cls.declared_steps.values())
    if options.schedule is None or is_abstract:
        return
    from ptsflow.workflow.schedule import check_schedule  # noqa: PLC0415 - seldom used

    check_schedule(cls, options.schedule, options.keep_ms)


def _is_own(value: object) -> bool:
    """Whether a value is a method or a property: the class's own affair."""
    return callable(value) or hasattr(value, "__get__")


def _schedule(cls: type, given: dict[str, Any]) -> Cron | None:
    value = given.get("schedule")
    if isinstance(value, str):
        value = Cron(value)
    if value is None or isinstance(value, Cron):
        return value
    if _is_own(value):
        return None
    raise DeclarationError(
        f'{cls.__name__}.schedule: expected a Cron or a text such as "5 * * * *", found '
        f"{value!r:.80}; to make it a parameter, annotate it"
    )


def _milliseconds(cls: type, given: dict[str, Any], name: str) -> int | None:
    value = given.get(name)
    if value is None or _is_own(value):
        return None
    found = units.milliseconds(value)
    if found is None:
        raise DeclarationError(
            f'{cls.__name__}.{name}: expected a duration such as "30d", found '
            f"{value!r:.80}; to make it a parameter, annotate it"
        )
    return found


def _hook(cls: type, given: dict[str, Any], name: str) -> Hook | None:
    value = given.get(name)
    if value is None or isinstance(value, property):
        return None
    if isinstance(value, str) and value.strip():
        return value
    if callable(value) and _takes_the_end(cls, name):
        method: Hook = value
        return method
    raise DeclarationError(
        f"{cls.__name__}.{name}: expected a command or an http address as text, or def "
        f"{name}(self, end), found {value!r:.80}; to make it a parameter, annotate it"
    )


def _takes_the_end(cls: type, name: str) -> bool:
    """Whether a hook can be called with how a run ended, as a method of an object."""
    declared = inspect.getattr_static(cls, name)
    is_bound = isinstance(declared, staticmethod | classmethod)
    given = ("end",) if is_bound else ("self", "end")
    try:
        inspect.signature(getattr(cls, name)).bind(*given)
    except TypeError:
        return False
    except ValueError:  # A function made in C may have no signature.
        return True
    return True
