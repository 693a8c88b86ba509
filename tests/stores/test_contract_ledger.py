"""The ledger of attempts that ended, on every kind of store."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from ptsflow.core.model import LEDGER_LENGTH, Attempt, Ending, Status
from ptsflow.errors import Conflict, ContainerBusy, LeaseLost
from ptsflow.stores.base import Store
from tests.stores.making import (
    LEASE,
    attempt,
    drop,
    ended,
    filled,
    held,
    new,
    one,
    owner,
    swap,
)


def fail(store: Store, uid: str, name: str, number: int, **fields: object) -> None:
    """Commit the end of an attempt under the first fence."""
    change = swap(one(store, uid, name), fence=1, invoke_count=number)
    store.commit(uid, [ended(change, number, **fields)], fence=1)


def numbers(store: Store, uid: str, name: str) -> list[int]:
    return [each.number for each in store.attempts(uid, name)]


def test_an_attempt_is_kept_as_it_ended(store: Store, other: Store) -> None:
    uid = filled(store, "load")
    held(store, uid)
    told = Attempt(
        number=1,
        began_at=1_700_000_000_123,
        ended_at=1_700_000_004_567,
        ending=Ending.CRASHED,
        error_type="OSError",
        error="no route to $host.name\0 ☃",
        traceback='  File "load.py", line 3, in load\n',
        ran_by="box:42",
    )
    change = swap(one(store, uid, "load"), fence=1, status=Status.WAITING)
    store.commit(uid, [replace(change, ended=told)], fence=1)

    assert store.attempts(uid, "load") == [told]
    assert other.attempts(uid, "load") == [told]


@pytest.mark.parametrize("ending", list(Ending))
def test_every_ending_is_kept(store: Store, ending: Ending) -> None:
    uid = filled(store, "load")
    held(store, uid)
    fail(store, uid, "load", 1, ending=ending)

    assert store.attempts(uid, "load") == [attempt(1, ending=ending)]


def test_what_did_not_end_anything_is_not_in_the_ledger(store: Store) -> None:
    uid = filled(store, "load")
    held(store, uid)
    store.commit(uid, [swap(one(store, uid, "load"), fence=1)], fence=1)

    assert store.attempts(uid, "load") == []
    assert store.attempts(uid, "absent") == []
    assert store.attempts("nobody's", "load") == []


def test_attempts_are_added_at_the_end(store: Store) -> None:
    uid = filled(store, "load", "unpack")
    held(store, uid)
    for number in (1, 2, 5):
        fail(store, uid, "load", number)
    fail(store, uid, "unpack", 3)

    assert numbers(store, uid, "load") == [1, 2, 5]
    assert numbers(store, uid, "unpack") == [3]


def test_the_last_attempts_are_kept(store: Store) -> None:
    uid = filled(store, "load")
    held(store, uid)
    made = [3 * number for number in range(1, LEDGER_LENGTH + 4)]
    for number in made:
        fail(store, uid, "load", number)

    assert numbers(store, uid, "load") == made[3:]


def test_of_two_entries_of_a_number_the_later_is_kept(store: Store) -> None:
    uid = filled(store, "load")
    held(store, uid)
    for number, error in ((1, "a"), (2, "b"), (2, "c"), (3, "d")):
        fail(store, uid, "load", number, error=error)

    found = [(each.number, each.error) for each in store.attempts(uid, "load")]
    assert found == [(1, "a"), (2, "c"), (3, "d")]


def test_a_batch_that_is_committed_again_enters_nothing_twice(store: Store) -> None:
    uid = filled(store, "load", "unpack")
    held(store, uid)
    load, unpack = store.tasks(uid)
    batch = [
        ended(swap(load, fence=1), 1),
        ended(swap(unpack, fence=1, name="untar"), 4),
        ended(new("late", fence=1), 7),
    ]
    for _ in range(2):
        store.commit(uid, batch, fence=1)

    assert numbers(store, uid, "load") == [1]
    assert numbers(store, uid, "untar") == [4]
    assert numbers(store, uid, "late") == [7]


def test_tasks_that_end_alike_each_get_their_entry(store: Store) -> None:
    names = [f"t{i}" for i in range(10)]
    uid = filled(store, *names)
    held(store, uid)
    batch = [
        ended(swap(task, fence=1, status=Status.WAITING), 1 + place // 5)
        for place, task in enumerate(store.tasks(uid))
    ]
    store.commit(uid, batch, fence=1)

    assert [numbers(store, uid, name) for name in names] == [[1]] * 5 + [[2]] * 5


def test_several_ends_of_a_task_may_be_in_one_batch(store: Store) -> None:
    uid = filled(store, "load")
    held(store, uid)
    first = ended(swap(one(store, uid, "load"), fence=1), 1)
    assert first.after is not None
    second = ended(swap(first.after, name="unload"), 2)
    store.commit(uid, [first, second], fence=1)

    assert numbers(store, uid, "unload") == [1, 2]
    assert numbers(store, uid, "load") == []


def test_the_ledger_goes_along_when_its_task_is_renamed(store: Store) -> None:
    uid = filled(store, "load")
    held(store, uid)
    fail(store, uid, "load", 1)
    store.commit(uid, [swap(one(store, uid, "load"), name="fetch")], fence=1)
    fail(store, uid, "fetch", 2)

    assert numbers(store, uid, "fetch") == [1, 2]
    assert numbers(store, uid, "load") == []


def test_the_ledger_goes_with_its_task(store: Store) -> None:
    uid = filled(store, "load", "unpack")
    held(store, uid)
    fail(store, uid, "load", 1)
    fail(store, uid, "unpack", 1)
    store.commit(uid, [drop(one(store, uid, "load"))], fence=1)
    store.commit(uid, [new("load", fence=1)], fence=1)

    assert numbers(store, uid, "load") == []
    assert numbers(store, uid, "unpack") == [1]


def test_the_ledger_goes_with_its_container(store: Store) -> None:
    uid = filled(store, "load")
    record = held(store, uid)
    fail(store, uid, "load", 1)
    store.release(record)
    store.delete(uid)
    again = filled(store, "load")

    assert store.attempts(uid, "load") == []
    assert store.attempts(again, "load") == []


def test_who_may_not_write_enters_nothing(store: Store) -> None:
    uid = filled(store, "load")
    held(store, uid)
    task = one(store, uid, "load")
    store.claim(uid, owner("b"), LEASE, dead=1)

    with pytest.raises(LeaseLost):
        store.commit(uid, [ended(swap(task, fence=1), 1)], fence=1)
    with pytest.raises(ContainerBusy):
        store.commit(uid, [ended(swap(task), 1)], fence=None)
    assert store.attempts(uid, "load") == []


def test_a_swap_that_is_refused_enters_nothing(store: Store) -> None:
    uid = filled(store, "load")
    held(store, uid)
    stale = one(store, uid, "load")
    fail(store, uid, "load", 1)

    with pytest.raises(Conflict):
        store.commit(uid, [ended(swap(stale, fence=1, attempt=9), 2)], fence=1)
    assert numbers(store, uid, "load") == [1]


def test_a_client_enters_what_ended_too(store: Store) -> None:
    uid = filled(store, "load")
    store.commit(uid, [ended(swap(one(store, uid, "load")), 1)], fence=None)

    assert numbers(store, uid, "load") == [1]


def test_reading_tasks_is_none_of_the_ledgers_business(store: Store) -> None:
    uid = filled(store, "load")
    held(store, uid)
    before = one(store, uid, "load", payloads=True)
    change = ended(swap(before, fence=1), 1)
    store.commit(uid, [change], fence=1)

    assert one(store, uid, "load", payloads=True) == change.after
    assert store.next_open(uid) == change.after
