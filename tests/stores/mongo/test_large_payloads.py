"""Payloads and parameters that are too large for a document of MongoDB."""

from __future__ import annotations

import pytest
from bson import ObjectId
from msgspec.structs import replace
from pymongo.database import Database

from ptsflow.core.model import PAYLOADS
from ptsflow.errors import Conflict, StoreDamaged, StoreError
from ptsflow.stores.mongo.documents import INLINE_LIMIT
from ptsflow.stores.mongo.store import MongoStore
from tests.stores.making import drop, filled, held, new, one, swap
from tests.support.databases import Raw, new_database_url, raw_database

pytestmark = pytest.mark.mongod


def _large(letter: str) -> str:
    return f'"{letter * INLINE_LIMIT}"'


def test_a_payload_is_kept_apart_where_it_is_over_one_mib(
    store: MongoStore, database: Database[Raw]
) -> None:
    uid = filled(store)
    fits = f'"{"x" * (INLINE_LIMIT - 2)}"'
    store.commit(
        uid,
        [new("one", task_data=fits, result=_large("x"), processing_data='"é"')],
        fence=None,
    )

    (raw,) = database["ptsflow_tasks"].find()
    assert (raw["task_data"], raw["processing_data"]) == (fits, '"é"')
    (payload,) = database["ptsflow_payloads"].find()
    assert payload == {
        "_id": raw["result"],
        "container": ObjectId(uid),
        "text": _large("x"),
    }
    assert one(store, uid, "one", payloads=True).result == _large("x")
    next_one = store.next_open(uid)
    assert next_one is not None
    assert next_one.result == _large("x")


def test_a_replaced_payload_does_not_stay(
    store: MongoStore, database: Database[Raw]
) -> None:
    uid = filled(store)
    payloads = database["ptsflow_payloads"]
    store.commit(uid, [new("one", processing_data=_large("a"))], fence=None)
    blind = one(store, uid, "one")
    store.commit(uid, [swap(blind, processing_data=_large("b"))], fence=None)
    assert [each["text"] for each in payloads.find()] == [_large("b")]
    held(store, uid)
    seen = one(store, uid, "one", payloads=True)
    store.commit(uid, [swap(seen, fence=1, processing_data=_large("c"))], fence=1)
    assert [each["text"] for each in payloads.find()] == [_large("c")]
    seen = one(store, uid, "one", payloads=True)
    store.commit(uid, [swap(seen, processing_data="1", name="two")], fence=1)
    assert payloads.count_documents({}) == 0


def test_the_payload_of_a_refused_swap_does_not_stay(
    store: MongoStore, database: Database[Raw]
) -> None:
    uid = filled(store)
    store.commit(uid, [new("one", result=_large("a"))], fence=None)
    stale = replace(one(store, uid, "one"), version=7)
    with pytest.raises(Conflict):
        store.commit(uid, [swap(stale, result=_large("b"))], fence=None)

    assert [e["text"] for e in database["ptsflow_payloads"].find()] == [_large("a")]


def test_deleted_tasks_and_containers_take_their_payloads_along(
    store: MongoStore, database: Database[Raw]
) -> None:
    uid = filled(store)
    payloads = database["ptsflow_payloads"]
    both = [new("one", result=_large("a")), new("two", result=_large("b"))]
    store.commit(uid, both, fence=None)
    store.commit(uid, [drop(one(store, uid, "one"))], fence=None)
    assert [each["text"] for each in payloads.find()] == [_large("b")]
    store.delete(uid)

    assert payloads.count_documents({}) == 0


def test_a_task_that_was_swapped_before_its_payload_was_read_is_read_again(
    store: MongoStore, database: Database[Raw]
) -> None:
    uid = filled(store)
    first = [new("one", result=_large("a")), new("two", result=_large("c"))]
    store.commit(uid, first, fence=None)
    raws = list(database["ptsflow_tasks"].find())
    store.commit(uid, [swap(one(store, uid, "one"), result=_large("b"))], fence=None)
    store.commit(uid, [drop(one(store, uid, "two"))], fence=None)

    (found,) = store._tasks._with_payloads(raws)
    assert (found["name"], found["result"]) == ("one", _large("b"))


def test_a_task_whose_payload_is_missing_is_damaged(
    store: MongoStore, database: Database[Raw]
) -> None:
    uid = filled(store)
    store.commit(uid, [new("one", result=_large("a"))], fence=None)
    database["ptsflow_payloads"].delete_many({})

    with pytest.raises(StoreDamaged) as caught:
        store.tasks(uid, payloads=True)

    assert str(caught.value) == (
        "expected the payloads of task 'one' in MongoDB, found them missing; restore "
        "the database from a backup, or reset the task"
    )


def test_parameters_over_what_a_document_holds_are_refused(store: MongoStore) -> None:
    record = held(store, filled(store))

    with pytest.raises(StoreError) as caught:
        store.save(replace(record, params="x" * (17 << 20)))

    place = store._link.place
    assert str(caught.value) == (
        f"MongoDB at {place} keeps documents of up to 16 MiB, found a larger one; "
        f"store less in one container's parameters and plan"
    )


def test_a_commit_larger_than_a_message_to_the_server_is_made(
    mongod_url: str,
) -> None:
    url = new_database_url(mongod_url)
    with raw_database(url):
        store = MongoStore(url)
        uid = filled(store, *map(str, range(17)))
        held(store, uid)
        text = f'"{"x" * (INLINE_LIMIT - 2)}"'
        payloads = dict.fromkeys(PAYLOADS, text)
        tasks = store.tasks(uid)
        store.commit(uid, [swap(task, fence=1, **payloads) for task in tasks], fence=1)

        assert one(store, uid, "16", payloads=True).result == text
        store.close()
