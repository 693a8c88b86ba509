"""A store of lines in a list, and lines as short as a test wants to say them."""

from __future__ import annotations

import threading
from collections.abc import Sequence

from ptsflow.core.log_window import LINE_LIMIT, merged
from ptsflow.core.model import LogChunk, LogLine
from ptsflow.errors import StoreUnavailable

#: More than the lines of a body that may be kept: the rest of a chunk, and of a line.
SLACK = 16 * 1024 + 4 * LINE_LIMIT + 100


class Kept:
    """A `LogStore` in a list; refuses everything while it is away."""

    def __init__(self) -> None:
        self.chunks: list[LogChunk] = []
        self.puts = 0
        self.is_away = False
        self.closed = 0
        self.gate = threading.Event()
        self.gate.set()

    def put(self, uid: str, chunks: Sequence[LogChunk]) -> None:
        assert uid == "uid"
        self.gate.wait(20)
        if self.is_away:
            raise StoreUnavailable("the store is away\nfor long")
        self.puts += 1
        self.chunks.extend(chunks)

    def trim(self, uid: str, task: str, attempt: int, first: int, last: int) -> None:
        assert uid == "uid"
        self.chunks = [
            chunk
            for chunk in self.chunks
            if (chunk.task, chunk.attempt) != (task, attempt)
            or not first <= chunk.number <= last
        ]

    def read(
        self,
        uid: str,  # noqa: ARG002 - a LogStore's
        *,
        task: str | None = None,
        attempt: int | None = None,
        after: str | None = None,
        newest: int | None = None,
    ) -> tuple[list[LogChunk], str | None]:
        found = [
            chunk
            for chunk in self.chunks
            if task in (None, chunk.task) and attempt in (None, chunk.attempt)
        ]
        end, found = str(len(found)), found[int(after or 0) :]
        return found if newest is None else found[max(0, len(found) - newest) :], end

    def forget(self, uid: str) -> None:
        raise NotImplementedError

    def close(self) -> None:
        self.closed += 1


def lines_of(*texts: str, at: int = 0, level: str = "") -> list[LogLine]:
    return [LogLine(at, level, text) for text in texts]


def texts_of(chunks: Sequence[LogChunk]) -> list[str]:
    return [line.text for _, _, line in merged(chunks)]


def weight(lines: Sequence[LogLine]) -> int:
    return sum(16 + len(line.text.encode()) for line in lines)
