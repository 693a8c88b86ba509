"""Stored values as pages show them."""

from __future__ import annotations

import json

from msgspec import Struct

from ptsflow.display import as_json

#: Values that are no longer are shown on one line.
_LINE = 72


class StoredValue(Struct, frozen=True):
    """A stored value."""

    #: To be shown; None if it is too long.
    text: str | None
    #: In bytes.
    size: int


def value_of(stored: object) -> StoredValue:
    """Return a stored value as it is shown."""
    if not isinstance(stored, str):
        return StoredValue("", 0)
    size = len(stored.encode())
    return StoredValue(None if size > as_json.LONGEST_VALUE else pretty(stored), size)


def pretty(stored: str) -> str:
    """Return a stored value as text that people read."""
    value = as_json.value(stored)
    if isinstance(value, str):
        return value
    line = json.dumps(value, ensure_ascii=False, allow_nan=False)
    return line if len(line) <= _LINE else as_json.indented(value)
