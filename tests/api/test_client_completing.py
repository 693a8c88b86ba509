"""When a task is complete, and when its container is."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from ptsflow import Status
from ptsflow.client import Container
from tests.api.conftest import only_task
from tests.stores.making import Ticker

AT = datetime(2011, 9, 30, 13, 5, 7, 123_000, tzinfo=UTC)
#: What the clock of these tests shows.
NOW = datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC)


def test_completing_a_task_ends_it_at_100_percent(
    container: Container, clock: Ticker
) -> None:
    container.add_task("download", percentage_complete=65)
    container.lease_next_task(60)
    clock.now += 1_234
    task = container.update_task("download", is_complete=True)

    assert only_task(container) == task
    assert (task.status, task.percentage_complete) == (Status.DONE, 100.0)
    assert task.task_ended_at == NOW + timedelta(milliseconds=1_234)
    assert (task.task_duration_ms, task.leased_till) == (1_234, None)


@pytest.mark.parametrize(
    "fields",
    [
        pytest.param({"percentage_complete": 40}, id="the percentage"),
        pytest.param({"task_ended_at": AT}, id="the end"),
        pytest.param({"task_duration_ms": 5}, id="the duration"),
        pytest.param({"leased_till": AT}, id="the lease"),
    ],
)
def test_what_is_given_with_is_complete_is_kept(
    container: Container, fields: dict[str, Any]
) -> None:
    container.add_task("download")
    container.lease_next_task(60)
    task = container.update_task("download", is_complete=True, **fields)

    assert {field: getattr(task, field) for field in fields} == fields


def test_a_task_can_be_added_complete(container: Container) -> None:
    task = container.add_task("download", is_complete=True)

    assert (task.status, task.percentage_complete) == (Status.DONE, 100.0)
    assert task.task_ended_at == NOW


def test_a_failed_task_is_complete(container: Container) -> None:
    container.add_task("download")
    task = container.update_task("download", is_complete=True, has_failed=True)

    assert (task.status, task.is_complete, task.has_failed) == ("failed", True, True)
    assert container.is_complete
    assert container.status is Status.FAILED


def test_a_complete_task_can_be_said_to_have_failed_and_not(
    container: Container,
) -> None:
    container.add_task("download", is_complete=True)
    failed = container.update_task("download", has_failed=True)
    fine = container.update_task("download", has_failed=False)

    assert (failed.status, fine.status) == (Status.FAILED, Status.DONE)


def test_a_task_opened_again_has_not_ended(container: Container) -> None:
    container.add_task("download", is_complete=True, has_failed=True)
    task = container.update_task("download", is_complete=False)

    assert only_task(container) == task
    assert (task.status, task.has_failed) == (Status.PENDING, False)
    assert (task.task_ended_at, task.task_duration_ms) == (None, None)
    assert not container.is_complete


def test_completing_a_complete_task_again_does_not_move_its_end(
    container: Container, clock: Ticker
) -> None:
    first = container.add_task("download", is_complete=True, percentage_complete=40)
    clock.now += 1_000
    second = container.update_task("download", is_complete=True)

    assert second.task_ended_at == first.task_ended_at
    assert (first.percentage_complete, second.percentage_complete) == (40.0, 100.0)


def test_a_container_is_complete_when_its_tasks_are(container: Container) -> None:
    seen = [container.is_complete]
    container.add_task("a")
    seen.append(container.is_complete)
    container.add_task("b", is_complete=True)
    seen.append(container.is_complete)
    container.update_task("a", is_complete=True)
    seen.append(container.is_complete)
    container.add_task("c")
    seen.append(container.is_complete)
    container.delete_task("c")
    seen.append(container.is_complete)
    for name in "ab":
        container.delete_task(name)
    seen.append(container.is_complete)

    assert seen == [True, False, False, True, False, True, True]


def test_a_container_is_as_far_as_its_tasks_are(container: Container) -> None:
    seen = [container.percentage_complete]
    container.add_task("a")
    container.add_task("b")
    seen.append(container.percentage_complete)
    container.update_task("a", percentage_complete=50)
    seen.append(container.percentage_complete)
    container.update_task("b", is_complete=True)
    seen.append(container.percentage_complete)
    container.update_task("a", is_complete=True, has_failed=True)
    seen.append(container.percentage_complete)

    assert seen == [100.0, 0.0, 25.0, 75.0, 100.0]


@pytest.mark.parametrize(
    ("tasks", "status"),
    [
        pytest.param([], Status.DONE, id="no tasks"),
        pytest.param([{}], Status.PENDING, id="a new one"),
        pytest.param([{"is_complete": True}], Status.DONE, id="a complete one"),
        pytest.param(
            [{"is_complete": True}, {"is_complete": True, "has_failed": True}],
            Status.FAILED,
            id="a failed one",
        ),
        pytest.param(
            [{"is_complete": True, "has_failed": True}, {}],
            Status.PENDING,
            id="a failed and a new one",
        ),
    ],
)
def test_the_status_of_a_container_is_that_of_its_tasks(
    container: Container, tasks: list[dict[str, Any]], status: Status
) -> None:
    for number, fields in enumerate(tasks):
        container.add_task(f"task {number}", **fields)

    assert container.status is status
