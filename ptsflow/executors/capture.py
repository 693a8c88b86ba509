"""Keeps what bodies in this process print and log, and passes it on as before.

`installed` wraps `sys.stdout` and `sys.stderr` and hooks into all loggers; `around` names
the attempt whose body runs. The attempt is known in `asyncio` tasks and in
`asyncio.to_thread`, but not in threads that a body starts by itself.
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

#: How much is kept of each end of a line that is still without a newline, in characters
#: or bytes.
_END_KEPT = 16_384

_current: ContextVar[Capture | None] = ContextVar("ptsflow_current", default=None)
#: Whether a log handler runs: its record was kept, so what it prints is not kept again.
_in_log_handler: ContextVar[bool] = ContextVar("ptsflow_in_log_handler", default=False)

# A process that a body forks has no reporter, and may have inherited a held lock.
os.register_at_fork(after_in_child=lambda: _current.set(None))


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


def printed(text: str, at: int) -> LogLine:
    """Return a printed line as a terminal shows it: after its last carriage return."""
    return LogLine(at, "", text.rstrip("\r").rpartition("\r")[2])


def lines_of(record: logging.LogRecord) -> list[LogLine]:
    """Return a record's message and traceback as lines; never raises."""
    from logging import Formatter  # noqa: PLC0415 - loaded already, as there is a record

    try:
        text = record.getMessage()
    except Exception:  # noqa: BLE001 - users' arguments; `logging` reports the error
        text = record.msg if isinstance(record.msg, str) else "a message"
        text += " (its arguments do not fit)"
    # The text stays out of `record.exc_text`: handlers may format it in their own way.
    if record.exc_info and record.exc_info[0] is not None:
        text += "\n" + Formatter().formatException(record.exc_info)
    elif record.exc_text:
        text += "\n" + record.exc_text
    if record.stack_info:
        text += "\n" + record.stack_info
    at = int(record.created * 1000)
    return [LogLine(at, record.levelname, line) for line in text.split("\n")]


def in_log_handler() -> bool:
    """Return whether a log handler runs here, of which the record was kept already."""
    return _in_log_handler.get()


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


class LogHook:
    """Calls a function with every log record, before the handlers of its logger.

    This is no handler, because `logging.basicConfig` does nothing if there is a handler,
    and `logging.lastResort` prints only if there is none. If `logging` is not imported
    yet, the hook is installed at its import.

    Args:
        keep: the function.
    """

    def __init__(self, keep: Callable[[logging.LogRecord], None]) -> None:
        self._keep = keep
        self._is_live = False
        self._undo: Callable[[], None] | None = None

    def begin(self) -> None:
        """Call the function from now on."""
        self._is_live = True
        if "logging" in sys.modules:
            self._install()
        else:
            sys.meta_path.insert(0, self)

    def end(self) -> None:
        """Call the function no more, and restore `logging` as it was."""
        self._is_live = False
        with contextlib.suppress(ValueError):
            sys.meta_path.remove(self)
        if self._undo is not None:
            self._undo()

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: Any = None
    ) -> ModuleSpec | None:
        """Wait, as an entry of `sys.meta_path`, for the import of `logging`."""
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
        import logging  # noqa: PLC0415 - loaded already

        usual = logging.Logger.callHandlers
        task = logging.getLogger("ptsflow.task")
        is_quiet = task.level == logging.NOTSET and (
            task.getEffectiveLevel() > logging.INFO
        )

        def call_handlers(logger: logging.Logger, record: logging.LogRecord) -> None:
            # A later hook of somebody else may call this one long after `end`.
            if _in_log_handler.get() or not self._is_live:
                usual(logger, record)
                return
            token = _in_log_handler.set(True)
            try:
                self._keep(record)
                # The level was lowered to INFO to keep such records. Handlers must not
                # see them.
                if is_quiet and logger is task and record.levelno < _level_above(task):
                    return
                usual(logger, record)
            finally:
                _in_log_handler.reset(token)

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


class Capture:
    """A context in which what is printed and logged belongs to one attempt."""

    __slots__ = ("_handle", "_is_over", "_lock", "_splitters", "_token")

    def __init__(self, handle: TaskHandle) -> None:
        self._handle = handle
        self._is_over = False
        # Reentrant: a finalizer may print while its thread holds the lock.
        self._lock = threading.RLock()
        #: The lines of each stream, as parts of two streams are not parts of one line.
        self._splitters: dict[StreamWrapper, Splitter[str]] = {}

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
            rest = [text for each in self._splitters.values() for text in each.end()]
            self._keep_printed(rest)

    def write(self, stream: StreamWrapper, text: str) -> None:
        """Keep what was written to a stream."""
        with self._lock:
            # An `asyncio` task of the body may still write after the attempt is over.
            if not self._is_over:
                if stream not in self._splitters:
                    self._splitters[stream] = Splitter("\n")
                self._keep_printed(self._splitters[stream].feed(text))

    def log(self, record: logging.LogRecord) -> None:
        """Keep a log record."""
        with self._lock:
            if not self._is_over:
                self._handle.reporter.logged(self._handle.name, lines_of(record))

    def _keep_printed(self, texts: list[str]) -> None:
        if texts:
            at = system_clock()
            lines = [printed(text, at) for text in texts]
            self._handle.reporter.logged(self._handle.name, lines)


def around(handle: TaskHandle) -> Capture:
    """Return a context in which what is printed and logged is kept for an attempt."""
    return Capture(handle)


def _keep(record: logging.LogRecord) -> None:
    capture = _current.get()
    if capture is not None:
        capture.log(record)


class _Tee(StreamWrapper):
    """A stream that also keeps the texts for the attempt that writes them."""

    is_live = True

    def write(self, text: str) -> int:
        count = super().write(text)
        capture = _current.get()
        if capture is not None and self.is_live and not _in_log_handler.get():
            capture.write(self, text)
        return count


class _Installation:
    """The wrapped streams and the log hook, shared by all runs in this process."""

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
    """Keep what bodies print and log in this context; several runs may be in it at once."""
    _installation.enter()
    try:
        yield
    finally:
        _installation.leave()
