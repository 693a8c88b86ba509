"""Other parameters are refused; fresh, from and only do what they say."""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import cast

import pytest

import ptsflow
from ptsflow import Status, TaskHandle, Workflow, step
from ptsflow.client import Client
from ptsflow.core.model import Change
from ptsflow.errors import ContainerMismatch, UsageError
from ptsflow.events import Event, Notice
from ptsflow.stores import open_store
from ptsflow.stores.base import Store
from tests.api.conftest import main_stores
from tests.api.runs.flows import Counting, again, fail, flow, statuses


class Hourly(Workflow):
    container = "hourly"
    hour: datetime
    server: str = "a"

    @step
    def work(self) -> str:
        return self.server


HOUR = datetime(2011, 9, 30, 13, tzinfo=UTC)


# -- other parameters -----------------------------------------------------------------


@main_stores
def test_other_parameters_are_refused_with_the_difference(url: str, name: str) -> None:
    ptsflow.run(Hourly(hour=HOUR), url, name)

    with pytest.raises(ContainerMismatch) as refused:
        ptsflow.run(Hourly(hour=HOUR.replace(hour=14), server="b"), url, name)
    assert str(refused.value) == (
        f"container {name!r} was made with other parameters: hour was 2011-09-30 "
        "13:00:00+00:00, is 2011-09-30 14:00:00+00:00; server was a, is b; choose "
        "another container with -c NAME, or begin this one anew with --fresh"
    )
    assert ptsflow.run(Hourly(hour=HOUR), url, name).ok


def test_a_parameter_that_was_added_is_no_difference(url: str) -> None:
    def hourly(**parameters: object) -> type[Workflow]:
        body = {"__annotations__": {k: type(v) for k, v in parameters.items()}}
        steps = {"work": step(_work), "container": "one", "__module__": __name__}
        return type("Hourly", (Workflow,), {**parameters, **body, **steps})

    def _work(_self: Workflow) -> None: ...

    _work.__name__ = "work"
    ptsflow.run(hourly(a=1)(a=2), url)

    assert ptsflow.run(hourly(a=1, b=2)(a=2), url).ok
    with pytest.raises(ContainerMismatch, match="b was 2, is 3"):
        ptsflow.run(hourly(a=1, b=2)(a=2, b=3), url)


@main_stores
def test_the_container_of_another_workflow_is_refused(url: str, name: str) -> None:
    ptsflow.run(flow([], a=None), url, name)

    for fresh in (False, True):
        with pytest.raises(ContainerMismatch) as refused:
            ptsflow.run(Hourly(hour=HOUR), url, name, fresh=fresh)
        assert str(refused.value) == (
            f"container {name!r} belongs to the workflow Flow, not Hourly; choose "
            "another container with -c NAME"
        )


def test_a_refused_run_leaves_the_container_free_and_as_it_was(
    url: str, name: str
) -> None:
    first = ptsflow.run(Hourly(hour=HOUR), url, name)
    with pytest.raises(ContainerMismatch):
        ptsflow.run(Hourly(hour=HOUR, server="b"), url, name)
    with ptsflow.connect(url) as client:
        container = client.get_task_container(name)
        assert container is not None
        assert container.get_tasks() == first.tasks
        assert container.status is Status.DONE
        container.add_task("more")


# -- fresh, from, only ----------------------------------------------------------------


@main_stores
def test_fresh_forgets_everything(url: str, name: str, ran: list[str]) -> None:
    workflow = flow(ran, a=None, b=fail)
    for _ in range(2):
        ptsflow.run(workflow, url, name)
    report = again(ran, workflow, url, container=name, fresh=True)

    assert ran == ["a", "b"]
    assert [task.invoke_count for task in report.tasks] == [1, 1]


def test_fresh_begins_when_it_begins(url: str, name: str) -> None:
    def times() -> tuple[int, int]:
        with ptsflow.connect(url) as client:
            record = client.store.container(name)
        assert record is not None
        return record.started_at or 0, record.ended_at or 0

    workflow = flow([], a=lambda: time.sleep(0.005))
    ptsflow.run(workflow, url, name)
    first = times()
    ptsflow.run(workflow, url, name, from_step="a")
    again_from = times()
    ptsflow.run(workflow, url, name, fresh=True)
    fresh = times()

    assert again_from[0] == first[0] < first[1] < again_from[1]
    assert fresh[0] >= again_from[1]


def test_fresh_takes_other_parameters(url: str, name: str) -> None:
    ptsflow.run(Hourly(hour=HOUR), url, name)
    report = ptsflow.run(Hourly(hour=HOUR, server="b"), url, name, fresh=True)

    assert report.result("work") == "b"
    with pytest.raises(ContainerMismatch, match="server was b, is a"):
        ptsflow.run(Hourly(hour=HOUR), url, name)


class Emptied(Counting):
    """A store that notes how the container stands when its tasks are deleted."""

    def commit(self, uid: str, changes: Sequence[Change], *, fence: int | None) -> None:
        if any(change.after is None for change in changes):
            self.writes[self.store.containers()[0].status] += 1
        super().commit(uid, changes, fence=fence)


