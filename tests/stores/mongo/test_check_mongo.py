"""`store check` of MongoDB finds each kind of fault, and no fault where there is none."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import pytest
from bson import ObjectId
from pymongo.database import Database

from ptsflow.cli.store import found_faults
from ptsflow.core.work_queue import QueueEntry
from ptsflow.stores import open_care, open_store
from ptsflow.stores.care import Fault, Grade
from ptsflow.stores.mongo import faults
from ptsflow.stores.mongo.connection import Connection
from ptsflow.stores.mongo.queue import queue_document
from tests.stores.sound import finished, random_history
from tests.support.databases import new_database_url, raw_database

pytestmark = pytest.mark.mongod

Documents = Database[dict[str, Any]]
Plant = Callable[[Documents], object]
_GONE = ObjectId()


@pytest.fixture
def url(mongod_url: str) -> str:
    return new_database_url(mongod_url)


@pytest.fixture
def raw(url: str) -> Iterator[Documents]:
    """Make a sound store, and open it as another program does."""
    with raw_database(url) as opened:
        with closing(open_store(url)) as store:
            finished(store, "one", large=True)
            finished(store, "two")
        yield opened


def check(url: str) -> list[Fault]:
    with closing(open_care(url)) as care:
        return list(found_faults(care, url, deep=True))


def put(collection: str, query: dict[str, Any], **fields: object) -> Plant:
    """Return what makes a fault by fields of one document."""
    return lambda raw: raw[collection].update_one(query, {"$set": fields})


def unset(collection: str, field: str) -> Plant:
    """Return what makes a fault by a field that is gone."""
    return lambda raw: raw[collection].update_one({}, {"$unset": {field: ""}})


def made_otherwise(raw: Documents) -> None:
    raw["ptsflow_containers"].drop_index("name_1")
    raw["ptsflow_containers"].create_index("name")


def _entry(uid: ObjectId) -> QueueEntry:
    return QueueEntry(uid=str(uid), container="one", workflow="Feed", at=1)


def queued(**fields: object) -> Plant:
    """Return what puts a container into the queue, with fields of other values."""

    def plant(raw: Documents) -> None:
        uid = raw["ptsflow_containers"].distinct("_id")[0]
        raw["ptsflow_queue"].insert_one(queue_document(_entry(uid)) | fields)

    return plant


_ONE, _TASK = {"name": "one"}, {"name": "load[0]"}
PLANTED: dict[str, tuple[str, Grade, Plant]] = {
    "no layout": (
        "layout",
        Grade.DAMAGE,
        lambda raw: raw["ptsflow_meta"].delete_many({}),
    ),
    "newer layout": ("layout", Grade.DAMAGE, put("ptsflow_meta", {}, schema=99)),
    "upgrade cut short": (
        "earlier layout",
        Grade.DAMAGE,
        put("ptsflow_meta", {}, upgrading_from=2),
    ),
    "deletion cut short": (
        "deletion",
        Grade.NOTE,
        lambda raw: raw["ptsflow_meta"].insert_one({"_id": f"deleting:{_GONE}"}),
    ),
    "missing index": (
        "missing index",
        Grade.FINDING,
        lambda raw: raw["ptsflow_tasks"].drop_indexes(),
    ),
    "index that is not unique": ("missing index", Grade.FINDING, made_otherwise),
    "damaged container": (
        "document",
        Grade.DAMAGE,
        put("ptsflow_containers", _ONE, status="odd"),
    ),
    "container without status": (
        "document",
        Grade.DAMAGE,
        unset("ptsflow_containers", "status"),
    ),
    "damaged task": (
        "document",
        Grade.DAMAGE,
        put("ptsflow_tasks", _TASK, status="odd"),
    ),
    "task without version": (
        "document",
        Grade.DAMAGE,
        unset("ptsflow_tasks", "version"),
    ),
    "damaged ledger": (
        "document",
        Grade.DAMAGE,
        put("ptsflow_tasks", _TASK, ledger=[{"number": "x"}]),
    ),
    "position that is no number": (
        "document",
        Grade.DAMAGE,
        put("ptsflow_containers", _ONE, next_position="x"),
    ),
    "task of no container": (
        "document",
        Grade.DAMAGE,
        put("ptsflow_tasks", _TASK, container={}),
    ),
    "damaged outlook": (
        "document",
        Grade.DAMAGE,
        put("ptsflow_containers", _ONE, outlook={"at": "x"}),
    ),
    "damaged run": ("document", Grade.DAMAGE, put("ptsflow_runs", {}, entry="{")),
    "run of other fields": (
        "document",
        Grade.DAMAGE,
        put("ptsflow_runs", {}, workflow="Other"),
    ),
    "damaged lines": ("document", Grade.DAMAGE, put("ptsflow_logs", {}, lines="{")),
    "wrong mark of an open task": (
        "mark",
        Grade.DAMAGE,
        put("ptsflow_tasks", _TASK, open=True),
    ),
    "held by nobody that was": (
        "held",
        Grade.DAMAGE,
        put("ptsflow_tasks", _TASK, held=9),
    ),
    "position that is given again": (
        "next position",
        Grade.FINDING,
        put("ptsflow_containers", {}, next_position=1),
    ),
    "task without container": (
        "task without container",
        Grade.FINDING,
        lambda raw: raw["ptsflow_tasks"].insert_one({"container": _GONE, "name": "x"}),
    ),
    "payload without container": (
        "payload without container",
        Grade.FINDING,
        lambda raw: raw["ptsflow_payloads"].insert_one({"container": _GONE}),
    ),
    "lines without container": (
        "lines without container",
        Grade.FINDING,
        lambda raw: raw["ptsflow_logs"].insert_one(
            {"container": _GONE, "task": "x", "attempt": 1, "number": 0, "lines": "[]"}
        ),
    ),
    "place in the queue without container": (
        "queue without container",
        Grade.FINDING,
        lambda raw: raw["ptsflow_queue"].insert_one(queue_document(_entry(_GONE))),
    ),
    "damaged place in the queue": ("document", Grade.DAMAGE, queued(entry="{")),
    "place in the queue without workflow": (
        "document",
        Grade.DAMAGE,
        lambda raw: (queued()(raw), unset("ptsflow_queue", "workflow")(raw)),
    ),
    "payload that no task refers to": (
        "payload without task",
        Grade.NOTE,
        lambda raw: raw["ptsflow_payloads"].insert_one(
            {"container": raw["ptsflow_containers"].distinct("_id")[0], "text": "1"}
        ),
    ),
    "lost payload": (
        "lost payload",
        Grade.DAMAGE,
        lambda raw: raw["ptsflow_payloads"].delete_many({}),
    ),
    "owner without lease": (
        "lease",
        Grade.FINDING,
        put(
            "ptsflow_containers",
            _ONE,
            stop_asked=None,
            leased_till=_GONE.generation_time,
        ),
    ),
    "request to stop nobody": (
        "stop",
        Grade.FINDING,
        put("ptsflow_containers", _ONE, stop_asked="now"),
    ),
    "fence beyond the container's": (
        "fence",
        Grade.DAMAGE,
        put("ptsflow_tasks", _TASK, fence=9),
    ),
    "value that cannot be read": (
        "unreadable value",
        Grade.DAMAGE,
        put("ptsflow_tasks", _TASK, result="{"),
    ),
    "open task in a done container": (
        "open task in done container",
        Grade.FINDING,
        put("ptsflow_tasks", _TASK, status="pending", open=True),
    ),
    "parameters that cannot be read": (
        "parameters",
        Grade.DAMAGE,
        put("ptsflow_containers", _ONE, params="{"),
    ),
}


@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_fault_is_found_and_repaired_if_nothing_is_lost(
    url: str, raw: Documents, name: str
) -> None:
    kind, grade, plant = PLANTED[name]
    kept = [raw[each].count_documents({}) for each in _STATE]
    plant(raw)
    found = check(url)

    assert (kind, grade) in [(fault.kind, fault.grade) for fault in found], found
    if any(fault.grade is Grade.DAMAGE for fault in found):
        return
    with closing(open_care(url)) as care:
        list(care.repair())

    assert check(url) == [fault for fault in found if not fault.is_repairable]
    assert [raw[each].count_documents({}) for each in _STATE] == kept


_STATE = ("ptsflow_containers", "ptsflow_tasks", "ptsflow_payloads", "ptsflow_runs")


def test_a_clock_that_is_far_from_ours_is_found(
    url: str, raw: Documents, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(faults, "NEAR", -1)

    assert raw.name
    assert [fault.kind for fault in check(url)] == ["clock"]


#: By the kind of the fault: what a server answers to a command.
_ANSWERS: dict[str, tuple[str, dict[str, Any]]] = {
    "storage engine": (
        "serverStatus",
        {"storageEngine": {"name": "ephemeralForTest", "persistent": False}},
    ),
    "replica set": (
        "replSetGetStatus",
        {"members": [{"stateStr": "PRIMARY"}, {"stateStr": "RECOVERING"}]},
    ),
    "write concern": (
        "replSetGetConfig",
        {"config": {"writeConcernMajorityJournalDefault": False}},
    ),
}


@pytest.mark.parametrize("kind", _ANSWERS)
def test_a_server_that_may_lose_what_it_confirms_is_found(
    url: str, raw: Documents, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    command, answer = _ANSWERS[kind]
    ask = Connection.command

    def answered(link: Connection, name: str, *args: Any, **options: Any) -> Any:
        return answer if name == command else ask(link, name, *args, **options)

    monkeypatch.setattr(Connection, "command", answered)

    assert raw.name
    assert [fault.kind for fault in check(url)] == [kind]


@pytest.mark.parametrize("seed", range(6))
def test_nothing_is_found_in_a_sound_database(url: str, seed: int) -> None:
    with raw_database(url):
        look_at_sound(url, seed)


@pytest.mark.soak
def test_nothing_is_found_in_hundreds_of_sound_databases(mongod_url: str) -> None:
    for seed in range(300):
        url = new_database_url(mongod_url)
        with raw_database(url):
            look_at_sound(url, seed)


def look_at_sound(url: str, seed: int) -> None:
    with closing(open_store(url)) as store:
        random_history(store, seed)

    assert check(url) == []
