from __future__ import annotations

from typing import Any

import pytest
from bson import ObjectId
from msgspec.structs import replace
from pymongo import UpdateOne

from ptsflow.core.model import ContainerRecord, Status, Stop, Tally
from ptsflow.errors import ContainerNotFound, LeaseLost
from ptsflow.stores.mongo.changes import Committer, held_after_release
from ptsflow.stores.mongo.requests import requests_of, write_of
from ptsflow.stores.mongo.store import MongoStore
from tests.stores.making import Ticker, attempt, ended, names, new, one, swap
from tests.unit.stores_mongo.conftest import Collections


def test_tasks_are_listed_by_position_and_then_by_name(mocked: MongoStore) -> None:
    uid = mocked.create("feed")[0].uid
    mocked.commit(uid, [new("c", position=1), new("b", position=1)], fence=None)
    mocked.commit(uid, [new("a"), new("first", position=0)], fence=None)

    assert names(mocked, uid) == ["first", "b", "c", "a"]
    found = mocked.tasks(uid, ["c", "first", "no such"])
    assert [task.name for task in found] == ["first", "c"]


def test_a_container_lists_its_own_tasks_alone(mocked: MongoStore) -> None:
    one_uid, other_uid = (mocked.create(name)[0].uid for name in ("one", "other"))
    mocked.commit(one_uid, [new("a")], fence=None)
    mocked.commit(other_uid, [new("b")], fence=None)

    assert names(mocked, one_uid) == ["a"]
    assert mocked.delete(one_uid)
    assert names(mocked, one_uid) == []
    assert names(mocked, other_uid) == ["b"]


def test_containers_are_listed_oldest_first(mocked: MongoStore) -> None:
    clock = mocked._clock
    assert isinstance(clock, Ticker)
    for name in ("b", "a", "c"):
        mocked.create(name)
        clock.now += 1

    assert [record.name for record in mocked.containers()] == ["b", "a", "c"]


@pytest.mark.parametrize("name", [{"$ne": None}, {"$gt": ""}, ["feed"], 1])
def test_a_name_that_is_no_text_finds_nothing(mocked: MongoStore, name: Any) -> None:
    mocked.create("feed")

    assert mocked.container(name) is None


@pytest.mark.parametrize("uid", ["", "no uid", "$where", "0" * 24])
def test_a_uid_that_no_store_gave_finds_nothing(mocked: MongoStore, uid: str) -> None:
    filled = mocked.create("feed")[0].uid
    mocked.commit(filled, [new("one")], fence=None)

    assert mocked.tasks(uid) == []
    assert mocked.next_open(uid) is None
    assert mocked.attempts(uid, "one") == []
    with pytest.raises(ContainerNotFound):
        mocked.commit(uid, [new("two")], fence=None)
    assert names(mocked, filled) == ["one"]


def test_the_next_open_task_is_the_first_that_is_not_complete(
    mocked: MongoStore,
) -> None:
    uid = mocked.create("feed")[0].uid
    done = [new(str(status), status=status) for status in Status if status.is_complete]
    mocked.commit(uid, [*done, new("late"), new("later")], fence=None)
    opened = mocked.next_open(uid)

    assert opened is not None
    assert opened.name == "late"


def test_tasks_are_counted_by_step_and_status(mocked: MongoStore) -> None:
    uid, empty = (mocked.create(name)[0].uid for name in ("feed", "empty"))
    load = [new(f"load[{i}]", step="load", percentage_complete=25.0) for i in range(3)]
    done = new("load[3]", step="load", status=Status.DONE, percentage_complete=100.0)
    mocked.commit(uid, [new("list", step="list"), *load, done], fence=None)

    assert mocked.tallies([uid, empty]) == {
        uid: [
            Tally("list", Status.PENDING, 1, 0.0),
            Tally("load", Status.PENDING, 3, 75.0),
            Tally("load", Status.DONE, 1, 100.0),
        ],
        empty: [],
    }


