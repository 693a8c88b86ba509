"""The documents that the MongoDB store keeps, and how records become of them.

| collection           | one document is                                             |
|----------------------|-------------------------------------------------------------|
| `ptsflow_containers` | a container, with its lease                                 |
| `ptsflow_tasks`      | a task, with its payloads where they are small              |
| `ptsflow_payloads`   | a payload over 1 MiB: three of 8 MiB do not fit a document  |
| `ptsflow_logs`       | some lines that an attempt logged                           |
| `ptsflow_meta`       | the version of this layout                                  |

A payload field holds JSON text, or the id of a document of `ptsflow_payloads`. Times are
BSON dates. The documents are bound to no connection: each store hands them its own
collections, so that neither stores nor the user's own mongoengine get into each other's
way.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from bson import ObjectId, Timestamp
from bson.datetime_ms import DatetimeMS
from mongoengine import Document
from mongoengine.base import BaseField
from mongoengine.fields import (
    BooleanField,
    DateTimeField,
    DictField,
    FloatField,
    IntField,
    ListField,
    ObjectIdField,
    StringField,
)
from mongoengine.queryset import QuerySet
from msgspec import UNSET, DecodeError, ValidationError, convert, to_builtins
from msgspec.json import decode as from_json
from msgspec.json import encode as to_json
from msgspec.structs import astuple
from pymongo.collection import Collection

from ptsflow.core.model import (
    PAYLOADS,
    Attempt,
    ContainerRecord,
    LogChunk,
    LogLine,
    Stop,
    TaskRecord,
)
from ptsflow.errors import StoreDamaged
from ptsflow.host.clock import to_datetime

#: What collections hold, as pymongo hands it out.
Raw = dict[str, Any]

#: The largest payload that is kept within its task's document, in bytes.
INLINE_LIMIT = 1 << 20


class StoreDocument(Document):
    """The base of the documents: mongoengine's part in schema, indexes and queries."""

    # The alias is never registered: a query that forgot its collection fails, and
    # does not end up in the user's default connection.
    meta: ClassVar[Raw] = {
        "abstract": True,
        "db_alias": "ptsflow-unbound",
        "auto_create_index": False,
        "strict": False,
    }

    @classmethod
    def collection_name(cls) -> str:
        """Return the name of its collection."""
        return str(cls._get_collection_name())

    @classmethod
    def ensure_indexes_in(cls, collection: Collection[Raw]) -> None:
        """Make the indexes of `meta` in `collection` where they are not there yet."""
        for spec in cls._meta["index_specs"]:
            options = {key: spec[key] for key in spec.keys() - {"fields", "cls"}}
            collection.create_index(spec["fields"], **options)

    @classmethod
    def within(cls, collection: Collection[Raw]) -> QuerySet:
        """Return the query of all documents in `collection`."""
        return QuerySet(cls, collection)


class ContainerDocument(StoreDocument):
    """A container; `uid` is its `_id` in hexadecimal."""

    meta: ClassVar[Raw] = {
        "collection": "ptsflow_containers",
        "indexes": [{"fields": ["name"], "unique": True}],
    }

    name = StringField(required=True)
    workflow = StringField()
    params = StringField()
    plan = ListField(DictField())
    status = StringField()
    finish_reason = StringField()
    target = StringField()
    fence = IntField(default=0)
    owner = DictField(default=None)
    leased_till = DateTimeField()
    stop_asked = StringField()
    created_at = DateTimeField()
    started_at = DateTimeField()
    ended_at = DateTimeField()
    #: The position of the next task that is added without one.
    next_position = IntField(default=0)


