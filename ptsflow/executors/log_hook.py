"""Hears every log record, whatever handlers there are."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Sequence
from contextvars import ContextVar
from importlib.machinery import ModuleSpec
from typing import TYPE_CHECKING, Any

from ptsflow.core.model import LogLine

if TYPE_CHECKING:
    import logging

#: The logger of `task.log`.
TASK_LOGGER = "ptsflow.task"
#: `logging.INFO`, without importing `logging`.
_INFO = 20
#: Whether a log handler runs: its record was kept, so what it prints is not kept again.
_in_log_handler: ContextVar[bool] = ContextVar("ptsflow_in_log_handler", default=False)


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


def conceal(record: logging.LogRecord, hide: Callable[[str], str]) -> None:
    """Take secrets out of a record, before any handler sees it."""
    from logging import Formatter  # noqa: PLC0415 - loaded already, as there is a record

    with contextlib.suppress(Exception):  # users' arguments: `lines_of` copes with them
        record.msg, record.args = record.getMessage(), None
    record.msg = hide(str(record.msg))
    if record.exc_info and record.exc_info[0] is not None:
        record.exc_text = Formatter().formatException(record.exc_info)
    record.exc_info = None
    record.exc_text = hide(record.exc_text) if record.exc_text else None
    record.stack_info = hide(record.stack_info) if record.stack_info else None


def in_log_handler() -> bool:
    """Return whether a log handler runs here, of which the record was kept already."""
    return _in_log_handler.get()


class LogHook:
    """Calls a function with every log record, before the handlers of its logger.

    This is no handler, because `logging.basicConfig` does nothing if there is a handler,
    and `logging.lastResort` prints only if there is none. If `logging` is not imported
    yet, the hook is installed at its import.

    Records from INFO on are kept, also if their logger is too quiet for them; its
    handlers do not see those.

    Args:
        keep: the function.
        is_heard: whether a body runs here.
    """

    def __init__(
        self,
        keep: Callable[[logging.LogRecord], None],
        is_heard: Callable[[], bool] = lambda: True,
    ) -> None:
        self._keep = keep
        self._is_heard = is_heard
        self._is_live = False
        #: Name of a method of `logging.Logger` -> the usual one, and the one put over it.
        self._hooks: dict[str, tuple[Any, Any]] = {}

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
            if self._is_live and not self._hooks:
                self._install()

        loader.exec_module = load_and_install

    def _install(self) -> None:
        import logging  # noqa: PLC0415 - loaded already

        kind = logging.Logger
        is_enabled, handle, call = kind.isEnabledFor, kind.handle, kind.callHandlers

        def is_enabled_for(logger: logging.Logger, level: int) -> bool:
            return is_enabled(logger, level) or (
                self._wants(level) and _keeps(logger, level)
            )

        def handle_if_enabled(
            logger: logging.Logger, record: logging.LogRecord
        ) -> None:
            if is_enabled(logger, record.levelno) or not self._wants(record.levelno):
                handle(logger, record)
                return
            # Handlers must not see it, as they would not without this hook.
            passed: Any = logger.filter(record)
            if passed:
                self._keep(record if passed is True else passed)

        def call_handlers(logger: logging.Logger, record: logging.LogRecord) -> None:
            # A later hook of somebody else may call this one long after `end`.
            if _in_log_handler.get() or not self._is_live:
                call(logger, record)
                return
            token = _in_log_handler.set(True)
            try:
                self._keep(record)
                call(logger, record)
            finally:
                _in_log_handler.reset(token)

        self._hooks = {
            "isEnabledFor": (is_enabled, is_enabled_for),
            "handle": (handle, handle_if_enabled),
            "callHandlers": (call, call_handlers),
        }
        for name, (_, hook) in self._hooks.items():
            setattr(kind, name, hook)

    def _undo(self) -> None:
        """Restore `logging`, except where somebody else has put a hook over this one."""
        for name, (usual, hook) in self._hooks.items():
            kind = sys.modules["logging"].Logger
            if getattr(kind, name) is hook:
                setattr(kind, name, usual)

    def _wants(self, level: int) -> bool:
        """Whether a record is kept here although its logger may be too quiet for it."""
        return (
            level >= _INFO
            and self._is_live
            and self._is_heard()
            and not _in_log_handler.get()
        )


def _keeps(logger: logging.Logger, level: int) -> bool:
    """Whether records of a level are kept of a logger that would drop them.

    That `dictConfig` disabled the logger does not matter, nor what the level of the root
    logger is; a level that was set for this logger does.
    """
    if logger.name != TASK_LOGGER and level <= logger.manager.disable:
        return False
    asked: logging.Logger | None = logger
    while asked is not None and asked.parent is not None:
        if asked.level:
            return level >= asked.level
        asked = asked.parent
    return True
