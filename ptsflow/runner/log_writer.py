"""The log writer of a run: a thread that writes the lines of bodies to the store."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Sequence

from ptsflow.core.log_window import Window
from ptsflow.core.model import LogLine
from ptsflow.stores.base import LogStore

#: How many bytes of lines may wait to be written, of all attempts together.
_MAX_PENDING = 8 * 1024 * 1024
#: How often lines are written, in seconds.
_WRITE_EVERY = 0.25
#: How long the log writer waits after the store refused lines, in seconds.
_PAUSE_AFTER_REFUSAL = 5.0
#: How long the end of a run waits until the last lines are written, in seconds.
_LONGEST_END = 5.0


class LogWriter:
    """Writes lines to the store, in a thread that begins with the first line.

    Lines are not part of a task's state: if the store is away, lines are left out and
    the run goes on.

    Args:
        open: opens the connection; called in the thread of the log writer.
        uid: the container's uid.
        notice: told once, in one line, that lines are lost.
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
        # Reentrant: a finalizer may print in a thread that holds this lock.
        self._lock = threading.RLock()
        #: The window of the last attempt of each task.
        self._windows: dict[str, Window] = {}
        #: The windows that have lines to write, by task and attempt.
        self._waiting: dict[tuple[str, int], Window] = {}
        #: How many bytes of lines wait to be written.
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
            if self._pending < _MAX_PENDING:
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
        """Write the remaining lines, as far as the store takes them within 5 seconds."""
        with self._lock:
            self._is_ending.set()
            self._has_lines.set()
        if self._thread is not None:
            self._thread.join(timeout=_LONGEST_END)

    def _begin(self) -> None:
        thread = threading.Thread(target=self._serve, name="ptsflow-logs", daemon=True)
        # Without a free thread the next line tries again.
        with contextlib.suppress(RuntimeError):
            thread.start()
            self._thread = thread

    def _serve(self) -> None:
        while not self._is_ending.is_set():
            self._has_lines.wait()
            # Let more lines come in, to write them together.
            self._is_ending.wait(_WRITE_EVERY)
            if not self._write():
                self._is_ending.wait(_PAUSE_AFTER_REFUSAL)
        self._write()
        self._close()

    def _write(self) -> bool:
        """Write the waiting lines; return whether the store took them."""
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
