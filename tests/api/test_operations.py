"""What a person does to a container between runs: `reset`, `retry`, `find`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from msgspec.structs import replace

import ptsflow
from ptsflow import Finish, Status, TaskHandle, Workflow, step
from ptsflow.client import Client, admin
from ptsflow.core.model import Change, ContainerRecord
from ptsflow.errors import ContainerBusy, ContainerNotFound, TaskNotFound
from ptsflow.host.process_identity import this_process
from ptsflow.stores.base import Store
from ptsflow.testing import ManualClock, run_inline
from tests.support.containers import container_of

#: What the bodies of the workflow below do, by name of the task; else they succeed.
Bodies = dict[str, BaseException]


@pytest.fixture
def client(url: str) -> Iterator[Client]:
    with ptsflow.connect(url) as opened:
        yield opened


@pytest.fixture
def bodies() -> Bodies:
    return {}


@pytest.fixture
def ran() -> list[str]:
    return []


@pytest.fixture
def workflow(bodies: Bodies, ran: list[str]) -> Workflow:
    def body(task: TaskHandle) -> None:
        ran.append(task.name)
        task.checkpoint("saved")
        if task.name in bodies:
            raise bodies[task.name]

    class Feed(Workflow):
        @step(retry=0)
        def check(self, task: TaskHandle) -> list[str]:
            body(task)
            return ["a", "b"]

        @step(each=check, retry=0)
        def load(self, name: str, task: TaskHandle) -> str:
            body(task)
            return name

        @step(each=load, retry=0)
        def index(self, name: str, task: TaskHandle) -> str:
            body(task)
            return name

        @step(after=check, retry=0)
        def beside(self, task: TaskHandle) -> None:
            body(task)

        @step(retry=0)
        def verify(self, task: TaskHandle) -> None:
            body(task)

        @step(always=True, retry=0)
        def tidy(self, task: TaskHandle) -> None:
            body(task)

    return Feed()


ALL = [
    "check",
    "load[a]",
    "load[b]",
    "index[a]",
    "index[b]",
    "beside",
    "verify",
    "tidy",
]


def record_of(client: Client, name: str) -> ContainerRecord:
    record = client.store.container(name)
    assert record is not None
    return record


# -- reset ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "names"),
    [
        pytest.param({}, ALL, id="everything"),
        pytest.param({"step": "beside"}, ["beside"], id="one step alone"),
        pytest.param(
            {"step": "beside", "with_downstream": True},
            ["beside", "verify", "tidy"],
            id="one step and what waits for it",
        ),
        pytest.param({"step": "load"}, ["load[a]", "load[b]"], id="a fan-out alone"),
        pytest.param(
            {"step": "load", "with_downstream": True},
            ["load[a]", "load[b]", "index[a]", "index[b]", "verify", "tidy"],
            id="a fan-out and what waits for it",
        ),
        pytest.param({"step": "load[b]"}, ["load[b]"], id="one item alone"),
    ],
)
def test_what_is_reset_is_run_again(
    client: Client,
    name: str,
    workflow: Workflow,
    ran: list[str],
    options: dict[str, Any],
    names: list[str],
) -> None:
    run_inline(workflow, client=client, container=name)
    ran.clear()
    listed = admin.reset(client.store, record_of(client, name), **options)
    container = container_of(client, name)
    forgotten = [task for task in container.get_tasks() if task.name in names]
    status = container.status
    report = run_inline(workflow, client=client, container=name)

    assert listed == names
    assert status is Status.PENDING
    assert {(t.status, t.result, t.processing_data) for t in forgotten} == {
        (Status.PENDING, None, None)
    }
    assert {(t.percentage_complete, t.invoke_count) for t in forgotten} == {(0.0, 1)}
    assert report.ok
    assert sorted(set(ran) - {"tidy"}) == sorted(set(names) - {"tidy"})
    assert "tidy" in ran


def test_a_reset_of_nothing_changes_nothing(client: Client, name: str) -> None:
    container, _ = client.get_or_create_task_container(name)
    container.add_task("a", is_complete=True)
    container.add_task("b")
    before = record_of(client, name)
    listed = [
        admin.reset(client.store, before, step="b"),
        admin.retry(client.store, before),
    ]
    after = record_of(client, name)

    assert listed == [[], []]
    assert after == replace(before, fence=2)
    assert container.get_tasks()[0].is_complete


def test_reset_forgets_what_a_client_did_but_not_what_the_task_needs(
    client: Client, name: str
) -> None:
    container, _ = client.get_or_create_task_container(name)
    container.add_task("a", task_data=1, processing_data=2, invoke_count=3)
    container.lease_next_task()
    admin.reset(client.store, record_of(client, name))
    (task,) = container.get_tasks()

    assert (task.status, task.leased_till) == (Status.PENDING, None)
    assert (task.task_data, task.processing_data, task.invoke_count) == (1, None, 4)


@pytest.mark.parametrize(
    ("step_name", "hint"),
    [
        pytest.param("lod", " (did you mean 'load'?)", id="near a step"),
        pytest.param("load[z]", " (did you mean 'load[a]'?)", id="near an item"),
        pytest.param("zzz", "", id="near nothing"),
    ],
)
def test_what_is_not_there_cannot_be_reset(
    client: Client, name: str, workflow: Workflow, step_name: str, hint: str
) -> None:
    run_inline(workflow, client=client, container=name)
    before = record_of(client, name)

    with pytest.raises(TaskNotFound) as refused:
        admin.reset(client.store, before, step=step_name)
    assert str(refused.value) == (
        f"container {name!r}: there is no step or task {step_name!r}{hint}; it has "
        "check, load, index, beside, verify, tidy"
    )
    assert record_of(client, name) == replace(before, fence=before.fence + 1)


@pytest.mark.parametrize("operation", [admin.reset, admin.retry])
def test_what_a_live_runner_holds_is_left_alone(
    client: Client,
    name: str,
    workflow: Workflow,
    bodies: Bodies,
    operation: Callable[[Store, ContainerRecord], object],
) -> None:
    bodies["verify"] = OSError("no")
    before = run_inline(workflow, client=client, container=name).tasks
    record = record_of(client, name)
    # This process, so that it is known to be alive.
    assert client.store.claim(record.uid, this_process(client.store.now), 60_000)

    with pytest.raises(ContainerBusy, match="is run by pid "):
        operation(client.store, record)
    assert container_of(client, name).get_tasks() == before


# -- retry ---------------------------------------------------------------------------


def test_retry_gives_what_failed_a_fresh_budget(
    client: Client, name: str, workflow: Workflow, bodies: Bodies, ran: list[str]
) -> None:
    bodies["load[a]"] = OSError("no route")
    first = run_inline(workflow, client=client, container=name)
    ran.clear()
    bodies.clear()
    listed = admin.retry(client.store, record_of(client, name))
    container = container_of(client, name)
    task = container.get_task("load[a]")
    report = run_inline(workflow, client=client, container=name)

    assert first.failed == listed == ["load[a]"]
    assert container.status is Status.PENDING
    assert task is not None
    assert (task.status, task.processing_data) == (Status.PENDING, "saved")
    assert str(task.error).startswith("OSError: no route (")
    assert report.ok
    assert ran == ["load[a]", "index[a]", "verify", "tidy"]


def test_retry_ends_a_wait(client: Client, name: str) -> None:
    attempts: list[int] = []

    class Waiting(Workflow):
        @step(retry=0)
        def work(self, task: TaskHandle) -> None:
            attempts.append(task.attempt)
            if len(attempts) == 1:
                raise OSError("not posted")

    run_inline(Waiting(), client=client, container=name)
    record = record_of(client, name)
    (failed,) = client.store.tasks(record.uid)
    waits = {"status": Status.WAITING, "due": 2**42, "version": failed.version + 1}
    client.store.commit(
        record.uid, [Change(failed, replace(failed, **waits))], fence=None
    )
    listed = admin.retry(client.store, record)
    (task,) = container_of(client, name).get_tasks()
    clock = ManualClock()

    assert listed == ["work"]
    assert task.status is Status.PENDING
    assert run_inline(Waiting(), client=client, container=name, clock=clock).ok
    assert attempts == [1, 1]
    assert clock.now == ManualClock().now


def test_retry_leaves_what_a_finish_made_needless(client: Client, name: str) -> None:
    class Early(Workflow):
        @step(parallel=True, retry=0)
        def bad(self) -> None:
            raise OSError("no")

        @step(parallel=True)
        def check(self) -> None:
            raise Finish("nothing new")

        @step
        def rest(self) -> None: ...

    first = run_inline(Early(), client=client, container=name)
    before = record_of(client, name)
    listed = admin.retry(client.store, before)
    container = container_of(client, name)

    assert first.ok
    assert listed == []
    assert container.get_tasks() == first.tasks
    assert (container.status, container.is_complete) == (Status.DONE, True)


def test_a_step_reset_after_a_finish_runs_and_the_rest_with_it(
    client: Client, name: str
) -> None:
    ran: list[str] = []
    is_new = False

    class Early(Workflow):
        @step
        def check(self) -> None:
            ran.append("check")
            if not is_new:
                raise Finish("nothing new")

        @step
        def load(self) -> None:
            ran.append("load")

    run_inline(Early(), client=client, container=name)
    is_new = True
    admin.reset(client.store, record_of(client, name), step="check")
    report = run_inline(Early(), client=client, container=name)

    assert report.ok
    assert ran == ["check", "check", "load"]


# -- find ----------------------------------------------------------------------------


def test_a_container_is_found_by_a_part_of_its_name(client: Client, name: str) -> None:
    for hour in (12, 13):
        client.get_or_create_task_container(f"{name}:20110930T{hour}")
    found = admin.find(client.store, f"{name}:20110930T13")

    assert found.name == f"{name}:20110930T13"
    assert admin.find(client.store, f"{name[5:]}:20110930T13") == found


def test_a_name_that_is_a_part_of_another_is_found(client: Client, name: str) -> None:
    client.get_or_create_task_container(f"{name} more")
    client.get_or_create_task_container(name)

    assert admin.find(client.store, name).name == name


def test_a_part_of_several_names_is_not_enough(client: Client, name: str) -> None:
    for number in range(97):
        client.get_or_create_task_container(f"{name} {number}")

    with pytest.raises(ContainerNotFound) as refused:
        admin.find(client.store, name)
    assert str(refused.value) == (
        f"{name!r} is part of 97 names in {client.url}: "
        f"{', '.join(f'{name} {number}' for number in range(5))} and 92 more; say more of "
        "it"
    )


def test_a_name_that_there_is_not_is_said_with_the_store(
    client: Client, name: str
) -> None:
    client.get_or_create_task_container(f"{name}-x")

    with pytest.raises(ContainerNotFound) as refused:
        admin.find(client.store, f"{name}-y")
    assert str(refused.value) == (
        f"no container {name + '-y'!r} in {client.url} (did you mean {name + '-x'!r}?); "
        "see ptsflow list"
    )
