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


def in_log_handler() -> bool:
    """Return whether a log handler runs here, of which the record was kept already."""
    return _in_log_handler.get()


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
