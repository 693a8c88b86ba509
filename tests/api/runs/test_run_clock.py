"""Runs whose time of day is set, or stands still, wait and measure as if it were right."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

import ptsflow
from ptsflow import Retry, RetryLater, Status, TaskHandle, Workflow, step
from ptsflow.errors import LeaseLost
from ptsflow.events import Event, TaskChanged
from tests.api.conftest import main_stores
from tests.api.runs.flows import PATIENCE, run_until
from tests.support.containers import container_of

HOUR = 3_600


class TimeOfDay:
    """The time of day as the test sets it."""

    def __init__(self) -> None:
        self._now = time.time_ns
        self._stands_at: int | None = None
        self._off = 0

    def set(self, seconds: float) -> None:
        self._off += round(seconds * 10**9)

    def stop(self) -> None:
        self._stands_at = self()

    def __call__(self) -> int:
        return self._off + (self._now() if self._stands_at is None else self._stands_at)


def time_of_day_by(patch: pytest.MonkeyPatch) -> TimeOfDay:
    """Return the time of day that this process has from now on."""
    now = TimeOfDay()
    patch.setattr(time, "time_ns", now)
    patch.setattr(time, "time", lambda: now() / 10**9)
    return now


@pytest.fixture
def time_of_day(monkeypatch: pytest.MonkeyPatch) -> TimeOfDay:
    return time_of_day_by(monkeypatch)


#: How long each wait is, in seconds: longer than all the rest of a run takes.
DELAY = 1.0


def waits(happens: Callable[[], None]) -> Workflow:
    """Fail once, and be put off once; something happens in the last body."""

    class Waits(Workflow):
        @step(retry=Retry(1, delay=DELAY, jitter=0))
        def load(self, task: TaskHandle) -> int:
            if task.processing_data is None:
                task.checkpoint("failed")
                raise OSError("once")
            if task.processing_data == "failed":
                task.checkpoint("put off")
                raise RetryLater(DELAY, "not yet")
            happens()
            return task.attempt

    return Waits()


@main_stores
@pytest.mark.parametrize("hours", [-1, 24])
def test_a_clock_that_is_set_moves_no_wait_and_no_duration(
    url: str, name: str, time_of_day: TimeOfDay, hours: int
) -> None:
    def set_clock(event: Event | None = None) -> None:
        """The time of day is set while a task waits, and while a body runs."""
        task = event.after if isinstance(event, TaskChanged) else None
        if event is None or (task is not None and task.status is Status.WAITING):
            time_of_day.set(hours * HOUR)

    begun = time.monotonic()
    report = ptsflow.run(waits(set_clock), url, name, listeners=[set_clock])
    took = time.monotonic() - begun
    (task,) = report.tasks

    assert report.result("load") == 2
    assert 2 * DELAY <= took < PATIENCE
    assert 0 <= (task.task_duration_ms or 0) < PATIENCE * 1000


def test_a_clock_that_stands_still_does_not_hang_a_run(
    time_of_day: TimeOfDay, monkeypatch: pytest.MonkeyPatch
) -> None:
    time_of_day.stop()
    for name in ("monotonic", "perf_counter"):
        stands = getattr(time, name)()
        monkeypatch.setattr(time, name, lambda stands=stands: stands)

    assert ptsflow.run(waits(lambda: None), "memory:").ok


def test_a_restart_waits_no_longer_than_was_said(
    url: str, name: str, time_of_day: TimeOfDay
) -> None:
    def body(_self: Workflow, task: TaskHandle) -> int:
        if task.attempt == 1:
            raise OSError("once")
        return task.attempt

    body.__name__ = "load"
    retry = Retry(1, delay=1, jitter=0)
    made: Workflow = type("Once", (Workflow,), {"load": step(retry=retry)(body)})()
    run_until(made, url, name, "load", Status.WAITING)
    time_of_day.set(-HOUR)
    begun = time.monotonic()

    assert ptsflow.run(made, url, name).ok
    assert time.monotonic() - begun < PATIENCE


def test_a_machine_that_slept_for_longer_than_the_lease_records_and_begins_nothing(
    url: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While a machine sleeps, the clock that counts since boot goes on, and no other."""
    asleep, began = [0], list[str]()

    class Sleeps(Workflow):
        @step
        def first(self) -> None:
            began.append("first")
            asleep[0] = HOUR

        @step
        def second(self) -> None:
            began.append("second")

    seconds, nanoseconds = time.clock_gettime, time.clock_gettime_ns

    def slept(clock: int) -> int:
        return asleep[0] if clock == time.CLOCK_BOOTTIME else 0

    monkeypatch.setattr(time, "clock_gettime", lambda c: seconds(c) + slept(c))
    monkeypatch.setattr(
        time, "clock_gettime_ns", lambda c: nanoseconds(c) + slept(c) * 10**9
    )
    with ptsflow.connect(url) as client:
        with pytest.raises(LeaseLost):
            ptsflow.run(Sleeps(), client, name)
        first = container_of(client, name).get_task("first")

    assert began == ["first"]
    assert first is not None
    assert first.status is Status.RUNNING
