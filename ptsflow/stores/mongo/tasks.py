"""The tasks and payloads of MongoDB: reading, swapping, stamping and counting them.

A payload over 1 MiB is written to a document of its own; then the task is swapped; then
the replaced payload is deleted. If the runner dies in between, a payload without a task
remains until the container is deleted.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from operator import attrgetter

from bson import ObjectId
from bson.datetime_ms import DatetimeMS
from msgspec import UNSET
from pymongo import UpdateOne
from pymongo.errors import BulkWriteError

from ptsflow.core.model import (
    PAYLOADS,
    Attempt,
    Change,
    Progress,
    Status,
    Tally,
    TaskRecord,
)
from ptsflow.errors import StoreDamaged
from ptsflow.stores.mongo.changes import (
    Committer,
    Request,
    Stored,
    Write,
    held_after_release,
    names_of,
    requests_of,
    write_of,
)
from ptsflow.stores.mongo.connection import Connection
from ptsflow.stores.mongo.documents import PayloadDocument, Raw, TaskDocument
from ptsflow.stores.mongo.records import (
    is_large,
    ledger_entries,
    references,
    task_record,
)
from ptsflow.stores.rules import ledger_of

#: How many requests are sent at once, under one deadline.
_PART = 5_000

_DUPLICATE = 11000

_WITHOUT_LEDGER = {"ledger": False}
_WITHOUT_PAYLOADS = dict.fromkeys(PAYLOADS, False) | _WITHOUT_LEDGER


class MongoTasks:
    """The collections of tasks and payloads."""

    def __init__(self, link: Connection) -> None:
        self._link = link
        self._tasks = link.collection(TaskDocument.collection_name())
        self._payloads = link.collection(PayloadDocument.collection_name())

    def ensure_indexes(self) -> None:
        """Make the missing indexes."""
        TaskDocument.ensure_indexes_in(self._tasks)
        PayloadDocument.ensure_indexes_in(self._payloads)

    # -- reading ------------------------------------------------------------

    def read(
        self, container: ObjectId, names: Iterable[str] | None, *, payloads: bool
    ) -> list[TaskRecord]:
        """Return all tasks of a container, or those of `names`, by position."""
        query: Raw = {"container": container}
        if names is not None:
            query["name"] = {"$in": list(names)}
        left_out = _WITHOUT_LEDGER if payloads else _WITHOUT_PAYLOADS
        raws = self._link.find_all(self._tasks, query, left_out)
        if payloads:
            raws = self._with_payloads(raws)
        records = [task_record(raw) for raw in raws]
        records.sort(key=attrgetter("position", "name"))
        return records

    def first_open(
        self, container: ObjectId, unleased_at: int | None
    ) -> TaskRecord | None:
        """Return the first task that is not complete, with payloads."""
        query = TaskDocument.within(self._tasks).filter(container=container, open=True)
        if unleased_at is not None:
            ended = {"$lte": DatetimeMS(unleased_at)}
            query = query.filter(
                __raw__={"$or": [{"leased_till": None}, {"leased_till": ended}]}
            )
        query = query.order_by("position", "name").limit(1)
        query = query.exclude("ledger").as_pymongo()
        with self._link.call():
            raws = list(query)
        raws = self._with_payloads(raws)
        return task_record(raws[0]) if raws else None

    def stored(
        self, container: ObjectId, changes: Iterable[Change]
    ) -> dict[str, Stored]:
        """Return the stored tasks that changes concern, by name."""
        query = {"container": container, "name": {"$in": list(names_of(changes))}}
        raws = self._link.find_all(self._tasks, query, _WITHOUT_PAYLOADS)
        return {
            raw["name"]: Stored(task_record(raw), raw.get("write"), raw.get("held"))
            for raw in raws
        }

    def ledger(self, container: ObjectId, name: str) -> list[Attempt]:
        """Return the last attempts in a task's ledger, oldest first."""
        query = {"container": container, "name": {"$eq": name}}
        with self._link.call():
            raw = self._tasks.find_one(query, {"name": True, "ledger": True})
        return [] if raw is None else ledger_of(ledger_entries(raw))

    def tallies(self, containers: Mapping[str, ObjectId]) -> dict[str, list[Tally]]:
        """Return the tasks of containers counted by step and status."""
        group = {
            "_id": {"container": "$container", "step": "$step", "status": "$status"},
            "count": {"$sum": 1},
            "percentage": {"$sum": "$percentage_complete"},
            "first": {"$min": "$position"},
        }
        pipeline: list[Raw] = [
            {"$match": {"container": {"$in": list(containers.values())}}},
            {"$group": group},
            {"$sort": {"first": 1}},
        ]
        with self._link.call():
            rows = list(self._tasks.aggregate(pipeline))
        found: dict[ObjectId, list[Tally]] = {}
        for row in rows:
            key = row["_id"]
            found.setdefault(key["container"], []).append(
                Tally(
                    key["step"], Status(key["status"]), row["count"], row["percentage"]
                )
            )
        return {uid: found.get(container, []) for uid, container in containers.items()}

    def _with_payloads(self, raws: list[Raw]) -> list[Raw]:
        """Return tasks with the texts of large payloads in place of their ids."""
        for _ in range(_ROUNDS):
            wanted = {ref for raw in raws for _, ref in references(raw)}
            if not wanted:
                return raws
            texts = {
                raw["_id"]: raw["text"]
                for raw in self._link.find_all(
                    self._payloads, {"_id": {"$in": list(wanted)}}, None
                )
            }
            for raw in raws:
                raw.update((n, texts[r]) for n, r in references(raw) if r in texts)
            gone = [raw["_id"] for raw in raws if any(references(raw))]
            if not gone:
                return raws
            # These tasks were swapped after they were read, so read them again.
            fresh = self._link.find_all(
                self._tasks, {"_id": {"$in": gone}}, _WITHOUT_LEDGER
            )
            raws = [raw for raw in raws if raw["_id"] not in gone] + fresh
        raise StoreDamaged(
            f"expected the payloads of task {raws[-1]['name']!r} in MongoDB, found "
            f"them missing; restore the database from a backup, or reset the task"
        )

    # -- writing ------------------------------------------------------------

    def swap(
        self,
        container: ObjectId,
        changes: Sequence[Change],
        committer: Committer,
        bound: float | None,
        *,
        strict: bool,
    ) -> bool:
        """Make the changes in order; return False if not all of them matched.

        Args:
            container: The container's `_id`.
            changes: What to write.
            committer: The runner or client that commits.
            bound: The highest `held` of a task that may be written: the container's
                fence, or `held_after_release` of it.
            strict: Whether `held` must equal `bound` in all tasks.
        """
        held = bound if strict else {"$not": {"$gt": bound}}
        batch = _Batch()
        for change in changes:
            batch.add(container, change, committer, held)
        if not batch.watched:
            return self._sent(batch.requests)
        before = self._references(container, batch.watched)
        for payload in batch.payloads:
            with self._link.call():
                self._payloads.insert_one(payload)
        complete = self._sent(batch.requests)
        made = {payload["_id"] for payload in batch.payloads}
        unused = (before | made) - self._references(container, batch.watched)
        with self._link.call():
            self._payloads.delete_many({"_id": {"$in": list(unused)}})
        return complete

    def touch(
        self, container: ObjectId, progress: Iterable[Progress], fence: int
    ) -> bool:
        """Write the progress of running tasks; return False if not all matched."""
        requests: list[tuple[Request, int]] = []
        for each in progress:
            update = UpdateOne(
                {
                    "container": container,
                    "name": each.name,
                    "held": fence,
                    "status": Status.RUNNING.value,
                },
                {
                    "$set": {
                        "percentage_complete": each.percentage,
                        "status_text": each.text,
                    }
                },
            )
            requests.append((update, 1))
        return self._sent(requests)

    def stamp(self, container: ObjectId, fence: int) -> None:
        """Stamp the fence into all open tasks, so that older fences are refused."""
        older = {
            "container": container,
            "open": True,
            "held": {"$not": {"$gte": fence}},
        }
        with self._link.call():
            self._tasks.update_many(older, {"$set": {"held": fence}})

    def stamp_released(self, container: ObjectId, fence: int) -> None:
        """Stamp all open tasks as released, so that the fence is refused."""
        mine = {"container": container, "open": True, "held": fence}
        with self._link.call():
            self._tasks.update_many(mine, {"$set": {"held": held_after_release(fence)}})

    def delete(self, container: ObjectId) -> None:
        """Delete a container's tasks and payloads."""
        for collection in (self._tasks, self._payloads):
            with self._link.call():
                collection.delete_many({"container": container})

    def _sent(self, requests: Sequence[tuple[Request, int]]) -> bool:
        """Send the requests in order; return False at the first that does not match."""
        for start in range(0, len(requests), _PART):
            part = requests[start : start + _PART]
            with self._link.call():
                try:
                    result = self._tasks.bulk_write([request for request, _ in part])
                except BulkWriteError as error:
                    if _is_name_taken(error):
                        return False
                    raise
            done = result.matched_count + result.inserted_count + result.deleted_count
            if done < sum(size for _, size in part):
                return False
        return True

    def _references(self, container: ObjectId, names: Iterable[str]) -> set[ObjectId]:
        """Return the ids of the large payloads of these tasks."""
        query = {
            "container": container,
            "name": {"$in": list(names)},
            "$or": [{name: {"$type": "objectId"}} for name in PAYLOADS],
        }
        raws = self._link.find_all(self._tasks, query, dict.fromkeys(PAYLOADS, True))
        return {ref for raw in raws for _, ref in references(raw)}


