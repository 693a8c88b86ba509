"""What a body can say besides returning: Skip, RetryLater, Finish."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import ptsflow
from ptsflow import Finish, Retry, RetryLater, Skip, Status, TaskHandle, Workflow, step
from ptsflow.events import Event, TaskChanged
from tests.api.conftest import main_stores
from tests.api.runs.flows import PATIENCE, raising, run_until, statuses, task_of

HOUR = 3600.0


def test_a_skipped_step_hands_on_none(url: str) -> None:
    class Skipping(Workflow):
        @step
        def check(self) -> int:
            raise Skip("nothing new")

        @step
        def use(self, check: int | None) -> str:
            return repr(check)

    report = ptsflow.run(Skipping(), url)
    task = report.tasks[0]

    assert report.ok
    assert report.result("use") == "None"
    assert (task.status, task.status_text) == (Status.SKIPPED, "nothing new")
    assert (task.percentage_complete, task.has_failed) == (100.0, False)


def test_a_body_that_catches_exception_catches_a_signal_too(url: str) -> None:
    class Careful(Workflow):
        @step
        def work(self) -> str:
            try:
                raise Skip("not today")  # noqa: TRY301 - what users write
            except Exception:  # noqa: BLE001 - what users write
                return "swallowed"

    assert statuses(ptsflow.run(Careful(), url)) == {"work": "done"}


def test_retry_later_is_not_an_attempt(url: str) -> None:
    attempts: list[int] = []

    class Waiting(Workflow):
        @step(retry=Retry(1, delay=0))
        def work(self, task: TaskHandle) -> None:
            attempts.append(task.attempt)
            if len(attempts) < 5:
                raise RetryLater(0.001, "not posted yet")
            if len(attempts) < 6:
                raise OSError("no")

    report = ptsflow.run(Waiting(), url)

    assert report.ok
    assert attempts == [1, 1, 1, 1, 1, 2]
    assert report.tasks[0].invoke_count == 6


@pytest.mark.parametrize(
    "seconds",
    [
        pytest.param(float("inf"), id="for ever"),
        pytest.param(1e300, id="beyond all dates"),
    ],
)
def test_retry_later_than_any_date_waits(url: str, name: str, seconds: float) -> None:
    class Waiting(Workflow):
        @step
        def work(self) -> None:
            raise RetryLater(seconds, "never")

    run_until(Waiting(), url, name, "work", Status.WAITING)

    assert task_of(url, name, "work").status_text == "never"


@pytest.mark.parametrize("seconds", [-5.0, 0.0, float("nan")])
def test_retry_later_in_the_past_is_at_once(url: str, seconds: float) -> None:
    attempts: list[int] = []

    class Waiting(Workflow):
        # What is no number is an error, and so a failure.
        @step(retry=Retry(1, delay=0))
        def work(self, task: TaskHandle) -> None:
            attempts.append(task.attempt)
            if len(attempts) == 1:
                raise RetryLater(seconds)

    assert ptsflow.run(Waiting(), url).ok
    assert len(attempts) == 2


@main_stores
def test_finish_skips_the_rest_and_the_container_is_complete(
    url: str, name: str
) -> None:
    ran: list[str] = []

    class Early(Workflow):
        @step
        def check(self) -> list[int]:
            ran.append("check")
            raise Finish("nothing new")

        @step(each=check)
        def load(self, _number: int) -> None:
            ran.append("load")

        @step
        def verify(self) -> None:
            ran.append("verify")

        @step(always=True)
        def tidy(self, check: list[int] | None) -> None:
            ran.append(f"tidy {check}")

    report = ptsflow.run(Early(), url, name)
    again = ptsflow.run(Early(), url, name)
    tasks = {task.name: task for task in report.tasks}

    assert ran == ["check", "tidy None"]
    assert report.ok
    assert again.ok
    assert statuses(report) == statuses(again)
    assert statuses(report) == {"check": "done", "verify": "skipped", "tidy": "done"}
    assert tasks["check"].status_text == "nothing new"
    assert tasks["verify"].status_text == "check finished"
    with ptsflow.connect(url) as client:
        container = client.get_task_container(name)
        assert container is not None
        assert (container.is_complete, container.percentage_complete) == (True, 100.0)


def finishing(other: Callable[[threading.Event], Any]) -> type[Workflow]:
    """Make a workflow in which one step finishes while another one runs."""
    has_finished = threading.Event()

    class Finishing(Workflow):
        @step(parallel=True)
        def check(self) -> None:
            raise Finish("nothing new")

        @step(parallel=True, retry=Retry(3, delay=HOUR))
        def slow(self) -> Any:
            assert has_finished.wait(PATIENCE)
            return other(has_finished)

        @step(each=slow)
        def load(self, number: int) -> None: ...

        @step
        def last(self) -> None: ...

    def tell(event: Event) -> None:
        after = event.after if isinstance(event, TaskChanged) else None
        if after is not None and after.name == "check" and after.is_complete:
            has_finished.set()

    Finishing.listener = tell  # type: ignore[attr-defined]
    return Finishing


@pytest.mark.parametrize(
    ("other", "status"),
    [
        pytest.param(lambda _: [1, 2], "done", id="returns a list to fan out over"),
        pytest.param(lambda _: raising(OSError("no")), "skipped", id="fails"),
        pytest.param(lambda _: raising(RetryLater(HOUR)), "skipped", id="would wait"),
        pytest.param(lambda _: raising(Skip("no")), "skipped", id="skips"),
        pytest.param(lambda _: raising(Finish("too")), "done", id="finishes too"),
    ],
)
def test_what_runs_when_another_step_finishes_may_end(
    url: str, name: str, other: Callable[[threading.Event], Any], status: str
) -> None:
    flow = finishing(other)
    listener: Any = flow.listener  # type: ignore[attr-defined]
    report = ptsflow.run(flow(), url, name, jobs=2, listeners=[listener])
    found = statuses(report)

    assert report.ok
    assert (found["check"], found["slow"], found["last"]) == ("done", status, "skipped")
    with ptsflow.connect(url) as client:
        container = client.get_task_container(name)
        assert container is not None
        assert (container.is_complete, container.status) == (True, Status.DONE)


class AlwaysFinishes(Workflow):
    @step(retry=0)
    def fail(self) -> None:
        raise OSError("no")

    @step(always=True)
    def end(self) -> None:
        raise Finish("nothing more")


def test_finish_of_a_step_that_always_runs_ends_that_step_alone() -> None:
    report = ptsflow.run(AlwaysFinishes(), "memory:")

    assert not report.ok
    assert report.failed == ["fail"]


class Inner(Workflow):
    @step
    def once(self) -> int:
        return 1


def test_a_body_may_use_the_client_that_the_run_was_given(tmp_path: Path) -> None:
    client = ptsflow.connect(f"sqlite:///{tmp_path}/pts.db")

    class Nested(Workflow):
        @step
        def numbers(self) -> list[int]:
            return list(range(60))

        @step(each=numbers)
        def look(self, number: int) -> int:
            container, _ = client.get_or_create_task_container(f"own {number}")
            container.add_task("a", task_data=number)
            return len(container.get_tasks())

        @step
        def inner(self) -> bool:
            return ptsflow.run(Inner(), client).ok

    report = ptsflow.run(Nested(), client, jobs=8)

    assert report.ok
    assert report.result("look") == [1] * 60
    client.close()
