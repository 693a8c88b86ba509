"""What others wrote into the database: refused where it harms, else left alone."""

from __future__ import annotations

from contextlib import closing
from typing import Any

import pytest
from msgspec.structs import replace
from pymongo.database import Database

from ptsflow.client.sound import PartialLook, look_at_what_is_sound, readable
from ptsflow.core.insight import Outlook
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
from tests.stores.test_contract_runs import NOW, run_through
from tests.support.databases import Raw, new_database_url, raw_database
from tests.support.processes import python
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


def test_a_damaged_container_is_named_and_the_others_are_listed(
    store: MongoStore, database: Database[Raw]
) -> None:
    for name in ("one", "two", "three"):
        store.create(name)
    database["ptsflow_containers"].update_one({"name": "two"}, {"$set": {"fence": "x"}})
    damaged: list[str] = []

    found = store.recent(damaged=damaged)

    assert [record.name for record in found] == ["three", "one"]
    (text,) = damaged
    assert "'two'" in text
    with pytest.raises(StoreDamaged, match="'two'"):
        store.recent()


def test_tasks_beside_a_damaged_one_are_looked_at(
    store: MongoStore, database: Database[Raw]
) -> None:
    uid = filled(store, "one", "two", "three", "four")
    record = store.container("feed")
    assert record is not None
    database["ptsflow_tasks"].update_one({"name": "two"}, {"$set": {"status": "x"}})

    look = look_at_what_is_sound(store, record)

    assert isinstance(look, PartialLook)
    assert any("'two'" in text for text in look.damaged)
    shown = [task.name for task in readable(store, look).page(uid)[0]]
    assert shown == ["one", "three", "four"]


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


@pytest.mark.parametrize(
    ("collection", "found"),
    [
        ("ptsflow_tasks", {"ledger": True}),
        ("ptsflow_tasks", {"last_invoked_at": 1e300}),
        ("ptsflow_tasks", {"task_ended_at": 2**62}),
        ("ptsflow_tasks", {"leased_till": 0}),
        ("ptsflow_containers", {"started_at": 2**62}),
        ("ptsflow_containers", {"plan": [{"name": "a", "needs": ["b"]}]}),
    ],
)
def test_a_value_that_ptsflow_does_not_write_is_damage(
    store: MongoStore, database: Database[Raw], collection: str, found: Raw
) -> None:
    uid = filled(store, "one")
    database[collection].update_one({}, {"$set": found})

    with pytest.raises(StoreDamaged, match=r"^expected .* in MongoDB as ptsflow"):
        (
            store.container("feed"),
            store.tasks(uid, payloads=True),
            store.attempts(uid, "one"),
        )


@pytest.mark.parametrize("fence", [None, 1])
def test_a_task_that_nobody_could_swap_is_damage(
    store: MongoStore, database: Database[Raw], fence: int | None
) -> None:
    uid = filled(store, "one")
    if fence is not None:
        held(store, uid)
    task = one(store, uid, "one")
    database["ptsflow_tasks"].update_one({}, {"$set": {"held": 1e300}})

    with pytest.raises(StoreDamaged, match=r"^expected task 'one' in MongoDB as"):
        store.commit(uid, [swap(task, fence=fence or 0)], fence=fence)


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

    for look in (
        lambda: store.tallies([uid]),
        lambda: store.glance(uid),
        lambda: store.page(uid),
    ):
        with pytest.raises(StoreDamaged) as caught:
            look()
        assert str(caught.value).startswith("expected task 'two' in MongoDB as ptsflow")


@pytest.mark.parametrize(
    "damage",
    [
        *({"step": []}, {"status": []}, {"last_invoked_at": "never"}),
        *({"code_hash": []}, {"code_hash": -1}),
    ],
)
def test_a_field_of_another_type_is_told_by_a_glance(
    store: MongoStore, database: Database[Raw], damage: Raw
) -> None:
    uid = filled(store, "one")
    item = new("load[a]", step="load", key="a", status=Status.DONE)
    store.commit(uid, [item], fence=None)
    database["ptsflow_tasks"].update_one({"key": "a"}, {"$set": damage})

    with pytest.raises(StoreDamaged, match=r"expected task 'load\[a\]' in MongoDB"):
        store.glance(uid)


def test_a_fence_of_another_type_is_told_by_the_history(
    store: MongoStore, database: Database[Raw]
) -> None:
    run_through(store, "feed", NOW)
    database["ptsflow_containers"].update_one({}, {"$set": {"released_run": "x"}})

    with pytest.raises(StoreDamaged, match="expected container 'feed' in MongoDB"):
        store.runs()


@pytest.mark.parametrize("damage", [{"status": "dooe"}, {"last_invoked_at": "never"}])
def test_a_damaged_task_is_told_by_what_says_when_tasks_ran(
    store: MongoStore, database: Database[Raw], damage: Raw
) -> None:
    uid = filled(store, "one")
    store.commit(uid, [new("two", last_invoked_at=5)], fence=None)
    database["ptsflow_tasks"].update_one({"name": "two"}, {"$set": damage})

    with pytest.raises(StoreDamaged) as caught:
        store.spans(uid, "")
    assert str(caught.value).startswith("expected task 'two' in MongoDB as ptsflow")


@pytest.mark.parametrize("damage", [{"at": "now"}, {"percentage": None}])
def test_a_damaged_outlook_is_told(
    store: MongoStore, database: Database[Raw], damage: Raw
) -> None:
    uid = filled(store)
    record = held(store, uid)
    assert store.tell(uid, record.fence, Outlook(at=5, percentage=5.0))
    change = {f"outlook.{name}": value for name, value in damage.items()}
    database["ptsflow_containers"].update_one({}, {"$set": change})

    with pytest.raises(StoreDamaged) as caught:
        store.outlooks([uid])
    assert str(caught.value).startswith(
        "expected the outlook of container 'feed' in MongoDB as ptsflow writes it"
    )


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


@pytest.mark.parametrize("words", [("status", "feed"), ("show", "feed"), ("list",)])
def test_an_edited_plan_is_one_line_and_exit_6_in_every_command_that_looks(
    mongod_url: str, words: tuple[str, ...]
) -> None:
    url = new_database_url(mongod_url)
    with closing(MongoStore(url)) as store, raw_database(url) as database:
        filled(store, "one")
        edited = [{"name": "load", "takes": ["check"], "each": "check"}]
        database["ptsflow_containers"].update_one({}, {"$set": {"plan": edited}})
        done = python("-m", "ptsflow", *words, "--store", url)

    assert done.returncode == 6
    assert done.stderr == (
        "ptsflow: expected container 'feed' in MongoDB as ptsflow writes it, found "
        "something else: step 'load' that waits for 'check', which is no step before "
        "it; restore it from a backup\n"
    )
