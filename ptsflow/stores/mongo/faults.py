"""What may be wrong with a MongoDB database: its server, its indexes, its documents."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator

from bson import ObjectId
from msgspec import Struct

from ptsflow.core import model
from ptsflow.core.model import ContainerRecord
from ptsflow.errors import StoreDamaged, StoreError
from ptsflow.stores.care import Fault, Grade
from ptsflow.stores.mongo.changes import held_after_release
from ptsflow.stores.mongo.connection import Connection
from ptsflow.stores.mongo.containers import counters_of
from ptsflow.stores.mongo.deletions import DELETING
from ptsflow.stores.mongo.documents import (
    ContainerDocument,
    LogDocument,
    MetaDocument,
    PayloadDocument,
    QueueDocument,
    Raw,
    RunDocument,
    StoreDocument,
    TaskDocument,
)
from ptsflow.stores.mongo.migrations import is_earlier
from ptsflow.stores.mongo.queue import entry_of
from ptsflow.stores.mongo.records import (
    container_record,
    ledger_entries,
    log_chunk,
    outlook_of,
    references,
    task_records,
)
from ptsflow.stores.mongo.runs import run_of

#: The documents whose collections have indexes; the last two are made when they are used.
INDEXED: tuple[type[StoreDocument], ...] = (
    *(ContainerDocument, TaskDocument, PayloadDocument),
    *(LogDocument, RunDocument),
)
#: How far the server's clock may be from this host's, in milliseconds.
NEAR = 5_000
_HEALTHY = {"PRIMARY", "SECONDARY", "ARBITER"}


class Missing(Struct, frozen=True):
    """An index that a collection lacks, or has otherwise."""

    document: type[StoreDocument]
    #: The name of an index with the same fields that is made otherwise; "" if none is.
    other: str
    fields: str


def server(link: Connection) -> Iterator[Fault]:
    """Yield what is wrong with the server as a place for state."""
    sent = time.time_ns()
    now = link.now()
    ours = (sent + time.time_ns()) // 2_000_000
    if abs(now - ours) > NEAR:
        text = f"the clocks of the server and of this host are {abs(now - ours) / 1000:.0f} s apart; set them (ntp)"
        yield Fault("clock", text)
    status = _asked(link, "serverStatus")
    engine = status.get("storageEngine", {})
    if engine.get("persistent") is False:
        text = f"the server's storage engine {engine.get('name')!r} keeps nothing on a disk"
        yield Fault("storage engine", text)
    members = _asked(link, "replSetGetStatus").get("members", [])
    for member in members:
        if member.get("stateStr") not in _HEALTHY:
            text = f"member {member.get('name')} of the replica set is {member.get('stateStr')}"
            yield Fault("replica set", text)
    config = _asked(link, "replSetGetConfig").get("config", {})
    if config.get("writeConcernMajorityJournalDefault") is False:
        text = "writeConcernMajorityJournalDefault is false: a power cut of a majority may take back what was confirmed"
        yield Fault("write concern", text)


def _asked(link: Connection, command: str) -> Raw:
    """Return what the server says; nothing where it is alone, or the user may not ask."""
    try:
        with link.call():
            return link.command(command, of_server=True)
    except StoreError:
        return {}


def layout(link: Connection) -> Iterator[Fault]:
    """Yield what is wrong with the number of the layout."""
    metas = link.collection(MetaDocument.collection_name())
    with link.call():
        meta = metas.find_one({"_id": "schema"})
        marks = list(metas.find({"_id": {"$regex": f"^{DELETING}"}}))
        count = link.collection(ContainerDocument.collection_name()).count_documents({})
    if meta is None:
        if count:
            text = f"there are {count} containers, and no number of the layout"
            yield Fault("layout", text, Grade.DAMAGE)
        return
    try:
        if is_earlier(f"store {link.url!r}", meta):
            text = f"the database has an earlier layout than {model.SCHEMA}; upgrade ptsflow on all hosts, then the store"
            yield Fault("earlier layout", text, Grade.DAMAGE)
    except StoreDamaged as error:
        yield Fault("layout", str(error), Grade.DAMAGE)
    for mark in marks:
        text = f"the deletion of container {mark['_id'].removeprefix(DELETING)} was cut short; the next one goes on"
        yield Fault("deletion", text, Grade.NOTE, is_repairable=True)


def missing_indexes(link: Connection) -> Iterator[Missing]:
    """Yield the indexes that collections lack, or have otherwise."""
    there = set(link.collections(d.collection_name() for d in INDEXED))
    for document in INDEXED:
        if document.collection_name() not in there:
            continue
        with link.call():
            collection = link.collection(document.collection_name())
            made = collection.index_information()
        for spec in document._meta["index_specs"]:  # noqa: SLF001 - its own class.
            same = [
                (name, found)
                for name, found in made.items()
                if list(found["key"]) == list(spec["fields"])
            ]
            fields = ", ".join(name for name, _ in spec["fields"])
            if not same:
                yield Missing(document, "", fields)
            elif any(not _is_like(found, spec) for _, found in same):
                yield Missing(document, same[0][0], fields)


def _is_like(found: Raw, spec: Raw) -> bool:
    part = "partialFilterExpression"
    is_unique = bool(spec.get("unique"))
    return bool(found.get("unique")) == is_unique and found.get(part) == spec.get(part)


def indexes(link: Connection) -> Iterator[Fault]:
    """Yield the indexes that are missing."""
    for each in missing_indexes(link):
        name = each.document.collection_name()
        found = f"one that is made otherwise ({each.other})" if each.other else "none"
        text = f"{name}: expected an index of {each.fields}, found {found}"
        yield Fault("missing index", text, is_repairable=True)


def documents(link: Connection, *, deep: bool) -> Iterator[Fault]:
    """Yield what is wrong with documents, and those that belong to nothing."""
    # What belongs to a container is read before the containers: a new one must not seem
    # to have none.
    owners = {document: _owners(link, document) for document in _OWNED}
    containers = link.collection(ContainerDocument.collection_name())
    known: dict[ObjectId, ContainerRecord] = {}
    for raw in link.find_all(containers, {}):
        uid, next_position = raw["_id"], 0
        record = None
        try:
            record = container_record(dict(raw))
            next_position = counters_of(raw).next_position or 0
            if raw.get("outlook") is not None:
                outlook_of(raw)
        except StoreDamaged as error:
            yield Fault("document", str(error), Grade.DAMAGE)
        if record is None:
            record = ContainerRecord(uid=str(uid), name=str(raw.get("name")))
        known[uid] = record
        yield from _tasks_of(link, uid, record, next_position)
    for document, found in owners.items():
        gone = found - known.keys() - _being_deleted(link)
        for uid in sorted(gone):
            kind = f"{_OWNED[document]} without container"
            text = f"there are some of container {uid}, which there is not"
            yield Fault(kind, text, is_repairable=True)
    yield from _of_nothing(link)
    yield from _payloads(link, known)
    yield from _each(link, RunDocument, run_of)
    yield from _each(link, QueueDocument, entry_of)
    if deep:
        yield from _each(link, LogDocument, log_chunk)


_OWNED: dict[type[StoreDocument], str] = {
    TaskDocument: "task",
    PayloadDocument: "payload",
    LogDocument: "lines",
    QueueDocument: "queue",
}


def owner_field(document: type[StoreDocument]) -> str:
    """Return the field with the `_id` of the container that a document belongs to."""
    return "_id" if document is QueueDocument else "container"


def _owners(link: Connection, document: type[StoreDocument]) -> set[ObjectId]:
    with link.call(_LONG):
        collection = link.collection(document.collection_name())
        found = collection.distinct(owner_field(document))
    return {each for each in found if isinstance(each, ObjectId)}


def _of_nothing(link: Connection) -> Iterator[Fault]:
    """Yield the collections with documents that name no container."""
    for document, what in _OWNED.items():
        query = {owner_field(document): {"$not": {"$type": "objectId"}}}
        with link.call(_LONG):
            collection = link.collection(document.collection_name())
            count = collection.count_documents(query)
        if count:
            text = f"{count} documents ({what}) name no container; restore a backup"
            yield Fault("document", text, Grade.DAMAGE)


def strays(link: Connection) -> Iterator[tuple[type[StoreDocument], ObjectId]]:
    """Yield the collections and uids of what belongs to no container."""
    owners = {document: _owners(link, document) for document in _OWNED}
    known = set(_owned_by(link))
    for document, found in owners.items():
        for uid in found - known - _being_deleted(link):
            yield document, uid


def _owned_by(link: Connection) -> Iterable[ObjectId]:
    containers = link.collection(ContainerDocument.collection_name())
    return (raw["_id"] for raw in link.find_all(containers, {}, {"_id": True}))


def _being_deleted(link: Connection) -> set[ObjectId]:
    metas = link.collection(MetaDocument.collection_name())
    with link.call():
        marks = list(metas.find({"_id": {"$regex": f"^{DELETING}"}}))
    ids = [mark["_id"].removeprefix(DELETING) for mark in marks]
    return {ObjectId(uid) for uid in ids if ObjectId.is_valid(uid)}


def _tasks_of(
    link: Connection, uid: ObjectId, record: ContainerRecord, next_position: int
) -> Iterator[Fault]:
    tasks = link.collection(TaskDocument.collection_name())
    for raw in link.find_all(tasks, {"container": uid}):
        where = f"task {raw.get('name')!r} of container {record.name!r}"
        kept = dict(raw)
        elsewhere = dict.fromkeys((name for name, _ in references(kept)), None)
        try:
            (task,) = task_records([raw | elsewhere])
            ledger_entries(kept)
        except StoreDamaged as error:
            yield Fault("document", f"{where}: {error}", Grade.DAMAGE)
            continue
        if bool(kept.get("open")) is task.is_complete:
            text = f"{where}: is {task.status}, and marked as the contrary"
            yield Fault("mark", text, Grade.DAMAGE)
        held = kept.get("held")
        if isinstance(held, int | float) and held > held_after_release(record.fence):
            text = f"{where}: is held under fence {held:g}, which there has not been"
            yield Fault("held", text, Grade.DAMAGE)
        if task.position >= next_position and next_position:
            text = f"{where}: its position {task.position} is given again"
            yield Fault("next position", text)


def _payloads(
    link: Connection, known: dict[ObjectId, ContainerRecord]
) -> Iterator[Fault]:
    tasks = link.collection(TaskDocument.collection_name())
    payloads = link.collection(PayloadDocument.collection_name())
    there = {
        raw["_id"]: raw for raw in link.find_all(payloads, {}, {"container": True})
    }
    are_large = [{name: {"$type": "objectId"}} for name in model.PAYLOADS]
    used: set[ObjectId] = set()
    for raw in link.find_all(tasks, {"$or": are_large}, _SHOWN):
        for name, reference in references(raw):
            used.add(reference)
            if reference not in there and not _is_live(
                link, known.get(raw["container"])
            ):
                text = f"task {raw['name']!r}: its {name} is lost"
                yield Fault("lost payload", text, Grade.DAMAGE)
    for uid, raw in there.items():
        owner = known.get(raw["container"])
        if owner is not None and uid not in used and not _is_live(link, owner):
            # A task whose large payload was replaced unread leaves that payload.
            text = f"container {owner.name!r}: a payload belongs to no task"
            yield Fault("payload without task", text, Grade.NOTE, is_repairable=True)


_SHOWN: Raw = {"name": True, "container": True} | dict.fromkeys(model.PAYLOADS, True)


def unused_payloads(link: Connection) -> list[ObjectId]:
    """Return the payloads of containers that nobody holds, and that no task refers to."""
    containers = link.collection(ContainerDocument.collection_name())
    payloads = link.collection(PayloadDocument.collection_name())
    found: list[ObjectId] = []
    # A container that was free before and after has had no writer under a lease.
    for raw in link.find_all(containers, {"owner": None}, {"fence": True}):
        of_it = {"container": raw["_id"]}
        there = {each["_id"] for each in link.find_all(payloads, of_it, {"_id": True})}
        if not there:
            continue
        tasks = link.collection(TaskDocument.collection_name())
        used = {
            reference
            for task in link.find_all(tasks, of_it, _SHOWN)
            for _, reference in references(task)
        }
        with link.call():
            is_free = containers.find_one({**raw, "owner": None}) is not None
        found += (there - used) if is_free else []
    return found


def _is_live(link: Connection, record: ContainerRecord | None) -> bool:
    return record is not None and record.is_leased(link.now())


def _each(
    link: Connection, document: type[StoreDocument], read: Callable[[Raw], object]
) -> Iterator[Fault]:
    collection = link.collection(document.collection_name())
    for raw in link.find_all(collection, {}):
        try:
            read(raw)
        except StoreDamaged as error:
            yield Fault("document", str(error), Grade.DAMAGE)


#: How long one question about all documents may take, in seconds.
_LONG = 60.0
