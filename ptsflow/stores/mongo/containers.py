"""The containers of MongoDB: each change is a conditional write to one document.

The server itself compares leases with its clock, and computes their ends.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from contextlib import suppress

from bson import ObjectId
from bson.datetime_ms import DatetimeMS
from msgspec import Struct, to_builtins
from msgspec.structs import replace
from pymongo import ReturnDocument
from pymongo.errors import DuplicateKeyError

from ptsflow.core.insight import Outlook
from ptsflow.core.model import Change, ContainerRecord, Owner, Status, Stop
from ptsflow.errors import StoreDamaged
from ptsflow.host.clock import Clock
from ptsflow.stores.mongo.changes import Committer, places_task
from ptsflow.stores.mongo.connection import Connection
from ptsflow.stores.mongo.documents import ContainerDocument, Raw
from ptsflow.stores.mongo.records import (
    container_record,
    converted,
    new_container,
    object_id,
    outlook_fields,
    outlook_of,
    saved_fields,
    stop_word,
)
from ptsflow.stores.rules import check_writer

#: The projection of a container's document to its record without its plan.
_WITHOUT_PLANS: Raw = {
    name: True for name in ContainerRecord.__struct_fields__ if name != "plan"
}


class Counters(Struct):
    """The numbers in a container's document that are no part of its record."""

    released_run: int | None = None
    next_position: int | None = None


_RELEASED: Raw = {"name": True, "released_run": True}


def counters_of(raw: Raw) -> Counters:
    """Return the numbers of a container's document.

    Raises:
        StoreDamaged: one is none.
    """
    return converted("container", raw, Counters)


def released_run(raw: Raw) -> int:
    """Return the fence of the last run that gave the lease back, or 0."""
    return counters_of(raw).released_run or 0


