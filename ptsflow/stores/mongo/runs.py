"""The ledger of runs in MongoDB.

The end of a run is written before its lease is given back, and a runner may die between
the two. So a run is believed to have ended only if its container says so: `released_run`
is the fence of the last run that gave the lease back. Runs after it that are not the
holder's died.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress

from bson.datetime_ms import DatetimeMS
from msgspec import MsgspecError, convert
from msgspec.json import decode as from_json
from msgspec.json import encode as to_json
from msgspec.structs import replace
from pymongo.errors import DuplicateKeyError

from ptsflow.core.insight import RunRecord, RunStatus
from ptsflow.errors import StoreDamaged
from ptsflow.stores.mongo.connection import Connection
from ptsflow.stores.mongo.containers import MongoContainers
from ptsflow.stores.mongo.documents import Raw, RunDocument, millis_of
from ptsflow.stores.rules import (
    RUNS_KEPT,
    RUNS_PRUNED,
    STEPS_KEPT,
    lost,
    without_end,
    without_steps,
)

_HAS_NO_END: Raw = {"status": RunStatus.RUNNING.value}
#: Larger than all fences.
_NO_FENCE = 1 << 62
_NEWEST = [("began_at", -1), ("_id", -1)]


class MongoRuns:
    """The collection of runs, which is made by the first who writes to it."""

    def __init__(self, link: Connection, containers: MongoContainers) -> None:
        self._link = link
        self._containers = containers
        self._runs = link.collection(RunDocument.collection_name())
        self._is_made = False

    def put(self, run: RunRecord) -> None:
        """Write a run, unless it is marked as lost."""
        self._make_indexes()
        if run.ordinal is not None and self._has_another(run):
            run = replace(run, ordinal=None)
        # An owner that was overtaken does not know that its run is marked as lost.
        unless_lost = {"_id": run_id(run), "status": {"$ne": RunStatus.LOST.value}}
        with self._link.call(), suppress(DuplicateKeyError):
            self._runs.replace_one(unless_lost, run_document(run), upsert=True)

    def lose(self, uid: str, before: int, released: int) -> None:
        """Mark the runs of a container under earlier fences that died as lost.

        Args:
            uid: the container's uid.
            before: the fence of the holder.
            released: the fence of the last run that gave the lease back.
        """
        earlier = {"$gte": {"c": uid, "f": 0}, "$lt": {"c": uid, "f": before}}
        has_died = [_HAS_NO_END, {"_id.f": {"$gt": released}}]
        self._mark_lost({"_id": earlier, "$or": has_died})

    def lose_all(self, uid: str) -> None:
        """Mark the runs of a container that was deleted, and that have no end, as lost."""
        of_container = {"$gte": {"c": uid, "f": 0}, "$lt": {"c": uid, "f": _NO_FENCE}}
        self._mark_lost({"_id": of_container} | _HAS_NO_END)

    def lose_before(self, uid: str, before: int) -> None:
        """Mark the runs of a container under earlier fences that have no end as lost."""
        earlier = {"$gte": {"c": uid, "f": 0}, "$lt": {"c": uid, "f": before}}
        self._mark_lost({"_id": earlier} | _HAS_NO_END)

    def _mark_lost(self, query: Raw) -> None:
        with self._link.call():
            self._runs.update_many(query, {"$set": {"status": RunStatus.LOST.value}})

    def prune(self, workflow: str) -> None:
        """Delete some of the oldest runs of a workflow, if there are too many.

        The steps of some that ended before are dropped.
        """
        of_workflow: Raw = {"workflow": workflow}
        with self._link.call():
            count = self._runs.count_documents(of_workflow)
            surplus = count - RUNS_KEPT
            if surplus > 0:
                oldest = self._runs.find(of_workflow, {"_id": True}).sort(
                    [("began_at", 1), ("_id", 1)]
                )
                ids = [raw["_id"] for raw in oldest.limit(min(surplus, RUNS_PRUNED))]
                self._runs.delete_many({"_id": {"$in": ids}})
        if count > STEPS_KEPT:
            self._drop_steps(of_workflow | {"status": RunStatus.DONE.value})

    def _drop_steps(self, done: Raw) -> None:
        with self._link.call():
            found = self._runs.find(done, {"entry": True}).sort("began_at", -1)
            for raw in found.skip(STEPS_KEPT).limit(RUNS_PRUNED):
                with suppress(MsgspecError, KeyError):
                    run = from_json(raw["entry"], type=RunRecord)
                    if run.steps:
                        entry = to_json(without_steps(run)).decode()
                        self._runs.update_one(raw, {"$set": {"entry": entry}})

    def find(
        self,
        workflow: str | None,
        name: str | None,
        limit: int,
        before: RunRecord | None,
        status: RunStatus | None,
    ) -> list[RunRecord]:
        """Return runs, those that began last first."""
        wanted = {"workflow": workflow, "name": name, "status": status}
        query: Raw = {
            field: {"$eq": value}
            for field, value in wanted.items()
            if value is not None
        }
        if before is not None:
            at = DatetimeMS(before.began_at)
            same = {"began_at": at, "_id": {"$lt": run_id(before)}}
            query["$or"] = [{"began_at": {"$lt": at}}, same]
        with self._link.call():
            raws = list(self._runs.find(query).sort(_NEWEST).limit(limit))
        released = self._containers.released_runs({raw["_id"]["c"] for raw in raws})
        runs = [_believed(run_of(raw), released) for raw in raws]
        return [run for run in runs if status in (None, run.status)]

    def numbered(self, workflow: str) -> list[RunRecord]:
        """Return the runs of a workflow that have an ordinal, back to a good one."""
        having_ordinal = {"workflow": {"$eq": workflow}, "ordinal": {"$gt": 0}}
        found = []
        with self._link.call():
            for raw in self._runs.find(having_ordinal).sort("ordinal", -1):
                found.append(run_of(raw))
                if found[-1].status is RunStatus.DONE:
                    break
        return found

    def number(self, uid: str, fence: int, ordinal: int, told_at: int | None) -> bool:
        """Keep the ordinal of a run, unless another run of its workflow has it."""
        self._make_indexes()
        at = None if told_at is None else DatetimeMS(told_at)
        change = {"$set": {"told_at": at, "ordinal": ordinal}}
        with self._link.call():
            try:
                done = self._runs.update_one({"_id": {"c": uid, "f": fence}}, change)
            except DuplicateKeyError:
                return False
        return done.matched_count == 1

    def _has_another(self, run: RunRecord) -> bool:
        """Whether another run of the workflow has the ordinal of this one."""
        other: Raw = {"workflow": {"$eq": run.workflow}, "ordinal": run.ordinal}
        other["_id"] = {"$ne": run_id(run)}
        with self._link.call():
            return self._runs.find_one(other, {"_id": True}) is not None

    def _make_indexes(self) -> None:
        if not self._is_made:
            with self._link.call():
                RunDocument.ensure_indexes_in(self._runs)
            self._is_made = True


def run_id(run: RunRecord) -> Raw:
    """Return the `_id` of a run."""
    return {"c": run.uid, "f": run.fence}


def run_document(run: RunRecord) -> Raw:
    """Return the document of a run."""
    told_at = None if run.told_at is None else DatetimeMS(run.told_at)
    return {
        "_id": run_id(run),
        "name": run.container,
        "workflow": run.workflow,
        "began_at": DatetimeMS(run.began_at),
        "status": run.status.value,
        "told_at": told_at,
        "ordinal": run.ordinal,
        "entry": to_json(run).decode(),
    }


def run_of(raw: Raw) -> RunRecord:
    """Return the run of a document."""
    try:
        run = from_json(raw["entry"], type=RunRecord)
        told_at = convert(millis_of(raw["told_at"]), int | None)
        # Earlier versions wrote none.
        ordinal = convert(raw.get("ordinal"), int | None)
        is_lost = raw["status"] == RunStatus.LOST.value
        began_at = millis_of(raw["began_at"])
    except (KeyError, MsgspecError, TypeError) as error:
        raise _damaged(raw, error) from error
    keys = raw["_id"], raw.get("name"), raw.get("workflow"), began_at
    if keys != (run_id(run), run.container, run.workflow, run.began_at):
        raise _damaged(raw, "fields that do not fit its entry")
    run = lost(run) if is_lost else run
    return replace(run, told_at=told_at, ordinal=ordinal)


def _damaged(raw: Raw, found: object) -> StoreDamaged:
    return StoreDamaged(
        f"expected the run under fence {raw['_id'].get('f')} of container "
        f"{raw.get('name')!r} in MongoDB as ptsflow writes it, found {found}; restore it "
        "from a backup"
    )


def _believed(run: RunRecord, released: Mapping[str, int]) -> RunRecord:
    """Return a run without its end, if its container does not know of that end."""
    # The runs of a container that was deleted are as they were left.
    is_over = released.get(run.uid, run.fence) >= run.fence
    return run if is_over or run.status is RunStatus.LOST else without_end(run)
