"""Deleting containers of MongoDB with all that they have.

A deletion marks its container in `ptsflow_meta` before it deletes the first document. If
it is killed, a later deletion finishes it.
"""

from __future__ import annotations

from bson import ObjectId

from ptsflow.stores.mongo.connection import Connection
from ptsflow.stores.mongo.containers import MongoContainers
from ptsflow.stores.mongo.documents import LogDocument, MetaDocument
from ptsflow.stores.mongo.queue import MongoQueue
from ptsflow.stores.mongo.records import object_id
from ptsflow.stores.mongo.runs import MongoRuns
from ptsflow.stores.mongo.tasks import MongoTasks

#: The word before the uid in the `_id` of a mark.
DELETING = "deleting:"


class MongoDeletions:
    """Makes the deletions of one store.

    Args:
        link: The client.
        containers: The collection of containers.
        tasks: The collections of tasks and payloads.
        runs: The collection of runs, which outlive their containers.
        queue: The containers that wait for a worker.
    """

    def __init__(
        self,
        link: Connection,
        containers: MongoContainers,
        tasks: MongoTasks,
        runs: MongoRuns,
        queue: MongoQueue,
    ) -> None:
        self._link = link
        self._containers = containers
        self._tasks = tasks
        self._runs = runs
        self._queue = queue
        self._meta = link.collection(MetaDocument.collection_name())
        self._lines = link.collection(LogDocument.collection_name())
        # The uids of deletions whose answer was lost.
        self._unsure: set[str] = set()
        self._has_finished_others = False

    def delete(self, uid: str, fence: int | None) -> bool:
        """Delete a container and its tasks, unless another's lease holds it."""
        self.finish_others()
        container = object_id(uid)
        again = uid in self._unsure
        self._unsure.add(uid)
        mark = {"_id": f"{DELETING}{uid}"}
        with self._link.call():
            self._meta.replace_one(mark, mark, upsert=True)
        with self._link.call():
            gone = self._containers.delete(container, fence)
            if not gone and again:
                gone = self._containers.get(container) is None
        self._erase(mark["_id"], container, is_gone=gone)
        self._unsure.discard(uid)
        return gone

    def finish_others(self) -> None:
        """Delete what a deletion left that was killed; once is enough."""
        if self._has_finished_others:
            return
        with self._link.call():
            marks = list(self._meta.find({"_id": {"$regex": f"^{DELETING}"}}))
        for mark in marks:
            container = object_id(mark["_id"].removeprefix(DELETING))
            is_gone = self._containers.get(container) is None
            self._erase(mark["_id"], container, is_gone=is_gone)
        self._has_finished_others = True

    def _erase(self, mark: str, container: ObjectId, *, is_gone: bool) -> None:
        """Delete what a container that is gone had, and then the mark of its deletion."""
        if is_gone:
            self._tasks.delete(container)
            self._link.delete_all(self._lines, {"container": container})
            self._runs.lose_all(str(container))
            self._queue.remove(str(container))
        with self._link.call():
            self._meta.delete_one({"_id": mark})
