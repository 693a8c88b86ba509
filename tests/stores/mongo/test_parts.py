"""Wide containers in MongoDB: each command is about a part, and may be the last one."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from bson import ObjectId
from pymongo.collection import Collection
from pymongo.database import Database
from pymongo.errors import ExecutionTimeout

from ptsflow.core.model import Status
from ptsflow.errors import LeaseLost, StoreUnavailable
from ptsflow.stores.mongo import connection, looks, tallies
from ptsflow.stores.mongo.connection import Connection
from ptsflow.stores.mongo.containers import MongoContainers
from ptsflow.stores.mongo.looks import MongoLooks
from ptsflow.stores.mongo.store import MongoStore
from ptsflow.stores.mongo.tasks import MongoTasks
from tests.stores.making import (
    LEASE,
    chunk,
    drop,
    filled,
    held,
    names,
    new,
    owner,
    swap,
)
from tests.stores.test_contract_looks import expected, many, same, used
from tests.support.databases import (
    Ear,
    Raw,
    listening,
    new_database_url,
    raw_database,
)
from tests.support.mongod import Mongod

pytestmark = pytest.mark.mongod

#: How many tasks a command may be about here, and how many there are.
_PART, _TASKS = 3, 11


class _Killed(Exception):
    """The process is killed here."""


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Connection, "at_once", _PART)


@pytest.fixture
def uid(store: MongoStore) -> str:
    return filled(store, *(f"t{n:02}" for n in range(_TASKS)))


def test_others_may_write_between_the_small_parts_of_a_deletion(
    store: MongoStore, uid: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses: list[float] = []
    monkeypatch.setattr(connection, "_DELETE_AT_ONCE", 2)
    monkeypatch.setattr(connection, "time", SimpleNamespace(sleep=pauses.append))
    assert store.delete(uid)

    assert store.tasks(uid) == []
    assert len(pauses) == _TASKS // 2


#: Has a function called before the first part that is stamped, and after each one.
Hook = Callable[[Callable[[int], object]], None]


@pytest.fixture
def at_each_part(monkeypatch: pytest.MonkeyPatch) -> Hook:
    real = MongoTasks._stamp

    def install(act: Callable[[int], object]) -> None:
        def stamp(
            self: MongoTasks, container: ObjectId, old: object, new: float
        ) -> Iterator[None]:
            act(0)
            for number, _ in enumerate(real(self, container, old, new), 1):
                act(number)
                yield

        monkeypatch.setattr(MongoTasks, "_stamp", stamp)

    return install


def _fail_at(parts: int, error: Exception) -> Callable[[int], None]:
    def act(number: int) -> None:
        if number == parts:
            raise error

    return act


def _held_by(database: Database[Raw]) -> list[float]:
    return [raw["held"] for raw in database.ptsflow_tasks.find({"open": True})]


def _sizes(ear: Ear, database: Database[Raw]) -> list[int]:
    """Return how many tasks each update was about."""
    return [
        database.ptsflow_tasks.count_documents(
            {"position": update["q"].get("position", {"$exists": True})}
        )
        for command in ear.commands
        if command.get("update") == "ptsflow_tasks"
        for update in command["updates"]
    ]


def test_claim_and_release_stamp_a_wide_container_in_parts(
    url: str, uid: str, database: Database[Raw]
) -> None:
    with listening() as ear:
        store = MongoStore(url)
        record = held(store, uid)
        claimed, by_claim = _held_by(database), _sizes(ear, database)
        ear.commands.clear()
        store.release(record)
        released, by_release = _held_by(database), _sizes(ear, database)
        store.close()

    assert claimed == [1] * _TASKS
    assert released == [1.5] * _TASKS
    assert max(by_claim) == max(by_release) == _PART


@pytest.mark.parametrize("parts", range(9))
def test_a_claim_killed_between_two_parts_is_followed_by_a_whole_one(
    store: MongoStore, uid: str, database: Database[Raw], at_each_part: Hook, parts: int
) -> None:
    held(store, uid, "first")
    at_each_part(_fail_at(parts, _Killed()))
    with pytest.raises(_Killed):
        store.claim(uid, owner("killed"), LEASE, dead=1)
    at_each_part(lambda _: None)
    last = store.claim(uid, owner("last"), LEASE, dead=2)

    assert last is not None
    assert _held_by(database) == [3] * _TASKS
    for fence in (1, 2):
        for task in store.tasks(uid):
            with pytest.raises(LeaseLost):
                store.commit(uid, [swap(task, fence=fence)], fence=fence)


@pytest.mark.parametrize("parts", range(9))
def test_a_release_killed_between_two_parts_is_finished_by_the_next_claim(
    store: MongoStore, uid: str, database: Database[Raw], at_each_part: Hook, parts: int
) -> None:
    record = held(store, uid, "first")
    at_each_part(_fail_at(parts, _Killed()))
    with pytest.raises(_Killed):
        store.release(record)
    at_each_part(lambda _: None)

    held(store, uid, "next")
    assert _held_by(database) == [2] * _TASKS
    for task in store.tasks(uid):
        with pytest.raises(LeaseLost):
            store.commit(uid, [swap(task, fence=1)], fence=1)


def test_a_claim_broken_off_because_the_store_was_away_is_made_again_by_its_owner(
    store: MongoStore, uid: str, database: Database[Raw], at_each_part: Hook
) -> None:
    at_each_part(_fail_at(2, StoreUnavailable("away")))
    with pytest.raises(StoreUnavailable):
        store.claim(uid, owner("a"), LEASE)
    at_each_part(lambda _: None)
    record = store.claim(uid, owner("a"), LEASE)

    assert record is not None
    assert record.fence == 1
    assert _held_by(database) == [1] * _TASKS


def test_a_task_that_an_older_owner_moves_behind_the_claim_is_stamped_too(
    store: MongoStore,
    other: MongoStore,
    uid: str,
    database: Database[Raw],
    at_each_part: Hook,
) -> None:
    held(store, uid, "old")
    last = other.tasks(uid)[-1]

    def move_the_last_one(part: int) -> None:
        if part == 1:
            other.commit(uid, [swap(last, fence=1, position=0)], fence=1)

    at_each_part(move_the_last_one)
    assert store.claim(uid, owner("new"), LEASE, dead=1) is not None

    assert _held_by(database) == [2] * _TASKS


def test_a_lease_shorter_than_its_claim_is_renewed_meanwhile(
    store: MongoStore, other: MongoStore, uid: str, at_each_part: Hook
) -> None:
    at_each_part(lambda _: time.sleep(0.2))
    record = store.claim(uid, owner("a"), 1200)

    assert record is not None
    assert other.claim(uid, owner("b"), LEASE) is None


def test_a_claim_overtaken_between_two_parts_is_none(
    store: MongoStore, other: MongoStore, uid: str, at_each_part: Hook
) -> None:
    def overtake(part: int) -> None:
        at_each_part(lambda _: None)
        if part == 1:
            time.sleep(0.06)
            assert other.claim(uid, owner("b"), LEASE, dead=1) is not None

    at_each_part(overtake)

    assert store.claim(uid, owner("a"), 300) is None


def test_a_wide_container_is_reset_and_deleted_in_parts(
    url: str, uid: str, database: Database[Raw]
) -> None:
    with listening() as ear:
        store = MongoStore(url)
        record = store.claim(uid, owner("a"), LEASE)
        assert record is not None
        ear.commands.clear()
        alike = [
            swap(task, status_text="again", fence=record.fence)
            for task in store.tasks(uid)
        ]
        store.commit(uid, alike, fence=record.fence)
        commands = [c for c in ear.commands if c.get("update") == "ptsflow_tasks"]
        some = names(store, uid)[:7]
        left = store.tasks(uid, some)
        assert [task.status_text for task in left] == ["again"] * 7
        store.commit(uid, [drop(task) for task in left], fence=record.fence)
        assert len(names(store, uid)) == _TASKS - 7
        store.release(record)
        store.delete(uid)
        store.close()

    parts = [
        len(update["q"]["name"]["$in"]) for c in commands for update in c["updates"]
    ]
    assert parts == [3, 3, 3, 2]
    assert database.ptsflow_tasks.count_documents({}) == 0
    deletes = [c["deletes"] for c in ear.commands if c.get("delete") == "ptsflow_tasks"]
    assert len(deletes) >= 2


@pytest.mark.parametrize("step", ["containers.delete", "payloads", "tasks", "logs"])
def test_a_deletion_that_is_killed_is_finished_by_the_next_one(
    store: MongoStore,
    other: MongoStore,
    uid: str,
    database: Database[Raw],
    monkeypatch: pytest.MonkeyPatch,
    step: str,
) -> None:
    logs = store.logs()
    logs.put(uid, [chunk("a line")])
    logs.close()
    with monkeypatch.context() as patch:
        _kill_at(patch, step)
        with pytest.raises(_Killed):
            store.delete(uid)
    there = other.container("feed")
    another, _ = other.create("another")

    assert other.delete(another.uid)
    assert (there is not None) == (step == "containers.delete")
    if there is not None:
        assert len(names(other, uid)) == _TASKS
        assert other.delete(uid)
    for name in ("ptsflow_tasks", "ptsflow_logs", "ptsflow_containers"):
        assert database[name].count_documents({}) == 0
    assert [raw["_id"] for raw in database.ptsflow_meta.find()] == ["schema"]


def _kill_at(patch: pytest.MonkeyPatch, step: str) -> None:
    """Have a deletion killed when it comes to a step."""
    if step == "containers.delete":
        patch.setattr(MongoContainers, "delete", _raise_killed)
        return
    real = Connection.delete_all

    def delete_all(self: Connection, collection: Collection[Raw], query: Raw) -> None:
        if collection.name == f"ptsflow_{step}":
            raise _Killed
        real(self, collection, query)

    patch.setattr(Connection, "delete_all", delete_all)


def _raise_killed(*_: object) -> None:
    raise _Killed


def test_tasks_that_cannot_be_counted_within_a_deadline_are_counted_in_parts(
    mongod: Mongod, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tallies, "PARTS", 1)
    url = new_database_url(mongod.url)
    with raw_database(url):
        store = MongoStore(url)
        uids = [store.create(name)[0].uid for name in ("one", "other", "empty")]
        for uid, last in zip(uids, (Status.DONE, Status.FAILED), strict=False):
            added = [
                new(f"{step}[{n}]", step=step, percentage_complete=1.0, status=status)
                for n, status in enumerate([*[Status.PENDING] * _TASKS, last])
                for step in ("load", "unpack", "a")
            ]
            # Of the step that comes first, the last name was added last.
            store.commit(uid, [*added, new("load[z]", step="load")], fence=None)
        at_once = store.tallies(uids)
        with mongod.fail("aggregate", errorCode=50):
            in_parts = store.tallies(uids)
        with (
            mongod.fail("aggregate", errorCode=46),
            pytest.raises(StoreUnavailable),
        ):
            store.tallies(uids)
        store.close()

    assert in_parts == at_once
    assert [(tally.step, tally.count) for tally in in_parts[uids[0]]][:3] == [
        ("load", _TASKS + 1),
        ("unpack", _TASKS),
        ("a", _TASKS),
    ]
    assert in_parts[uids[2]] == []


def test_a_glance_that_takes_longer_than_a_deadline_is_made_in_parts(
    mongod: Mongod, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(looks, "PARTS", 1)
    tasks = many()
    url = new_database_url(mongod.url)
    with raw_database(url):
        store = MongoStore(url)
        uid = used(store, tasks)
        with mongod.fail("aggregate", errorCode=50):
            counted_in_parts = store.glance(uid, 20, 3)
        with (
            mongod.fail("aggregate", errorCode=46),
            pytest.raises(StoreUnavailable),
        ):
            store.glance(uid)
        monkeypatch.setattr(MongoLooks, "_aggregate", _late(MongoLooks._aggregate))
        all_in_parts = store.glance(uid, 20, 3)
        store.close()

    same(counted_in_parts, expected(tasks, 20, 3))
    same(all_in_parts, expected(tasks, 20, 3))


def _late(aggregate: Callable[..., Any]) -> Callable[..., Any]:
    """Have a pipeline over all tasks of a container be too slow."""

    def late(self: MongoLooks, query: Raw, stages: list[Raw]) -> list[Raw]:
        if "name" not in query:
            raise StoreUnavailable("late") from ExecutionTimeout("late")
        found: list[Raw] = aggregate(self, query, stages)
        return found

    return late
