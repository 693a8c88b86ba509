"""What bodies log and print, on its way to the store and back.

A body may print without end, so the first and the last `KEPT` bytes of an attempt are
kept. A chunk's number is the place of its first line in the attempt: whoever reads sees
from the numbers alone how many lines were left out in between.
"""

from __future__ import annotations

import contextlib
import heapq
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence

from msgspec import Struct
from msgspec.structs import replace

from ptsflow.core import transitions
from ptsflow.core.model import LogChunk, LogLine
from ptsflow.executors.capture import LINE_LIMIT
from ptsflow.stores.base import LogStore

#: How many bytes of an attempt's first lines are kept, and how many of its last.
KEPT = 64 * 1024

#: What the time and the level of a line count, in bytes.
_LINE_COST = 16
#: Lines are put together up to so many bytes; the tail is dropped chunk by chunk.
_CHUNK = 16 * 1024
#: How much may wait to be written, of all attempts together, in bytes.
_PENDING = 8 * 1024 * 1024
#: How often lines are written, in seconds.
_WRITE_EVERY = 0.25
#: How long a store that refused lines is left alone, in seconds.
_TRY_AGAIN = 5.0
#: How long the end of a run waits for the last lines, in seconds.
_END = 5.0


class Writing(Struct, frozen=True):
    """What is to be put and dropped so that the store holds an attempt's lines."""

    chunks: list[LogChunk]
    #: The chunks with these numbers, both included, are to be dropped.
    trim: tuple[int, int] | None


class Window:
    """The head and the tail of one attempt's lines.

    Head lines wait to be written, and are forgotten then; so are the lines of the tail,
    but what was written of it is known by number and size, to be dropped later.
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
        # Lists: of a hundred thousand tasks that printed a line, each has a window.
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
        self._fill_tail(lines, self._fill_head(lines))

    def _fill_head(self, lines: Sequence[LogLine]) -> int:
        """Take the first lines, as long as they fit; return how many."""
        taken = 0
        while self._head_left and taken < len(lines):
            line = _fit(lines[taken])
            size = _size(line)
            if size > self._head_left:
                self._head_left = 0
                break
            self._head_left -= size
            self._head_size += size
            self._head.append(line)
            taken += 1
        self._head_lines += taken
        return taken

    def _fill_tail(self, lines: Sequence[LogLine], begin: int) -> None:
        taken: list[LogLine] = []
        size = 0
        for index in range(len(lines) - 1, begin - 1, -1):
            if size >= KEPT:
                break
            taken.append(_fit(lines[index]))
            size += _size(taken[-1])
        self._tail.extend(reversed(taken))
        self._tail_size += size
        dropped = 0
        for line in self._tail:
            if self._tail_size - _size(line) < KEPT:
                break
            self._tail_size -= _size(line)
            dropped += 1
        del self._tail[:dropped]

    def skip(self, count: int) -> None:
        """Leave lines out."""
        self.count += count
        self._head_left = 0
        # What waits must be without gaps: the tail begins anew after this one.
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
        # From the head on: also what could not be dropped before.
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


def _fit(line: LogLine) -> LogLine:
    text = transitions.cut(line.text, LINE_LIMIT)
    return line if text is line.text else replace(line, text=text)


def _size(line: LogLine) -> int:
    text = line.text
    return _LINE_COST + (len(text) if text.isascii() else len(text.encode()))


class Recorder:
    """Writes lines to the store, in a thread of its own that begins with the first one.

    Lines are no state: what a store that is away does not take is left out, and the
    run goes on.

    Args:
        open: opens the connection; called in that thread.
        uid: the container's.
        notice: told once, in one line, if lines are lost.
    """

    def __init__(
        self,
        open: Callable[[], LogStore],  # noqa: A002 - says it best
        uid: str,
        notice: Callable[[str], None],
    ) -> None:
        self._open = open
        self._uid = uid
        self._notice = notice
        # A finalizer may print while its thread is in here: it must get in again.
        self._lock = threading.RLock()
        self._windows: dict[str, Window] = {}
        #: The windows in which lines wait, with their tasks.
        self._waiting: dict[tuple[str, int], Window] = {}
        self._pending = 0
        self._thread: threading.Thread | None = None
        self._has_lines = threading.Event()
        self._is_ending = threading.Event()
        self._store: LogStore | None = None
        self._has_told = False

    def add(self, task: str, attempt: int, lines: Sequence[LogLine]) -> None:
        """Keep lines of an attempt; from any thread, and without waiting for the store.

        Lines of an attempt before the task's last one are left out.
        """
        if not lines:
            return
        with self._lock:
            window = self._windows.get(task)
            if window is None or window.attempt < attempt:
                window = self._windows[task] = Window(attempt)
            if self._is_ending.is_set() or window.attempt > attempt:
                return
            before = window.waiting
            if self._pending < _PENDING:
                window.add(lines)
            else:
                window.skip(len(lines))
            self._pending += window.waiting - before
            if not self._waiting:
                self._has_lines.set()
            self._waiting[task, attempt] = window
            if self._thread is None:
                self._begin()

    def stop(self) -> None:
        """Write what is left, as far as the store takes it within a few seconds."""
        with self._lock:
            self._is_ending.set()
            self._has_lines.set()
        if self._thread is not None:
            self._thread.join(timeout=_END)

    def _begin(self) -> None:
        thread = threading.Thread(target=self._serve, name="ptsflow-logs", daemon=True)
        with contextlib.suppress(RuntimeError):  # no more threads: tried at the next
            thread.start()
            self._thread = thread

    def _serve(self) -> None:
        while not self._is_ending.is_set():
            self._has_lines.wait()
            # More lines come in meanwhile, and are written together.
            self._is_ending.wait(_WRITE_EVERY)
            if not self._write():
                self._is_ending.wait(_TRY_AGAIN)
        self._write()
        self._close()

    def _write(self) -> bool:
        """Write what waits; return whether the store took it."""
        with self._lock:
            self._has_lines.clear()
            waiting, self._waiting, self._pending = self._waiting, {}, 0
            taken = [
                (task, attempt, window.take(task))
                for (task, attempt), window in waiting.items()
            ]
        if not taken:
            return True
        try:
            if self._store is None:
                self._store = self._open()
            chunks = [chunk for *_, writing in taken for chunk in writing.chunks]
            self._store.put(self._uid, chunks)
            for task, attempt, writing in taken:
                if writing.trim is not None:
                    self._store.trim(self._uid, task, attempt, *writing.trim)
        except Exception as error:  # noqa: BLE001 - no run fails because of its logs
            self._close()
            self._tell(error)
            return False
        return True

    def _close(self) -> None:
        store, self._store = self._store, None
        if store is not None:
            with contextlib.suppress(Exception):
                store.close()

    def _tell(self, error: Exception) -> None:
        if not self._has_told:
            self._has_told = True
            text = str(error).split("\n")[0] or type(error).__name__
            with contextlib.suppress(Exception):
                self._notice(f"what bodies print cannot be kept just now: {text}")


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
