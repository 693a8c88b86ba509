"""Several processes that use one container at once lose nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import pytest

import ptsflow
from ptsflow.client import Client, Container
from ptsflow.core.model import Status
from ptsflow.errors import ContainerNotFound, TaskExists, TaskNotFound
from tests.api.client_processes import SIZE, ClientProcesses, started_processes
from tests.api.conftest import shared_stores

pytestmark = shared_stores

COUNT = 20


@pytest.fixture(scope="module", name="processes")
def _processes() -> Iterator[ClientProcesses]:
    with started_processes() as started:
        yield started


@pytest.fixture
def container(url: str, name: str) -> Iterator[Container]:
    """Return the container on the clock that the processes have."""
    with ptsflow.connect(url) as client:
        yield client.get_or_create_task_container(name)[0]


def flat(lists: list[list[str]]) -> list[str]:
    return [entry for entries in lists for entry in entries]


def add_own(container: Container, me: int) -> None:
    for number in range(COUNT):
        container.add_task(f"{me} {number}", task_data=number)


def test_tasks_added_at_once_are_all_there_in_order(
    processes: ClientProcesses, container: Container, url: str
) -> None:
    processes.do(add_own, url, container.name)
    names = [task.name.split() for task in container.get_tasks()]
    of_each = {
        str(me): [int(number) for whose, number in names if whose == str(me)]
        for me in range(SIZE)
    }

    assert of_each == {str(me): list(range(COUNT)) for me in range(SIZE)}


def add_same(container: Container, me: int) -> list[str]:
    added = []
    for number in range(COUNT):
        try:
            container.add_task(f"task {number}", task_data=me)
        except TaskExists:
            continue
        added.append(f"task {number}")
    return added


def test_of_tasks_of_one_name_added_at_once_one_is_added(
    processes: ClientProcesses, container: Container, url: str
) -> None:
    added = processes.do(add_same, url, container.name)
    winners = {name: me for me, names in enumerate(added) for name in names}

    assert Counter(flat(added)) == {f"task {n}": 1 for n in range(COUNT)}
    assert {task.name: task.task_data for task in container.get_tasks()} == winners


FIELDS = ("processing_data", "status_text", "error", "result")


def update_own_field(container: Container, me: int) -> list[object]:
    """Write one field again and again; return what was not there when read back."""
    lost: list[object] = []
    for number in range(COUNT):
        container.update_task("shared", **{FIELDS[me]: f"{me} {number}"})
        task = container.get_task("shared")
        found = None if task is None else getattr(task, FIELDS[me])
        if found != f"{me} {number}":
            lost.append((number, found))
    return lost


def test_fields_of_one_task_changed_at_once_are_all_kept(
    processes: ClientProcesses, container: Container, url: str
) -> None:
    container.add_task("shared", task_data={"kept": True})
    lost = processes.do(update_own_field, url, container.name)
    (task,) = container.get_tasks()

    assert lost == [[]] * SIZE
    assert [getattr(task, field) for field in FIELDS] == [
        f"{me} {COUNT - 1}" for me in range(SIZE)
    ]
    assert task.task_data == {"kept": True}


def lease_all(container: Container, me: int) -> list[str]:
    """Work on tasks until there are none; say who had which."""
    leased = []
    while (task := container.lease_next_task(seconds=600)) is not None:
        leased.append(task.name)
        if task.task_data:
            container.update_task(task.name, is_complete=True, result=me)
    return leased


def test_each_task_is_leased_by_one(
    processes: ClientProcesses, container: Container, url: str
) -> None:
    for number in range(COUNT):
        # Half of them are never completed: their leases alone keep the others off.
        container.add_task(f"task {number}", task_data=number % 2 == 0)
    leased = processes.do(lease_all, url, container.name)
    winner = {name: me for me, names in enumerate(leased) for name in names}
    tasks = container.get_tasks()

    assert Counter(flat(leased)) == {f"task {n}": 1 for n in range(COUNT)}
    assert [task.invoke_count for task in tasks] == [1] * COUNT
    assert all(task.result == winner[task.name] for task in tasks if task.is_complete)
    assert sum(task.is_complete for task in tasks) == COUNT // 2


def add_or_delete(container: Container, me: int) -> list[str]:
    """Two add tasks; the others delete whatever they find."""
    if me < 2:
        add_own(container, me)
        return []
    deleted: list[str] = []
    for _ in range(COUNT):
        tasks = [container.delete_task(task.name) for task in container.get_tasks()]
        deleted += [task.name for task in tasks if task is not None]
    return deleted


def test_what_was_added_is_there_or_was_deleted_by_one(
    processes: ClientProcesses, container: Container, url: str
) -> None:
    answers = processes.do(add_or_delete, url, container.name)
    left = [task.name for task in container.get_tasks()]
    expected = [f"{me} {number}" for me in range(2) for number in range(COUNT)]

    assert sorted([*left, *flat(answers)]) == sorted(expected)


def rename_to_one(container: Container, me: int) -> list[str]:
    """Rename own tasks to names that the others want as well."""
    won = []
    for number in range(COUNT):
        try:
            container.update_task(f"{me} {number}", name=f"task {number}")
        except TaskExists:
            continue
        won.append(f"task {number}")
    return won


def test_of_tasks_renamed_to_one_name_at_once_one_is_and_none_is_lost(
    processes: ClientProcesses, container: Container, url: str
) -> None:
    processes.do(add_own, url, container.name)
    won = processes.do(rename_to_one, url, container.name)
    tasks = container.get_tasks()

    assert Counter(flat(won)) == {f"task {n}": 1 for n in range(COUNT)}
    assert len(tasks) == SIZE * COUNT
    assert all(task.name.split()[1] == str(task.task_data) for task in tasks)


def take_away(container: Container, me: int) -> list[str]:
    """Rename tasks that the others rename as well."""
    won = []
    for number in range(COUNT):
        try:
            container.update_task(f"task {number}", name=f"{me} {number}")
        except TaskNotFound:
            continue
        won.append(f"{me} {number}")
    return won


def test_of_those_who_rename_one_task_at_once_one_does(
    processes: ClientProcesses, container: Container, url: str
) -> None:
    for number in range(COUNT):
        container.add_task(f"task {number}")
    won = processes.do(take_away, url, container.name)

    assert sorted(flat(won)) == sorted(task.name for task in container.get_tasks())
    assert len(flat(won)) == COUNT


def complete_or_update(container: Container, me: int) -> None:
    for number in range(COUNT):
        if me == 0:
            container.update_task(f"task {number}", is_complete=True)
        else:
            container.update_task(f"task {number}", percentage_complete=me)


def test_a_task_completed_stays_complete_whoever_writes_its_percentage(
    processes: ClientProcesses, container: Container, url: str
) -> None:
    for number in range(COUNT):
        container.add_task(f"task {number}")
    processes.do(complete_or_update, url, container.name)

    assert {task.status for task in container.get_tasks()} == {Status.DONE}
    assert container.is_complete


def make_or_delete(container: Container, me: int) -> list[str]:
    """Two make the container again and add to it; the others delete it."""
    client = Client(container._store)
    told: list[str] = []
    for number in range(COUNT):
        if me >= 2:
            told.append(f"deleted {client.delete_task_container(container.name)}")
            continue
        made, _ = client.get_or_create_task_container(container.name)
        try:
            made.add_task(f"{me} {number}")
        except ContainerNotFound:
            told.append("gone")
        else:
            told.append("added")
    return told


def test_a_container_deleted_while_others_add_to_it_is_there_whole_or_not(
    processes: ClientProcesses, container: Container, url: str
) -> None:
    told = Counter(flat(processes.do(make_or_delete, url, container.name)))
    with ptsflow.connect(url) as client:
        left = client.get_task_container(container.name)
        names = [] if left is None else [task.name for task in left.get_tasks()]
        client.delete_task_container(container.name)
        successor, was_made = client.get_or_create_task_container(container.name)

        assert told["added"] + told["gone"] == 2 * COUNT
        assert told["deleted True"] >= 1
        assert len(names) <= told["added"]
        assert was_made
        assert successor.get_tasks() == []
