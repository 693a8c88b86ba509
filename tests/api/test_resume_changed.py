"""The same container again: what is done stays done, and what changed is noticed."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any, cast

import pytest

import ptsflow
from ptsflow import Finish, Retry, Skip, Status, TaskHandle, Workflow, step
from ptsflow.client import Client
from ptsflow.errors import ContainerMismatch
from ptsflow.events import Event, Notice
from ptsflow.report import Report
from ptsflow.stores.base import Store
from tests.api.conftest import main_stores
from tests.api.test_run_failures import Counting, counting

__all__ = ["counting"]

Body = Callable[..., object]


@pytest.fixture
def kind(request: pytest.FixtureRequest) -> str:
    """Have all of these on SQLite, unless a test says otherwise."""
    return getattr(request, "param", "sqlite")


@pytest.fixture
def ran() -> list[str]:
    """Hold the names of the bodies that ran since it was last cleared."""
    return []


def flow(ran: list[str], **steps: Body | dict[str, Any] | None) -> Workflow:
    """Make a workflow of steps that note that they ran; all are called Flow."""
    body: dict[str, Any] = {"__module__": __name__}
    for name, given in steps.items():
        options: dict[str, Any] = given if isinstance(given, dict) else {"does": given}
        options = dict(options)
        does = options.pop("does", None)
        for option in ("after", "each"):
            if option in options:
                options[option] = body[options[option]]
        body[name] = step(**options)(_noting(ran, name, does))
    made: Workflow = type("Flow", (Workflow,), body)()
    return made


def _noting(ran: list[str], name: str, does: Body | None) -> Any:
    def plain(_self: Workflow) -> object:
        ran.append(name)
        return None if does is None else does()

    def item(_self: Workflow, item: object) -> object:
        ran.append(f"{name} {item}")
        return None if does is None else does(item)

    takes_item = does is not None and bool(does.__code__.co_argcount)
    made: Any = item if takes_item else plain
    made.__name__ = name
    return made


def again(ran: list[str], workflow: Workflow, url: str, **options: Any) -> Report:
    """Run once more; `ran` holds what that ran."""
    ran.clear()
    return ptsflow.run(workflow, url, **options)


def fail() -> None:
    raise ptsflow.Fail("no")


def statuses(report: Report) -> dict[str, str]:
    return {task.name: str(task.status) for task in report.tasks}


# -- nothing left to do --------------------------------------------------------------


@main_stores
def test_a_complete_container_is_left_as_it_is(
    url: str, name: str, ran: list[str]
) -> None:
    class Complete(Workflow):
        @step
        def numbers(self) -> list[int]:
            ran.append("numbers")
            return [1, 2]

        @step(each=numbers)
        def use(self, number: int) -> int:
            ran.append(f"use {number}")
            return number

        @step(optional=True)
        def skipped(self) -> None:
            raise Skip("no need")

        @step(always=True)
        def tidy(self) -> None:
            ran.append("tidy")

    first = ptsflow.run(Complete(), url, name)
    before = first.tasks
    ran.clear()
    second = ptsflow.run(Complete(), url, name)

    assert second.ok
    assert ran == []
    assert second.tasks == before
    assert second.result("use") == [1, 2]


def test_a_run_of_a_complete_container_writes_no_task(counting: Counting) -> None:
    workflow = flow(
        [], a=None, b=lambda: [1], c={"each": "b", "does": lambda item: item}
    )
    client = Client(cast("Store", counting))
    ptsflow.run(workflow, client)
    counting.committed = 0
    ptsflow.run(workflow, client)

    assert counting.committed == 0
    assert counting.touched == []


def test_accepted_failures_of_a_complete_container_are_not_tried_again(
    url: str, ran: list[str]
) -> None:
    workflow = flow(
        ran,
        numbers=lambda: [1, 2],
        use={"each": "numbers", "tolerate": 1, "retry": 0, "does": _no_two},
        extra={"optional": True, "does": fail},
        tidy={"always": True},
    )
    first = ptsflow.run(workflow, url)
    second = again(ran, workflow, url)

    assert (first.ok, second.ok) == (True, True)
    assert ran == []
    assert first.tasks == second.tasks


def test_a_failure_beside_a_finish_is_not_tried_again(url: str, ran: list[str]) -> None:
    def finish() -> None:
        raise Finish("nothing new")

    workflow = flow(
        ran,
        a={"parallel": True, "does": fail},
        b={"parallel": True, "does": finish},
        last=None,
    )
    first = ptsflow.run(workflow, url, jobs=1)
    second = again(ran, workflow, url)

    assert (first.ok, second.ok) == (True, True)
    assert ran == []
    assert statuses(second) == {"a": "failed", "b": "done", "last": "skipped"}
    assert first.tasks == second.tasks


def _no_two(number: int) -> int:
    if number == 2:
        raise OSError("no two")
    return number


# -- other steps ---------------------------------------------------------------------


@pytest.fixture
def notices() -> list[str]:
    return []


@pytest.fixture
def listeners(notices: list[str]) -> list[Callable[[Event], None]]:
    def note(event: Event) -> None:
        if isinstance(event, Notice):
            notices.append(event.text)

    return [note]


def test_an_added_step_runs_and_what_is_done_does_not(url: str, ran: list[str]) -> None:
    ptsflow.run(flow(ran, a=None, c=None), url)
    report = again(ran, flow(ran, a=None, b=None, c=None, d=None), url)

    assert report.ok
    assert ran == ["b", "d"]
    assert [task.name for task in report.tasks] == ["a", "b", "c", "d"]


def test_a_removed_step_is_reported_and_ignored(
    url: str, ran: list[str], notices: list[str], listeners: Any
) -> None:
    ptsflow.run(flow(ran, a=None, gone=None, b=None), url)
    report = again(ran, flow(ran, a=None, b=None), url, listeners=listeners)

    assert report.ok
    assert ran == []
    assert notices == ["not in the workflow any more, and ignored: gone"]


def test_a_removed_step_that_failed_fails_nothing(
    url: str, ran: list[str], notices: list[str], listeners: Any
) -> None:
    first = ptsflow.run(flow(ran, a=None, gone=fail, b=None), url)
    report = again(ran, flow(ran, a=None, b=None), url, listeners=listeners)

    assert (first.ok, report.ok) == (False, True)
    assert ran == ["b"]
    assert report.failed == []
    assert notices == ["not in the workflow any more, and ignored: gone"]


def test_a_removed_step_that_was_open_leaves_the_container_complete(
    url: str, ran: list[str]
) -> None:
    ptsflow.run(flow(ran, a=fail, gone=None), url)
    report = again(ran, flow(ran, a=None), url)

    assert report.ok
    assert statuses(report) == {"a": "done", "gone": "skipped"}
    with ptsflow.connect(url) as client:
        container = client.get_task_container("Flow")
        assert container is not None
        assert (container.is_complete, container.percentage_complete) == (True, 100.0)


def test_reordered_steps_are_not_repeated_and_listed_in_the_new_order(
    url: str, ran: list[str]
) -> None:
    ptsflow.run(flow(ran, a=None, b=None, c=fail), url)
    report = again(ran, flow(ran, c=None, b=None, a=None), url)

    assert report.ok
    assert ran == ["c"]
    assert [task.name for task in report.tasks] == ["c", "b", "a"]


def test_a_renamed_step_is_a_new_one(url: str, ran: list[str]) -> None:
    ptsflow.run(flow(ran, a=None, b=None), url)
    report = again(ran, flow(ran, a=None, bee=None), url)

    assert report.ok
    assert ran == ["bee"]


def test_a_step_that_fans_out_now_is_run_again(url: str, ran: list[str]) -> None:
    ptsflow.run(flow(ran, numbers=lambda: [1, 2], use=None, last=fail), url)
    fans = flow(
        ran,
        numbers=lambda: [1, 2],
        use={"each": "numbers", "does": lambda item: item * 2},
        last=None,
    )
    report = again(ran, fans, url)

    assert report.ok
    assert sorted(ran) == ["last", "use 1", "use 2"]
    assert report.result("use") == [2, 4]


def test_a_step_that_fans_out_no_more_is_run_again(url: str, ran: list[str]) -> None:
    fans = flow(
        ran,
        numbers=lambda: [1, 2],
        use={"each": "numbers", "does": lambda item: item * 2},
        last=fail,
    )
    ptsflow.run(fans, url)
    report = again(
        ran, flow(ran, numbers=lambda: [1, 2], use=lambda: "all", last=None), url
    )

    assert report.ok
    assert ran == ["use", "last"]
    assert report.result("use") == "all"


def test_items_that_have_other_keys_now_are_run_again(url: str, ran: list[str]) -> None:
    def fans(key: Body, last: Body | None) -> Workflow:
        return flow(
            ran,
            numbers=lambda: [1, 2],
            use={"each": "numbers", "key": key, "does": lambda item: item * 2},
            last=last,
        )

    ptsflow.run(fans(lambda item: f"a{item}", fail), url)
    report = again(ran, fans(lambda item: f"b{item}", None), url)

    assert report.ok
    assert sorted(ran) == ["last", "use 1", "use 2"]
    assert report.result("use") == [2, 4]


# -- other versions ------------------------------------------------------------------


def test_another_version_has_the_step_and_what_waits_for_it_run_again(
    url: str, ran: list[str]
) -> None:
    def versioned(version: int) -> Workflow:
        return flow(
            ran,
            a={"parallel": True},
            b={"parallel": True, "version": version},
            behind_a={"after": "a"},
            behind_b={"after": "b"},
            last=None,
        )

    ptsflow.run(versioned(1), url)
    changed = again(ran, versioned(2), url)
    assert changed.ok
    assert ran == ["b", "behind_b", "last"]
    again(ran, versioned(2), url)
    assert ran == []


def test_another_version_has_items_run_again_and_their_chains(
    url: str, ran: list[str]
) -> None:
    def versioned(version: str) -> Workflow:
        return flow(
            ran,
            numbers=lambda: [1, 2],
            use={"each": "numbers", "version": version, "does": lambda item: item},
            chained={"each": "use", "does": lambda item: item},
        )

    ptsflow.run(versioned("1"), url)
    report = again(ran, versioned("2"), url)

    assert report.ok
    assert sorted(ran) == ["chained 1", "chained 2", "use 1", "use 2"]


def test_a_step_that_skipped_itself_runs_again_in_another_version(
    url: str, ran: list[str]
) -> None:
    def skip() -> None:
        raise Skip("not in this version")

    ptsflow.run(flow(ran, a={"version": 1, "does": skip}), url)
    again(ran, flow(ran, a={"version": 1, "does": skip}), url)
    same = list(ran)
    report = again(ran, flow(ran, a={"version": 2}), url)

    assert same == []
    assert ran == ["a"]
    assert statuses(report) == {"a": "done"}


# -- other parameters ----------------------------------------------------------------


class Hourly(Workflow):
    container = "hourly"
    hour: datetime
    server: str = "a"

    @step
    def work(self) -> str:
        return self.server


HOUR = datetime(2011, 9, 30, 13, tzinfo=UTC)


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


# -- fresh, from, only ---------------------------------------------------------------


@main_stores
def test_fresh_forgets_everything(url: str, name: str, ran: list[str]) -> None:
    workflow = flow(ran, a=None, b=fail)
    for _ in range(2):
        ptsflow.run(workflow, url, name)
    report = again(ran, workflow, url, container=name, fresh=True)

    assert ran == ["a", "b"]
    assert [task.invoke_count for task in report.tasks] == [1, 1]


def test_fresh_takes_other_parameters(url: str, name: str) -> None:
    ptsflow.run(Hourly(hour=HOUR), url, name)
    report = ptsflow.run(Hourly(hour=HOUR, server="b"), url, name, fresh=True)

    assert report.result("work") == "b"
    with pytest.raises(ContainerMismatch, match="server was b, is a"):
        ptsflow.run(Hourly(hour=HOUR), url, name)


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
    report = ptsflow.run(flow(ran, a=None, b=None), url, only=["b"])

    assert not report.ok
    assert ran == []


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


# -- what clients do between runs ----------------------------------------------------


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
