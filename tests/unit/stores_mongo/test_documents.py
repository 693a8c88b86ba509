from __future__ import annotations

from contextlib import suppress
from typing import TypeVar

import pytest
from bson import ObjectId
from bson.datetime_ms import DatetimeMS
from msgspec import UNSET, Struct, ValidationError, convert
from msgspec.structs import fields, replace

from ptsflow.core.model import (
    PAYLOADS,
    Attempt,
    Cause,
    Change,
    ContainerRecord,
    Ending,
    LogChunk,
    LogLine,
    Status,
    StepSummary,
    Stop,
    TaskRecord,
)
from ptsflow.errors import StoreDamaged
from ptsflow.stores.mongo.documents import (
    INLINE_LIMIT,
    ContainerDocument,
    LogDocument,
    TaskDocument,
)
from ptsflow.stores.mongo.records import changed_fields, is_large
from ptsflow.stores.mongo.store import MongoStore
from tests.stores.making import ended, new, one, owner, swap
from tests.unit.stores_mongo.conftest import Collections

Record = TypeVar("Record", bound=Struct)


def distinct(kind: type[Record], **given: object) -> Record:
    """Return a record whose fields, but for the given ones, all differ."""
    values = dict(given)
    for number, field in enumerate(fields(kind), 1_700_000_000_000):
        if field.name not in given:
            for value in (f'"{field.name}"', number, True):
                with suppress(ValidationError):
                    values.setdefault(field.name, convert(value, field.type))
    return kind(**values)


def test_every_field_of_a_task_comes_back(mocked: MongoStore) -> None:
    uid = mocked.create("feed")[0].uid
    texts = {name: f'"{name}"' for name in PAYLOADS}
    given = distinct(TaskRecord, status=Status.WAITING, cause=Cause.UPSTREAM, **texts)
    mocked.commit(uid, [Change(None, given)], fence=None)

    assert one(mocked, uid, given.name, payloads=True) == given


def test_every_field_of_a_container_comes_back(
    mocked: MongoStore, leased: ContainerRecord, database: Collections
) -> None:
    kept = ("uid", "name", "fence", "owner", "leased_till", "stop_asked", "created_at")
    step = distinct(StepSummary, needs=("a", "b"), each="a", above=1, tolerate="5%")
    given = distinct(
        ContainerRecord,
        **{name: getattr(leased, name) for name in kept},
        status=Status.FAILED,
        plan=(StepSummary(name="a"), StepSummary(name="b"), step),
    )
    mocked.save(given)
    asked = {"$set": {"stop_asked": "now"}}
    database("ptsflow_containers").update_one({}, asked)

    assert mocked.container("feed") == replace(given, stop_asked=Stop.NOW)
    assert given.owner == owner("a")


def test_every_field_of_an_attempt_comes_back(mocked: MongoStore) -> None:
    uid = mocked.create("feed")[0].uid
    given = distinct(Attempt, ending=Ending.CRASHED)
    mocked.commit(uid, [replace(new("one"), ended=given)], fence=None)

    assert mocked.attempts(uid, "one") == [given]


def test_every_field_of_a_chunk_of_lines_comes_back(mocked: MongoStore) -> None:
    uid = mocked.create("feed")[0].uid
    given = distinct(LogChunk, lines=(distinct(LogLine), distinct(LogLine, text="")))
    logs = mocked.logs()
    logs.put(uid, [given])

    assert logs.read(uid)[0] == [given]


def test_the_documents_declare_every_field_of_the_records() -> None:
    assert set(TaskRecord.__struct_fields__) <= set(TaskDocument._fields)
    assert set(LogChunk.__struct_fields__) <= set(LogDocument._fields)
    assert set(ContainerRecord.__struct_fields__) - {"uid"} <= set(
        ContainerDocument._fields
    )