class TaskDocument(StoreDocument):
    """A task of a container."""

    meta: ClassVar[Raw] = {
        "collection": "ptsflow_tasks",
        "indexes": [
            {"fields": ["container", "name"], "unique": True},
            {
                "fields": ["container", "position", "name"],
                "partialFilterExpression": {"open": True},
            },
        ],
    }

    container = ObjectIdField(required=True)
    name = StringField(required=True)
    step = StringField()
    key = StringField()
    position = IntField()
    status = StringField()
    version = IntField()
    fence = IntField()
    attempt = IntField()
    invoke_count = IntField()
    percentage_complete = FloatField()
    status_text = StringField()
    due = DateTimeField()
    began_at = DateTimeField()
    last_invoked_at = DateTimeField()
    task_ended_at = DateTimeField()
    task_duration_ms = IntField()
    leased_till = DateTimeField()
    max_retries = IntField()
    delay_between_retries = FloatField()
    error = StringField()
    cause = StringField()
    code_version = StringField()
    code_hash = StringField()
    ran_by = StringField()
    #: JSON text, or the `_id` of a `PayloadDocument`.
    task_data = BaseField()
    processing_data = BaseField()
    result = BaseField()
    #: Whether it is not complete.
    open = BooleanField()
    #: The fence of the lease under which it may be written, while it is open.
    held = IntField()
    #: The commit of a client that wrote it last: how it recognises its own write.
    write = ObjectIdField()
    #: Attempts that ended, the last ones, in the order in which they were noted.
    ledger = ListField(DictField())


class PayloadDocument(StoreDocument):
    """A payload that is too large for its task's document."""

    meta: ClassVar[Raw] = {
        "collection": "ptsflow_payloads",
        "indexes": [{"fields": ["container"]}],
    }

    container = ObjectIdField(required=True)
    text = StringField(required=True)


class LogDocument(StoreDocument):
    """A chunk of lines of an attempt."""

    meta: ClassVar[Raw] = {
        "collection": "ptsflow_logs",
        "indexes": [
            {"fields": ["container", "mark"]},
            {"fields": ["container", "task", "attempt", "mark"]},
        ],
    }

    container = ObjectIdField(required=True)
    task = StringField(required=True)
    attempt = IntField()
    number = IntField()
    #: JSON text.
    lines = StringField()
    #: Given by the server: a BSON timestamp, greater than all that it gave before.
    mark = BaseField()


class MetaDocument(StoreDocument):
    """What is true of the whole store."""

    meta: ClassVar[Raw] = {"collection": "ptsflow_meta"}

    id = StringField(primary_key=True)
    schema = IntField()


_TIMES = frozenset(
    name
    for document in (ContainerDocument, TaskDocument)
    for name, field in document._fields.items()
    if isinstance(field, DateTimeField)
)
_TASK_FIELDS = TaskRecord.__struct_fields__
_SAVED = (
    *("workflow", "params", "target", "status", "finish_reason"),
    *("started_at", "ended_at"),
)


def object_id(uid: str) -> ObjectId:
    """Return the `_id` of a uid; of what no store gave, one that no document has."""
    return ObjectId(uid) if ObjectId.is_valid(uid) else ObjectId()


def container_record(raw: Raw) -> ContainerRecord:
    """Return the record of a container's document."""
    _dates_to_millis(raw)
    raw["uid"] = str(raw["_id"])
    try:
        return convert(raw, ContainerRecord)
    except ValidationError as error:
        raise _damaged("container", raw, error) from error


def stop_word(raw: Raw) -> Stop | None:
    """Return how the owner of a container's document was asked to stop."""
    try:
        return convert(raw.get("stop_asked"), Stop | None)
    except ValidationError as error:
        raise _damaged("container", raw, error) from error


def task_record(raw: Raw) -> TaskRecord:
    """Return the record of a task's document; payloads it lacks are UNSET."""
    _dates_to_millis(raw)
    try:
        return convert(raw, TaskRecord)
    except ValidationError as error:
        raise _damaged("task", raw, error) from error


def new_container(uid: ObjectId, name: str, created_at: int) -> Raw:
    """Return the document of a container that is made now."""
    document = ContainerDocument(
        id=uid, name=name, status="pending", created_at=to_datetime(created_at)
    )
    return dict(document.to_mongo())


def saved_fields(record: ContainerRecord) -> Raw:
    """Return what `Store.save` writes of a container."""
    fields = {name: getattr(record, name) for name in _SAVED}
    fields["status"] = record.status.value
    fields["plan"] = to_builtins(record.plan)
    _millis_to_dates(fields)
    return fields


