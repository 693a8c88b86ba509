"""Keeps what bodies in this process print and log, and passes it on.

`installed` wraps `sys.stdout` and `sys.stderr` and hooks into all loggers; `Capture` names
the attempt whose body runs. The attempt is known in `asyncio` tasks and in
`asyncio.to_thread`, but not in threads that a body starts by itself.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from collections.abc import Iterable, Iterator
from contextvars import ContextVar, Token
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from ptsflow.core.lines import Splitter
from ptsflow.core.model import LogLine
from ptsflow.core.progress_bars import Bar, BarReader, is_redrawn
from ptsflow.executors.log_hook import LogHook, conceal, in_log_handler, lines_of
from ptsflow.host.clock import system_clock
from ptsflow.workflow.handle import Reporter, TaskHandle

if TYPE_CHECKING:
    import logging

#: `threading.RLock` is a function of Python, and this is called for each attempt.
_Lock = type(threading.RLock())
_current: ContextVar[Capture | None] = ContextVar("ptsflow_current", default=None)
# A process that a body forks has no reporter, and may have inherited a held lock.
os.register_at_fork(after_in_child=lambda: _current.set(None))


def printed(text: str, at: int) -> LogLine:
    """Return a printed line as a terminal shows it: after its last carriage return."""
    return LogLine(at, "", text.rstrip("\r").rpartition("\r")[2])


class StreamWrapper:
    """Wraps a text stream; all but writing is left to the stream itself."""

    def __init__(self, stream: Any) -> None:
        self.stream = stream

    def write(self, text: str) -> int:
        """Write a text."""
        count: int = self.stream.write(text)
        return count

    def writelines(self, lines: Iterable[str]) -> None:
        """Write texts."""
        for line in lines:
            self.write(line)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Leave the stream open: it is shared by all bodies."""

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)


class Capture:
    """A context in which what is printed and logged belongs to one attempt."""

    __slots__ = ("_bars", "_handle", "_is_over", "_lock", "_splitters", "_token")

    def __init__(self, handle: TaskHandle) -> None:
        self._handle = handle
        self._is_over = False
        # Reentrant: a finalizer may print while its thread holds the lock.
        self._lock = _Lock()
        #: By stream and thread: the line that the thread has begun in the stream. Threads
        #: are kept apart, so that their lines do not mix.
        self._splitters: dict[tuple[StreamWrapper, int], Splitter[str]] = {}
        #: The progress bars that are drawn in them.
        self._bars: dict[tuple[StreamWrapper, int], BarReader] = {}

    def __enter__(self) -> None:
        self._token: Token[Capture | None] = _current.set(self)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        _current.reset(self._token)
        with self._lock:
            self._is_over = True
            for splitter in self._splitters.values():
                self._keep_printed(splitter.end())

    def write(self, stream: StreamWrapper, text: str) -> bool:
        """Keep what is written to a stream; return whether the reporter shows it too."""
        with self._lock:
            # An `asyncio` task of the body may still write after the attempt is over.
            if self._is_over:
                return False
            place = stream, threading.get_ident()
            splitter = self._splitters.setdefault(place, Splitter("\n"))
            is_within = place in self._bars
            texts = splitter.feed(text)
            self._keep_printed(
                [t for t in texts if not is_redrawn(t, is_within_a_bar=is_within)]
            )
            if "\r" in text or place in self._bars:
                self._read_bar(place, text)
            reporter = self._handle.reporter
            return any(reporter is shown for shown in _installation.showing)

    def hide(self, text: str) -> str:
        """Return a text without the values of secret parameters."""
        return self._handle.hide(text)

    def log(self, record: logging.LogRecord) -> None:
        """Keep a log record."""
        if self._handle.concealer is not None:
            conceal(record, self._handle.hide)
        with self._lock:
            if not self._is_over:
                self._handle.reporter.logged(self._handle.name, lines_of(record))

    def _read_bar(self, place: tuple[StreamWrapper, int], text: str) -> None:
        """Take a progress bar as progress."""
        reader = self._bars.setdefault(place, BarReader())
        tell_bar(self._handle, reader.feed(text))
        if not reader.is_within_a_bar:
            del self._bars[place]

    def _keep_printed(self, texts: list[str]) -> None:
        if texts:
            at = system_clock()
            lines = [printed(text, at) for text in texts]
            self._handle.reporter.logged(self._handle.name, lines)


