"""Streams to write to that never raise, and one that never blocks either.

That output cannot be written (the disk is full, the reader is gone or does not read) is
no failure of what wrote it.
"""

from __future__ import annotations

import codecs
import contextlib
import errno
import io
import os
import select
import threading
from collections import deque
from typing import TextIO

#: How much may wait in an `Outlet`, in characters; more is dropped and counted.
LIMIT = 1 << 20
#: How long `Outlet.finish` waits although nothing is read, in seconds.
_LONGEST_WAIT = 5.0
#: How much is written at a time, so that a slow reader is told from one that is stuck.
_CHUNK = 4096
#: Errors after which a descriptor can never be written again.
_GONE = frozenset({errno.EPIPE, errno.EBADF, errno.EIO, errno.ECONNRESET})


def is_unicode(encoding: str | None) -> bool:
    """Whether an encoding has all characters; an unknown one has not."""
    with contextlib.suppress(LookupError):
        return codecs.lookup(encoding or "ascii").name.startswith("utf")
    return False


def is_drawable(stream: TextIO | Outlet) -> bool:
    """Whether the stream is a terminal on which a live screen can be drawn."""
    drawable = os.environ.get("TERM", "dumb") not in ("", "dumb", "unknown")
    return drawable and stream.isatty()


class Bytes(io.BufferedIOBase):
    """Writes bytes to a stream of text.

    Args:
        stream: the stream.
    """

    def __init__(self, stream: io.TextIOBase) -> None:
        self._stream = stream

    def writable(self) -> bool:
        """It is written to."""
        return True

    def write(self, data: bytes, /) -> int:  # type: ignore[override] # any buffer
        """Write bytes; those that are not UTF-8 are escaped."""
        raw = bytes(data)
        self._stream.write(raw.decode(errors="backslashreplace"))
        return len(raw)


class Direct(io.TextIOBase):
    """Writes to a descriptor at once; what cannot be written is dropped.

    Args:
        descriptor: where to write; it may be non-blocking.
        encoding: the encoding; characters that it lacks are escaped.
    """

    def __init__(self, descriptor: int, encoding: str) -> None:
        self._descriptor = descriptor
        self._encoding = encoding
        #: Why something could not be written; None if all was.
        self.problem: OSError | None = None
        #: Whether nothing can be written any more.
        self.is_gone = False

    @property
    def encoding(self) -> str:  # type: ignore[override] # read-only here
        """The encoding of the text that is written."""
        return self._encoding

    @property
    def buffer(self) -> io.BufferedIOBase:
        """A stream of bytes to the same place."""
        return Bytes(self)

    def fileno(self) -> int:
        """Return the descriptor."""
        return self._descriptor

    def isatty(self) -> bool:
        """Whether it is a terminal."""
        return os.isatty(self._descriptor)

    def writable(self) -> bool:
        """It is written to."""
        return True

    def write(self, text: str, /) -> int:
        """Write text, or drop it."""
        if not self.is_gone:
            try:
                self._write_all(text.encode(self._encoding, "backslashreplace"))
            except OSError as error:
                self.problem = error
                self.is_gone = error.errno in _GONE
        return len(text)

    def _write_all(self, data: bytes) -> None:
        left = memoryview(data)
        while left:
            try:
                left = left[os.write(self._descriptor, left) :]
            except BlockingIOError:
                select.select([], [self._descriptor], [])


class Outlet(io.TextIOBase):
    """Writes to a stream in a thread of its own: who writes here never waits.

    A reader that does not read would otherwise stop the runner in the middle of a turn,
    deaf to signals.

    Args:
        stream: where to write.
    """

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream
        # Reentrant: a finalizer may print in a thread that holds this lock.
        self._changed = threading.Condition(threading.RLock())
        self._waiting: deque[str] = deque()
        #: How many characters wait, also of the text that is being written.
        self._size = 0
        self._limit = LIMIT
        self._dropped = 0
        self._thread: threading.Thread | None = None
        self._is_over = False
        self._pid = os.getpid()

    @property
    def encoding(self) -> str:  # type: ignore[override] # read-only here
        """The encoding of the stream."""
        return self.stream.encoding or "ascii"

    @property
    def is_behind(self) -> bool:
        """Whether something waits to be written."""
        return self._size > 0

    def fileno(self) -> int:
        """Return the descriptor of the stream."""
        return self.stream.fileno()

    def isatty(self) -> bool:
        """Whether the stream is a terminal."""
        return self.stream.isatty()

    def writable(self) -> bool:
        """It is written to."""
        return True

    def write(self, text: str, /) -> int:
        """Have text written; if too much waits already, it is dropped and counted."""
        if os.getpid() != self._pid:  # A process that a body forked has no thread here.
            self._put(text)
            return len(text)
        with self._changed:
            if self._size + len(text) > self._limit:
                self.drop(text.count("\n"))
            elif text:
                self._waiting.append(text)
                self._size += len(text)
                self._changed.notify_all()
                if self._thread is None:
                    self._begin()
        return len(text)

    def drop(self, count: int) -> None:
        """Count lines that were left out."""
        with self._changed:
            self._dropped += count

    def make_room(self) -> None:
        """Let twice as much wait from now on, so that the end of a run is not dropped."""
        with self._changed:
            self._limit = 2 * self._limit

    def finish(self) -> None:
        """Wait until all is written, or for five seconds in which nothing was."""
        with self._changed:
            while self._size:
                before = self._size
                self._changed.wait_for(lambda: self._size < before, _LONGEST_WAIT)  # noqa: B023 - asked within this turn alone
                if self._size >= before:
                    return
        if self._dropped:
            self._put(self._told())

    def end(self) -> None:
        """Finish, and let the thread end: nothing more is written."""
        self.finish()
        with self._changed:
            self._is_over = True
            self._changed.notify_all()

    def _begin(self) -> None:
        thread = threading.Thread(target=self._serve, name="ptsflow-out", daemon=True)
        # Without a free thread the next text tries again.
        with contextlib.suppress(RuntimeError):
            thread.start()
            self._thread = thread

    def _serve(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._is_over)
                if not self._waiting:
                    return
                text = "".join(self._waiting)
                self._waiting.clear()
            for start in range(0, len(text), _CHUNK):
                chunk = text[start : start + _CHUNK]
                self._put(chunk)
                with self._changed:
                    self._size -= len(chunk)
                    self._changed.notify_all()
            if self._dropped:
                self._put(self._told())

    def _put(self, text: str) -> None:
        with contextlib.suppress(OSError, ValueError):
            self.stream.write(text)
            self.stream.flush()

    def _told(self) -> str:
        with self._changed:
            count, self._dropped = self._dropped, 0
        return f"ptsflow: {count} lines were not shown: they were not read in time\n"
