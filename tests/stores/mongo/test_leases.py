"""Leases in MongoDB: they go by the server's clock, and who lost one is refused."""

from __future__ import annotations

import time

import pytest
from bson import ObjectId
from pymongo.database import Database

from ptsflow.core.model import Progress, Status
from ptsflow.errors import ContainerBusy, LeaseLost
from ptsflow.stores.mongo.changes import Committer
from ptsflow.stores.mongo.store import MongoStore
from tests.stores.making import LEASE, drop, filled, held, new, one, owner, swap
from tests.support.databases import Raw, listening
from tests.support.waiting import until

pytestmark = pytest.mark.mongod


@pytest.mark.parametrize("hours", [-24, -1, 1, 24])
def test_a_client_with_a_wrong_clock_neither_steals_nor_outlives_a_lease(
    store: MongoStore, other: MongoStore, hours: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    uid = filled(store, "one")
    held(store, uid, "right")
    began = store.now()
    _set_clock(monkeypatch, hours)

    assert other.claim(uid, owner("wrong"), LEASE) is None
    assert other.renew(uid, 1, LEASE)
    record = other.container("feed")
    assert record is not None
    assert record.leased_till is not None
    assert LEASE <= record.leased_till - began < LEASE + 600_000
    with pytest.raises(ContainerBusy):
        other.commit(uid, [new("two")], fence=None)
    assert not other.delete(uid)
    assert other.renew(uid, 1, 1)
    until(lambda: store.claim(uid, owner("next"), 300) is not None)
    until(lambda: other.delete(uid))


def test_containers_are_dated_by_the_server(
    store: MongoStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = store.now()
    _set_clock(monkeypatch, -24)
    container, _ = store.create("feed")

    assert before <= container.created_at <= store.now()
    assert abs(before - time.clock_gettime_ns(time.CLOCK_REALTIME) // 10**6) < 600_000


def _set_clock(monkeypatch: pytest.MonkeyPatch, hours: int) -> None:
    off = hours * 3_600_000_000_000
    right = time.time_ns
    monkeypatch.setattr(time, "time_ns", lambda: right() + off)
    monkeypatch.setattr(time, "time", lambda: (right() + off) / 1e9)


def test_a_runner_that_lost_its_lease_is_refused_whatever_it_has_read_since(
    store: MongoStore, other: MongoStore
) -> None:
    uid = filled(store, "open", "done")
    held(store, uid, "a")
    finish = swap(one(store, uid, "done"), fence=1, status=Status.DONE)
    store.commit(uid, [finish], fence=1)
    stale = {task.name: task for task in store.tasks(uid)}
    assert other.claim(uid, owner("b"), LEASE, dead=1) is not None
    before = store.tasks(uid)

    for tasks in (stale, {task.name: task for task in store.tasks(uid)}):
        for change in (
            swap(tasks["open"], fence=1),
            swap(tasks["done"], fence=1, status=Status.PENDING),
            drop(tasks["open"]),
            drop(tasks["done"]),
            new("new", fence=1),
        ):
            with pytest.raises(LeaseLost):
                store.commit(uid, [change], fence=1)
            with pytest.raises(LeaseLost):
                store.commit(uid, [change, swap(tasks["open"], fence=1)], fence=1)
    assert store.tasks(uid) == before


def test_a_stale_runner_is_refused_by_the_task_alone(
    url: str,
) -> None:
    with listening() as ear:
        store = MongoStore(url)
        uid = filled(store, "one")
        held(store, uid, "a")
        stale = one(store, uid, "one")
        store.claim(uid, owner("b"), LEASE, dead=1)
        ear.commands.clear()
        with pytest.raises(LeaseLost):
            store.commit(uid, [swap(stale, fence=1)], fence=1)
        store.close()

    # The write came first and matched nothing; only then did it ask why.
    assert ear.names[0] == "update"
    assert ear.names[1:] == ["find", "find"]


def test_progress_of_a_stale_runner_is_refused(
    store: MongoStore, other: MongoStore
) -> None:
    uid = filled(store, "one")
    held(store, uid, "a")
    start = swap(one(store, uid, "one"), fence=1, status=Status.RUNNING)
    store.commit(uid, [start], fence=1)
    other.claim(uid, owner("b"), LEASE, dead=1)

    with pytest.raises(LeaseLost):
        store.touch(uid, [Progress("one", 99.0, "late")], fence=1)
    assert one(store, uid, "one").percentage_complete == 0


def test_a_claim_that_died_before_it_stamped_the_tasks_is_made_good_by_the_next(
    store: MongoStore, database: Database[Raw]
) -> None:
    uid = filled(store, "one")
    held(store, uid, "a")
    stale = one(store, uid, "one")
    database["ptsflow_containers"].update_one({}, {"$inc": {"fence": 1}})
    third = store.claim(uid, owner("c"), LEASE, dead=2)

    assert third is not None
    with pytest.raises(LeaseLost):
        store.commit(uid, [swap(stale, fence=1)], fence=1)
    store.commit(uid, [swap(stale, fence=3)], fence=3)
    assert one(store, uid, "one").version == 2


def test_a_task_that_a_client_added_during_the_claim_can_be_run(
    store: MongoStore, database: Database[Raw]
) -> None:
    uid = filled(store, "one")
    held(store, uid)
    database["ptsflow_tasks"].update_one({}, {"$set": {"held": None}})
    store.commit(
        uid, [swap(one(store, uid, "one"), fence=1, status=Status.RUNNING)], fence=1
    )
    store.touch(uid, [Progress("one", 5.0, "")], fence=1)

    assert one(store, uid, "one").percentage_complete == 5.0


def test_a_client_that_read_before_a_claim_cannot_write_after_it(
    store: MongoStore, other: MongoStore
) -> None:
    uid = filled(store, "one")
    task = one(store, uid, "one")
    held(store, uid)

    with pytest.raises(ContainerBusy):
        other.commit(uid, [swap(task)], fence=None)
    assert one(store, uid, "one") == task


def test_a_look_at_the_lease_is_no_leave_to_write_after_the_next_claim(
    store: MongoStore,
) -> None:
    uid = filled(store, "one")
    task = one(store, uid, "one")
    held(store, uid, "a")
    store.claim(uid, owner("b"), LEASE, dead=1)

    # What writers do who looked at the container before these claims.
    for writer, seen in ((Committer(None, ObjectId()), 0), (Committer(1), 1)):
        assert not store._tasks.swap(
            ObjectId(uid), [swap(task)], writer, seen, strict=False
        )
    assert one(store, uid, "one") == task