def tell_bar(handle: TaskHandle, bar: Bar | None) -> None:
    """Report what a progress bar says, unless the body reports its progress itself."""
    if bar is None or handle.reports_progress:
        return
    handle.watch.hear()
    if bar.percentage is not None:
        handle.bar_percentage = bar.percentage
    handle.reporter.progressed(handle.name, handle.bar_percentage, bar.text)


@contextlib.contextmanager
def aside() -> Iterator[None]:
    """Keep nothing in this context: the runner acts in the thread of a body."""
    token = _current.set(None)
    try:
        yield
    finally:
        _current.reset(token)


def _is_heard() -> bool:
    return _current.get() is not None


def _keep(record: logging.LogRecord) -> None:
    capture = _current.get()
    if capture is not None:
        capture.log(record)


class _Tee(StreamWrapper):
    """Keeps the texts for the attempt that writes them, then passes them on.

    If the stream cannot be written, the body goes on: the text is kept.
    """

    is_live = True

    def write(self, text: str) -> int:
        capture = _current.get()
        shown = text
        if capture is not None and isinstance(text, str):
            shown = capture.hide(text)
        is_kept = capture is not None and self.is_live and not in_log_handler()
        if is_kept and capture is not None and isinstance(text, str):
            is_shown = capture.write(self, text)
            if is_shown:
                return len(text)
        try:
            self._pass_on(shown)
        except (OSError, ValueError):
            self._excuse()
        return len(text)

    def _pass_on(self, text: str) -> None:
        try:
            super().write(text)
        except UnicodeEncodeError:
            encoding = self.stream.encoding
            super().write(text.encode(encoding, "backslashreplace").decode(encoding))

    def flush(self) -> None:
        """Flush the stream."""
        try:
            self.stream.flush()
        except (OSError, ValueError):
            self._excuse()

    def _excuse(self) -> None:
        """Raise the error again, unless it only says that the stream takes nothing."""
        if not isinstance(sys.exc_info()[1], OSError) and not self.stream.closed:
            raise  # noqa: PLE0704 - called where an error is handled


class _Installation:
    """The wrapped streams and the log hook, shared by all runs in this process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._users = 0
        self._tees: dict[str, _Tee] = {}
        #: What the streams were before.
        self._before: dict[str, Any] = {}
        self._hook = LogHook(_keep, _is_heard)
        #: The reporters that show lines, so that streams do not.
        self.showing: list[Reporter] = []

    def enter(self, reporter: Reporter | None) -> None:
        with self._lock:
            self._users += 1
            if reporter is not None:
                self.showing.append(reporter)
            if self._users > 1:
                return
            for name in ("stdout", "stderr"):
                self._before[name] = stream = getattr(sys, name)
                if stream is None:  # The process was started without it.
                    stream = open(os.devnull, "w")  # noqa: PTH123, SIM115 - see `leave`
                self._tees[name] = _Tee(stream)
                setattr(sys, name, self._tees[name])
            self._hook = LogHook(_keep, _is_heard)
            self._hook.begin()

    def leave(self, reporter: Reporter | None) -> None:
        with self._lock:
            self._users -= 1
            if reporter is not None:
                self.showing.remove(reporter)
            if self._users > 0:
                return
            self._hook.end()
            for name, tee in self._tees.items():
                tee.is_live = False
                before = self._before.pop(name)
                if getattr(sys, name) is tee:
                    setattr(sys, name, before)
                if before is None:
                    tee.stream.close()
            self._tees.clear()


_installation = _Installation()


@contextlib.contextmanager
def installed(shows_lines: Reporter | None = None) -> Iterator[None]:
    """Keep what bodies print and log in this context; several runs may be in it at once.

    Args:
        shows_lines: a reporter that shows what it is given, so that what its bodies
            print is not passed on to the streams.
    """
    _installation.enter(shows_lines)
    try:
        yield
    finally:
        _installation.leave(shows_lines)
