"""A store in MongoDB, for several machines and many people who look at it.

Each state change is one conditional write to one document; there are no transactions,
so a standalone server is as good as a replica set. What guards a task against an owner
who lost the lease is the field `held` in the task itself: a claim puts its fence into
every open task before it returns, and whoever holds an older one matches nothing. The
lease is compared with and set from the server's clock, within the server.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress

from bson import ObjectId
from bson.datetime_ms import DatetimeMS
from msgspec import Struct, to_builtins
from msgspec.structs import replace
from pymongo import ReturnDocument
from pymongo.errors import DuplicateKeyError

from ptsflow.clock import Clock
from ptsflow.errors import Conflict, StoreDamaged, StoreUnavailable
from ptsflow.model import (
    SCHEMA,
    Change,
    ContainerRecord,
    Owner,
    Progress,
    Tally,
    TaskRecord,
)
from ptsflow.stores.mongo_changes import (
    Writer,
    adopted,
    expect_ready,
    given_back,
    is_guarded,
    not_made,
    places_task,
)
from ptsflow.stores.mongo_connection import Connection
from ptsflow.stores.mongo_documents import (
    ContainerDocument,
    MetaDocument,
    Raw,
    container_record,
    new_container,
    saved_fields,
)
from ptsflow.stores.mongo_tasks import MongoTasks
from ptsflow.stores.rules import check_writer, raise_lost


class _Unsure(Struct, frozen=True):
    """A client's commit whose answer was lost, to recognise when it is made again."""

    uid: str
    changes: tuple[Change, ...]
    write: ObjectId


