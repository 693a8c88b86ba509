"""The output of a body in a worker process: printed and logged lines in one pipe."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import overload

from msgspec import MsgspecError, json

from ptsflow.core import texts
from ptsflow.core.lines import Splitter
from ptsflow.core.log_window import LINE_LIMIT
from ptsflow.core.model import LogLine
from ptsflow.core.progress_bars import Bar, BarReader, is_redrawn
from ptsflow.executors.capture import printed

#: How much of the last output is told when a process dies, in characters.
_LAST = 500
#: The first byte of a line that is a `LogLine` as JSON; other lines are printed text.
_LOGGED = b"\x1e"

_read_logged = json.Decoder(LogLine).decode


def frame(line: LogLine) -> bytes:
    """Return a logged line as it is written between printed ones."""
    text = texts.cut(line.text, LINE_LIMIT)
    return _LOGGED + json.encode(LogLine(line.at, line.level, text)) + b"\n"


def _is_redrawn(line: bytes, is_within_a_bar: bool) -> bool:  # noqa: FBT001 - of one call
    return is_redrawn(line.decode(errors="replace"), is_within_a_bar=is_within_a_bar)


class OutputLines(Sequence[LogLine]):
    """Lines that a body printed or logged, each decoded when it is asked for.

    Args:
        raw: the lines without their newlines.
        at: when printed ones were received, in milliseconds since the epoch.
    """

    def __init__(self, raw: list[bytes], at: int) -> None:
        self._raw = raw
        self._at = at

    def __len__(self) -> int:
        return len(self._raw)

    @overload
    def __getitem__(self, index: int) -> LogLine: ...
    @overload
    def __getitem__(self, index: slice) -> OutputLines: ...
    def __getitem__(self, index: int | slice) -> LogLine | OutputLines:
        if isinstance(index, slice):
            return OutputLines(self._raw[index], self._at)
        raw = self._raw[index]
        if raw.startswith(_LOGGED):
            with contextlib.suppress(MsgspecError, UnicodeDecodeError):
                return _read_logged(raw[1:])
        return printed(raw.decode(errors="backslashreplace"), self._at)


class Output:
    """Splits the output of one attempt into lines, as it arrives part by part."""

    def __init__(self) -> None:
        self._splitter = Splitter(b"\n")
        #: The last lines as one text, of at most `_LAST` characters.
        self.last = ""
        self._bars = BarReader()
        #: What a progress bar said last in the part that was fed last.
        self.bar: Bar | None = None

    def feed(self, part: bytes, at: int) -> OutputLines:
        """Return the lines that end in this part."""
        if _LOGGED in part:
            part = self._apart(part)
        lines = self._splitter.feed(part)
        self.bar = None
        is_within = self._bars.is_within_a_bar
        if b"\r" in part or is_within:
            self.bar = self._bars.feed(part.decode(errors="replace"))
            lines = [line for line in lines if not _is_redrawn(line, is_within)]
        return self._remembered(OutputLines(lines, at))

    def end(self, at: int) -> OutputLines:
        """Return the last line if no newline ended it."""
        return self._remembered(OutputLines(self._splitter.end(), at))

    def _apart(self, part: bytes) -> bytes:
        """Return a part in which every logged line begins a new line."""
        begins = part.startswith(_LOGGED) and not self._splitter.is_within_a_line
        part = part.replace(b"\n" + _LOGGED, _LOGGED).replace(_LOGGED, b"\n" + _LOGGED)
        return part[1:] if begins else part

    def _remembered(self, lines: OutputLines) -> OutputLines:
        """Return the lines, after their end was kept in `last`."""
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