def test_a_task_is_read_without_payloads_and_never_with_its_ledger(
    mocked: MongoStore, database: Collections
) -> None:
    uid = mocked.create("feed")[0].uid
    change = new("one", task_data="1", processing_data="2", result="3")
    mocked.commit(uid, [ended(change, 1)], fence=None)
    (raw,) = database("ptsflow_tasks").find()
    bare, full = one(mocked, uid, "one"), one(mocked, uid, "one", payloads=True)

    assert len(raw["ledger"]) == 1
    assert [getattr(bare, name) for name in PAYLOADS] == [UNSET] * 3
    assert [getattr(full, name) for name in PAYLOADS] == ["1", "2", "3"]


def test_a_payload_over_one_mib_is_a_document_that_its_task_refers_to(
    mocked: MongoStore, database: Collections
) -> None:
    uid = mocked.create("feed")[0].uid
    large = f'"{"x" * INLINE_LIMIT}"'
    mocked.commit(uid, [new("one", result=large, task_data="1")], fence=None)
    (raw,) = database("ptsflow_tasks").find()
    (payload,) = database("ptsflow_payloads").find()

    assert payload == {
        "_id": raw["result"],
        "container": ObjectId(uid),
        "text": large,
    }
    assert raw["task_data"] == "1"
    assert one(mocked, uid, "one", payloads=True).result == large


@pytest.mark.parametrize(
    ("text", "apart"),
    [
        pytest.param("x" * INLINE_LIMIT, False, id="a mebibyte"),
        pytest.param("x" * (INLINE_LIMIT + 1), True, id="a byte more"),
        pytest.param("é" * (INLINE_LIMIT // 2 + 1), True, id="fewer characters"),
        pytest.param(None, False, id="none"),
    ],
)
def test_the_size_of_a_payload_is_measured_in_bytes(
    text: str | None, *, apart: bool
) -> None:
    assert is_large(text) is apart


def test_a_swap_writes_what_differs_and_progress() -> None:
    before = TaskRecord(name="one", version=1, fence=1, percentage_complete=5.0)
    done = swap(before, fence=2, status=Status.DONE, task_ended_at=1_700_000_000_123)
    assert done.after is not None

    assert changed_fields(before, done.after, 2) == {
        "version": 2,
        "fence": 2,
        "status": "done",
        "task_ended_at": DatetimeMS(1_700_000_000_123),
        "percentage_complete": 5.0,
        "status_text": "",
        "open": False,
        "held": None,
    }


@pytest.mark.parametrize(
    ("collection", "field", "value"),
    [
        pytest.param("ptsflow_tasks", "status", "sleeping", id="a status"),
        pytest.param("ptsflow_tasks", "due", "soon", id="a time"),
        pytest.param("ptsflow_tasks", "ledger", [{"number": "x"}], id="a ledger"),
        pytest.param("ptsflow_containers", "fence", "1", id="a fence"),
    ],
)
def test_a_document_that_ptsflow_never_writes_is_damaged(
    mocked: MongoStore,
    database: Collections,
    collection: str,
    field: str,
    value: object,
) -> None:
    uid = mocked.create("feed")[0].uid
    mocked.commit(uid, [new("one")], fence=None)
    database(collection).update_one({}, {"$set": {field: value}})

    with pytest.raises(StoreDamaged):
        _ = mocked.container("feed"), mocked.tasks(uid), mocked.attempts(uid, "one")


@pytest.mark.parametrize("collection", ["ptsflow_tasks", "ptsflow_containers"])
def test_a_field_of_a_newer_version_does_no_harm(
    mocked: MongoStore, database: Collections, collection: str
) -> None:
    uid = mocked.create("feed")[0].uid
    mocked.commit(uid, [new("one")], fence=None)
    before = (mocked.container("feed"), mocked.tasks(uid))
    database(collection).update_one({}, {"$set": {"colour": "blue"}})

    assert (mocked.container("feed"), mocked.tasks(uid)) == before
