"""Runs whose time of day is set, or stands still, wait and measure as if it were right."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

import ptsflow
from ptsflow import Retry, RetryLater, Status, TaskHandle, Workflow, step
from tests.api.conftest import main_stores
from tests.api.runs.flows import PATIENCE, run_until

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


@pytest.fixture
def time_of_day(monkeypatch: pytest.MonkeyPatch) -> TimeOfDay:
    now = TimeOfDay()
    monkeypatch.setattr(time, "time_ns", now)
    monkeypatch.setattr(time, "time", lambda: now() / 10**9)
    return now


def waits(happens: Callable[[], None]) -> Workflow:
    """Fail once, and be put off once, after what happens."""

    class Waits(Workflow):
        @step(retry=Retry(1, delay=0.2, jitter=0))
        def load(self, task: TaskHandle) -> int:
            if task.processing_data is None:
                task.checkpoint("failed")
                happens()
                raise OSError("once")
            if task.processing_data == "failed":
                task.checkpoint("put off")
                happens()
                raise RetryLater(0.2, "not yet")
            return task.attempt

    return Waits()


@main_stores
@pytest.mark.parametrize("hours", [-1, 24])
def test_a_clock_that_is_set_moves_no_wait_and_no_duration(
    url: str, name: str, time_of_day: TimeOfDay, hours: int
) -> None:
    begun = time.monotonic()
    report = ptsflow.run(waits(lambda: time_of_day.set(hours * HOUR)), url, name)
    took = time.monotonic() - begun
    (task,) = report.tasks

    assert report.result("load") == 2
    assert 0.4 <= took < PATIENCE
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
