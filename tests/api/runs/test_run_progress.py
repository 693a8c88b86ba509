"""Progress is seen from everywhere, and costs a write a second."""

from __future__ import annotations

import time
from typing import cast

import pytest

import ptsflow
from ptsflow import TaskHandle, Workflow, step
from ptsflow.client import Client
from ptsflow.stores.base import Store
from tests.api.conftest import main_stores
from tests.api.runs.flows import PATIENCE, Counting, task_of
from tests.support.containers import container_of


def test_20_000_calls_of_progress_are_a_write_a_second(
    counting: Counting,
) -> None:
    calls = 0

    class Progressing(Workflow):
        @step
        def work(self, task: TaskHandle) -> float:
            nonlocal calls
            began = time.monotonic()
            while calls <= 20_000 or time.monotonic() < began + 2.3:
                calls += 1
                task.progress(calls % 100, 100, f"call {calls}")
            return time.monotonic() - began

    client = Client(cast("Store", counting))
    report = ptsflow.run(Progressing(), client)

    assert 2 <= counting.writes["touch"] <= report.result("work") + 1
    assert counting.writes["commit"] == 2


@main_stores
def test_progress_is_seen_from_everywhere(url: str, name: str) -> None:
    class Progressing(Workflow):
        @step(weight=3)
        def work(self, task: TaskHandle) -> list[float]:
            for done in range(4):
                task.progress(done + 1, 8, f"{done + 1} of 8")
            with ptsflow.connect(url) as client:
                container = container_of(client, name)
                until = time.monotonic() + PATIENCE
                while container.percentage_complete == 0.0:
                    assert time.monotonic() < until
                    container.refresh()
                seen = container.get_tasks()[0]
                return [container.percentage_complete, seen.percentage_complete]

        @step
        def more(self) -> None: ...

    report = ptsflow.run(Progressing(), url, name)

    assert report.result("work") == [37.5, 50.0]
    assert report.tasks[0].percentage_complete == 100.0
    assert report.tasks[0].status_text == "4 of 8"


def test_the_steps_count_by_their_weights(url: str, name: str) -> None:
    seen: list[float] = []

    def look() -> None:
        with ptsflow.connect(url) as client:
            seen.append(container_of(client, name).percentage_complete)

    class Weighted(Workflow):
        @step(weight=6)
        def heavy(self) -> list[int]:
            look()
            return [1, 2]

        @step(each=heavy, weight=2)
        def use(self, _number: int) -> None:
            look()

        @step(weight=2)
        def light(self) -> None:
            look()

    ptsflow.run(Weighted(), url, name, jobs=1)

    assert seen == [0.0, 60.0, 70.0, 80.0]


def test_the_progress_of_a_failed_attempt_stays(url: str) -> None:
    class Failing(Workflow):
        @step(retry=0)
        def work(self, task: TaskHandle) -> None:
            task.progress(3, 4, "3 of 4")
            raise OSError("no")

    (task,) = ptsflow.run(Failing(), url).tasks

    assert (task.percentage_complete, task.status_text) == (75.0, "3 of 4")


def test_track_reports_how_far_an_iteration_is(url: str) -> None:
    class Tracking(Workflow):
        @step(retry=0)
        def sized(self, task: TaskHandle) -> None:
            for number in task.track([1, 2, 3, 4]):
                if number == 4:
                    raise OSError("no")

        @step(after=(), retry=0)
        def unsized(self, task: TaskHandle) -> None:
            for number in task.track(iter(range(9))):
                if number == 7:
                    raise OSError("no")

    sized, unsized = ptsflow.run(Tracking(), url).tasks

    assert (sized.percentage_complete, sized.status_text) == (75.0, "3 of 4")
    assert (unsized.percentage_complete, unsized.status_text) == (0.0, "7")


@pytest.mark.parametrize(
    ("done", "total", "percentage"),
    [
        pytest.param(1, 3, 100 / 3, id="a third"),
        pytest.param(5, 4, 100.0, id="more than all"),
        pytest.param(0, 0, 100.0, id="all of nothing"),
    ],
)
def test_progress_is_a_percentage(
    url: str, done: float, total: float, percentage: float
) -> None:
    class Progressing(Workflow):
        @step(retry=0)
        def work(self, task: TaskHandle) -> None:
            task.progress(done, total)
            raise OSError("no")

    (task,) = ptsflow.run(Progressing(), url).tasks

    assert task.percentage_complete == pytest.approx(percentage)


@pytest.mark.parametrize("done", [-1, float("nan"), float("inf")])
def test_progress_that_is_no_number_is_refused(url: str, done: float) -> None:
    class Progressing(Workflow):
        @step(retry=0)
        def work(self, task: TaskHandle) -> None:
            task.progress(done, 10)

    (task,) = ptsflow.run(Progressing(), url).tasks

    assert str(task.error).startswith(
        "ValueError: progress of work: expected 0 <= done <= total, found "
        f"done={done!r}, total=10; a text is given as text=... ("
    )


@main_stores
def test_any_text_can_be_reported_as_progress(url: str, name: str) -> None:
    class Progressing(Workflow):
        @step
        def work(self, task: TaskHandle) -> str:
            task.progress(1, 2, "\ud800" + "x" * 10_000)
            until = time.monotonic() + PATIENCE
            while not (text := task_of(url, name, "work").status_text):
                assert time.monotonic() < until
            return text

    report = ptsflow.run(Progressing(), url, name)

    assert report.ok
    assert report.result("work").startswith("\\ud800xxx")
    assert len(report.result("work")) <= 4000
