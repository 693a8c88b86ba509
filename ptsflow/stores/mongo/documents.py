"""The documents that the MongoDB store keeps: their fields and their indexes.

| collection           | one document is                                             |
|----------------------|-------------------------------------------------------------|
| `ptsflow_containers` | a container, with its lease                                 |
| `ptsflow_tasks`      | a task, with its payloads where they are small              |
| `ptsflow_payloads`   | a payload over 1 MiB: three of 8 MiB do not fit a document  |
| `ptsflow_logs`       | some lines that an attempt logged                           |
| `ptsflow_runs`       | a run that held a container                                 |
| `ptsflow_queue`      | a container that waits for a worker                         |
| `ptsflow_meta`       | the version of this layout; deletions under way             |

A payload field holds JSON text, or the id of a document in `ptsflow_payloads`. Times are
BSON dates. The document classes have no connection: each store passes its own collections
to them, so that several stores, and the user's own mongoengine, do not disturb each other.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, ClassVar

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
from pymongo import IndexModel
from pymongo.collection import Collection

#: A document as pymongo returns it.
Raw = dict[str, Any]

#: The largest payload that is kept within its task's document, in bytes.
INLINE_LIMIT = 1 << 20


class StoreDocument(Document):
    """The base of the documents: mongoengine's part in schema, indexes and queries."""

    # The alias is never registered. So a query without a collection fails, and does not
    # go to the user's default connection.
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
        """Make the missing indexes of `meta` in `collection`."""
        made = []
        for spec in cls._meta["index_specs"]:
            options = {key: spec[key] for key in spec.keys() - {"fields", "cls"}}
            made.append(IndexModel(spec["fields"], **options))
        collection.create_indexes(made)

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
    module = StringField()
    file = StringField()
    #: The position for the next task that is added without a position.
    next_position = IntField(default=0)
    #: The fence of the last run that gave the lease back.
    released_run = IntField()
    #: What its owner expects, with the fence under which it was told.
    outlook = DictField(default=None)


class TaskDocument(StoreDocument):
    """A task of a container.

    Its `_id` holds the container and the name under which it was inserted; see `task_id`.
    A task that an earlier version inserted has an id of the driver's. Only `name` is
    unique: a renamed task keeps its `_id`, and its old name may be used again.
    """

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
    result_hash = IntField()
    made_from = IntField()
    postponed_at = IntField()
    #: JSON text, or the `_id` of a `PayloadDocument`.
    task_data = BaseField()
    processing_data = BaseField()
    result = BaseField()
    #: Whether the task is not complete.
    open = BooleanField()
    #: The fence of the lease that may write the task while it is open.
    held = IntField()
    #: The mark of the client that wrote the task last, to recognise a repeated commit.
    write = ObjectIdField()
    #: The last attempts that ended, in the order of their commits.
    ledger = ListField(DictField())


class PayloadDocument(StoreDocument):
    """A payload of more than `INLINE_LIMIT` bytes."""

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
    #: A BSON timestamp of the server, greater than all earlier ones.
    mark = BaseField()


class RunDocument(StoreDocument):
    """A run; its `_id` holds the container's uid `c` and the fence `f`."""

    meta: ClassVar[Raw] = {
        "collection": "ptsflow_runs",
        "indexes": [
            {"fields": ["workflow", "began_at"]},
            {
                "fields": ["workflow", "ordinal"],
                "unique": True,
                "partialFilterExpression": {"ordinal": {"$gt": 0}},
            },
        ],
    }

    #: The container's name.
    name = StringField(required=True)
    workflow = StringField()
    began_at = DateTimeField()
    #: What counts of the status, of when somebody was told, and of the ordinal, whatever
    #: `entry` says.
    status = StringField()
    told_at = DateTimeField()
    ordinal = IntField()
    #: JSON of the `RunRecord`.
    entry = StringField(required=True)


class QueueDocument(StoreDocument):
    """A container that waits for a worker; its `_id` is the container's."""

    meta: ClassVar[Raw] = {"collection": "ptsflow_queue"}

    workflow = StringField(required=True)
    not_before = DateTimeField()
    priority = IntField()
    at = DateTimeField()
    #: JSON of the `QueueEntry`.
    entry = StringField(required=True)


class ScheduleDocument(StoreDocument):
    """When a workflow is due; its `_id` is the name of the workflow."""

    meta: ClassVar[Raw] = {"collection": "ptsflow_schedules"}

    workflow = StringField(primary_key=True)
    #: JSON of the `ScheduleRecord`.
    entry = StringField(required=True)


class MetaDocument(StoreDocument):
    """A fact about the whole store, such as its layout."""

    meta: ClassVar[Raw] = {"collection": "ptsflow_meta"}

    id = StringField(primary_key=True)
    schema = IntField()


def _times_of(document: type[StoreDocument]) -> frozenset[str]:
    fields = document._fields.items()
    return frozenset(name for name, field in fields if isinstance(field, DateTimeField))


#: The names of the fields of a task that are BSON dates; of all fields that are.
TASK_TIMES = _times_of(TaskDocument)
TIMES = TASK_TIMES | _times_of(ContainerDocument)

_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 - as pymongo returns dates
_MILLISECOND = timedelta(milliseconds=1)


def millis_of(date: Any) -> Any:
    """Return a BSON date in milliseconds since the epoch.

    What is no date stays as it is, but for a number, which would be taken for milliseconds:
    it becomes a text, so that it is refused.
    """
    if isinstance(date, datetime):
        return (date - _EPOCH) // _MILLISECOND
    if isinstance(date, DatetimeMS):
        return int(date)
    return str(date) if isinstance(date, int | float) else date