class MongoStore:
    """Containers and tasks in one database, for one thread at a time.

    Args:
        url: `mongodb://…` or `mongodb+srv://…`; the database is `ptsflow` where the
            URL names none.
        clock: Tells the time for leases instead of the server's clock; for tests.
    """

    def __init__(self, url: str, *, clock: Clock | None = None) -> None:
        self._source = url
        self._clock = clock
        self._link = Connection(url)
        self.url = self._link.url
        self._meta = self._link.collection(MetaDocument.collection_name())
        self._containers = self._link.collection(ContainerDocument.collection_name())
        self._tasks = MongoTasks(self._link)
        # What calls wrote, or not, whose answer was lost.
        self._unsure: _Unsure | None = None
        self._made: dict[str, ObjectId] = {}
        self._deleted: set[str] = set()
        try:
            self._check_schema()
        except BaseException:
            self.close()
            raise

    def now(self) -> int:
        """Return the server's time, or the given clock's."""
        return self._link.now() if self._clock is None else self._clock()

    def sibling(self) -> MongoStore:
        """Return another store with a client of its own."""
        return MongoStore(self._source, clock=self._clock)

    def close(self) -> None:
        """Close the client; a second call does nothing."""
        self._link.close()

    def _check_schema(self) -> None:
        with self._link.call():
            meta = self._meta.find_one({"_id": "schema"})
        found = SCHEMA if meta is None else meta.get("schema")
        if found != SCHEMA:
            raise StoreDamaged(
                f"store {self.url!r}: expected schema {SCHEMA}, found {found!r}; "
                f"use the version of ptsflow that wrote it, or another database"
            )
        with self._link.call():
            ContainerDocument.ensure_indexes_in(self._containers)
            self._tasks.ensure_indexes()
            if meta is None:
                with suppress(DuplicateKeyError):
                    self._meta.insert_one({"_id": "schema", "schema": SCHEMA})

    # -- containers ---------------------------------------------------------

    def create(self, name: str) -> tuple[ContainerRecord, bool]:
        """Return the container of that name, made now if there was none."""
        # Kept until the answer is known: whose document it is shows in its `_id`.
        uid = self._made.setdefault(name, ObjectId())
        with self._link.call():
            while (raw := self._named(name)) is None:
                document = new_container(uid, name, self.now())
                with suppress(DuplicateKeyError):
                    self._containers.insert_one(document)
        del self._made[name]
        return container_record(raw), raw["_id"] == uid

    def container(self, name: str) -> ContainerRecord | None:
        """Return the container of that name as it is now, or None."""
        with self._link.call():
            raw = self._named(name)
        return None if raw is None else container_record(raw)

    def containers(self) -> list[ContainerRecord]:
        """Return all containers, oldest first."""
        query = ContainerDocument.within(self._containers)
        with self._link.call():
            raws = list(query.order_by("created_at", "id").as_pymongo())
        return [container_record(raw) for raw in raws]

    def delete(self, uid: str) -> bool:
        """Delete a container that nobody leases, with its tasks."""
        container = _object_id(uid)
        again = uid in self._deleted
        self._deleted.add(uid)
        with self._link.call():
            free = {"_id": container, "$or": self._free()}
            gone = self._containers.delete_one(free).deleted_count == 1
            if not gone and again:
                gone = self._by_uid(container) is None
            if gone:
                self._tasks.delete(container)
        self._deleted.discard(uid)
        return gone

    def claim(
        self, uid: str, owner: Owner, lease_ms: int, *, dead: int | None = None
    ) -> ContainerRecord | None:
        """Take the lease for `owner`, the fence grown by one, or return None."""
        container = _object_id(uid)
        free = self._free()
        if dead is not None:
            free.append({"fence": dead, "owner.id": {"$ne": owner.id}})
        take = {
            # Without $literal, a host named "$name" would be read as a field.
            "owner": {"$literal": to_builtins(owner)},
            "fence": {"$add": ["$fence", 1]},
            "leased_till": {"$add": [self._time(), lease_ms]},
        }
        with self._link.call():
            raw = self._containers.find_one_and_update(
                {"_id": container, "$or": free},
                [{"$set": take}],
                return_document=ReturnDocument.AFTER,
            ) or self._claimed_before(container, owner)
        if raw is None:
            return None
        record = container_record(raw)
        with self._link.call():
            self._tasks.hold(container, record.fence)
        return record

    def _claimed_before(self, container: ObjectId, owner: Owner) -> Raw | None:
        return self._containers.find_one({"_id": container, "owner.id": owner.id})

    def renew(self, uid: str, fence: int, lease_ms: int) -> bool:
        """Move the end of the lease to now + `lease_ms`; False if it was lost."""
        till = {"leased_till": {"$add": [self._time(), lease_ms]}}
        with self._link.call():
            result = self._containers.update_one(
                _held(_object_id(uid), fence), [{"$set": till}]
            )
        return result.matched_count == 1

    def save(self, record: ContainerRecord) -> None:
        """Write all but the lease of a container that is held."""
        container = _object_id(record.uid)
        with self._link.call():
            result = self._containers.update_one(
                _held(container, record.fence), {"$set": saved_fields(record)}
            )
            if result.matched_count == 0:
                raise_lost(record.name, record.fence, self._by_uid(container))

    def release(self, record: ContainerRecord) -> bool:
        """Do what `save` does and give the lease back, in one write."""
        container = _object_id(record.uid)
        fields = saved_fields(record) | {"owner": None, "leased_till": None}
        with self._link.call():
            result = self._containers.update_one(
                _held(container, record.fence), {"$set": fields}
            )
            if result.matched_count == 0:
                stored = self._by_uid(container)
                if stored is None or stored.fence != record.fence:
                    return False
            self._tasks.let_go(container, record.fence)
        return True

    # -- tasks --------------------------------------------------------------

    def tasks(
        self,
        uid: str,
        names: Iterable[str] | None = None,
        *,
        payloads: bool = False,
    ) -> list[TaskRecord]:
        """Return tasks by position: all, or those of `names` that exist."""
        return self._tasks.read(_object_id(uid), names, payloads=payloads)

    def next_open(
        self, uid: str, *, unleased_at: int | None = None
    ) -> TaskRecord | None:
        """Return the first task that is not complete, with payloads, or None."""
        return self._tasks.first_open(_object_id(uid), unleased_at)

    def commit(self, uid: str, changes: Sequence[Change], *, fence: int | None) -> None:
        """Swap every task from `before` to `after`, each by itself, in order."""
        if fence is not None:
            self._swap(uid, changes, Writer(fence))
            return
        known, self._unsure = self._unsure, None
        again = (
            known is not None and known.uid == uid and known.changes == tuple(changes)
        )
        write = known.write if known is not None and again else ObjectId()
        try:
            self._swap(uid, changes, Writer(None, write, again))
        except StoreUnavailable:
            self._unsure = _Unsure(uid, tuple(changes), write)
            raise

    def touch(self, uid: str, progress: Sequence[Progress], *, fence: int) -> None:
        """Note progress of running tasks, no version moved; late ones are dropped."""
        container = _object_id(uid)
        with self._link.call():
            if not progress or not self._tasks.touch(container, progress, fence):
                stored = self._by_uid(container)
                if stored is None or stored.fence != fence or stored.owner is None:
                    raise_lost(stored.name if stored else uid, fence, stored)

    def tallies(self, uids: Iterable[str]) -> Mapping[str, list[Tally]]:
        """Return, for each container, its tasks counted by step and status."""
        return self._tasks.tallies({uid: _object_id(uid) for uid in uids})

    # -- within -------------------------------------------------------------

    def _swap(self, uid: str, changes: Sequence[Change], writer: Writer) -> None:
        container = _object_id(uid)
        if writer.again and not (changes := self._left(uid, changes, writer)):
            return
        strict = writer.fence is not None and all(map(is_guarded, changes))
        bound: float | None = writer.fence
        if not strict or not changes:
            fence, changes = self._admitted(uid, changes, writer)
            bound = given_back(fence) if writer.fence is None else fence
        for _ in range(_ROUNDS):
            if self._tasks.swap(container, changes, writer, bound, strict=strict):
                if not strict and writer.fence is not None:
                    self._check_held(uid, writer.fence)
                return
            changes = self._left(uid, changes, writer)
            if not changes:
                return
            # The lease was found to be held just now: tasks that were not stamped,
            # as a client added them during the claim, may be written too.
            strict = False
        raise Conflict(
            f"container with the uid {uid}: tasks change faster than they can be "
            f"swapped; read them again"
        )

    def _admitted(
        self, uid: str, changes: Sequence[Change], writer: Writer
    ) -> tuple[int, Sequence[Change]]:
        """Return the container's fence, and the changes with positions given.

        It is one round trip that finds out whether the writer may write at all.
        """
        container = _object_id(uid)
        allowed: Raw = (
            {"_id": container, "$or": self._free()}
            if writer.fence is None
            else _held(container, writer.fence)
        )
        lowest, missing = places_task(changes)
        first = {"$max": ["$next_position", lowest]}
        with self._link.call():
            while True:
                if lowest or missing:
                    raw = self._containers.find_one_and_update(
                        allowed,
                        [{"$set": {"next_position": {"$add": [first, missing]}}}],
                        projection={"fence": True, "next_position": True},
                        return_document=ReturnDocument.AFTER,
                    )
                else:
                    raw = self._containers.find_one(allowed, {"fence": True})
                if raw is not None:
                    break
                check_writer(self._by_uid(container), uid, writer.fence, self.now())
        if missing:
            changes = _placed(changes, raw["next_position"] - missing)
        return raw["fence"], changes

    def _check_held(self, uid: str, fence: int) -> None:
        """Raise if the lease was lost between the look at it and the write."""
        with self._link.call():
            check_writer(self._by_uid(_object_id(uid)), uid, fence, now=0)

    def _left(
        self, uid: str, changes: Sequence[Change], writer: Writer
    ) -> Sequence[Change]:
        """Return which changes are still to be made, or raise where one cannot be."""
        container = _object_id(uid)
        stored = self._tasks.stored(container, changes)
        left = [
            adopted(change, stored, writer)
            for change in not_made(changes, stored, writer)
        ]
        if left:
            with self._link.call():
                record = self._by_uid(container)
                check_writer(record, uid, writer.fence, self.now())
            expect_ready(record.name if record else "", left, stored, writer.fence)
        return left

    def _named(self, name: str) -> Raw | None:
        # Without $eq, what is no text could be an operator.
        query = ContainerDocument.within(self._containers)
        query = query.filter(__raw__={"name": {"$eq": name}})
        raw: Raw | None = query.as_pymongo().first()
        return raw

    def _by_uid(self, container: ObjectId) -> ContainerRecord | None:
        raw = self._containers.find_one({"_id": container})
        return None if raw is None else container_record(raw)

    def _time(self) -> str | Raw:
        """Return the expression that is now on the server."""
        if self._clock is None:
            return "$$NOW"
        return {"$literal": DatetimeMS(self._clock())}

    def _free(self) -> list[Raw]:
        """Return the alternatives of which one is true where no lease is live."""
        return [
            {"owner": None},
            {"leased_till": None},
            {"$expr": {"$lte": ["$leased_till", self._time()]}},
        ]


#: How often a commit is tried where tasks changed between its write and its look.
_ROUNDS = 5


def _held(container: ObjectId, fence: int) -> Raw:
    return {"_id": container, "fence": fence, "owner": {"$ne": None}}


def _object_id(uid: str) -> ObjectId:
    # What no store gave becomes an id that no document has.
    return ObjectId(uid) if ObjectId.is_valid(uid) else ObjectId()


def _placed(changes: Sequence[Change], position: int) -> list[Change]:
    """Return the changes with positions given where none was."""
    placed = []
    for change in changes:
        after = change.after
        if after is not None and after.position < 0:
            after = replace(after, position=position)
            position += 1
        placed.append(Change(change.before, after))
    return placed
