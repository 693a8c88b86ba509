"""The options of `@step`: what users may give, and the check of each.

A new option is a line in `GivenOptions` here and a field of `StepOptions` in `core.plan`,
which says as what a plan keeps the option and what it is where users leave it out.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from typing import Annotated, Any, TypedDict, TypeGuard, get_args, get_type_hints

from ptsflow.core.names import listed, similar
from ptsflow.core.numbers import is_number, is_whole
from ptsflow.core.plan import Key
from ptsflow.core.retry import Retry
from ptsflow.errors import DeclarationError
from ptsflow.workflow import units

#: Where bodies can run, by name.
EXECUTORS = ("thread", "process", "dask")


class Unfit(Exception):
    """A value is not what its option expects; the message says what is expected."""


def flag(value: object) -> bool:
    """Return True or False."""
    if isinstance(value, bool):
        return value
    raise Unfit("True or False")


def policy(value: object) -> Retry:
    """Return the policy that a number of retries stands for."""
    if isinstance(value, Retry):
        return value
    if is_whole(value, 0):
        return Retry(value)
    raise Unfit("a Retry or a number of retries")


def key(value: object) -> object:
    """Return a field's name or a function."""
    if callable(value) or (isinstance(value, str) and value):
        return value
    raise Unfit("the name of a field or a function of the item")


def limit(value: object) -> int:
    """Return a number of items."""
    if is_whole(value, 1):
        return value
    raise Unfit("a whole number of 1 or more")


def tolerate(value: object) -> int | str:
    """Return a number of items, or a share with its sign."""
    if is_whole(value, 0) or (isinstance(value, str) and _is_share(value)):
        return value
    raise Unfit('a number of items, 0 or more, or a share such as "2%"')


def _is_share(text: str) -> bool:
    try:
        return text.endswith("%") and 0 <= float(text[:-1]) <= 100  # noqa: PLR2004 - percent
    except ValueError:
        return False


def weight(value: object) -> float:
    """Return a finite number above 0."""
    if is_number(value, 0, sys.float_info.max) and value > 0:
        return float(value)
    raise Unfit("a number above 0")


def version(value: object) -> str:
    """Return the version as text."""
    if isinstance(value, str) or is_whole(value):
        return str(value)
    raise Unfit("a str or an int")


def executor(value: object) -> str:
    """Return one of `EXECUTORS`."""
    if isinstance(value, str) and value in EXECUTORS:
        return value
    *first, last = map(repr, EXECUTORS)
    raise Unfit(f"{', '.join(first)} or {last}")


def duration(value: object) -> float:
    """Return seconds."""
    found = units.seconds(value)
    if found is None:
        raise Unfit('seconds above 0, or a text such as "2h"')
    return found


def memory(value: object) -> int:
    """Return bytes."""
    found = units.size(value)
    if found is None:
        raise Unfit('bytes above 0, or a text such as "2GB"')
    return found


def uses(value: object) -> dict[str, int]:
    """Return how much of each resource a task takes."""
    given = {value: 1} if isinstance(value, str) else value
    if is_counts(given):
        return dict(given)
    raise Unfit("a resource's name, or a mapping of such to whole numbers of 1 or more")


def is_counts(value: object) -> TypeGuard[Mapping[str, int]]:
    """Whether a value maps names to whole numbers of 1 or more."""
    return isinstance(value, Mapping) and all(
        isinstance(name, str) and name and type(count) is int and count >= 1
        for name, count in value.items()
    )


def priority(value: object) -> int:
    """Return a whole number."""
    if is_whole(value):
        return value
    raise Unfit("a whole number")


class GivenOptions(TypedDict, total=False):
    """What `@step(...)` accepts beside `after` and `each`; None leaves an option out."""

    parallel: Annotated[bool, flag]
    always: Annotated[bool, flag]
    optional: Annotated[bool, flag]
    retry: Annotated[Retry | int | None, policy]
    key: Annotated[Key | None, key]
    limit: Annotated[int | None, limit]
    tolerate: Annotated[int | str, tolerate]
    weight: Annotated[float | None, weight]
    version: Annotated[str | int, version]
    at_most_once: Annotated[bool, flag]
    executor: Annotated[str | None, executor]
    timeout: Annotated[float | str | None, duration]
    stall: Annotated[float | str | None, duration]
    memory: Annotated[int | str | None, memory]
    uses: Annotated[str | Mapping[str, int] | None, uses]
    priority: Annotated[int, priority]
    keep_workdir: Annotated[bool, flag]


@cache
def _declared() -> dict[str, tuple[Callable[[object], Any], bool]]:
    """Return the check of every option, and whether None leaves the option out."""
    hints = get_type_hints(GivenOptions, include_extras=True)
    return {
        name: (hint.__metadata__[0], type(None) in get_args(hint.__origin__))
        for name, hint in hints.items()
    }


def check_names(given: Iterable[str]) -> None:
    """See to it that there are such options.

    Raises:
        DeclarationError: one of them is unknown.
    """
    for name in given:
        if name not in _declared() and name not in ("after", "each"):
            known = sorted({"after", "each", *_declared()})
            raise DeclarationError(
                f"@step: unknown option {name!r}{similar(name, known)}; "
                f"there are {listed(known, name)}"
            )


def checked(label: str, given: Mapping[str, object]) -> dict[str, Any]:
    """Return the options as a plan keeps them.

    Raises:
        DeclarationError: the value of an option does not fit.
    """
    kept: dict[str, Any] = {}
    for name, value in given.items():
        check, may_be_none = _declared()[name]
        if value is None and may_be_none:
            continue
        try:
            kept[name] = check(value)
        except Unfit as unfit:
            raise DeclarationError(
                f"{label}: {name}= expects {unfit}, found {value!r}"
            ) from None
    return kept


def check_executor(value: object) -> str | None:
    """Return what is wrong with where the bodies of a run are to run; None if nothing.

    A name of `EXECUTORS`, "dask://HOST:PORT", or a callable without parameters that
    returns a `concurrent.futures.Executor`.
    """
    if isinstance(value, str):
        is_right = value in EXECUTORS or _is_address(value)
    else:
        is_right = callable(value) and _takes_nothing(value)
    if is_right:
        return None
    names = ", ".join(map(repr, EXECUTORS))
    return (
        f"expected {names}, 'dask://HOST:PORT' or a callable without parameters "
        f"that returns a concurrent.futures.Executor, found {value!r}"
    )


def _is_address(text: str) -> bool:
    place = text.removeprefix("dask://")
    host, _, port = place.rpartition(":")
    return place != text and host != "" and port.isdecimal() and 0 < int(port) < 2**16


def _takes_nothing(function: Callable[..., Any]) -> bool:
    try:
        inspect.signature(function).bind()
    except TypeError:
        return False
    except ValueError:
        return True  # A function made in C may have no signature.
    return True
