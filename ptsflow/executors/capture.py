"""Catches what bodies in this process print and log, and passes it on as before.

`installed` puts itself before `sys.stdout`, `sys.stderr` and the handlers of all loggers;
`around` says whose body it is that runs. The context does not follow into threads that
a body starts by itself, but into `asyncio` tasks and `asyncio.to_thread`.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextvars import ContextVar, Token
from importlib.machinery import ModuleSpec
from types import TracebackType
from typing import TYPE_CHECKING, Any, AnyStr, Generic, Self

from ptsflow.core.model import LogLine
from ptsflow.host.clock import system_clock
from ptsflow.workflow.handle import TaskHandle

if TYPE_CHECKING:
    import logging

#: Of a line that does not end, so much of both ends is kept, in characters or bytes.
_END = 16_384

_current: ContextVar[Attempt | None] = ContextVar("ptsflow_current", default=None)
#: Whether a record is being handled: what handlers print of it is known already.
_is_handled: ContextVar[bool] = ContextVar("ptsflow_is_handled", default=False)

# A process that a body forks has no reporter, and perhaps a lock that nobody gives back.
os.register_at_fork(after_in_child=lambda: _current.set(None))


class Splitter(Generic[AnyStr]):
    """Makes lines of what is printed piece by piece.

    Args:
        newline: what ends a line.
    """

    def __init__(self, newline: AnyStr) -> None:
        self._newline: AnyStr = newline
        self._rest: AnyStr = newline[:0]

    @property
    def is_within_a_line(self) -> bool:
        """Whether the last line has no end yet."""
        return bool(self._rest)

    def feed(self, part: AnyStr) -> list[AnyStr]:
        """Return the lines that end in this part, without their ends."""
        lines: list[AnyStr] = (self._rest + part).split(self._newline)
        rest = lines.pop()
        if len(rest) > 2 * _END:
            rest = rest[:_END] + rest[-_END:]
        self._rest = rest
        return lines

    def end(self) -> list[AnyStr]:
        """Return the last line, if it has no end."""
        rest, self._rest = self._rest, self._newline[:0]
        return [rest] if rest else []


def printed(text: str, at: int) -> LogLine:
    """Return a printed line as a terminal shows it: after a return it begins anew."""
    return LogLine(at, "", text.rstrip("\r").rpartition("\r")[2])


def lines_of(record: logging.LogRecord) -> list[LogLine]:
    """Return a record's message and traceback as lines; never raises."""
    from logging import Formatter  # noqa: PLC0415 - whoever has a record has loaded it

    try:
        text = record.getMessage()
    except Exception:  # noqa: BLE001 - what is formatted is a user's; logging tells of it
        text = record.msg if isinstance(record.msg, str) else "a message"
        text += " (its arguments do not fit)"
    # Not kept in the record: its handlers may format it in their own way.
    if record.exc_info and record.exc_info[0] is not None:
        text += "\n" + Formatter().formatException(record.exc_info)
    elif record.exc_text:
        text += "\n" + record.exc_text
    if record.stack_info:
        text += "\n" + record.stack_info
    at = int(record.created * 1000)
    return [LogLine(at, record.levelname, line) for line in text.split("\n")]


def is_handled() -> bool:
    """Whether what is printed here is a record's that was kept already."""
    return _is_handled.get()


class Outlet:
    """Stands for a stream that is written to; all but writing is the stream's own."""

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
        """Leave it open: it is not one body's alone."""

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)


