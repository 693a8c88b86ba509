"""Collects the steps and the parameters of a workflow class from its body and its bases."""

from __future__ import annotations

import inspect
from collections.abc import Container, Mapping
from datetime import tzinfo
from typing import Any, ClassVar, Literal, get_origin

from msgspec import Struct
from msgspec.structs import replace

from ptsflow import codec
from ptsflow.core.model import NAME_LIMIT
from ptsflow.core.names import perhaps, unusable
from ptsflow.errors import DeclarationError, ParameterError
from ptsflow.workflow.class_options import OPTION_NAMES, zone_of
from ptsflow.workflow.parameters import (
    convert,
    has_secret,
    is_secret,
    parse,
    spelling_of,
)
from ptsflow.workflow.periods import Period, has_period, period_of
from ptsflow.workflow.step import DECLARED, Step

MISSING: Any = object()


class Parameter(Struct, frozen=True):
    """One parameter of a workflow: an annotated attribute of its class."""

    name: str
    #: The type of its values, as they are stored.
    hint: Any
    default: Any = MISSING
    #: What is made of each value, if it means a whole hour or day.
    period: Period | None = None

    @property
    def is_required(self) -> bool:
        """Whether it must be given."""
        return self.default is MISSING

    @property
    def is_secret(self) -> bool:
        """Whether its value is never stored, shown or logged."""
        return is_secret(self.hint)

    @property
    def spelling(self) -> str:
        """Its annotation as people read it."""
        return spelling_of(self.hint) if self.period is None else self.period.spelling

    def converted(self, value: Any, label: str) -> Any:
        """Return a value from Python as the annotation wants it.

        Raises:
            ParameterError: it does not fit; the message begins with `label`.
        """
        if self.period is not None:
            return self.period.of_value(value, label)
        return convert(value, self.hint, label)

    def parsed(self, text: str, label: str) -> Any:
        """Return what a text means, as that of `-p`.

        Raises:
            ParameterError: it means nothing; the message begins with `label`.
        """
        if self.period is not None:
            return self.period.of_text(text, label)
        return parse(text, self.hint, label)


def collect_steps(cls: type) -> dict[str, Step[..., Any]]:
    """Return the steps in order: those of bases first, those with `always` last.

    A step that overrides another one takes its place.
    """
    found: dict[str, Step[..., Any]] = {}
    _check_name(cls, cls.__name__, "workflow")
    if "__init__" in vars(cls):
        raise DeclarationError(_instead_of_init(cls))
    for base in reversed(cls.__mro__):
        for name, value in vars(base).items():
            if isinstance(value, Step):
                is_mangled = value.name.startswith("__") and name != value.name
                if is_mangled and name.endswith(value.name):
                    raise DeclarationError(
                        f"{base.__name__}.{value.name}: the name of a step cannot begin "
                        f"with two underscores, as Python makes {name} of it; write "
                        f"def {value.name.lstrip('_')}"
                    )
                if name != value.name:
                    raise DeclarationError(
                        f"{cls.__name__}.{name}: a step goes by its method's name, "
                        f"{value.name!r}; write def {name} with a @step of its own"
                    )
                found[name] = value
            elif name in found and value is not None:
                raise DeclarationError(
                    f"{cls.__name__}.{name}: it overrides the step {found[name].label} "
                    f"without @step; put @step above it, or write {name} = None to leave "
                    "the step out"
                )
            else:
                found.pop(name, None)
        _check_not_hidden(cls, base)
    for name in found:
        _check_name(cls, name, "step")
        _check_not_an_item(cls, name, found)
    usual = {name: step for name, step in found.items() if not step.options.always}
    return usual | {name: step for name, step in found.items() if step.options.always}


def _instead_of_init(cls: type) -> str:
    """Return what to write instead of the `__init__` of a workflow."""
    try:
        _, *given = inspect.signature(vars(cls)["__init__"]).parameters.values()
    except (TypeError, ValueError):  # A step, or anything else.
        given = []
    plain = [each for each in given if each.kind is each.POSITIONAL_OR_KEYWORD]
    meant = (
        "; ".join(
            str(
                each
                if each.annotation is not each.empty
                else each.replace(annotation=Any)
            )
            for each in plain
        )
        .replace("typing.", "")
        .replace("'", "")
    )
    meant = meant or "hour: datetime"
    return (
        f"{cls.__name__}.__init__: the parameters of a workflow are the annotated "
        f"attributes of its class{perhaps(f'{meant} in the class body')}; leave __init__ out"
    )


def _check_name(cls: type, name: str, what: str) -> None:
    """Refuse a name that a store cannot keep, or that has a meaning of its own."""
    why = unusable(name)
    if why:
        raise DeclarationError(
            f"{cls.__name__}: expected the name of a {what} of 1 to {NAME_LIMIT} bytes of "
            f"valid text without NUL, found {name!r:.80}: {why}"
        )
    is_option = name in OPTION_NAMES and what == "step"
    if is_option or name in _RESERVED or name.startswith("__"):
        meant = perhaps(_MEANT[name]) if name in _MEANT else ""
        raise DeclarationError(
            f"{cls.__name__}.{name}: {name!r} has a meaning of its own in a "
            f"workflow{meant}; give the {what} another name"
        )


