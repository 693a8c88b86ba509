"""What a worker takes from the queue, and what becomes of it."""

from __future__ import annotations

import random
import signal

import pytest

from ptsflow.core.model import ContainerRecord, Owner, Status
from ptsflow.core.work_queue import (
    Fate,
    QueueEntry,
    fate,
    in_order,
    is_orphaned,
    is_over,
    to_try,
)

OWNER = Owner(id="a", host="box", boot="b", pid=42, started=7, since=0)


def entry(uid: object, priority: int = 0, at: int = 0) -> QueueEntry:
    return QueueEntry(
        uid=str(uid), container=f"c{uid}", workflow="Feed", priority=priority, at=at
    )


@pytest.mark.parametrize(
    ("code", "is_stopping", "expected"),
    [
        *((code, False, Fate.OVER) for code in (0, 1, 2, 3, 4, 124, 130, 143)),
        (5, False, Fate.BUSY),
        *((code, False, Fate.BROKE_OFF) for code in (6, 75, -signal.SIGKILL, -11)),
        *((code, True, Fate.STOPPED) for code in (-9, -15, 129, 130, 143)),
        *((code, True, Fate.OVER) for code in (0, 1, 4)),
        (75, True, Fate.BROKE_OFF),
    ],
)
def test_the_exit_code_says_what_becomes_of_a_container(
    code: int,
    expected: Fate,
    is_stopping: bool,  # noqa: FBT001 - of a table
) -> None:
    assert fate(code, is_stopping=is_stopping) is expected


@pytest.mark.parametrize("status", Status)
def test_an_entry_is_over_when_its_container_is_done_or_failed(status: Status) -> None:
    record = ContainerRecord(uid="1", name="c1", status=status)

    assert is_over(entry(1), record) is (status in (Status.DONE, Status.FAILED))
    assert is_over(entry(2), record), "another container has the name now"
    assert is_over(entry(1), None)


def test_a_container_is_orphaned_if_it_is_running_and_nobody_has_it() -> None:
    left = ContainerRecord(uid="1", name="c", status=Status.RUNNING, owner=OWNER)

    assert is_orphaned(left, now=10)
    assert not is_orphaned(
        ContainerRecord(uid="1", name="c", status=Status.PENDING, owner=OWNER), now=10
    )
    held = ContainerRecord(
        uid="1", name="c", status=Status.RUNNING, owner=OWNER, leased_till=11
    )
    assert not is_orphaned(held, now=10)
    assert is_orphaned(held, now=11)


def test_the_first_of_one_priority_change_places_and_no_others_do() -> None:
    entries = in_order(
        [*(entry(n, at=n) for n in range(20)), entry("a", 1), entry("b", 1)]
    )
    chance = random.Random(7)  # noqa: S311 - no secret
    orders = [[e.uid for e in to_try(entries, chance.random)] for _ in range(20)]

    assert {tuple(order[:2]) for order in orders} == {("a", "b"), ("b", "a")}
    assert all(order[2:] == [str(n) for n in range(20)] for order in orders)
    rest = [[e.uid for e in to_try(entries[2:], chance.random)] for _ in range(60)]
    assert {order[0] for order in rest} == {str(n) for n in range(8)}
    assert all(order[8:] == [str(n) for n in range(8, 20)] for order in rest)
    assert to_try([], chance.random) == []
