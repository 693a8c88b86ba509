"""The log lines of bodies in this process's memory."""

from __future__ import annotations

from collections.abc import Sequence
from threading import Lock

from ptsflow.core.model import LogChunk
from ptsflow.stores.rules import outlived


class SharedLines:
    """The chunks that siblings share, by container, each with its mark."""

    __slots__ = ("chunks", "lock", "marks")

    def __init__(self) -> None:
        self.lock = Lock()
        self.chunks: dict[str, list[tuple[int, LogChunk]]] = {}
        self.marks = 0


class MemoryLogs:
    """Chunks of lines in lists, under one lock."""

    def __init__(self, lines: SharedLines) -> None:
        self._lines = lines

    def put(self, uid: str, chunks: Sequence[LogChunk]) -> None:
        """Add chunks; drop the chunks of attempts before the last `LEDGER_LENGTH`."""
        lines = self._lines
        dropped = outlived(chunks)
        with lines.lock:
            marked = lines.chunks.get(uid, [])
            for chunk in chunks:
                lines.marks += 1
                marked.append((lines.marks, chunk))
            lines.chunks[uid] = [
                (mark, chunk)
                for mark, chunk in marked
                if chunk.task not in dropped or chunk.attempt > dropped[chunk.task]
            ]

    def trim(self, uid: str, task: str, attempt: int, first: int, last: int) -> None:
        """Drop the chunks of an attempt whose numbers are `first` to `last`."""
        with self._lines.lock:
            self._lines.chunks[uid] = [
                (mark, chunk)
                for mark, chunk in self._lines.chunks.get(uid, ())
                if (chunk.task, chunk.attempt) != (task, attempt)
                or not first <= chunk.number <= last
            ]

    def read(
        self,
        uid: str,
        *,
        task: str | None = None,
        attempt: int | None = None,
        after: str | None = None,
        newest: int | None = None,
    ) -> tuple[list[LogChunk], str | None]:
        """Return chunks in the order in which they were put, and a mark of the last."""
        since = int(after) if after and after.isdecimal() else 0
        with self._lines.lock:
            found = [
                (mark, chunk)
                for mark, chunk in self._lines.chunks.get(uid, ())
                if mark > since
                and task in (None, chunk.task)
                and attempt in (None, chunk.attempt)
            ]
        if newest is not None:
            found = found[max(0, len(found) - newest) :]
        chunks = [chunk for _, chunk in found]
        return chunks, str(found[-1][0]) if found else after

    def forget(self, uid: str) -> None:
        """Drop all chunks of a container."""
        with self._lines.lock:
            self._lines.chunks.pop(uid, None)

    def close(self) -> None:
        """Do nothing: the lines live as long as a store that shares them."""