class MongoContainers:
    """The collection of containers.

    Args:
        link: The client.
        clock: Tells the time for leases instead of the server's clock; for tests.
    """

    def __init__(self, link: Connection, clock: Clock | None) -> None:
        self._link = link
        self._clock = clock
        self._containers = link.collection(ContainerDocument.collection_name())

    def now(self) -> int:
        """Return the server's time, or the given clock's."""
        return self._link.now() if self._clock is None else self._clock()

    def ensure_indexes(self) -> None:
        """Make the missing indexes."""
        ContainerDocument.ensure_indexes_in(self._containers)

    # -- reading ------------------------------------------------------------

    def named(self, name: str) -> ContainerRecord | None:
        """Return the container of that name, or None."""
        # Without $eq, a name that is no string could act as an operator.
        query = ContainerDocument.within(self._containers)
        query = query.filter(__raw__={"name": {"$eq": name}})
        with self._link.call():
            raw: Raw | None = query.as_pymongo().first()
        return None if raw is None else container_record(raw)

    def get(self, container: ObjectId) -> ContainerRecord | None:
        """Return the container of that `_id`, or None."""
        with self._link.call():
            raw = self._containers.find_one({"_id": container})
        return None if raw is None else container_record(raw)

    def all(self, *, plans: bool) -> list[ContainerRecord]:
        """Return all containers, oldest first; without `plans`, their plans are empty."""
        found = self._containers.find({}, None if plans else _WITHOUT_PLANS)
        with self._link.call():
            raws = list(found.sort([("created_at", 1), ("_id", 1)]))
        return [container_record(raw) for raw in raws]

    def stop_asked(self, container: ObjectId, fence: int) -> tuple[bool, Stop | None]:
        """Return whether the lease is held, and how its owner was asked to stop."""
        with self._link.call():
            raw = self._containers.find_one(
                _held(container, fence), {"name": True, "stop_asked": True}
            )
        return (False, None) if raw is None else (True, stop_word(raw))

    def released_runs(self, uids: Iterable[str]) -> dict[str, int]:
        """Return the fences of the last runs that gave their containers back, by uid."""
        wanted = {"_id": {"$in": [object_id(uid) for uid in uids]}}
        with self._link.call():
            raws = list(self._containers.find(wanted, _RELEASED))
        return {str(raw["_id"]): released_run(raw) for raw in raws}

    def outlooks(self, uids: Iterable[str], *, of_earlier: bool) -> dict[str, Outlook]:
        """Return what owners expect of their containers, by uid."""
        query: Raw = {
            "_id": {"$in": [object_id(uid) for uid in uids]},
            "outlook": {"$ne": None},
        }
        if not of_earlier:
            query["$expr"] = {"$eq": ["$fence", "$outlook.fence"]}
        with self._link.call():
            raws = list(self._containers.find(query, {"name": True, "outlook": True}))
        return {str(raw["_id"]): outlook_of(raw) for raw in raws}

    def recent(
        self,
        limit: int,
        before: ContainerRecord | None,
        workflow: str | None,
        status: Status | None,
        part: str | None,
        damaged: list[str] | None,
    ) -> list[ContainerRecord]:
        """Return containers, those that were made last first."""
        query: Raw = {}
        if before is not None:
            at, uid = DatetimeMS(before.created_at), object_id(before.uid)
            same = {"created_at": at, "_id": {"$lt": uid}}
            query["$or"] = [{"created_at": {"$lt": at}}, same]
        if workflow is not None:
            query["workflow"] = {"$eq": workflow}
        if status is not None:
            query["status"] = status.value
        if part is not None:
            query["name"] = {"$regex": re.escape(part)}
        if limit <= 0:
            return []
        found = self._containers.find(query).sort([("created_at", -1), ("_id", -1)])
        with self._link.call():
            raws = list(found.limit(limit))
        records = []
        for raw in raws:
            try:
                records.append(container_record(raw))
            except StoreDamaged as error:
                if damaged is None:
                    raise
                damaged.append(str(error))
        return records

    # -- writing ------------------------------------------------------------

    def add(self, uid: ObjectId, name: str, created_at: int | None) -> ContainerRecord:
        """Return the container of that name; make it with the id `uid` if it is missing."""
        while (record := self.named(name)) is None:
            at = self.now() if created_at is None else created_at
            document = new_container(uid, name, at)
            with self._link.call(), suppress(DuplicateKeyError):
                self._containers.insert_one(document)
        return record

    def withdraw(self, container: ObjectId) -> None:
        """Delete a container that `add` made and nobody can have used."""
        with self._link.call():
            self._containers.delete_one({"_id": container, "fence": 0})

    def delete(self, container: ObjectId, fence: int | None) -> bool:
        """Delete a container, unless another's lease holds it."""
        free = {"_id": container, "$or": self._free()}
        allowed = free if fence is None else _held(container, fence)
        with self._link.call():
            return self._containers.delete_one(allowed).deleted_count == 1

    def claim(
        self,
        container: ObjectId,
        owner: Owner,
        lease_ms: int,
        dead: int | None,
        above: int,
    ) -> ContainerRecord | None:
        """Take the lease for `owner`, who may have it already; None if that cannot be."""
        free = self._free()
        if dead is not None:
            free.append({"fence": dead, "owner.id": {"$ne": owner.id}})
        take = {
            # Without $literal, a host named "$name" would mean the field `name`.
            "owner": {"$literal": to_builtins(owner)},
            "fence": {"$add": [{"$max": ["$fence", above]}, 1]},
            "leased_till": {"$add": [self._time(), lease_ms]},
            "stop_asked": None,
        }
        with self._link.call():
            raw = self._containers.find_one_and_update(
                {"_id": container, "$or": free},
                [{"$set": take}],
                return_document=ReturnDocument.AFTER,
            ) or self._containers.find_one({"_id": container, "owner.id": owner.id})
        return None if raw is None else container_record(raw)

    def renew(self, container: ObjectId, fence: int, lease_ms: int) -> bool:
        """Move the end of the lease to now + `lease_ms`; False if the lease was lost."""
        till = {"leased_till": {"$add": [self._time(), lease_ms]}}
        return self._write_held(container, fence, [{"$set": till}])

    def save(self, container: ObjectId, record: ContainerRecord) -> int | None:
        """Write the fields that `saved_fields` returns; None if the lease was lost.

        Return the fence of the last run that gave the lease back, or 0.
        """
        with self._link.call():
            raw = self._containers.find_one_and_update(
                _held(container, record.fence),
                {"$set": saved_fields(record)},
                projection=_RELEASED,
            )
        return None if raw is None else released_run(raw)

    def release(
        self, container: ObjectId, record: ContainerRecord, *, has_run: bool
    ) -> bool:
        """Do what `save` does and give the lease back; False if the lease was lost."""
        free: Raw = {"owner": None, "leased_till": None, "stop_asked": None}
        if has_run:
            free["released_run"] = record.fence
        update = {"$set": saved_fields(record) | free}
        return self._write_held(container, record.fence, update)

    def ask_to_stop(self, container: ObjectId, fence: int, how: Stop) -> bool:
        """Ask the owner of that fence to stop; False if the lease was lost."""
        word: Raw | str = how.value
        if how is Stop.GENTLY:
            word = {"$ifNull": ["$stop_asked", how.value]}
        return self._write_held(container, fence, [{"$set": {"stop_asked": word}}])

    def tell(self, container: ObjectId, fence: int, outlook: Outlook | None) -> bool:
        """Keep what the owner expects; False if the lease was lost."""
        fields = outlook_fields(outlook, fence)
        return self._write_held(container, fence, {"$set": {"outlook": fields}})

    def _write_held(
        self, container: ObjectId, fence: int, update: Raw | list[Raw]
    ) -> bool:
        with self._link.call():
            result = self._containers.update_one(_held(container, fence), update)
        return result.matched_count == 1

    def admit(
        self, uid: str, changes: Sequence[Change], committer: Committer
    ) -> tuple[int, Sequence[Change]]:
        """Return the container's fence, and the changes with positions given.

        One round trip checks whether the committer may write, and reserves positions.
        """
        container = object_id(uid)
        allowed: Raw = (
            {"_id": container, "$or": self._free()}
            if committer.fence is None
            else _held(container, committer.fence)
        )
        asked = {"fence": True}
        if committer.fence is None:
            asked["outlook.fence"] = True
        lowest, missing = places_task(changes)
        first = {"$max": ["$next_position", lowest]}
        while True:
            with self._link.call():
                if lowest or missing:
                    raw = self._containers.find_one_and_update(
                        allowed,
                        [{"$set": {"next_position": {"$add": [first, missing]}}}],
                        projection=asked | {"next_position": True},
                        return_document=ReturnDocument.AFTER,
                    )
                else:
                    raw = self._containers.find_one(allowed, asked)
            if raw is not None:
                break
            check_writer(self.get(container), uid, committer.fence, self.now())
        if told := raw.get("outlook"):
            # A runner that claims the container meanwhile tells under a fence of its own.
            with self._link.call():
                self._containers.update_one(
                    {"_id": container, "outlook.fence": told["fence"]},
                    {"$set": {"outlook": None}},
                )
        if missing:
            changes = _placed(changes, raw["next_position"] - missing)
        return raw["fence"], changes

    def _time(self) -> str | Raw:
        """Return the expression for the present time on the server."""
        if self._clock is None:
            return "$$NOW"
        return {"$literal": DatetimeMS(self._clock())}

    def _free(self) -> list[Raw]:
        """Return conditions of which at least one is true if no lease is live."""
        return [
            {"owner": None},
            {"leased_till": None},
            {"$expr": {"$lte": ["$leased_till", self._time()]}},
        ]


def _held(container: ObjectId, fence: int) -> Raw:
    return {"_id": container, "fence": fence, "owner": {"$ne": None}}


def _placed(changes: Sequence[Change], position: int) -> list[Change]:
    """Return the changes, with a position for each task that had none."""
    placed = []
    for change in changes:
        after = change.after
        if after is not None and after.position < 0:
            after = replace(after, position=position)
            position += 1
        placed.append(replace(change, after=after))
    return placed
