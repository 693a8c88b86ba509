"""What bodies log and print, on its way to the store and back.

A body may print without end, so the first and the last `KEPT` bytes of an attempt are
kept. A chunk's number is the place of its first line in the attempt: the numbers alone
tell a reader how many lines were left out between two chunks.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator, Sequence

from msgspec import Struct
from msgspec.structs import replace

from ptsflow.core import texts
from ptsflow.core.model import LogChunk, LogLine

#: The longest line that is kept, in characters; of a longer one the middle is left out.
LINE_LIMIT = 4_000
#: How many bytes of an attempt's first lines are kept, and how many of its last.
KEPT = 64 * 1024

#: What the time and the level of a line count, in bytes.
_LINE_COST = 16
#: Lines are put together up to so many bytes; the tail is dropped chunk by chunk.
_CHUNK = 16 * 1024


class Writing(Struct, frozen=True):
    """What is to be put and dropped so that the store holds an attempt's lines."""

    chunks: list[LogChunk]
    #: The chunks with these numbers, both included, are to be dropped.
    trim: tuple[int, int] | None


class Window:
    """The head and the tail of one attempt's lines.

    Lines wait here until they are written, and are forgotten then. The window remembers
    number and size of the tail's written chunks, to drop them when newer lines come.
    """

    __slots__ = (
        "_head",
        "_head_left",
        "_head_lines",
        "_head_size",
        "_tail",
        "_tail_size",
        "_written",
        "_written_size",
        "attempt",
        "count",
    )

    def __init__(self, attempt: int) -> None:
        self.attempt = attempt
        #: How many lines there were.
        self.count = 0
        self._head: list[LogLine] = []
        self._head_size = 0
        self._head_left = KEPT
        self._head_lines = 0
        # A list is small while it is empty, and every task that prints has a window.
        self._tail: list[LogLine] = []
        self._tail_size = 0
        #: Number and size of the tail's chunks in the store.
        self._written: list[tuple[int, int]] = []
        self._written_size = 0

    @property
    def waiting(self) -> int:
        """How much waits to be written, in bytes."""
        return self._head_size + self._tail_size

    def add(self, lines: Sequence[LogLine]) -> None:
        """Take lines in; of a long sequence only the ends are looked at."""
        self.count += len(lines)
        ends = ends_of(lines, self._head_left)
        self._head.extend(ends.head)
        self._head_lines += len(ends.head)
        self._head_size += ends.head_size
        self._head_left -= ends.head_size
        self._tail.extend(ends.tail)
        self._tail_size += ends.tail_size
        dropped = 0
        for line in self._tail:
            size = _size(line)
            if self._tail_size - size < KEPT:
                break
            self._tail_size -= size
            dropped += 1
        del self._tail[:dropped]

    def skip(self, count: int) -> None:
        """Leave lines out."""
        self.count += count
        self._head_left = 0
        # Waiting lines must have no gap: the tail begins anew behind what is left out.
        self._tail.clear()
        self._tail_size = 0

    def take(self, task: str) -> Writing:
        """Return what is to be written now; it waits no more."""
        head, self._head, self._head_size = self._head, [], 0
        first = self._head_lines - len(head)
        chunks = [chunk for chunk, _ in self._chunks(task, first, head)]
        first = self.count - len(self._tail)
        for chunk, size in self._chunks(task, first, self._tail):
            chunks.append(chunk)
            self._written.append((chunk.number, size))
            self._written_size += size
        self._tail.clear()
        self._tail_size = 0
        last = None
        while self._written and self._written_size - self._written[0][1] >= KEPT:
            last, size = self._written.pop(0)
            self._written_size -= size
        # The range begins behind the head: an earlier trim may not have reached the store.
        trim = None if last is None else (self._head_lines, last)
        return Writing(chunks, trim)

    def _chunks(
        self, task: str, number: int, lines: Iterable[LogLine]
    ) -> Iterator[tuple[LogChunk, int]]:
        part: list[LogLine] = []
        size = 0
        for line in lines:
            part.append(line)
            size += _size(line)
            if size >= _CHUNK:
                yield self._chunk(task, number, part), size
                number += len(part)
                part, size = [], 0
        if part:
            yield self._chunk(task, number, part), size

    def _chunk(self, task: str, number: int, lines: list[LogLine]) -> LogChunk:
        return LogChunk(
            task=task, attempt=self.attempt, number=number, lines=tuple(lines)
        )


class Ends(Struct, frozen=True):
    """The first and the last of some lines, with their sizes in bytes."""

    head: list[LogLine]
    tail: list[LogLine]
    head_size: int
    tail_size: int


def ends_of(lines: Sequence[LogLine], head_left: int) -> Ends:
    """Return what is kept of more lines of an attempt; no other line is looked at.

    The line that passes a limit is kept.

    Args:
        lines: the lines.
        head_left: how many bytes the head of the attempt still takes: `KEPT` less the
            head sizes until now.

    Returns:
        The first lines, up to `head_left` bytes; of the others the last lines, up to
        `KEPT` bytes.
    """
    head: list[LogLine] = []
    head_size = 0
    while head_size < head_left and len(head) < len(lines):
        head.append(_fit(lines[len(head)]))
        head_size += _size(head[-1])
    tail: list[LogLine] = []
    tail_size = 0
    for index in range(len(lines) - 1, len(head) - 1, -1):
        if tail_size >= KEPT:
            break
        tail.append(_fit(lines[index]))
        tail_size += _size(tail[-1])
    return Ends(head, tail[::-1], head_size, tail_size)


def _fit(line: LogLine) -> LogLine:
    text = texts.cut(line.text, LINE_LIMIT)
    return line if text is line.text else replace(line, text=text)


def _size(line: LogLine) -> int:
    text = line.text
    return _LINE_COST + (len(text) if text.isascii() else len(text.encode()))


def merged(
    chunks: Iterable[LogChunk], seen: dict[tuple[str, int], int] | None = None
) -> Iterator[tuple[str, int, LogLine]]:
    """Yield lines with task and attempt, in the order of time.

    Lines of one attempt stay in the order in which they were printed, with a line in
    between that says how many were left out.

    Args:
        chunks: in the order in which they were put.
        seen: how many lines of each attempt were read before. Whoever reads on and on
            keeps one dictionary for it; this updates it.
    """
    known = {} if seen is None else seen
    streams: dict[tuple[str, int], list[tuple[int, LogChunk]]] = {}
    for chunk in chunks:
        key = chunk.task, chunk.attempt
        missing = chunk.number - known.get(key, 0)
        if missing < 0:
            # An item that was gone and came back counts its attempts anew.
            missing = chunk.number
        streams.setdefault(key, []).append((missing, chunk))
        known[key] = chunk.number + len(chunk.lines)
    timed = [_timed(key, own) for key, own in streams.items()]
    for _, task, attempt, line in heapq.merge(*timed, key=lambda entry: entry[0]):
        yield task, attempt, line


def _timed(
    key: tuple[str, int], chunks: Iterable[tuple[int, LogChunk]]
) -> Iterator[tuple[int, str, int, LogLine]]:
    """Yield an attempt's lines, each with a time that never goes back."""
    latest = 0
    for missing, chunk in chunks:
        if missing and chunk.lines:
            what = "1 line was" if missing == 1 else f"{missing:,} lines were"
            latest = max(latest, chunk.lines[0].at)
            gap = LogLine(chunk.lines[0].at, "", f"[{what} left out here]")
            yield latest, *key, gap
        for line in chunk.lines:
            latest = max(latest, line.at)
            yield latest, *key, line
