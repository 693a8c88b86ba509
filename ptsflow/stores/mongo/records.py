"""Records as documents of MongoDB and back.

Both have fields of the same names; a time is milliseconds in a record and a BSON date in
a document.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from itertools import compress
from operator import is_not, itemgetter
from types import GenericAlias
from typing import Any, Never, TypeVar

from bson import ObjectId, Timestamp
from bson.datetime_ms import DatetimeMS
from msgspec import UNSET, DecodeError, ValidationError, convert, to_builtins
from msgspec.json import decode as from_json
from msgspec.json import encode as to_json
from msgspec.structs import astuple
from msgspec.structs import fields as fields_of

from ptsflow.core.insight import Outlook
from ptsflow.core.model import (
    PAYLOADS,
    Attempt,
    ContainerRecord,
    LogChunk,
    LogLine,
    Stop,
    Tally,
    TaskRecord,
)
from ptsflow.core.pack import IDENTITY, Pack, divided, packed
from ptsflow.core.stored_plan import misfit
from ptsflow.errors import StoreDamaged
from ptsflow.host.clock import to_datetime
from ptsflow.stores.leasing import NOT_SAVED
from ptsflow.stores.mongo.documents import (
    INLINE_LIMIT,
    TASK_TIMES,
    TIMES,
    ContainerDocument,
    Raw,
    millis_of,
)

T = TypeVar("T")

_TASK_FIELDS = TaskRecord.__struct_fields__
_PLACES = range(len(_TASK_FIELDS))
_PAYLOADS = frozenset(PAYLOADS)
#: How the values of some fields are stored that are not null.
_STORED_AS: dict[str, Callable[[Any], object]] = dict.fromkeys(
    TASK_TIMES, DatetimeMS
) | {
    "status": str,
    "cause": str,
}
_BARE_FIELDS = tuple(name for name in _TASK_FIELDS if name not in _PAYLOADS)
#: The projection of a task's document to its record without payloads. The server is
#: twice as fast when it is told what to read, not what to leave out.
WITHOUT_PAYLOADS: Raw = {"_id": False} | dict.fromkeys(_BARE_FIELDS, True)
#: Returns of a task's document what says whether the task may be packed.
_identity = itemgetter(*IDENTITY)
_bare_values = itemgetter(*_BARE_FIELDS)
#: The types of columns of tasks.
_COLUMNS = {f.name: GenericAlias(list, f.type) for f in fields_of(TaskRecord)}
#: What every task has since layout 2; what later layouts added has its default in older
#: documents.
_LATER = {"result_hash", "made_from", "postponed_at"}
_REQUIRED = frozenset(_TASK_FIELDS) - _PAYLOADS - _LATER
_REQUIRED_OF_CONTAINERS = frozenset({"name", "status", "fence", "created_at"})
_SAVED = tuple(
    name for name in ContainerRecord.__struct_fields__ if name not in NOT_SAVED
)


def object_id(uid: str) -> ObjectId:
    """Return the `_id` of a uid; for an invalid uid, an id that no document has."""
    return ObjectId(uid) if ObjectId.is_valid(uid) else ObjectId()


def converted(kind: str, raw: Raw, record: type[T]) -> T:
    """Return a document as a record, or raise StoreDamaged that names it."""
    try:
        return convert(raw, record)
    except ValidationError as error:
        raise _damaged(kind, raw, error) from error


def container_record(raw: Raw) -> ContainerRecord:
    """Return the record of a container's document."""
    if not raw.keys() >= _REQUIRED_OF_CONTAINERS:
        _refuse_missing("container", raw, _REQUIRED_OF_CONTAINERS)
    _dates_to_millis(raw)
    raw["uid"] = str(raw["_id"])
    record = converted("container", raw, ContainerRecord)
    if (found := misfit(record.plan)) is not None:
        raise _damaged("container", raw, DecodeError(found))
    return record


def stop_word(raw: Raw) -> Stop | None:
    """Return how the owner of a container's document was asked to stop."""
    try:
        return convert(raw.get("stop_asked"), Stop | None)
    except ValidationError as error:
        raise _damaged("container", raw, error) from error


def refuse_holder(task: str, held: float, fence: int) -> Never:
    """Refuse a task that says to be held by an owner that there has not been."""
    error = DecodeError(f"held by owner {held:g} of {fence}")
    raise _damaged("task", {"name": task}, error)


def task_record(raw: Raw) -> TaskRecord:
    """Return the record of a task's document; missing payloads are UNSET."""
    (record,) = task_records([raw])
    return record


def task_records(raws: list[Raw], *, is_bare: bool = False) -> list[TaskRecord]:
    """Return the records of documents of tasks; missing payloads are UNSET.

    Another field that is missing would be read as its default: a task that is done would
    be pending.

    Args:
        raws: The documents.
        is_bare: Whether they were read by the projection `WITHOUT_PAYLOADS`.
    """
    complete = len(_BARE_FIELDS) if is_bare else 0
    for raw in raws:
        if len(raw) != complete and not raw.keys() >= _REQUIRED:
            _refuse_missing("task", raw, _REQUIRED)
        for name in TASK_TIMES:
            if (date := raw[name]) is not None:
                raw[name] = millis_of(date)
    try:
        return convert(raws, list[TaskRecord])
    except ValidationError:
        for raw in raws:
            converted("task", raw, TaskRecord)
        raise


def packed_records(raws: list[Raw]) -> tuple[list[TaskRecord], list[Pack]]:
    """Return the records of documents that `WITHOUT_PAYLOADS` read, or packs of them."""
    if any(len(raw) != len(_BARE_FIELDS) for raw in raws):
        return task_records(raws, is_bare=True), []
    single, groups = divided(raws, _identity)
    packs: list[Pack] = []
    for some in groups:
        columns = zip(*map(_bare_values, some), strict=True)
        try:
            packs.append(packed(dict(map(_typed, _BARE_FIELDS, columns))))
        except ValidationError:
            single += some  # The first that is damaged is named below.
    return task_records(single, is_bare=True), packs


