"""`ptsflow.testing`: users' tests run workflows without threads, sleeping or files."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import pytest

import ptsflow
from ptsflow import (
    Fail,
    Finish,
    Retry,
    RetryLater,
    Skip,
    Status,
    TaskHandle,
    Workflow,
    step,
)
from ptsflow.errors import ContainerMismatch, InvalidName, UsageError
from ptsflow.events import Event, Progressed, RunEnded, RunStarted
from ptsflow.host.clock import to_millis
from ptsflow.runner.report import Report
from ptsflow.testing import ManualClock, run_inline

HOUR = 3600.0


@pytest.fixture(autouse=True)
def _in_vain(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have sleeping and starting threads fail, and see what files are made."""
    monkeypatch.chdir(tmp_path)

    def refusing(act: Callable[..., Any]) -> Callable[..., Any]:
        def refuse(*args: object, **options: object) -> object:
            # Drivers' threads of other tests may still be there, and do as they like.
            if threading.current_thread() is threading.main_thread():
                raise AssertionError("run_inline neither sleeps nor starts threads")
            return act(*args, **options)

        return refuse

    monkeypatch.setattr(time, "sleep", refusing(time.sleep))
    monkeypatch.setattr(threading.Thread, "start", refusing(threading.Thread.start))


class Feed(Workflow):
    bad: str = ""

    @step
    def check(self) -> list[str]:
        return ["a", "b", "c"]

    @step(each=check, retry=Retry(3, delay=HOUR, jitter=0), limit=2)
    def load(self, name: str, task: TaskHandle) -> str:
        task.checkpoint(task.attempt)
        task.progress(1, 2)
        if name == self.bad:
            raise OSError("no route")
        return name.upper()

    @step(each=load)
    def index(self, name: str) -> str:
        return f"{name}!"

    @step
    def verify(self, index: list[str]) -> str:
        return "".join(index)

    @step(always=True)
    async def tidy(self) -> None: ...


def test_a_workflow_runs_without_threads_sleeping_or_files(tmp_path: Path) -> None:
    report = run_inline(Feed())

    assert report.ok
    assert report.result("verify") == "A!B!C!"
    assert report.container == "Feed:bad="
    assert list(tmp_path.iterdir()) == []


def test_a_retry_in_an_hour_takes_no_time() -> None:
    clock = ManualClock()
    began = time.monotonic()
    report = run_inline(Feed(bad="b"), clock=clock)
    took = time.monotonic() - began
    task = report.tasks[2]

    assert (report.ok, report.failed) == (False, ["load[b]"])
    assert took < 60
    assert clock.now == ManualClock().now + (1 + 1 + 1) * 3600_000
    assert (task.invoke_count, task.processing_data) == (4, 4)
    assert task.last_invoked_at == datetime(2020, 1, 1, 3, tzinfo=UTC)


def test_retry_later_moves_the_clock() -> None:
    clock = ManualClock()
    seen: list[int] = []

    class Waiting(Workflow):
        @step
        def work(self) -> None:
            seen.append(clock.now)
            if len(seen) < 3:
                raise RetryLater(90, "not posted")

    report = run_inline(Waiting(), clock=clock)

    assert report.ok
    assert [moment - seen[0] for moment in seen] == [0, 90_000, 180_000]


def test_the_clock_is_what_tasks_are_timed_by() -> None:
    clock = ManualClock(to_millis(datetime(2011, 9, 30, 13, tzinfo=UTC)))

    class Slow(Workflow):
        @step
        def work(self) -> None:
            clock.advance(1.5)

    (task,) = run_inline(Slow(), clock=clock).tasks

    assert task.last_invoked_at == datetime(2011, 9, 30, 13, tzinfo=UTC)
    assert task.task_ended_at == task.last_invoked_at + timedelta(seconds=1.5)
    assert task.task_duration_ms == 1_500


def test_a_client_keeps_the_container_for_the_next_run() -> None:
    ran: list[str] = []

    class Two(Workflow):
        @step
        def first(self) -> None:
            ran.append("first")

        @step(retry=0)
        def second(self) -> None:
            ran.append("second")
            if ran.count("second") == 1:
                raise OSError("no")

    with ptsflow.connect("memory:") as client:
        first = run_inline(Two(), client=client)
        container = client.get_task_container("Two")
        assert container is not None
        assert container.status is Status.FAILED
        second = run_inline(Two(), client=client)
        third = run_inline(Two(), client=client, from_step="second")

    assert (first.ok, second.ok, third.ok) == (False, True, True)
    assert ran == ["first", "second", "second", "second"]


def test_without_a_client_nothing_is_kept() -> None:
    ran: list[int] = []

    class One(Workflow):
        @step
        def work(self) -> None:
            ran.append(1)

    run_inline(One())
    run_inline(One())

    assert ran == [1, 1]


