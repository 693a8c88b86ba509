"""The tasks and payloads of MongoDB: reading, swapping, stamping and counting them.

A payload over 1 MiB is written to a document of its own; then the task is swapped; then
the replaced payload is deleted. If the runner dies in between, a payload without a task
remains until the container is deleted.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from bson import ObjectId
from bson.datetime_ms import DatetimeMS
from pymongo import UpdateOne

from ptsflow.core.model import (
    PAYLOADS,
    Attempt,
    Change,
    Progress,
    Status,
    Tally,
    TaskRecord,
)
from ptsflow.core.pack import Pack, in_order
from ptsflow.core.packed import Tasks, tasks_of
from ptsflow.errors import StoreDamaged
from ptsflow.host.garbage import uncollected
from ptsflow.stores.mongo.batch import Batch
from ptsflow.stores.mongo.changes import (
    Committer,
    Stored,
    held_after_release,
    names_of,
)
from ptsflow.stores.mongo.connection import Connection
from ptsflow.stores.mongo.documents import PayloadDocument, Raw, TaskDocument
from ptsflow.stores.mongo.parts import bounds_of, parts_of
from ptsflow.stores.mongo.records import (
    WITHOUT_PAYLOADS,
    check_payloads,
    ledger_entries,
    packed_records,
    references,
    tally_of,
    task_id,
    task_record,
    task_records,
)
from ptsflow.stores.mongo.requests import Request
from ptsflow.stores.mongo.sending import Sender
from ptsflow.stores.mongo.tallies import groups_of
from ptsflow.stores.rules import ledger_of

_EXISTS = {"$exists": True}
_WITHOUT_LEDGER = {"ledger": False}
_WITHOUT_PAYLOADS = dict.fromkeys(PAYLOADS, False) | _WITHOUT_LEDGER


class MongoTasks:
    """The collections of tasks and payloads."""

    def __init__(self, link: Connection) -> None:
        self._link = link
        self._tasks = link.collection(TaskDocument.collection_name())
        self._payloads = link.collection(PayloadDocument.collection_name())
        self._sender = Sender(link, self._tasks)
        # The containers with a task that was renamed, or inserted by an earlier version.
        self._by_name: set[ObjectId] = set()

    def ensure_indexes(self) -> None:
        """Make the missing indexes."""
        TaskDocument.ensure_indexes_in(self._tasks)
        PayloadDocument.ensure_indexes_in(self._payloads)

    # -- reading ------------------------------------------------------------

    def read(
        self, container: ObjectId, names: Iterable[str] | None, *, payloads: bool
    ) -> list[TaskRecord]:
        """Return all tasks of a container, or those of `names`, by position."""
        shown = _WITHOUT_LEDGER if payloads else WITHOUT_PAYLOADS
        queries = (
            [{"container": container}]
            if names is None
            else self._queries(container, names)
        )
        records: list[TaskRecord] = []
        with uncollected():
            for query in queries:
                for raws in self._link.find_batches(self._tasks, query, shown):
                    found = self._with_payloads(raws) if payloads else raws
                    records += task_records(found, is_bare=not payloads)
        records.sort(key=in_order)
        return records

    def names(self, container: ObjectId) -> list[str]:
        """Return the names of all tasks by position, also of damaged ones."""
        shown = {"name": True, "position": True}
        raws = self._link.find_all(self._tasks, {"container": container}, shown)
        found = [(raw.get("position"), str(raw.get("name"))) for raw in raws]
        places = [(at if isinstance(at, int) else -1, name) for at, name in found]
        return [name for _, name in sorted(places)]

    def table(self, container: ObjectId) -> Tasks:
        """Return all tasks of a container by name, without payloads."""
        records, packs = list[TaskRecord](), list[Pack]()
        with uncollected():
            query = {"container": container}
            for raws in self._link.find_batches(self._tasks, query, WITHOUT_PAYLOADS):
                single, more = packed_records(raws)
                records += single
                packs += more
            return tasks_of(sorted(records, key=in_order), packs)

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
        raws = self._find_named(container, names_of(changes), _WITHOUT_PAYLOADS)
        if any(raw["_id"] != task_id(container, raw["name"]) for raw in raws):
            self._by_name.add(container)
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

    def ledgers(
        self, container: ObjectId, names: Iterable[str]
    ) -> dict[str, list[Attempt]]:
        """Return the last attempts of tasks by name, of tasks that have attempts."""
        shown = {"name": True, "ledger": True}
        raws = self._find_named(container, set(names), shown, **{"ledger.0": _EXISTS})
        return {raw["name"]: ledger_of(ledger_entries(raw)) for raw in raws}

    def tallies(self, containers: Mapping[str, ObjectId]) -> dict[str, list[Tally]]:
        """Return the tasks of containers counted by step and status."""
        rows = groups_of(self._link, self._tasks, list(containers.values()))
        found: dict[ObjectId, list[Tally]] = {}
        for row in rows:
            container = row["_id"]["container"]
            try:
                found.setdefault(container, []).append(tally_of(row))
            except StoreDamaged:
                self.read(container, None, payloads=False)  # This names the task.
                raise
        return {uid: found.get(container, []) for uid, container in containers.items()}

    def _find_named(
        self, container: ObjectId, names: Iterable[str], shown: Raw, **more: object
    ) -> list[Raw]:
        """Return the tasks of these names that match `more`, asked for in parts."""
        return [
            raw
            for query in self._queries(container, names)
            for raw in self._link.find_all(self._tasks, query | more, shown)
        ]

    def _queries(self, container: ObjectId, names: Iterable[str]) -> Iterator[Raw]:
        """Yield the queries for the tasks of these names, each for a part of them."""
        wanted = list(names)
        for start in range(0, len(wanted), self._link.at_once):
            some = {"$in": wanted[start : start + self._link.at_once]}
            yield {"container": container, "name": some}

    def _with_payloads(self, raws: list[Raw]) -> list[Raw]:
        """Return tasks with the texts of large payloads in place of their ids."""
        for _ in range(_ROUNDS):
            check_payloads(raws)
            wanted = {ref for raw in raws for _, ref in references(raw)}
            if not wanted:
                return raws
            texts = {
                raw["_id"]: raw["text"]
                for raw in self._link.find_all(
                    self._payloads, {"_id": {"$in": list(wanted)}}, None
                )
                if isinstance(raw.get("text"), str)
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
        by_id: bool = True,
    ) -> bool:
        """Make the changes in order; return False if not all of them matched.

        Args:
            container: The container's `_id`.
            changes: What to write.
            committer: The runner or client that commits.
            bound: The highest `held` of a task that may be written: the container's
                fence, or `held_after_release` of it.
            strict: Whether `held` must equal `bound` in all tasks.
            by_id: Whether tasks may be found by the `_id` that their name gives them, and
                inserted under it.
        """
        held = bound if strict else {"$not": {"$gt": bound}}
        by_id = by_id and container not in self._by_name
        batch = Batch(by_id=by_id)
        for change in changes:
            batch.add(container, change, committer, held)
        if strict and (swaps := batch.swaps()):
            return self._sender.swap(swaps, lambda: batch.requests(self._link.at_once))
        if not batch.watched:
            return self._sender.send(batch.requests(self._link.at_once))
        before = self._references(container, batch.watched)
        for payload in batch.payloads:
            with self._link.call():
                self._payloads.insert_one(payload)
        complete = self._sender.send(batch.requests(self._link.at_once))
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
        return self._sender.send(requests)

    def stamp(self, container: ObjectId, fence: int) -> Iterator[None]:
        """Stamp the fence into all open tasks, so that older fences are refused.

        The iterator yields after each part. A claim that died in between is harmless:
        the next one stamps a larger fence into all of them.
        """
        return self._stamp(container, {"$not": {"$gte": fence}}, fence)

    def stamp_released(self, container: ObjectId, fence: int) -> None:
        """Stamp all open tasks as released, so that the fence is refused."""
        for _ in self._stamp(container, fence, held_after_release(fence)):
            pass

    def _stamp(self, container: ObjectId, old: object, new: float) -> Iterator[None]:
        """Set `held` of the open tasks that match `old` to `new`, in parts.

        If there are several parts, the owner of an older fence may move a task from a part
        to come to one that is over. So parts are stamped until none has anything to stamp.
        """
        open_ones: Raw = {"container": container, "open": True}
        while True:
            bounds = bounds_of(
                self._link, self._tasks, open_ones, "position", self._link.at_once
            )
            stamped = 0
            for part in parts_of(open_ones, "position", bounds):
                old_ones = part | {"held": old}
                with self._link.call():
                    done = self._tasks.update_many(old_ones, {"$set": {"held": new}})
                stamped += done.modified_count
                yield
            if not bounds or not stamped:
                return

    def withdraw(self, container: ObjectId, write: ObjectId) -> None:
        """Delete what a client's commit inserted."""
        inserted = {"container": container, "write": write, "version": 1}
        self._link.delete_all(self._tasks, inserted)

    def delete(self, container: ObjectId) -> None:
        """Delete a container's tasks and payloads."""
        for collection in (self._tasks, self._payloads):
            self._link.delete_all(collection, {"container": container})

    def _references(self, container: ObjectId, names: Iterable[str]) -> set[ObjectId]:
        """Return the ids of the large payloads of these tasks."""
        are_large = [{name: {"$type": "objectId"}} for name in PAYLOADS]
        shown = dict.fromkeys(PAYLOADS, True)
        raws = self._find_named(container, names, shown, **{"$or": are_large})
        return {ref for raw in raws for _, ref in references(raw)}


#: How many times tasks are read again that change before their payloads are read.
_ROUNDS = 5