def test_a_container_that_is_being_emptied_is_not_complete(url: str) -> None:
    workflow = flow([], a=None)
    ptsflow.run(workflow, url)
    with contextlib.closing(open_store(url)) as store:
        emptied = Emptied(store, Counter())
        ptsflow.run(workflow, Client(cast("Store", emptied)), fresh=True)

    assert emptied.writes == {"pending": 1, "commit": 3}


def test_fresh_gives_finished_items_up(url: str, ran: list[str]) -> None:
    def fans(count: int) -> Workflow:
        return flow(
            ran,
            numbers=lambda: list(range(count)),
            use={"each": "numbers", "does": lambda item: item},
        )

    ptsflow.run(fans(3), url)
    report = again(ran, fans(2), url, fresh=True)

    assert list(statuses(report)) == ["numbers", "use[0]", "use[1]"]
    assert report.result("use") == [0, 1]


@main_stores
def test_from_a_step_runs_it_and_what_waits_for_it_again(
    url: str, name: str, ran: list[str]
) -> None:
    workflow = flow(
        ran,
        a={"parallel": True},
        b={"parallel": True},
        behind_a={"after": "a"},
        last=None,
        tidy={"always": True},
    )
    ptsflow.run(workflow, url, name)
    report = again(ran, workflow, url, container=name, from_step="a")

    assert report.ok
    assert ran == ["a", "behind_a", "last", "tidy"]
    assert {task.name: task.invoke_count for task in report.tasks} == {
        "a": 2,
        "b": 1,
        "behind_a": 2,
        "last": 2,
        "tidy": 2,
    }


def test_from_a_step_forgets_what_it_saved(url: str) -> None:
    found: list[object] = []

    class Saving(Workflow):
        @step
        def work(self, task: TaskHandle) -> None:
            found.append(task.processing_data)
            task.checkpoint(1)

    ptsflow.run(Saving(), url)
    ptsflow.run(Saving(), url, from_step="work")

    assert found == [None, None]


def test_a_list_that_is_another_one_when_it_is_made_again(
    url: str, ran: list[str]
) -> None:
    numbers = [3, 1, 2]
    seen: list[list[int]] = []

    class Lists(Workflow):
        @step
        def source(self) -> list[int]:
            return numbers

        @step(each=source)
        def use(self, number: int) -> int:
            ran.append(f"use {number}")
            return number * 10

        @step
        def join(self, use: list[int]) -> None:
            seen.append(use)

    ptsflow.run(Lists(), url, jobs=1)
    numbers[:] = [2, 4, 3]
    report = again(ran, Lists(), url, from_step="source", jobs=1)

    assert report.ok
    assert ran == ["use 2", "use 4", "use 3"]
    assert seen == [[30, 10, 20], [20, 40, 30]]
    assert report.result("use") == [20, 40, 30]
    assert [task.name for task in report.tasks if task.step == "use"] == [
        "use[2]",
        "use[4]",
        "use[3]",
    ]


@main_stores
def test_only_some_steps_are_run(url: str, name: str, ran: list[str]) -> None:
    workflow = flow(ran, a=None, b=None, c=None, tidy={"always": True})
    report = again(ran, workflow, url, container=name, only=["a", "b"])
    with ptsflow.connect(url) as client:
        container = client.get_task_container(name)
        assert container is not None
        assert (container.is_complete, container.status) == (False, Status.PENDING)

    assert report.ok
    assert ran == ["a", "b"]
    assert statuses(report) == {
        "a": "done",
        "b": "done",
        "c": "pending",
        "tidy": "pending",
    }
    assert again(ran, workflow, url, container=name).ok
    assert ran == ["c", "tidy"]


def test_only_a_step_whose_needs_are_not_met_is_not_ok(
    url: str, ran: list[str]
) -> None:
    said: list[str] = []

    def listen(event: Event) -> None:
        if isinstance(event, Notice):
            said.append(event.text)

    workflow = flow(ran, a=None, b=None)
    report = ptsflow.run(workflow, url, only=["b"], listeners=[listen])

    assert not report.ok
    assert ran == []
    assert said == ["b cannot start: it waits for a, which is not done"]


def test_one_text_is_no_list_of_steps(url: str, ran: list[str]) -> None:
    with pytest.raises(UsageError) as caught:
        ptsflow.run(flow(ran, a=None), url, only="a")

    assert str(caught.value) == "only: expected a list of steps, found 'a'; write ['a']"


def test_a_list_whose_items_were_never_made_is_not_complete(
    url: str, ran: list[str]
) -> None:
    workflow = flow(ran, a=fail, use={"each": "a", "does": lambda item: item})
    ptsflow.run(workflow, url)
    with ptsflow.connect(url) as client:
        container = client.get_task_container("Flow")

        assert container is not None
        assert [task.is_complete for task in container.get_tasks()] == [True]
        assert not container.is_complete