class LogHook:
    """Shows every record that a logger lets through to a function, then to its handlers.

    It is no handler: `logging.basicConfig` does nothing where there is one, and
    `logging.lastResort` prints only where there is none. Where `logging` is not loaded
    yet, it waits until it is.
    """

    def __init__(self, keep: Callable[[logging.LogRecord], None]) -> None:
        self._keep = keep
        self._is_live = False
        self._undo: Callable[[], None] | None = None

    def begin(self) -> None:
        """See records from now on."""
        self._is_live = True
        if "logging" in sys.modules:
            self._install()
        else:
            sys.meta_path.insert(0, self)

    def end(self) -> None:
        """See no more, and leave no trace."""
        self._is_live = False
        with contextlib.suppress(ValueError):
            sys.meta_path.remove(self)
        if self._undo is not None:
            self._undo()

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: Any = None
    ) -> ModuleSpec | None:
        """Notice, as part of `sys.meta_path`, that `logging` is being loaded."""
        if name != "logging" or not self._is_live:
            return None
        with contextlib.suppress(ValueError):
            sys.meta_path.remove(self)
        for finder in sys.meta_path:
            spec = finder.find_spec(name, path, target)
            if spec is not None and spec.loader is not None:
                self._await_loading(spec.loader)
                return spec
        return None

    def _await_loading(self, loader: Any) -> None:
        load = loader.exec_module

        def load_and_install(module: object) -> None:
            load(module)
            if self._is_live and self._undo is None:
                self._install()

        loader.exec_module = load_and_install

    def _install(self) -> None:
        import logging  # noqa: PLC0415 - it is being used

        usual = logging.Logger.callHandlers
        task = logging.getLogger("ptsflow.task")
        is_quiet = task.level == logging.NOTSET and (
            task.getEffectiveLevel() > logging.INFO
        )

        def call_handlers(logger: logging.Logger, record: logging.LogRecord) -> None:
            # Whoever hooked himself in later may keep this one in place for ever.
            if _is_handled.get() or not self._is_live:
                usual(logger, record)
                return
            token = _is_handled.set(True)
            try:
                self._keep(record)
                # Kept, though the usual level of it would not have let it through.
                if is_quiet and logger is task and record.levelno < _level_above(task):
                    return
                usual(logger, record)
            finally:
                _is_handled.reset(token)

        def undo() -> None:
            if logging.Logger.callHandlers is call_handlers:
                logging.Logger.callHandlers = usual  # type: ignore[method-assign]
            if is_quiet and task.level == logging.INFO:
                task.setLevel(logging.NOTSET)

        logging.Logger.callHandlers = call_handlers  # type: ignore[assignment, method-assign]
        if is_quiet:
            task.setLevel(logging.INFO)
        self._undo = undo


def _level_above(logger: logging.Logger) -> int:
    return 0 if logger.parent is None else logger.parent.getEffectiveLevel()


class Attempt:
    """A context in which what is printed and logged is one attempt's."""

    __slots__ = ("_handle", "_is_over", "_lock", "_parts", "_token")

    def __init__(self, handle: TaskHandle) -> None:
        self._handle = handle
        self._is_over = False
        # A finalizer may print while its thread is in here: it must get in again.
        self._lock = threading.RLock()
        #: By the stream, as their pieces are not of one line.
        self._parts: dict[Outlet, Splitter[str]] = {}

    def __enter__(self) -> None:
        self._token: Token[Attempt | None] = _current.set(self)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        _current.reset(self._token)
        with self._lock:
            self._is_over = True
            rest = [text for part in self._parts.values() for text in part.end()]
            self._keep_printed(rest)

    def write(self, stream: Outlet, text: str) -> None:
        """Take in what was written to a stream."""
        with self._lock:
            # Not what an `asyncio` task writes that outlived it.
            if not self._is_over:
                if stream not in self._parts:
                    self._parts[stream] = Splitter("\n")
                self._keep_printed(self._parts[stream].feed(text))

    def log(self, record: logging.LogRecord) -> None:
        """Take in a record."""
        with self._lock:
            if not self._is_over:
                self._handle.reporter.logged(self._handle.name, lines_of(record))

    def _keep_printed(self, texts: list[str]) -> None:
        if texts:
            at = system_clock()
            lines = [printed(text, at) for text in texts]
            self._handle.reporter.logged(self._handle.name, lines)


def around(handle: TaskHandle) -> Attempt:
    """Return a context in which what is printed and logged is kept for an attempt."""
    return Attempt(handle)


def _keep(record: logging.LogRecord) -> None:
    attempt = _current.get()
    if attempt is not None:
        attempt.log(record)


class _Tee(Outlet):
    """A stream whose texts are also kept for the attempt that writes them."""

    is_live = True

    def write(self, text: str) -> int:
        count = super().write(text)
        attempt = _current.get()
        if attempt is not None and self.is_live and not _is_handled.get():
            attempt.write(self, text)
        return count


class _Installation:
    """What stands before the streams and handlers of this process, for all runs in it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._users = 0
        self._tees: dict[str, _Tee] = {}
        self._hook = LogHook(_keep)

    def enter(self) -> None:
        with self._lock:
            self._users += 1
            if self._users > 1:
                return
            for name in ("stdout", "stderr"):
                stream = getattr(sys, name)
                if stream is not None:
                    self._tees[name] = _Tee(stream)
                    setattr(sys, name, self._tees[name])
            self._hook = LogHook(_keep)
            self._hook.begin()

    def leave(self) -> None:
        with self._lock:
            self._users -= 1
            if self._users > 0:
                return
            self._hook.end()
            for name, tee in self._tees.items():
                tee.is_live = False
                if getattr(sys, name) is tee:
                    setattr(sys, name, tee.stream)
            self._tees.clear()


_installation = _Installation()


@contextlib.contextmanager
def installed() -> Iterator[None]:
    """Catch what bodies print and log while this lasts; runs side by side share it."""
    _installation.enter()
    try:
        yield
    finally:
        _installation.leave()