def _check_not_an_item(
    cls: type, name: str, steps: Mapping[str, Step[..., Any]]
) -> None:
    """Refuse the step `load[1]` beside a step `load` whose items are named like that."""
    if not name.endswith("]"):
        return
    for index, letter in enumerate(name):
        source = steps.get(name[:index]) if letter == "[" else None
        if source is not None and source.options.each is not None:
            raise DeclarationError(
                f"{cls.__name__}.{name}: an item of the step {source.name} may have this "
                "name; give the step another name"
            )


def _check_not_hidden(cls: type, base: type) -> None:
    """Refuse a class body that declared a step whose name now means something else."""
    there = vars(base)
    for declared in there.get(DECLARED, ()):
        value = there.get(declared.name)
        if value is declared:
            continue
        what = (
            "the step is declared twice; give one of the two another name"
            if isinstance(value, Step)
            else "what stands above @step hides it; put @step above the other decorators"
        )
        raise DeclarationError(f"{cls.__name__}.{declared.name}: {what}")
    for name, inner in there.items():
        # Only its bases give a class steps, and a workflow collects its own.
        if isinstance(inner, type) and inner not in cls.__mro__:
            own = "declared_steps" in vars(inner)
            for declared in () if own else vars(inner).get(DECLARED, ()):
                raise DeclarationError(
                    f"{cls.__name__}.{name}.{declared.name}: the class {name} stands in "
                    f"the workflow {cls.__name__}, which does not run the steps of it; "
                    f"write def {declared.name} in {cls.__name__} itself"
                )


#: What people mean who use a name that has a meaning of its own.
_MEANT = OPTION_NAMES | {
    "container": 'container = "import:{hour}", a template without def and annotation',
    "executor": 'executor = "process", without def and annotation',
    "limits": 'limits = {"db": 2}, without def and annotation',
    "task": "a parameter task of the step's method, which receives the TaskHandle",
}

_RESERVED = frozenset(
    {"task", "container", "parameters", "container_name", "encoded_parameters"}
    | {
        "executor",
        "limits",
        "from_encoded",
        "declared_steps",
        "declared_bindings",
        "declared_options",
        "declared_parameters",
        "has_secrets",
        "workflow",
    }
)


def order_of(cls: type, parameters: Container[str]) -> Literal["learned", "plan"]:
    """Return by what the ready steps of a class start: `order` in its body, if it is said.

    An annotated `order` is a parameter like others, and says nothing of this.

    Raises:
        DeclarationError: it is something else.
    """
    order = getattr(cls, "order", None)
    if "order" in parameters or not isinstance(order, str) or order == "learned":
        return "learned"  # A method or a property is the class's own affair.
    if order == "plan":
        return "plan"
    raise DeclarationError(
        f'{cls.__name__}.order: expected "learned" or "plan", found {order!r:.80}; to '
        "make it a parameter, annotate it"
    )


def collect_parameters(
    cls: type, root: type, steps: Mapping[str, Step[..., Any]]
) -> dict[str, Parameter]:
    """Return the annotated attributes as parameters, a base's first.

    Args:
        cls: the class that is being made.
        root: the base of all workflows; its own annotations are no parameters.
        steps: the steps of the class.

    Raises:
        DeclarationError: an annotation cannot be looked up, a name is taken, or a default
            does not fit its annotation.
    """
    found: dict[str, Parameter] = {}
    hints = codec.hints_of(cls)
    zone = zone_of(cls, hints)
    for base in reversed(cls.__mro__):
        if base is root:
            continue
        for name in inspect.get_annotations(base):
            hint = hints.get(name, Any)
            if name.startswith("_") or get_origin(hint) is ClassVar or hint is ClassVar:
                continue
            if isinstance(hint, codec.Unresolved):
                raise DeclarationError(
                    f"{cls.__name__}.{name}: its annotation {hint.text} cannot be looked "
                    "up; import what it names, or define it outside of the function"
                )
            _check_name(cls, name, "parameter")
            if name in steps:
                raise DeclarationError(
                    f"{cls.__name__}.{name}: there is a step of that name; give the "
                    "parameter another one, or annotate it as a ClassVar"
                )
            if has_secret(hint) and not is_secret(hint):
                raise DeclarationError(
                    f"{cls.__name__}.{name}: a secret parameter is one text; write "
                    f"{name}: Secret[str], or Secret[str] | None"
                )
            found[name] = _parameter(cls, name, hint, zone)
    return found


def _parameter(cls: type, name: str, hint: Any, zone: tzinfo) -> Parameter:
    period = period_of(hint, zone)
    if period is None and has_period(hint):
        raise DeclarationError(
            f"{cls.__name__}.{name}: an hour or a day is one parameter; write "
            f"{name}: Hour or {name}: Day, or {name}: Hour | None"
        )
    made = Parameter(name, hint if period is None else period.hint, period=period)
    default = getattr(cls, name, MISSING)
    if default is MISSING:
        return made
    try:
        value = made.converted(default, f"{cls.__name__}.{name}: the default")
    except ParameterError as error:
        raise DeclarationError(str(error)) from None
    return replace(made, default=value)
