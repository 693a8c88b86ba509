"""What one option of `@step` may be: each is returned as it is kept, or refused."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import (
    Any,
    TypeGuard,
)

from ptsflow.core.retry import Retry
from ptsflow.errors import DeclarationError
from ptsflow.workflow import units


def refuse(label: str, option: str, expected: str, found: object) -> DeclarationError:
    """Return the error of an option that is not what it should be."""
    return DeclarationError(f"{label}: {option}= expects {expected}, found {found!r}")


def flag(label: str, option: str, value: object) -> bool:
    """Return True or False."""
    if isinstance(value, bool):
        return value
    raise refuse(label, option, "True or False", value)


def retry(label: str, value: object) -> Retry:
    """Return the policy; three retries where none is given."""
    if value is None:
        return Retry()
    if isinstance(value, Retry):
        return value
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return Retry(value)
    raise refuse(label, "retry", "a Retry or a number of retries", value)


def key(label: str, value: object) -> Any:
    """Return what names the items; None where nothing does."""
    if value is None or callable(value) or (isinstance(value, str) and value):
        return value
    raise refuse(label, "key", "the name of a field or a function of the item", value)


def limit(label: str, value: object) -> int | None:
    """Return how many items may run at the same time; None for any number."""
    if value is None:
        return None
    if isinstance(value, int) and not isinstance(value, bool) and value >= 1:
        return value
    raise refuse(label, "limit", "a whole number of 1 or more", value)


def tolerate(label: str, value: object) -> int | str:
    """Return how many items may fail: a number, or a share with its sign."""
    expected = 'a number of items, 0 or more, or a share such as "2%"'
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    if isinstance(value, str) and value.endswith("%"):
        try:
            share = float(value[:-1])
        except ValueError:
            raise refuse(label, "tolerate", expected, value) from None
        if 0 <= share <= 100:  # noqa: PLR2004 - percent
            return value
    raise refuse(label, "tolerate", expected, value)


def weight(label: str, value: object) -> float:
    """Return the share in the percentage of the container."""
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if number and 0 < value < float("inf"):  # type: ignore[operator] # a number
        return float(value)  # type: ignore[arg-type] # a number
    raise refuse(label, "weight", "a number above 0", value)


def version(label: str, value: object) -> str:
    """Return the version as text."""
    if isinstance(value, (str, int)) and not isinstance(value, bool):
        return str(value)
    raise refuse(label, "version", "a str or an int", value)


def uses(label: str, value: object) -> dict[str, int]:
    """Return how much of each resource a task takes."""
    given = {value: 1} if isinstance(value, str) else {} if value is None else value
    if is_counts(given):
        return dict(given)
    expected = "a resource's name, or a mapping of such to whole numbers of 1 or more"
    raise refuse(label, "uses", expected, value)


def is_counts(value: object) -> TypeGuard[Mapping[str, int]]:
    """Whether a value maps names to whole numbers of 1 or more."""
    return isinstance(value, Mapping) and all(
        isinstance(name, str) and name and type(count) is int and count >= 1
        for name, count in value.items()
    )


def priority(label: str, value: object) -> int:
    """Return the priority."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    raise refuse(label, "priority", "a whole number", value)


def duration(label: str, option: str, value: object) -> float | None:
    """Return seconds; None for no bound."""
    found = units.seconds(value)
    if found is None and value is not None:
        raise refuse(label, option, 'seconds above 0, or a text such as "2h"', value)
    return found


def memory(label: str, value: object) -> int | None:
    """Return bytes; None for no bound."""
    found = units.size(value)
    if found is None and value is not None:
        raise refuse(label, "memory", 'bytes above 0, or a text such as "2GB"', value)
    return found


#: Where bodies can run, by name.
EXECUTORS = ("thread", "process", "dask")


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
        return True  # Made in C, so nobody knows.
    return True


def _executor(label: str, value: object) -> str | None:
    if value is None or (isinstance(value, str) and value in EXECUTORS):
        return value
    raise refuse(label, "executor", _either(EXECUTORS), value)


def _either(names: tuple[str, ...]) -> str:
    *first, last = map(repr, names)
    return f"{', '.join(first)} or {last}"
