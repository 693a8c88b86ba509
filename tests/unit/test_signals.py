"""SIGINT, SIGTERM and SIGHUP while a run lasts, and in what its bodies fork."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator

import pytest

from ptsflow.executors import fork_guard
from ptsflow.runner import signals
from tests.support.processes import ended_by_hangups

HANDLED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@pytest.fixture(autouse=True)
def _hang_up() -> Iterator[None]:
    with ended_by_hangups():
        yield


@pytest.mark.parametrize("number", HANDLED)
def test_a_signal_is_noted_while_a_run_lasts_and_then_left_alone(
    number: signal.Signals,
) -> None:
    before = [signal.getsignal(each) for each in HANDLED]
    noted: list[int] = []

    with signals.handled(noted.append):
        signal.raise_signal(number)

    assert noted == [number]
    assert [signal.getsignal(each) for each in HANDLED] == before


def test_a_hang_up_that_was_ignored_when_the_run_began_stays_ignored() -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    noted: list[int] = []

    with signals.handled(noted.append):
        signal.raise_signal(signal.SIGHUP)
        in_a_body = in_a_fork(signal.SIGHUP)

    assert noted == []
    assert in_a_body == 0
    assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN


def test_a_run_in_another_thread_leaves_signals_alone() -> None:
    seen: list[object] = []

    def run() -> None:
        with signals.handled(lambda _: None):
            seen.extend(signal.getsignal(each) for each in HANDLED)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join(10)

    assert seen == [signal.getsignal(each) for each in HANDLED]


def in_a_fork(number: int = signal.SIGTERM) -> int:
    """Return 1 if a signal has its usual effect in a forked process, else 0."""
    pid = os.fork()
    if pid == 0:
        os._exit(int(signal.getsignal(number) is signal.SIG_DFL))
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def test_sigterm_ends_what_a_body_forks_but_not_the_workers_of_an_executor() -> None:
    with signals.handled(lambda _: None):
        of_a_body = in_a_fork()
        with fork_guard.forking_workers():
            of_an_executor = in_a_fork()
        of_a_body_again = in_a_fork()

    assert [of_a_body, of_an_executor, of_a_body_again] == [1, 0, 1]
