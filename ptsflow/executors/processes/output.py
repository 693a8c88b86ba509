"""The output of a body in a process, as frames through a pipe."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import overload

from msgspec import MsgspecError, json

from ptsflow.core import transitions
from ptsflow.core.log_window import LINE_LIMIT
from ptsflow.core.model import LogLine
from ptsflow.executors.capture import Splitter, printed

#: How much of what was printed last is told when a child dies, in characters.
_LAST = 500


#: Begins a line that is not text, but a `LogLine` as JSON.
_LOGGED = b"\x1e"


_read_logged = json.Decoder(LogLine).decode


def frame(line: LogLine) -> bytes:
    """Return how a logged line is written among the printed ones."""
    text = transitions.cut(line.text, LINE_LIMIT)
    return _LOGGED + json.encode(LogLine(line.at, line.level, text)) + b"\n"


class Lines(Sequence[LogLine]):
    """Lines that a child printed or logged, each read when it is asked for.

    Args:
        raw: the lines without their ends.
        at: when they came.
    """

    def __init__(self, raw: list[bytes], at: int) -> None:
        self._raw = raw
        self._at = at

    def __len__(self) -> int:
        return len(self._raw)

    @overload
    def __getitem__(self, index: int) -> LogLine: ...
    @overload
    def __getitem__(self, index: slice) -> Lines: ...
    def __getitem__(self, index: int | slice) -> LogLine | Lines:
        if isinstance(index, slice):
            return Lines(self._raw[index], self._at)
        raw = self._raw[index]
        if raw.startswith(_LOGGED):
            with contextlib.suppress(MsgspecError, UnicodeDecodeError):
                return _read_logged(raw[1:])
        return printed(raw.decode(errors="backslashreplace"), self._at)


class Output:
    """Makes lines of what a child prints, part by part."""

    def __init__(self) -> None:
        self._splitter = Splitter(b"\n")
        #: The last lines as one text.
        self.last = ""

    def feed(self, part: bytes, at: int) -> Lines:
        """Return the lines that end in this part."""
        if _LOGGED in part:
            part = self._apart(part)
        return self._seen(Lines(self._splitter.feed(part), at))

    def end(self, at: int) -> Lines:
        """Return the last line, if it has no end."""
        return self._seen(Lines(self._splitter.end(), at))

    def _apart(self, part: bytes) -> bytes:
        """Return a part in which everything logged begins a line of its own."""
        begins = part.startswith(_LOGGED) and not self._splitter.is_within_a_line
        part = part.replace(b"\n" + _LOGGED, _LOGGED).replace(_LOGGED, b"\n" + _LOGGED)
        return part[1:] if begins else part

    def _seen(self, lines: Lines) -> Lines:
        texts: list[str] = []
        size = 0
        for line in reversed(lines):
            texts.append(line.text)
            size += len(line.text) + 1
            if size > _LAST:
                break
        if texts:
            self.last = "\n".join([self.last, *reversed(texts)])[-_LAST:].strip()
        return lines