def test_options_are_those_of_run() -> None:
    events: list[Event] = []
    report = run_inline(
        Feed(), container="mine", only=["check", "load"], listeners=[events.append]
    )

    assert report.ok
    assert report.container == "mine"
    assert {t.name for t in report.tasks if t.is_complete} == {
        "check",
        "load[a]",
        "load[b]",
        "load[c]",
    }
    assert isinstance(events[0], RunStarted)
    assert isinstance(events[-1], RunEnded)
    assert any(isinstance(event, Progressed) for event in events)


@pytest.mark.parametrize(
    ("run", "error"),
    [
        pytest.param(lambda: run_inline(Feed(), only=["zzz"]), UsageError, id="only"),
        pytest.param(
            lambda: run_inline(Feed(), from_step="zzz"), UsageError, id="from_step"
        ),
        pytest.param(lambda: run_inline(cast("Any", Feed)), UsageError, id="a class"),
        pytest.param(lambda: run_inline(Feed(), container=""), InvalidName, id="name"),
    ],
)
def test_what_makes_no_sense_is_refused_as_by_run(
    run: Callable[[], object], error: type[Exception]
) -> None:
    with pytest.raises(error):
        run()


def test_other_parameters_are_refused_as_by_run() -> None:
    with ptsflow.connect("memory:") as client:
        run_inline(Feed(), client=client, container="one")
        with pytest.raises(ContainerMismatch, match="bad was , is x"):
            run_inline(Feed(bad="x"), client=client, container="one")


class Everything(Workflow):
    """Every way in which a body can end."""

    @step(parallel=True)
    def returns(self) -> list[int]:
        return [1, 2, 3, 4]

    @step(parallel=True, optional=True)
    def gives_up(self) -> int:
        raise Fail("no")

    @step(parallel=True)
    def skips(self) -> int:
        raise Skip("not today")

    @step(each=returns, tolerate="25%", retry=0)
    def items(self, number: int) -> int:
        if number == 2:
            raise OSError("no 2")
        return number

    @step(each=items)
    def chained(self, number: int) -> int:
        if number == 3:
            raise Skip("no 3")
        return -number

    @step(retry=Retry(1, delay=0))
    def flaky(self, task: TaskHandle) -> int:
        if task.attempt == 1:
            raise OSError("once")
        return task.attempt

    @step
    def joins(
        self, gives_up: int | None, skips: int | None, chained: list[int]
    ) -> list[object]:
        return [gives_up, skips, chained]

    @step
    def finishes(self) -> None:
        raise Finish("enough")

    @step
    def rest(self) -> None: ...

    @step(always=True)
    def tidy(self) -> str:
        return "tidy"


def test_it_ends_as_a_real_run_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inline = run_inline(Everything())
    monkeypatch.undo()
    real = ptsflow.run(Everything(), f"sqlite:///{tmp_path}/pts.db")

    def outline(report: Report) -> list[object]:
        return [
            (t.name, t.status, t.result, t.error, t.status_text, t.invoke_count)
            for t in report.tasks
        ]

    assert outline(inline) == outline(real)
    assert (
        (inline.ok, inline.failed)
        == (real.ok, real.failed)
        == (
            True,
            ["gives_up", "items[2]"],
        )
    )
    assert inline.result("joins") == [None, None, [-1, -4]]


def test_results_go_through_the_codec() -> None:
    given = [[1]]
    seen: list[list[list[int]]] = []

    class Mutating(Workflow):
        @step
        def value(self) -> list[list[int]]:
            return given

        @step
        def spoil(self, value: list[list[int]]) -> None:
            given.append([2])
            value.append([3])

        @step
        def use(self, value: list[list[int]]) -> None:
            seen.append(value)

    assert run_inline(Mutating()).ok
    assert seen == [[[1]]]


def test_a_body_may_run_another_workflow_inline() -> None:
    class Outer(Workflow):
        @step
        def work(self) -> str:
            result: str = run_inline(Feed()).result("verify")
            return result

    assert run_inline(Outer()).result("work") == "A!B!C!"


def test_the_example_of_the_module_is_true() -> None:
    report = run_inline(Feed())

    assert report.ok
    assert report.result("verify") == "A!B!C!"


def test_a_manual_clock_stands_still_until_it_is_moved() -> None:
    clock = ManualClock(5)
    before = clock()
    clock.advance(0.25)

    assert (before, clock()) == (5, 255)


def test_ctrl_c_ends_the_run_and_the_step_is_not_to_blame() -> None:
    class Long(Workflow):
        @step
        def first(self) -> int:
            return 1

        @step
        def work(self) -> None:
            raise KeyboardInterrupt  # as the main thread's handler does

    client = ptsflow.connect("memory:")
    with pytest.raises(KeyboardInterrupt):
        run_inline(Long(), client=client, container="c")
    record = client.store.container("c")
    assert record is not None
    first, work = client.store.tasks(record.uid)

    assert (record.status, record.owner) == (Status.PENDING, None)
    assert [entry.name for entry in record.plan] == ["first", "work"]
    assert first.status is Status.DONE
    assert (work.status, work.attempt) == (Status.PENDING, 0)
