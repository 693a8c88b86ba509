"""A runner swaps tasks by the `_id` that their inserts gave them, and by name elsewhere."""

from __future__ import annotations

from typing import Any

import pytest
from bson import ObjectId
from pymongo.database import Database

from ptsflow.core.model import Status
from ptsflow.errors import Conflict, LeaseLost, StoreDamaged
from ptsflow.stores.mongo.store import MongoStore
from tests.stores.making import drop, filled, held, new, one, swap
from tests.support.databases import (
    Raw,
    listening,
    new_database_url,
    raw_database,
)
from tests.support.mongod import Mongod

pytestmark = pytest.mark.mongod


def _updates(commands: list[Raw]) -> list[Raw]:
    return [each for command in commands for each in command.get("updates", ())]


def _run(store: MongoStore, uid: str, name: str) -> None:
    store.commit(
        uid, [swap(one(store, uid, name), fence=1, status=Status.RUNNING)], fence=1
    )


def _statuses(database: Database[Raw]) -> dict[str, str]:
    return {raw["name"]: raw["status"] for raw in database.ptsflow_tasks.find()}


def test_the_server_is_asked_for_the_id_alone(
    url: str, database: Database[Raw]
) -> None:
    with listening() as ear:
        store = MongoStore(url)
        uid = filled(store, "one")
        held(store, uid)
        ear.commands.clear()
        _run(store, uid, "one")
        store.close()

    assert [each["q"] for each in _updates(ear.commands)] == [
        {"_id": {"c": ObjectId(uid), "n": "one"}}
    ]
    assert _statuses(database) == {"one": "running"}


@pytest.mark.parametrize(
    ("since", "error"),
    [
        ({"version": 2}, Conflict),
        ({"fence": 7}, Conflict),
        ({"held": None}, None),
        ({"held": 7}, StoreDamaged),
    ],
)
def test_a_task_that_is_not_as_it_was_read_is_left_so(
    store: MongoStore,
    database: Database[Raw],
    since: dict[str, Any],
    error: type[Exception] | None,
) -> None:
    uid = filled(store, "one")
    held(store, uid)
    start = swap(one(store, uid, "one"), fence=1, status=Status.RUNNING)
    database.ptsflow_tasks.update_one({}, {"$set": since})

    if error is None:  # A client added it during the claim.
        store.commit(uid, [start], fence=1)
    else:
        with pytest.raises(error):
            store.commit(uid, [start], fence=1)
    assert _statuses(database) == {"one": "pending" if error else "running"}


def test_whoever_lost_the_lease_swaps_nothing(
    store: MongoStore, other: MongoStore, database: Database[Raw]
) -> None:
    uid = filled(store, "one")
    record = held(store, uid)
    start = swap(one(store, uid, "one"), fence=1, status=Status.RUNNING)
    assert other.release(record)
    held(other, uid, "b")

    with pytest.raises(LeaseLost):
        store.commit(uid, [start], fence=1)
    assert _statuses(database) == {"one": "pending"}


def test_texts_that_look_like_expressions_are_texts(url: str) -> None:
    name = "$status"
    texts = {"status_text": "$$ROOT", "error": "$version", "result": '{"$add": [1]}'}
    with listening() as ear:
        store = MongoStore(url)
        uid = filled(store, name)
        held(store, uid)
        told = swap(one(store, uid, name), fence=1, **texts)
        ear.commands.clear()
        store.commit(uid, [told], fence=1)
        assert ear.names == ["update"]
        found = one(store, uid, name, payloads=True)
        store.close()

    assert {field: getattr(found, field) for field in texts} == texts


def _rename(store: MongoStore, uid: str, old: str, name: str) -> None:
    store.commit(uid, [swap(one(store, uid, old), name=name)], fence=None)


def test_a_renamed_task_is_swapped_and_not_the_one_that_had_its_name(
    store: MongoStore, database: Database[Raw]
) -> None:
    uid = filled(store, "a", "b")
    _rename(store, uid, "b", "c")
    _rename(store, uid, "a", "b")
    held(store, uid)
    _run(store, uid, "b")

    assert _statuses(database) == {"b": "running", "c": "pending"}


def test_a_runner_that_renames_a_task_to_a_name_that_is_taken_is_refused(
    store: MongoStore,
) -> None:
    uid = filled(store, "a", "b")
    held(store, uid)

    with pytest.raises(Conflict, match="'b' is taken"):
        store.commit(uid, [swap(one(store, uid, "a"), fence=1, name="b")], fence=1)


@pytest.mark.parametrize("fence", [None, 1])
def test_a_name_that_was_given_away_can_be_used_again(
    store: MongoStore, database: Database[Raw], fence: int | None
) -> None:
    uid = filled(store, "a")
    _rename(store, uid, "a", "b")
    if fence:
        held(store, uid)
    store.commit(uid, [new("z"), new("a", fence=fence or 0), new("y")], fence=fence)
    if not fence:
        held(store, uid)
    for name in ("a", "b"):
        _run(store, uid, name)
    with pytest.raises(Conflict):
        store.commit(uid, [new("a", fence=1, step="x")], fence=1)
    store.commit(uid, [drop(one(store, uid, "a"))], fence=1)

    assert _statuses(database) == {"b": "running", "z": "pending", "y": "pending"}


def test_tasks_that_an_earlier_version_inserted_are_swapped_by_name(
    url: str, database: Database[Raw]
) -> None:
    tasks = database.ptsflow_tasks
    store = MongoStore(url)
    uid = filled(store, "a", "b")
    for raw in list(tasks.find()):
        tasks.delete_one({"_id": raw["_id"]})
        tasks.insert_one(raw | {"_id": ObjectId()})
    with listening() as ear:
        runner = store.sibling()
        held(runner, uid)
        _run(runner, uid, "a")
        ready = swap(one(runner, uid, "b"), fence=1, status=Status.RUNNING)
        ear.commands.clear()
        runner.commit(uid, [ready], fence=1)
        runner.close()
    store.close()

    assert _statuses(database) == {"a": "running", "b": "running"}
    # The first swap has shown that they are not found by their ids.
    assert ear.names == ["update"]


def test_after_an_election_a_swap_is_sent_once_more(mongod_rs: Mongod) -> None:
    url = new_database_url(mongod_rs.url)
    with raw_database(url) as database:
        store = MongoStore(url)
        uid = filled(store, "one")
        held(store, uid)
        with mongod_rs.fail("update", errorCode=10107):
            _run(store, uid, "one")
        store.close()

        assert _statuses(database) == {"one": "running"}