def _typed(name: str, values: Sequence[Any]) -> tuple[str, list[Any]]:
    """Return a field and its values in tasks, as they are in records."""
    if name in TASK_TIMES and any(values):
        values = list(map(millis_of, values))
    return name, convert(values, _COLUMNS[name])


def check_payloads(raws: Iterable[Raw]) -> None:
    """Refuse tasks that were read with their payloads and lack a field of one.

    A payload that does not exist is null.
    """
    for raw in raws:
        if not raw.keys() >= _PAYLOADS:
            _refuse_missing("task", raw, _PAYLOADS)


def outlook_fields(outlook: Outlook | None, fence: int) -> Raw | None:
    """Return what a container keeps of what its owner expects."""
    return None if outlook is None else to_builtins(outlook) | {"fence": fence}


def outlook_of(raw: Raw) -> Outlook:
    """Return the outlook in a container's document."""
    try:
        return convert(raw["outlook"], Outlook)
    except ValidationError as error:
        raise _damaged("the outlook of container", raw, error) from error


def tally_of(row: Raw) -> Tally:
    """Return the tally of a group of tasks."""
    try:
        return convert(row | row["_id"], Tally)
    except ValidationError as error:
        name = {"name": row["_id"].get("step")}
        raise _damaged("the tasks of step", name, error) from error


def new_container(uid: ObjectId, name: str, created_at: int) -> Raw:
    """Return the document of a new container."""
    document = ContainerDocument(
        id=uid, name=name, status="pending", created_at=to_datetime(created_at)
    )
    return dict(document.to_mongo())


def saved_fields(record: ContainerRecord) -> Raw:
    """Return the fields that `Store.save` writes."""
    fields: Raw = {name: getattr(record, name) for name in _SAVED}
    fields["status"] = record.status.value
    fields["plan"] = to_builtins(record.plan)
    _millis_to_dates(fields)
    return fields


def task_id(container: ObjectId, name: str) -> Raw:
    """Return the `_id` of a task that is inserted under that name."""
    return {"c": container, "n": name}


def new_task(container: ObjectId, task: TaskRecord, fence: int | None) -> Raw:
    """Return the document of a new task, written under `fence`."""
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
    """Return the fields that a swap writes: those that differ, and the progress.

    `Store.touch` changes the stored progress without a new version, so the progress in
    `before` may not be the stored one.
    """
    old, new = astuple(before), astuple(after)
    fields: Raw = {}
    # Most values are the same objects before and after.
    for place in compress(_PLACES, map(is_not, old, new)):
        value = new[place]
        if value != old[place] and value is not UNSET:
            name = _TASK_FIELDS[place]
            stored_as = _STORED_AS.get(name)
            fields[name] = (
                stored_as(value) if stored_as and value is not None else value
            )
    fields["percentage_complete"] = after.percentage_complete
    fields["status_text"] = after.status_text
    if after.is_complete is not before.is_complete:
        _open_or_complete(fields, after, fence)
    return fields


def ledger_entry(attempt: Attempt) -> Raw:
    """Return the entry of an attempt in the ledger of its task."""
    fields: Raw = to_builtins(attempt)
    _millis_to_dates(fields)
    return fields


def ledger_entries(raw: Raw) -> list[Attempt]:
    """Return the attempts in the ledger of a task's document, in stored order."""
    entries = raw.get("ledger") or []
    try:
        for entry in entries:
            _dates_to_millis(entry)
        return convert(entries, list[Attempt])
    except (AttributeError, TypeError, ValidationError) as error:
        raise _damaged("the ledger of task", raw, error) from error


def new_lines(uid: ObjectId, container: ObjectId, chunk: LogChunk) -> Raw:
    """Return the document of a new chunk."""
    return {
        "_id": uid,
        "container": container,
        "task": chunk.task,
        "attempt": chunk.attempt,
        "number": chunk.number,
        "lines": to_json(chunk.lines).decode(),
        # The server replaces an empty timestamp by its own.
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
    """Return whether a payload needs a document of its own."""
    return (
        isinstance(payload, str)
        and len(payload) > INLINE_LIMIT // 4
        and len(payload.encode()) > INLINE_LIMIT
    )


def references(raw: Mapping[str, Any]) -> Iterator[tuple[str, ObjectId]]:
    """Yield the payload fields that hold the id of a `PayloadDocument`, with the id."""
    for name in PAYLOADS:
        if isinstance(value := raw.get(name), ObjectId):
            yield name, value


def _open_or_complete(fields: Raw, task: TaskRecord, fence: int | None) -> None:
    fields["open"] = not task.is_complete
    fields["held"] = None if task.is_complete else fence


def _dates_to_millis(raw: Raw) -> None:
    for name in TIMES & raw.keys():
        raw[name] = millis_of(raw[name])


def _millis_to_dates(fields: Raw) -> None:
    for name in TIMES & fields.keys():
        if (millis := fields[name]) is not None:
            fields[name] = DatetimeMS(millis)


def _refuse_missing(kind: str, raw: Raw, fields: AbstractSet[str]) -> Never:
    missing = ", ".join(sorted(fields - raw.keys()))
    raise _damaged(kind, raw, DecodeError(f"no {missing}"))


def _damaged(kind: str, raw: Raw, error: Exception) -> StoreDamaged:
    return StoreDamaged(
        f"expected {kind} {raw.get('name')!r} in MongoDB as ptsflow writes it, found "
        f"something else: {error}; restore it from a backup"
    )
