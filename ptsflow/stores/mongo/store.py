"""A store in MongoDB, for several machines and many people who look at it.

Each change of state is one conditional write to one document. There are no transactions,
so that a standalone server is as good as a replica set. The field `held` guards a task
against an owner who lost the lease: a claim writes its fence into every open task before
it returns, and writes under older fences match no task.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from bson import ObjectId
from pymongo.errors import DuplicateKeyError

from ptsflow.core import model
from ptsflow.core.model import (
    Attempt,
    Change,
    ContainerRecord,
    Owner,
    Progress,
    Stop,
    Tally,
    TaskRecord,
)
from ptsflow.core.packed import Tasks
from ptsflow.errors import StoreDamaged
from ptsflow.host import workdirs
from ptsflow.host.clock import Clock, since_boot
from ptsflow.stores.mongo import migrations
from ptsflow.stores.mongo.commits import MongoCommits
from ptsflow.stores.mongo.connection import Connection
from ptsflow.stores.mongo.containers import MongoContainers
from ptsflow.stores.mongo.documents import LogDocument, MetaDocument
from ptsflow.stores.mongo.logs import MongoLogs
from ptsflow.stores.mongo.place import Place
from ptsflow.stores.mongo.records import object_id
from ptsflow.stores.mongo.tasks import MongoTasks
from ptsflow.stores.rules import check_held, raise_lost
from ptsflow.stores.store_wait import NO_WAIT, StoreWait


class MongoStore:
    """Containers and tasks in one database, for one thread at a time.

    Args:
        url: `mongodb://…` or `mongodb+srv://…`; the database is `ptsflow` where the
            URL names none.
        clock: Tells the time for leases instead of the server's clock; for tests.
        any_layout: Open a database of an earlier layout as well, to read it and to ask
            runners to stop.
        place: The collections of the store whose sibling this is.
        wait: How long to wait for a server that can be written.
    """

    is_in_memory = False

    def __init__(
        self,
        url: str,
        *,
        clock: Clock | None = None,
        any_layout: bool = False,
        place: Place | None = None,
        wait: StoreWait = NO_WAIT,
    ) -> None:
        self._source = url
        self._clock = clock
        self._any_layout = any_layout
        self._link = Connection(url, wait)
        self.url = self._link.url
        # Its containers' uids are used nowhere else.
        self.identity = f"mongodb:{self._link.database}"
        self._meta = self._link.collection(MetaDocument.collection_name())
        self._containers = MongoContainers(self._link, clock)
        self._tasks = MongoTasks(self._link)
        self._lines = self._link.collection(LogDocument.collection_name())
        self._place = Place(self._link)
        self._commits = MongoCommits(
            self._link, self._containers, self._tasks, self._place
        )
        # Calls whose answer was lost, so that their writes may be stored or not.
        self._made: dict[str, ObjectId] = {}
        self._deleted: set[str] = set()
        self._has_finished_deletions = False
        try:
            if place is not None and place.is_noted:
                self._place.inherit(place)
            else:
                self._check_layout()
        except BaseException:
            self.close()
            raise

    @property
    def work_root(self) -> Path:
        """The folder for files of its tasks on this machine: in the user's cache."""
        return workdirs.root_in_cache(self.url)

    def now(self) -> int:
        """Return the server's time, or the given clock's."""
        return self._containers.now()

    def sibling(self) -> MongoStore:
        """Return another store with a client of its own."""
        return MongoStore(
            self._source,
            clock=self._clock,
            any_layout=self._any_layout,
            place=self._place,
        )

    def close(self) -> None:
        """Close the client; a second call does nothing."""
        self._link.close()

    def _check_layout(self) -> None:
        with self._link.call():
            meta = self._meta.find_one({"_id": "schema"})
        if meta is not None and migrations.is_earlier(f"store {self.url!r}", meta):
            if self._any_layout:
                return
            known = self.url == self._source
            there = "" if known else " with the URL in $PTSFLOW_STORE"
            raise StoreDamaged(
                f"store {self.url!r}: expected layout {model.SCHEMA}, found an earlier one; "
                f"upgrade ptsflow on all hosts, then type{there}:"
            ).advise("store", "upgrade", *(["--store", self.url] if known else []))
        with self._link.call():
            self._containers.ensure_indexes()
            self._tasks.ensure_indexes()
            if meta is None:
                with suppress(DuplicateKeyError):
                    self._meta.insert_one({"_id": "schema", "schema": model.SCHEMA})
        self._place.note()

    # -- containers ---------------------------------------------------------

    def create(self, name: str) -> tuple[ContainerRecord, bool]:
        """Return the container of that name, and whether this call made it."""
        # The id is kept until the answer is known: it shows which call made the document.
        uid = self._made.setdefault(name, ObjectId())
        with self._link.call():
            record = self._containers.add(uid, name)
        is_made = record.uid == str(uid)
        if is_made:
            try:
                self._place.check()
            except StoreDamaged:
                self._containers.withdraw(uid)
                raise
        del self._made[name]
        return record, is_made

    def container(self, name: str) -> ContainerRecord | None:
        """Return the container of that name as it is now, or None."""
        return self._place.present(self._containers.named(name))

    def containers(self) -> list[ContainerRecord]:
        """Return all containers, oldest first."""
        return self._containers.all()

    def delete(self, uid: str) -> bool:
        """Delete a container and its tasks, unless a live lease holds it."""
        self._finish_deletions()
        container = object_id(uid)
        again = uid in self._deleted
        self._deleted.add(uid)
        mark = {"_id": f"{_DELETING}{uid}"}
        with self._link.call():
            self._meta.replace_one(mark, mark, upsert=True)
        with self._link.call():
            gone = self._containers.delete(container)
            if not gone and again:
                gone = self._containers.get(container) is None
        self._erase(mark["_id"], is_gone=gone)
        self._deleted.discard(uid)
        return gone

    def _finish_deletions(self) -> None:
        """Delete what a deletion left that was killed; once is enough."""
        if self._has_finished_deletions:
            return
        with self._link.call():
            marks = list(self._meta.find({"_id": {"$regex": f"^{_DELETING}"}}))
        for mark in marks:
            container = object_id(mark["_id"].removeprefix(_DELETING))
            self._erase(mark["_id"], is_gone=self._containers.get(container) is None)
        self._has_finished_deletions = True

    def _erase(self, mark: str, *, is_gone: bool) -> None:
        """Delete what a container that is gone had, and then the mark of its deletion."""
        if is_gone:
            container = object_id(mark.removeprefix(_DELETING))
            self._tasks.delete(container)
            self._link.delete_all(self._lines, {"container": container})
        with self._link.call():
            self._meta.delete_one({"_id": mark})

    def claim(
        self, uid: str, owner: Owner, lease_ms: int, *, dead: int | None = None
    ) -> ContainerRecord | None:
        """Take the lease for `owner` and raise the fence by one, or return None."""
        container = object_id(uid)
        record = self._containers.claim(container, owner, lease_ms, dead)
        if record is None:
            self._place.present(self._containers.get(container))
            return None
        # A wide container takes longer to stamp than a short lease lasts.
        renewed_at = since_boot()
        for _ in self._tasks.stamp(container, record.fence):
            if since_boot() - renewed_at > lease_ms / 1000 / _RENEWALS:
                renewed_at = since_boot()
                if not self.renew(uid, record.fence, lease_ms):
                    return None
        return record

    def renew(self, uid: str, fence: int, lease_ms: int) -> bool:
        """Move the end of the lease to now + `lease_ms`; False if the lease was lost."""
        is_renewed = self._containers.renew(object_id(uid), fence, lease_ms)
        self._place.check()
        return is_renewed

    def save(self, record: ContainerRecord) -> None:
        """Write the fields of a leased container, but name, lease and time of making."""
        container = object_id(record.uid)
        with self._link.call():
            if not self._containers.save(container, record):
                raise_lost(
                    record.name,
                    record.fence,
                    self._place.present(self._containers.get(container)),
                )

    def release(self, record: ContainerRecord) -> bool:
        """Do what `save` does and give the lease back, in one write."""
        container = object_id(record.uid)
        with self._link.call():
            if not self._containers.release(container, record):
                stored = self._place.present(self._containers.get(container))
                if stored is None or stored.fence != record.fence:
                    return False
        self._tasks.stamp_released(container, record.fence)
        self._place.check()
        return True

    def ask_to_stop(self, uid: str, fence: int, how: Stop) -> bool:
        """Ask the owner of that fence to stop; False if the lease was lost."""
        return self._containers.ask_to_stop(object_id(uid), fence, how)

    def stop_asked(self, uid: str, fence: int) -> Stop | None:
        """Return how the owner of that fence was asked to stop, or None."""
        is_held, asked = self._containers.stop_asked(object_id(uid), fence)
        if not is_held:
            self._place.check()
        return asked

    # -- tasks --------------------------------------------------------------

    def tasks(
        self,
        uid: str,
        names: Iterable[str] | None = None,
        *,
        payloads: bool = False,
    ) -> list[TaskRecord]:
        """Return all tasks, or those of `names` that exist, by position."""
        found = self._tasks.read(object_id(uid), names, payloads=payloads)
        if not found:
            self._place.check()
        return found

    def table(self, uid: str) -> Tasks:
        """Return all tasks by name, without payloads, for a run."""
        found = self._tasks.table(object_id(uid))
        if not found:
            self._place.check()
        return found

    def next_open(
        self, uid: str, *, unleased_at: int | None = None
    ) -> TaskRecord | None:
        """Return the first task that is not complete, with payloads, or None."""
        found = self._tasks.first_open(object_id(uid), unleased_at)
        if found is None:
            self._place.check()
        return found

    def commit(self, uid: str, changes: Sequence[Change], *, fence: int | None) -> None:
        """Make the changes one by one, in order."""
        self._commits.commit(uid, changes, fence)

    def touch(self, uid: str, progress: Sequence[Progress], *, fence: int) -> None:
        """Write the progress of running tasks; versions stay, other tasks are skipped."""
        container = object_id(uid)
        with self._link.call():
            if not progress or not self._tasks.touch(container, progress, fence):
                check_held(
                    self._place.present(self._containers.get(container)), uid, fence
                )

    def attempts(self, uid: str, name: str) -> list[Attempt]:
        """Return the last attempts in a task's ledger, oldest first."""
        return self._tasks.ledger(object_id(uid), name)

    def logs(self) -> MongoLogs:
        """Return a connection to the log lines, with a client of its own."""
        return MongoLogs(self._source)

    def tallies(self, uids: Iterable[str]) -> Mapping[str, list[Tally]]:
        """Return, for each container, its tasks counted by step and status."""
        found = self._tasks.tallies({uid: object_id(uid) for uid in uids})
        # A container without tasks counts as complete.
        if not all(found.values()):
            self._place.check()
        return found


#: A deletion marks its container in `ptsflow_meta`, under this word and the uid, before
#: it deletes the first document. If it is killed, a later deletion finishes it.
_DELETING = "deleting:"
#: How many times a lease is renewed before it would end, while a claim goes on.
_RENEWALS = 6