class _Batch:
    """The writes of one commit, with the large payloads taken out of them."""

    def __init__(self) -> None:
        self._writes: list[Write] = []
        self.payloads: list[Raw] = []
        #: The names of tasks with a large payload before or after the swap.
        self.watched: set[str] = set()

    def add(
        self, container: ObjectId, change: Change, committer: Committer, held: object
    ) -> None:
        write = write_of(container, change, committer, held)
        self._writes.append(write)
        fields = write.fields or {}
        if not _may_be_large(change, fields, committer):
            return
        self.watched |= names_of((change,))
        for name in PAYLOADS:
            if is_large(text := fields.get(name)):
                fields[name] = ObjectId()
                self.payloads.append(
                    {"_id": fields[name], "container": container, "text": text}
                )

    @property
    def requests(self) -> list[tuple[Request, int]]:
        """The requests in order, each with the number of its tasks."""
        return requests_of(self._writes)


def _may_be_large(change: Change, fields: Raw, committer: Committer) -> bool:
    """Return whether a large payload is written, or may be replaced.

    If a runner has not read the payload that it replaces, the answer is False: to look
    would cost one more round trip for every task. If that payload is large, it remains
    until its container is deleted.
    """
    before = change.before
    if change.after is None:
        return True
    for name in PAYLOADS:
        if name in fields:
            old = getattr(before, name) if before else None
            unseen = old is UNSET and committer.fence is None
            if unseen or is_large(old) or is_large(fields[name]):
                return True
    return False


def _is_name_taken(error: BulkWriteError) -> bool:
    details = error.details or {}
    codes = {problem["code"] for problem in details.get("writeErrors", ())}
    return codes == {_DUPLICATE} and not details.get("writeConcernErrors")


#: How many times tasks are read again that change before their payloads are read.
_ROUNDS = 5
