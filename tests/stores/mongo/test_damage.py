"""What others wrote into the database: refused where it harms, else left alone."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace
from pymongo.database import Database

from ptsflow.core.model import Status
from ptsflow.errors import StoreDamaged
from ptsflow.stores.mongo.documents import INLINE_LIMIT
from ptsflow.stores.mongo.store import MongoStore
from tests.stores.making import (
    LEASE,
    chunk,
    ended,
    filled,
    held,
    new,
    one,
    owner,
    swap,
)
from tests.support.databases import Raw
from tests.support.wording import THEIRS, Message

pytestmark = pytest.mark.mongod


def test_words_of_mongodb_are_kept_as_they_are(store: MongoStore) -> None:
    container, _ = store.create('{"$ne": null}')
    hostile = replace(owner("$owner"), host="$name", boot="$$NOW")
    record = store.claim(container.uid, hostile, LEASE)
    assert record is not None
    record = replace(record, workflow="$where", params='{"$gt": ""}')
    store.save(record)

    assert store.container('{"$ne": null}') == record
    assert store.container("$where") is None


@pytest.mark.parametrize("name", [{"$ne": None}, {"$gt": ""}, ["feed"], 1])
def test_a_name_that_is_no_text_finds_nothing(store: MongoStore, name: Any) -> None:
    filled(store, "one")

    assert store.container(name) is None


_NEWER = "; upgrade ptsflow"
_NO_NUMBER = "; restore it from a copy"
_OF_BEFORE = (
    ", made by an earlier version of ptsflow; finish what is in it with that version, "
    "or choose another store"
)


@pytest.mark.parametrize(
    ("found", "cure"),
    [
        (1, _OF_BEFORE),
        (4, _NEWER),
        (99, _NEWER),
        (0, _NO_NUMBER),
        ("2", _NO_NUMBER),
        (None, _NO_NUMBER),
    ],
)
def test_a_database_of_another_layout_is_refused(
    url: str, database: Database[Raw], found: object, cure: str
) -> None:
    database["ptsflow_meta"].insert_one({"_id": "schema", "schema": found})

    with pytest.raises(StoreDamaged) as caught:
        MongoStore(url)

    assert str(caught.value) == (
        f"store {url!r}: expected layout 3, found layout {found!r}{cure}"
    )
    assert database.list_collection_names() == ["ptsflow_meta"]


def test_a_document_that_is_not_as_it_was_written_is_damaged(
    store: MongoStore, database: Database[Raw]
) -> None:
    uid = filled(store, "one")
    database["ptsflow_tasks"].update_one({}, {"$set": {"status": "sleeping"}})
    database["ptsflow_containers"].update_one({}, {"$set": {"fence": "1"}})

    with pytest.raises(StoreDamaged) as caught:
        store.tasks(uid)
    assert str(caught.value) == Message(
        "expected task 'one' in MongoDB as ptsflow writes it, found something else: "
        f"{THEIRS}; restore it from a backup"
    )
    with pytest.raises(StoreDamaged) as caught:
        store.container("feed")
    assert str(caught.value) == Message(
        "expected container 'feed' in MongoDB as ptsflow writes it, found something "
        f"else: {THEIRS}; restore it from a backup"
    )


def test_a_ledger_that_nobody_wrote_is_damage_of_its_own(
    url: str, database: Database[Raw]
) -> None:
    store = MongoStore(url)
    uid = filled(store, "a")
    store.commit(uid, [ended(swap(one(store, uid, "a")), 1)], fence=None)
    (raw,) = database["ptsflow_tasks"].find()
    assert raw["ledger"][0]["began_at"].tzinfo is not None
    database["ptsflow_tasks"].update_one({}, {"$set": {"ledger": [{"number": "x"}]}})

    assert one(store, uid, "a", payloads=True).version == 2
    assert store.next_open(uid) is not None
    with pytest.raises(StoreDamaged) as caught:
        store.attempts(uid, "a")
    assert str(caught.value) == Message(
        "expected the ledger of task 'a' in MongoDB as ptsflow writes it, found "
        f"something else: {THEIRS}; restore it from a backup"
    )
    store.close()


@pytest.mark.parametrize("name", ["task_data", "processing_data", "result"])
def test_a_payload_that_is_gone_is_damage_and_not_none(
    store: MongoStore, database: Database[Raw], name: str
) -> None:
    uid = filled(store, "one")
    database["ptsflow_tasks"].update_one({}, {"$unset": {name: ""}})

    for look in (
        lambda: store.tasks(uid, payloads=True),
        lambda: store.next_open(uid),
    ):
        with pytest.raises(StoreDamaged) as caught:
            look()
        assert str(caught.value) == (
            "expected task 'one' in MongoDB as ptsflow writes it, found something else: "
            f"no {name}; restore it from a backup"
        )
    assert [task.name for task in store.tasks(uid)] == ["one"]


@pytest.mark.parametrize("name", ["status", "fence", "invoke_count", "error"])
def test_a_field_of_a_task_that_is_gone_is_damage_and_not_its_default(
    store: MongoStore, database: Database[Raw], name: str
) -> None:
    uid = filled(store, "one")
    database["ptsflow_tasks"].update_one({}, {"$unset": {name: ""}})

    with pytest.raises(StoreDamaged) as caught:
        store.tasks(uid)
    assert str(caught.value) == (
        "expected task 'one' in MongoDB as ptsflow writes it, found something else: "
        f"no {name}; restore it from a backup"
    )


@pytest.mark.parametrize("name", ["status", "fence", "created_at"])
def test_a_field_of_a_container_that_is_gone_is_damage_and_not_its_default(
    store: MongoStore, database: Database[Raw], name: str
) -> None:
    filled(store, "one")
    database["ptsflow_containers"].update_one({}, {"$unset": {name: ""}})

    for look in (lambda: store.container("feed"), store.containers):
        with pytest.raises(StoreDamaged) as caught:
            look()
        assert str(caught.value) == (
            "expected container 'feed' in MongoDB as ptsflow writes it, found something "
            f"else: no {name}; restore it from a backup"
        )


def test_a_large_payload_without_its_text_is_damage(
    store: MongoStore, database: Database[Raw]
) -> None:
    uid = filled(store)
    large = '"' + "x" * INLINE_LIMIT + '"'
    store.commit(uid, [new("one", result=large)], fence=None)
    database["ptsflow_payloads"].update_one({}, {"$unset": {"text": ""}})

    with pytest.raises(StoreDamaged, match="expected the payloads of task 'one'"):
        store.tasks(uid, payloads=True)


@pytest.mark.parametrize(
    "damage", [{"$set": {"status": "dooe"}}, {"$unset": {"status": ""}}]
)
def test_a_damaged_task_is_told_by_what_only_counts_tasks(
    store: MongoStore, database: Database[Raw], damage: Raw
) -> None:
    uid = filled(store, "one", "two")
    database["ptsflow_tasks"].update_one({"name": "two"}, damage)

    with pytest.raises(StoreDamaged) as caught:
        store.tallies([uid])
    assert str(caught.value).startswith("expected task 'two' in MongoDB as ptsflow")


def test_a_word_for_the_holder_that_nobody_wrote_is_damage(
    store: MongoStore, database: Database[Raw]
) -> None:
    uid = filled(store)
    held(store, uid)
    database["ptsflow_containers"].update_one({}, {"$set": {"stop_asked": "later"}})

    with pytest.raises(StoreDamaged) as caught:
        store.stop_asked(uid, 1)
    assert str(caught.value) == Message(
        "expected container 'feed' in MongoDB as ptsflow writes it, found something "
        f"else: {THEIRS}; restore it from a backup"
    )


def test_lines_that_nobody_put_are_damage(
    store: MongoStore, database: Database[Raw]
) -> None:
    uid = filled(store)
    logs = store.logs()
    logs.put(uid, [chunk("one")])
    database["ptsflow_logs"].update_one({}, {"$set": {"lines": "[[1"}})

    with pytest.raises(StoreDamaged) as caught:
        logs.read(uid)
    assert str(caught.value) == Message(
        "expected log lines of task 'load' in MongoDB as ptsflow writes it, found "
        f"something else: {THEIRS}; restore it from a backup"
    )
    logs.close()


def test_a_field_of_a_newer_version_does_no_harm(
    store: MongoStore, database: Database[Raw]
) -> None:
    uid = filled(store, "one")
    before = (store.container("feed"), store.tasks(uid))
    for collection in ("ptsflow_tasks", "ptsflow_containers"):
        database[collection].update_one({}, {"$set": {"colour": "blue"}})

    assert (store.container("feed"), store.tasks(uid)) == before


#: As many items as are packed.
WIDE = 300


def wide(store: MongoStore) -> str:
    """Return the uid of a container with items that are done, `item[0]` and on."""
    uid = filled(store)
    items = (
        new(f"item[{n}]", step="item", key=f"{n}", position=n, status=Status.DONE)
        for n in range(WIDE)
    )
    store.commit(uid, list(items), fence=None)
    return uid


@pytest.mark.parametrize(
    "damage",
    [
        {"$set": {"status": "sleeping"}},
        {"$set": {"version": "7"}},
        {"$set": {"error": 7}},
        {"$set": {"task_ended_at": "yesterday"}},
        {"$unset": {"made_from": "", "fence": ""}},
        {"$unset": {"key": ""}},
    ],
)
def test_a_damaged_task_among_packed_ones_is_told(
    store: MongoStore, database: Database[Raw], damage: Raw
) -> None:
    uid = wide(store)
    database["ptsflow_tasks"].update_one({"name": "item[99]"}, damage)

    with pytest.raises(
        StoreDamaged, match=r"^expected task 'item\[99\]' in MongoDB as"
    ):
        store.table(uid)


def test_a_table_has_tasks_of_an_earlier_layout(
    store: MongoStore, database: Database[Raw]
) -> None:
    uid = wide(store)
    older: Raw = {"$unset": {"made_from": "", "postponed_at": ""}}
    database["ptsflow_tasks"].update_one({"name": "item[99]"}, older)

    assert list(store.table(uid).values()) == store.tasks(uid)
    assert store.table(uid)["item[99]"].made_from == 0
