"""Printed text, which comes in parts, as lines."""

from __future__ import annotations

from typing import AnyStr, Generic

#: How much is kept of each end of a line that is still without a newline, in characters
#: or bytes.
_END_KEPT = 16_384


class Splitter(Generic[AnyStr]):
    """Splits printed text, which comes in parts, into lines.

    Args:
        newline: the end of a line, as text or as bytes.
    """

    def __init__(self, newline: AnyStr) -> None:
        self._newline: AnyStr = newline
        self._rest: AnyStr = newline[:0]

    @property
    def is_within_a_line(self) -> bool:
        """Whether the last line is still without a newline."""
        return bool(self._rest)

    def feed(self, part: AnyStr) -> list[AnyStr]:
        """Return the lines that end in this part, without their newlines."""
        lines: list[AnyStr] = (self._rest + part).split(self._newline)
        rest = lines.pop()
        if len(rest) > 2 * _END_KEPT:
            rest = rest[:_END_KEPT] + rest[-_END_KEPT:]
        self._rest = rest
        return lines

    def end(self) -> list[AnyStr]:
        """Return the last line if no newline ended it."""
        rest, self._rest = self._rest, self._newline[:0]
        return [rest] if rest else []
