"""Copies of a value that was read: quicker than reading it once more.

A copy shares with the value what nobody can change, and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from functools import partial
from typing import Any

from ptsflow.codec.misfit import Value
from ptsflow.codec.scalars import FIXED

_CONTAINERS = (list, dict, set, tuple, frozenset)


class _Instance(Exception):
    """A value holds an instance of a class: what can be changed of it, only its class knows."""


def copies_of(value: Value) -> Callable[[], Value] | None:
    """Return what makes a copy of a value that was read, each time another one.

    The value must not be changed from now on. Return None if it holds an instance of a
    class, or is too deep: it has to be read once more.
    """
    try:
        make = _maker(value)
    except (_Instance, RecursionError):
        return None
    return make or (lambda: value)


def _maker(value: Any) -> Callable[[], Value] | None:
    """Return what makes a copy of a value; None if nobody can change the value."""
    kind = type(value)
    if kind in FIXED or isinstance(value, Enum):
        return None
    if kind not in _CONTAINERS:
        raise _Instance
    entries = value.items() if kind is dict else enumerate(value)
    parts = [
        (key, make)
        for key, part in entries
        if type(part) not in FIXED and (make := _maker(part)) is not None
    ]
    if kind in (tuple, frozenset):
        return partial(_tuple, value, parts) if parts else None
    return partial(_copy, value, parts) if parts else value.copy


def _copy(value: Any, parts: list[tuple[Any, Callable[[], Value]]]) -> Value:
    made = value.copy()
    for key, make in parts:
        made[key] = make()
    return made


def _tuple(value: Any, parts: list[tuple[Any, Callable[[], Value]]]) -> Value:
    return tuple(_copy(list(value), parts))
