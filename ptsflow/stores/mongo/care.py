"""Care of a MongoDB database: its room, and what is wrong with it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from ptsflow.errors import UsageError
from ptsflow.stores.care import Fault, Grade, Room, StoreFacts
from ptsflow.stores.mongo import faults
from ptsflow.stores.mongo.connection import Connection
from ptsflow.stores.mongo.containers import MongoContainers
from ptsflow.stores.mongo.deletions import MongoDeletions
from ptsflow.stores.mongo.documents import MetaDocument, PayloadDocument
from ptsflow.stores.mongo.queue import MongoQueue
from ptsflow.stores.mongo.runs import MongoRuns
from ptsflow.stores.mongo.tasks import MongoTasks

_PREFIX = "ptsflow_"
#: How long one collection may take to be made smaller, in seconds.
_LONG = 600.0


class MongoCare:
    """Looks after the collections of one database.

    Args:
        url: the store's URL.
    """

    is_there = True

    def __init__(self, url: str) -> None:
        self._link = Connection(url)
        self.url = self._link.url

    def facts(self) -> StoreFacts:
        """Return what the database is, and how large its collections are."""
        with self._link.call():
            server = self._link.command("buildInfo")
            metas = self._link.collection(MetaDocument.collection_name())
            meta = metas.find_one({"_id": "schema"})
        found = [Room(name, self._size(name)) for name in self._names()]
        return StoreFacts(
            engine=f"MongoDB {server['version']}",
            layout=None if meta is None else meta.get("schema"),
            rooms=tuple(found),
        )

    def _names(self) -> list[str]:
        with self._link.call():
            found = self._link.command("listCollections")
        names = [each["name"] for each in found["cursor"]["firstBatch"]]
        return sorted(name for name in names if name.startswith(_PREFIX))

    def _size(self, name: str) -> int:
        with self._link.call():
            stats = self._link.command("collStats", name)
        return int(stats.get("storageSize", 0) + stats.get("totalIndexSize", 0))

    def faults(self, *, deep: bool) -> Iterator[Fault]:
        """Yield what is wrong with the database; after damage, only what comes before."""
        looks: list[Callable[[], Iterator[Fault]]] = [
            partial(faults.server, self._link),
            partial(faults.layout, self._link),
            partial(faults.indexes, self._link),
            partial(faults.documents, self._link, deep=deep),
        ]
        for look in looks:
            found = list(look())
            yield from found
            if any(fault.grade is Grade.DAMAGE for fault in found):
                return

    def repair(self) -> Iterator[str]:
        """Remove what belongs to nothing, and make missing indexes; yield a line of each."""
        for each in list(faults.missing_indexes(self._link)):
            collection = self._link.collection(each.document.collection_name())
            with self._link.call(_LONG):
                if each.other:
                    collection.drop_index(each.other)
                each.document.ensure_indexes_in(collection)
            yield f"made the index of {each.fields} of {collection.name}"
        containers = MongoContainers(self._link, None)
        runs = MongoRuns(self._link, containers)
        tasks = MongoTasks(self._link)
        queue = MongoQueue(self._link)
        MongoDeletions(self._link, containers, tasks, runs, queue).finish_others()
        for document, uid in list(faults.strays(self._link)):
            collection = self._link.collection(document.collection_name())
            self._link.delete_all(collection, {faults.owner_field(document): uid})
            yield f"removed from {collection.name} what was of container {uid}"
        unused = faults.unused_payloads(self._link)
        if unused:
            payloads = self._link.collection(PayloadDocument.collection_name())
            self._link.delete_all(payloads, {"_id": {"$in": unused}})
            yield f"removed {len(unused)} payloads that belonged to no task"

    def vacuum(self) -> int:
        """Give unused room of the collections back; return how many bytes."""
        before = self._total()
        for name in self._names():
            with self._link.call(_LONG):
                self._link.command("compact", name)
        return max(0, before - self._total())

    def _total(self) -> int:
        return sum(room.size for room in self.facts().rooms)

    def backup(self, target: Path) -> None:
        """Refuse: mongodump makes backups of a database.

        Raises:
            UsageError: always.
        """
        raise UsageError(
            f"store backup: expected a SQLite file, found {self.url}; use mongodump to "
            f"make {target.name}"
        )

    def close(self) -> None:
        """Close the client."""
        self._link.close()
