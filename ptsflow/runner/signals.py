"""SIGINT, SIGTERM and SIGHUP while a run lasts, and in the processes that bodies fork."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from types import FrameType
from typing import Any

from ptsflow.executors import fork_guard

#: Whether a run of this process handles these signals.
_is_handled = threading.Event()


@contextlib.contextmanager
def handled(note: Callable[[int], None]) -> Iterator[None]:
    """Call `note` with the number of each SIGINT, SIGTERM and SIGHUP while this lasts.

    SIGHUP, which a terminal sends when it is closed, stays ignored if it was ignored
    (nohup).
    Python handles signals in the main thread only: in another thread nothing changes.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def handle(number: int, _frame: FrameType | None) -> None:
        note(number)

    numbers = [signal.SIGINT, signal.SIGTERM]
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        numbers.append(signal.SIGHUP)
    before = {number: signal.signal(number, handle) for number in numbers}
    _is_handled.set()
    try:
        yield
    finally:
        _is_handled.clear()
        _restore(before)


@contextlib.contextmanager
def postponed(notice: Callable[[str], None], what: str) -> Iterator[None]:
    """Have a SIGTERM or SIGHUP take effect when this is over; a second one does at once.

    In another thread than the main one nothing changes.

    Args:
        notice: told in one line that a signal came.
        what: what is still to be done.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came: list[int] = []

    def handle(number: int, _frame: FrameType | None) -> None:
        came.append(number)
        _restore(before)
        name = signal.Signals(number).name
        notice(f"{name}: {what} first; a second one ends this at once")

    before = {
        number: signal.signal(number, handle)
        for number in (signal.SIGTERM, signal.SIGHUP)
        # What is ignored stays so; a handler that is no Python's cannot be put back.
        if signal.getsignal(number) not in (signal.SIG_IGN, None)
    }
    try:
        yield
    finally:
        _restore(before)
        for number in came:
            signal.raise_signal(number)


def _restore(before: Mapping[signal.Signals, Any]) -> None:
    for number, handler in before.items():
        signal.signal(number, handler)


def _let_signals_end_the_child() -> None:
    """Restore SIGTERM and SIGHUP in a process that a body forked.

    `multiprocessing.Pool` ends its processes by SIGTERM and waits until they are gone.
    SIGINT stays handled, and ignored in effect: a terminal sends SIGINT to all processes,
    but only the runner acts on it. The same holds for SIGTERM in the worker processes of
    an executor, as a service manager sends SIGTERM to all processes.
    """
    if _is_handled.is_set() and not fork_guard.is_forking_workers():
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
            signal.signal(signal.SIGHUP, signal.SIG_DFL)


os.register_at_fork(after_in_child=_let_signals_end_the_child)