def new_task(container: ObjectId, task: TaskRecord, fence: int | None) -> Raw:
    """Return the document of a task that is added under `fence`."""
    fields: Raw = dict(zip(_TASK_FIELDS, astuple(task), strict=True))
    for name in PAYLOADS:
        if fields[name] is UNSET:
            fields[name] = None
    _millis_to_dates(fields)
    fields["status"] = task.status.value
    fields["cause"] = task.cause.value
    fields["container"] = container
    _open_or_complete(fields, task, fence)
    return fields


def changed_fields(before: TaskRecord, after: TaskRecord, fence: int | None) -> Raw:
    """Return what a swap under `fence` writes: the fields that differ, and progress.

    Progress moves no version, so that `before` does not tell what is stored of it.
    """
    fields: Raw = {
        name: new
        for name, old, new in zip(
            _TASK_FIELDS, astuple(before), astuple(after), strict=True
        )
        if new is not old and new != old and new is not UNSET
    }
    fields["percentage_complete"] = after.percentage_complete
    fields["status_text"] = after.status_text
    _millis_to_dates(fields)
    if "status" in fields:
        fields["status"] = after.status.value
        if after.is_complete is not before.is_complete:
            _open_or_complete(fields, after, fence)
    if "cause" in fields:
        fields["cause"] = after.cause.value
    return fields


def ledger_entry(attempt: Attempt) -> Raw:
    """Return what a task's ledger keeps of an attempt."""
    fields: Raw = to_builtins(attempt)
    _millis_to_dates(fields)
    return fields


def ledger_entries(raw: Raw) -> list[Attempt]:
    """Return the attempts in the ledger of a task's document, as they were noted."""
    entries = raw.get("ledger") or []
    try:
        for entry in entries:
            _dates_to_millis(entry)
        return convert(entries, list[Attempt])
    except (AttributeError, ValidationError) as error:
        raise _damaged("the ledger of task", raw, error) from error


def new_lines(uid: ObjectId, container: ObjectId, chunk: LogChunk) -> Raw:
    """Return the document of a chunk that is put now."""
    return {
        "_id": uid,
        "container": container,
        "task": chunk.task,
        "attempt": chunk.attempt,
        "number": chunk.number,
        "lines": to_json(chunk.lines).decode(),
        # What is empty is replaced by the server.
        "mark": Timestamp(0, 0),
    }


def log_chunk(raw: Raw) -> LogChunk:
    """Return the chunk of a document."""
    try:
        lines = from_json(raw["lines"], type=tuple[LogLine, ...])
        return convert(raw | {"lines": lines}, LogChunk)
    except (DecodeError, KeyError, TypeError) as error:
        raise _damaged(
            "log lines of task", raw | {"name": raw.get("task")}, error
        ) from error


def is_large(payload: object) -> bool:
    """Whether a payload is kept in a document of its own."""
    return (
        isinstance(payload, str)
        and len(payload) > INLINE_LIMIT // 4
        and len(payload.encode()) > INLINE_LIMIT
    )


def references(raw: Mapping[str, Any]) -> Iterator[tuple[str, ObjectId]]:
    """Yield the payload fields that refer to a document of their own, with its id."""
    for name in PAYLOADS:
        if isinstance(value := raw.get(name), ObjectId):
            yield name, value


def _open_or_complete(fields: Raw, task: TaskRecord, fence: int | None) -> None:
    fields["open"] = not task.is_complete
    fields["held"] = None if task.is_complete else fence


def _dates_to_millis(raw: Raw) -> None:
    for name in _TIMES & raw.keys():
        if isinstance(moment := raw[name], DatetimeMS):
            raw[name] = int(moment)


def _millis_to_dates(fields: Raw) -> None:
    for name in _TIMES & fields.keys():
        if (millis := fields[name]) is not None:
            fields[name] = DatetimeMS(millis)


def _damaged(kind: str, raw: Raw, error: Exception) -> StoreDamaged:
    return StoreDamaged(
        f"expected {kind} {raw.get('name')!r} in MongoDB as ptsflow writes it, found "
        f"something else: {error}; restore it from a backup"
    )
