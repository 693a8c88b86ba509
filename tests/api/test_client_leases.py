"""Tasks are checked out to one worker at a time, until their leases end."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

import ptsflow
from ptsflow import Status
from ptsflow.client import Container
from tests.api.conftest import only_task
from tests.stores.making import Ticker

#: What the clock of these tests shows.
NOW = datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC)


def test_the_next_task_is_the_first_that_is_not_complete(container: Container) -> None:
    container.add_task("a", is_complete=True)
    container.add_task("b", leased_till=NOW + timedelta(hours=1))
    container.add_task("c")
    following = container.get_next_task()

    assert following is not None
    assert following.name == "b"
    assert following.invoke_count == 0


def test_there_is_no_next_task_where_all_are_complete(container: Container) -> None:
    before = container.get_next_task()
    container.add_task("a", is_complete=True)
    container.add_task("b", is_complete=True, has_failed=True)

    assert before is None
    assert container.get_next_task() is None
    assert container.lease_next_task() is None


def test_leasing_a_task_counts_an_invocation(
    container: Container, clock: Ticker
) -> None:
    container.add_task("download", task_data={"url": "x"}, invoke_count=4)
    clock.now += 5
    task = container.lease_next_task(seconds=2.5)

    assert task is not None
    assert only_task(container) == task
    assert (task.invoke_count, task.task_data) == (5, {"url": "x"})
    assert task.last_invoked_at == NOW + timedelta(milliseconds=5)
    assert task.leased_till == NOW + timedelta(milliseconds=2_505)
    assert task.status is Status.RUNNING
    assert container.status is Status.RUNNING


def test_a_leased_task_is_passed_over_until_its_lease_ends(
    container: Container, clock: Ticker
) -> None:
    for name in "abc":
        container.add_task(name)
    container.update_task("b", is_complete=True)

    def leased() -> tuple[str, int] | None:
        task = container.lease_next_task(60)
        return None if task is None else (task.name, task.invoke_count)

    assert [leased(), leased(), leased()] == [("a", 1), ("c", 1), None]
    clock.now += 59_999
    assert leased() is None
    clock.now += 1
    assert [leased(), leased(), leased()] == [("a", 2), ("c", 2), None]


def test_leases_are_measured_by_the_clock_of_the_store(url: str, name: str) -> None:
    with ptsflow.connect(url) as client:
        container, _ = client.get_or_create_task_container(name)
        container.add_task("download")
        began = time.monotonic()
        first = container.lease_next_task(1)
        while (again := container.lease_next_task(1)) is None:
            assert time.monotonic() < began + 60
        took = time.monotonic() - began

    assert first is not None
    assert again.invoke_count == 2
    assert took > 0.99  # the store's clock counts milliseconds


def test_a_lease_that_is_given_back_can_be_taken_at_once(container: Container) -> None:
    container.add_task("download")
    container.lease_next_task()
    given_back = container.update_task("download", leased_till=None)
    again = container.lease_next_task()

    assert given_back.status is Status.PENDING
    assert again is not None
    assert (again.name, again.invoke_count) == ("download", 2)


def test_a_lease_can_be_prolonged(container: Container, clock: Ticker) -> None:
    container.add_task("download")
    container.lease_next_task(60)
    container.update_task("download", leased_till=NOW + timedelta(minutes=5))
    clock.now += 299_999

    assert container.lease_next_task() is None
