"""The queue in MongoDB."""

from __future__ import annotations

from collections.abc import Collection

from bson.datetime_ms import DatetimeMS
from msgspec import MsgspecError
from msgspec.json import decode as from_json
from msgspec.json import encode as to_json

from ptsflow.core.work_queue import QueueEntry
from ptsflow.errors import StoreDamaged
from ptsflow.stores.mongo.connection import Connection
from ptsflow.stores.mongo.documents import QueueDocument, Raw
from ptsflow.stores.mongo.records import object_id

_ORDER = [("priority", -1), ("at", 1), ("_id", 1)]


class MongoQueue:
    """The collection of the queue, which is made by the first who writes to it."""

    def __init__(self, link: Connection) -> None:
        self._link = link
        self._entries = link.collection(QueueDocument.collection_name())

    def put(self, entry: QueueEntry) -> None:
        """Keep an entry, in place of an earlier one of its container."""
        document = queue_document(entry)
        with self._link.call():
            self._entries.replace_one({"_id": document["_id"]}, document, upsert=True)

    def remove(self, uid: str, until: int | None = None) -> bool:
        """Remove the entry of a container; False if there is none; see `WorkQueue`."""
        query: Raw = {"_id": object_id(uid)}
        if until is not None:
            query["at"] = {"$lte": DatetimeMS(until)}
        with self._link.call():
            removed = self._entries.delete_one(query)
        return removed.deleted_count == 1

    def due(
        self, workflows: Collection[str], now: int, limit: int = 100
    ) -> list[QueueEntry]:
        """Return entries that may be taken, those to be taken first in front."""
        query: Raw = {
            "workflow": {"$in": sorted(workflows)},
            "not_before": {"$lte": DatetimeMS(now)},
        }
        with self._link.call():
            raws = list(self._entries.find(query).sort(_ORDER).limit(limit))
        return [entry_of(raw) for raw in raws]


def queue_document(entry: QueueEntry) -> Raw:
    """Return the document of an entry."""
    return {
        "_id": object_id(entry.uid),
        "workflow": entry.workflow,
        "not_before": DatetimeMS(entry.not_before),
        "priority": entry.priority,
        "at": DatetimeMS(entry.at),
        "entry": to_json(entry).decode(),
    }


def entry_of(raw: Raw) -> QueueEntry:
    """Return the entry of a document."""
    try:
        entry = from_json(raw["entry"], type=QueueEntry)
    except (KeyError, MsgspecError, TypeError) as error:
        raise _damaged(raw, error) from error
    if (entry.uid, entry.workflow) != (str(raw["_id"]), raw.get("workflow")):
        raise _damaged(raw, "fields that do not fit its entry")
    return entry


def _damaged(raw: Raw, found: object) -> StoreDamaged:
    return StoreDamaged(
        f"expected the place of container {raw['_id']} in the queue in MongoDB as ptsflow "
        f"writes it, found {found}; delete that document of ptsflow_queue, and submit "
        "the container again"
    )
