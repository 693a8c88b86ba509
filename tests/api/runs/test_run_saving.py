"""What bodies save on the way is found by the next attempt and the next run."""

from __future__ import annotations

import ptsflow
from ptsflow import Retry, TaskHandle, Workflow, step
from tests.api.conftest import main_stores
from tests.api.runs.flows import task_of

AT_ONCE = Retry(3, delay=0)


@main_stores
def test_what_a_body_saved_the_next_attempt_and_the_next_run_find(
    url: str, name: str
) -> None:
    found: list[object] = []

    class Saving(Workflow):
        @step(retry=Retry(1, delay=0))
        def work(self, task: TaskHandle) -> None:
            found.append(task.processing_data)
            task.checkpoint({"offset": len(found), "tags": {1}})
            assert task.processing_data == {"offset": len(found), "tags": {1}}
            if len(found) < 4:
                raise OSError("no")

    first = ptsflow.run(Saving(), url, name)
    second = ptsflow.run(Saving(), url, name)

    assert (first.ok, second.ok) == (False, True)
    assert found == [None, *({"offset": n, "tags": {1}} for n in (1, 2, 3))]


@main_stores
def test_a_checkpoint_is_durable_when_it_returns(url: str, name: str) -> None:
    seen: list[object] = []

    class Saving(Workflow):
        @step
        def work(self, task: TaskHandle) -> None:
            for offset in range(3):
                task.checkpoint(offset)
                seen.append(task_of(url, name, "work").processing_data)

    assert ptsflow.run(Saving(), url, name).ok
    assert seen == [0, 1, 2]


def test_a_large_checkpoint_is_found_again(url: str) -> None:
    found: list[int] = []

    class Saving(Workflow):
        @step(retry=AT_ONCE)
        def work(self, task: TaskHandle) -> None:
            found.append(len(str(task.processing_data)))
            if len(found) < 3:
                task.checkpoint("x" * 1_000_000)
                raise OSError("no")

    assert ptsflow.run(Saving(), url).ok
    assert found == [4, 1_000_000, 1_000_000]


def test_a_checkpoint_that_cannot_be_stored_is_refused_in_the_body(url: str) -> None:
    lines: list[str] = []

    class Saving(Workflow):
        @step
        def work(self, task: TaskHandle) -> object:
            task.checkpoint({"fine": 1})
            try:
                task.checkpoint({"bad": [object()]})
            except ptsflow.PtsflowError as error:
                lines.append(str(error))
            return task.processing_data

    report = ptsflow.run(Saving(), url)

    assert lines[0].startswith("the checkpoint of work: bad[0]: an object ")
    assert report.result("work") == {"fine": 1}