@pytest.mark.parametrize(
    ("stored", "bound", "strict", "matches"),
    [
        pytest.param({"held": 2}, 2, True, True, id="under its own fence"),
        pytest.param({"held": None}, 2, True, False, id="not stamped"),
        pytest.param({"held": 3}, 2, True, False, id="under a later fence"),
        pytest.param({"held": None}, 2, False, True, id="not stamped, but looked at"),
        pytest.param({"held": 1}, 2, False, True, id="under an earlier fence"),
        pytest.param({"held": 3}, 2, False, False, id="claimed since it was looked at"),
        pytest.param(
            {"held": held_after_release(2)},
            held_after_release(2),
            False,
            True,
            id="given back",
        ),
        pytest.param({"held": held_after_release(2)}, 2, True, False, id="no longer"),
        pytest.param({"held": 2, "version": 2}, 2, True, False, id="another version"),
        pytest.param({"held": 2, "fence": 1}, 2, True, False, id="another fence"),
        pytest.param({"held": 2, "name": "two"}, 2, True, False, id="another task"),
    ],
)
def test_a_swap_finds_its_task_as_it_was_read_and_held(
    mocked: MongoStore,
    database: Collections,
    stored: dict[str, object],
    bound: float,
    *,
    strict: bool,
    matches: bool,
) -> None:
    uid = mocked.create("feed")[0].uid
    mocked.commit(uid, [new("one")], fence=None)
    change = swap(one(mocked, uid, "one"), fence=2)
    tasks = database("ptsflow_tasks")
    tasks.update_one({}, {"$set": stored})
    held = bound if strict else {"$not": {"$gt": bound}}
    write = write_of(ObjectId(uid), change, Committer(2), held)

    assert tasks.count_documents(write.query or {}) == int(matches)


def test_the_ledger_keeps_the_last_twenty_attempts(
    mocked: MongoStore, database: Collections
) -> None:
    uid = mocked.create("feed")[0].uid
    mocked.commit(uid, [ended(new("one"), 1)], fence=None)
    for number in range(2, 25):
        change = ended(swap(one(mocked, uid, "one")), number)
        write = write_of(ObjectId(uid), change, Committer(None), None)
        ((request, _),) = requests_of([write], 1)
        assert isinstance(request, UpdateOne)
        database("ptsflow_tasks").update_one(request._filter, request._doc)

    assert mocked.attempts(uid, "one") == [attempt(n) for n in range(5, 25)]


def test_a_claim_stamps_open_tasks_that_an_earlier_fence_held(
    mocked: MongoStore, database: Collections
) -> None:
    uid = mocked.create("feed")[0].uid
    tasks = database("ptsflow_tasks")
    mocked.commit(
        uid, [new("a"), new("b"), new("c"), new("d", status=Status.DONE)], fence=None
    )
    tasks.update_one({"name": "b"}, {"$set": {"held": 1}})
    tasks.update_one({"name": "c"}, {"$set": {"held": 3}})
    held: dict[str, dict[str, object]] = {}
    list(mocked._tasks.stamp(ObjectId(uid), 2))
    held["claimed"] = {raw["name"]: raw["held"] for raw in tasks.find()}
    mocked._tasks.stamp_released(ObjectId(uid), 2)
    held["released"] = {raw["name"]: raw["held"] for raw in tasks.find()}

    assert held == {
        "claimed": {"a": 2, "b": 2, "c": 3, "d": None},
        "released": {"a": 2.5, "b": 2.5, "c": 3, "d": None},
    }


def test_a_word_to_end_now_takes_the_place_of_one_to_end_gently(
    mocked: MongoStore, leased: ContainerRecord
) -> None:
    asked = []
    for how in (Stop.GENTLY, Stop.NOW, Stop.GENTLY):
        assert mocked.ask_to_stop(leased.uid, 1, how)
        asked.append(mocked.stop_asked(leased.uid, 1))

    assert asked == [Stop.GENTLY, Stop.NOW, Stop.NOW]
    assert not mocked.ask_to_stop(leased.uid, 2, Stop.NOW)
    assert mocked.stop_asked(leased.uid, 2) is None


def test_a_container_is_saved_under_its_fence_alone(
    mocked: MongoStore, leased: ContainerRecord
) -> None:
    for lost in (replace(leased, fence=0), replace(leased, fence=2)):
        with pytest.raises(LeaseLost):
            mocked.save(replace(lost, workflow="Late"))
        assert not mocked.release(replace(lost, workflow="Late"))
    assert mocked.container("feed") == leased
    mocked.save(replace(leased, workflow="Feed"))
    assert mocked.release(replace(leased, workflow="Feed", status=Status.DONE))

    assert mocked.container("feed") == replace(
        leased, workflow="Feed", status=Status.DONE, owner=None
    )
    with pytest.raises(LeaseLost):
        mocked.save(leased)
