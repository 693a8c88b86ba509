"""What clients do to a container between its runs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

import ptsflow
from ptsflow import Retry, Status, TaskHandle, Workflow, step
from tests.api.runs.flows import Body, fail, flow


@pytest.fixture
def container(url: str, ran: list[str]) -> Iterator[ptsflow.Container]:
    """Return the container of a workflow of three steps, of which the second failed."""
    ptsflow.run(three(ran, fail), url)
    ran.clear()
    with ptsflow.connect(url) as client:
        found = client.get_task_container("Flow")
        assert found is not None
        yield found


def three(ran: list[str], b: Body | None = None) -> Workflow:
    return flow(ran, a=None, b={"does": b, "retry": Retry(1, delay=0)}, c=None)


def test_a_step_that_a_client_completed_is_done(
    container: ptsflow.Container, url: str, ran: list[str]
) -> None:
    container.update_task("b", is_complete=True, has_failed=False)

    assert ptsflow.run(three(ran, fail), url).ok
    assert ran == ["c"]


def test_a_step_that_a_client_opened_is_run_with_a_fresh_budget(
    container: ptsflow.Container, url: str, ran: list[str]
) -> None:
    def flaky() -> None:
        if ran.count("b") == 1:
            raise OSError("no")

    container.update_task("a", is_complete=False)
    container.update_task("b", is_complete=False)
    report = ptsflow.run(three(ran, flaky), url)

    assert report.ok
    assert ran == ["a", "b", "b", "c"]


def test_a_task_that_a_client_deleted_is_run_again(
    container: ptsflow.Container, url: str, ran: list[str]
) -> None:
    container.delete_task("a")
    report = ptsflow.run(three(ran), url)

    assert report.ok
    assert ran == ["a", "b", "c"]
    assert [task.name for task in report.tasks] == ["a", "b", "c"]


def test_the_processing_data_that_a_client_gave_is_found(url: str) -> None:
    found: list[object] = []

    class Finding(Workflow):
        @step(retry=0)
        def work(self, task: TaskHandle) -> None:
            found.append(task.processing_data)
            if len(found) == 1:
                raise OSError("no")

    ptsflow.run(Finding(), url)
    with ptsflow.connect(url) as client:
        container = client.get_task_container("Finding")
        assert container is not None
        container.update_task("work", processing_data={"offset": 5})
    ptsflow.run(Finding(), url)

    assert found == [None, {"offset": 5}]


@pytest.mark.parametrize(
    "fields",
    [
        pytest.param({}, id="open"),
        pytest.param({"is_complete": True, "has_failed": True}, id="failed"),
    ],
)
def test_a_task_of_a_client_is_left_alone_by_runs(
    container: ptsflow.Container, url: str, ran: list[str], fields: dict[str, Any]
) -> None:
    added = container.add_task("by hand", task_data=1, **fields)
    report = ptsflow.run(three(ran), url)

    assert report.failed == []
    assert container.get_task("by hand") == added


def test_a_task_that_a_client_added_under_the_name_of_a_step_is_the_step(
    url: str, name: str, ran: list[str]
) -> None:
    with ptsflow.connect(url) as client:
        container, _ = client.get_or_create_task_container(name)
        container.add_task("a", is_complete=True)
        container.add_task("b", task_data={"url": "x"}, invoke_count=5)
    report = ptsflow.run(three(ran), url, name)
    b = report.tasks[1]

    assert report.ok
    assert ran == ["b", "c"]
    assert [task.name for task in report.tasks] == ["a", "b", "c"]
    assert (b.step, b.task_data, b.invoke_count) == ("b", {"url": "x"}, 6)


def test_a_run_after_a_client_emptied_the_container_runs_everything(
    container: ptsflow.Container, url: str, ran: list[str]
) -> None:
    for task in container.get_tasks():
        container.delete_task(task.name)
    container.refresh()

    assert not container.is_complete
    assert ptsflow.run(three(ran), url).ok
    assert ran == ["a", "b", "c"]


def test_what_is_stored_is_what_screens_need(
    container: ptsflow.Container, url: str
) -> None:
    with ptsflow.connect(url) as client:
        record = client.store.container("Flow")

    assert record is not None
    assert (record.workflow, json.loads(record.params or "")) == ("Flow", {})
    assert [(s.name, s.above) for s in record.plan] == [("a", 0), ("b", 1), ("c", 2)]
    assert (record.status, record.owner, record.leased_till) == ("failed", None, None)
    assert container.status is Status.FAILED
