"""Annotations of functions and classes, with every name in them looked up.

A name that cannot be found (most often a class made inside a function) spoils only the
annotation that it stands in: that one becomes `Unresolved`.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterator, Mapping
from types import SimpleNamespace
from typing import Any, get_type_hints

from msgspec import Struct


class Unresolved(Struct, frozen=True):
    """An annotation in which a name could not be found."""

    text: str


def hints_of(owner: Callable[..., Any] | type) -> dict[str, Any]:
    """Return the annotations of a function ("return" among them) or of a class."""
    # Annotations are code of the user's: evaluating them may raise anything.
    try:
        return get_type_hints(owner, localns=_enclosing(owner))
    except Exception:  # noqa: BLE001 - see above
        return {
            name: _resolve(annotation, names)
            for part, names in _parts(owner)
            for name, annotation in inspect.get_annotations(part).items()
        }


def _resolve(annotation: object, names: Mapping[str, Any]) -> object:
    one = SimpleNamespace(__annotations__={"it": annotation})
    try:
        return get_type_hints(one, dict(names))["it"]
    except Exception:  # noqa: BLE001 - see above
        return Unresolved(
            annotation if isinstance(annotation, str) else repr(annotation)
        )


def _parts(owner: Callable[..., Any] | type) -> Iterator[tuple[Any, Mapping[str, Any]]]:
    """Yield what has annotations of its own, with the names that are seen from there."""
    if not isinstance(owner, type):
        plain = inspect.unwrap(owner)
        yield owner, getattr(plain, "__globals__", {}) | (_enclosing(owner) or {})
        return
    for base in reversed(owner.__mro__):
        module = vars(sys.modules.get(base.__module__, SimpleNamespace()))
        yield base, {**vars(base), base.__name__: base, **module}


def _enclosing(owner: Callable[..., Any] | type) -> dict[str, Any] | None:
    """Return the variables of enclosing functions that the body uses, or None."""
    if isinstance(owner, type):
        return None
    plain = inspect.unwrap(owner)
    code, cells = getattr(plain, "__code__", None), getattr(plain, "__closure__", None)
    if code is None or not cells:
        return None
    found = {}
    for name, cell in zip(code.co_freevars, cells, strict=True):
        try:
            found[name] = cell.cell_contents
        except ValueError:
            continue  # Not assigned yet.
    return found
