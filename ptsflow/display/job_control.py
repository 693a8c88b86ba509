"""Ctrl-Z, `fg` and `bg`: who may draw on the terminal, and what is left when stopped."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any


def is_in_foreground(terminal: int) -> bool:
    """Whether this process may draw on the terminal; a shell may use it just now."""
    try:
        return os.tcgetpgrp(terminal) == os.getpgrp()
    except OSError:  # It is not this session's terminal.
        return True


class StopKey:
    """Lets a screen leave the terminal before SIGTSTP (Ctrl-Z) stops this process.

    The handler runs in the main thread, which may hold a lock that the screen needs. So
    it asks the screen's own thread to leave, which then sends the signal again.

    Args:
        ask: asks the screen to leave and then to call `stop`; False if it is gone.
    """

    def __init__(self, ask: Callable[[], bool]) -> None:
        self._ask = ask
        self._pid = os.getpid()
        self._before: Any = None
        self._is_left = False
        if threading.current_thread() is threading.main_thread():
            # An ignored one stays ignored: the shell has no job control.
            before = signal.getsignal(signal.SIGTSTP)
            if before is signal.SIG_DFL:
                self._before = before
                signal.signal(signal.SIGTSTP, self._handle)

    @property
    def is_stopping(self) -> bool:
        """Whether the screen has left, and this process is about to be stopped."""
        return self._is_left

    def stop(self) -> None:
        """Have this process stopped, now that the screen has left the terminal."""
        self._is_left = True
        os.kill(os.getpid(), signal.SIGTSTP)

    def end(self) -> None:
        """Handle the signal no more; does nothing outside of the main thread."""
        if self._before is not None:
            with contextlib.suppress(ValueError):
                signal.signal(signal.SIGTSTP, self._before)
                self._before = None

    def _handle(self, number: int, _frame: FrameType | None) -> None:
        is_own = os.getpid() == self._pid  # and not a process that a body forked
        if is_own and not self._is_left and self._ask():
            return
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)
        # Here this process goes on.
        if is_own and self._before is not None:
            signal.signal(number, self._handle)
        self._is_left = False
