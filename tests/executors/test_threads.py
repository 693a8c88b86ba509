"""The threads that bodies run in: they end, whatever is handed over late."""

from __future__ import annotations

import threading

import pytest

import ptsflow
from ptsflow import Workflow, step
from ptsflow.core.model import Status
from ptsflow.errors import PtsflowError
from ptsflow.events import Event, TaskChanged
from ptsflow.executors.threads import ThreadPool
from tests.support.waiting import until


def test_threads_that_a_late_body_starts_end_too() -> None:
    begun, go_on = threading.Event(), threading.Event()

    def work(number: int) -> int | None:
        if number == 0:
            begun.set()
            assert go_on.wait(10)
            pool.submit([1, 2], 3)
        return None

    pool = ThreadPool[int](work)
    pool.submit([0], 1)
    assert begun.wait(10)
    pool.stop()
    go_on.set()
    waits = threading.Thread(target=pool.join, daemon=True)
    waits.start()
    waits.join(10)

    assert not waits.is_alive()


def test_a_thread_takes_what_its_work_returns() -> None:
    done: list[int] = []

    def work(number: int) -> int | None:
        done.append(number)
        return number - 1 if number else None

    pool = ThreadPool[int](work)
    pool.submit([3], 1)
    until(lambda: len(done) == 4)
    pool.stop()
    pool.join()

    assert done == [3, 2, 1, 0]


@pytest.fixture
def refused(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many threads the system still grants."""
    granted = [0]
    start = threading.Thread.start

    def limited(thread: threading.Thread) -> None:
        if granted[0] == 0:
            raise RuntimeError("can't start new thread")
        granted[0] -= 1
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", limited)
    return granted


def test_the_threads_that_there_are_do_what_others_cannot(refused: list[int]) -> None:
    refused[0] = 1
    done: list[int] = []
    pool = ThreadPool[int](done.append)
    threads = [pool.submit([1, 2, 3], 3), pool.submit([4], 4)]
    pool.stop()
    pool.join()

    assert done == [1, 2, 3, 4]
    assert threads == [1, 1]


@pytest.mark.usefixtures("refused")
def test_that_there_is_no_thread_at_all_is_said_in_one_line() -> None:
    pool = ThreadPool[int](lambda _: None)
    with pytest.raises(PtsflowError) as caught:
        pool.submit([1], 1)
    pool.stop()
    pool.join()

    assert str(caught.value) == (
        "no thread can be started for a body: can't start new thread; raise what limits "
        "the processes, threads and memory of this user (ulimit -u, ulimit -v)"
    )


class Wide(Workflow):
    """Six items."""

    @step
    def numbers(self) -> list[int]:
        return list(range(6))

    @step(each=numbers)
    def item(self, number: int) -> None: ...


def test_no_more_tasks_start_than_there_are_threads(refused: list[int]) -> None:
    refused[0] = 2  # one renews the lease
    running: set[str] = set()
    others_at_start: list[int] = []

    def note(event: Event) -> None:
        if isinstance(event, TaskChanged) and event.after is not None:
            if event.after.status is Status.RUNNING:
                others_at_start.append(len(running))
                running.add(event.after.name)
            else:
                running.discard(event.after.name)

    report = ptsflow.run(Wide(), "memory:", jobs=4, listeners=[note])

    assert report.ok
    # The first four starts were recorded before the system refused a second thread.
    assert others_at_start == [0, 0, 1, 2, 3, 0, 0]
