"""A store in MongoDB, for several machines and many people who look at it.

Each change of state is one conditional write to one document. There are no transactions,
so that a standalone server is as good as a replica set. The field `held` guards a task
against an owner who lost the lease: a claim writes its fence into every open task before
it returns, and writes under older fences match no task.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import nullcontext, suppress
from pathlib import Path

from bson import ObjectId
from pymongo.errors import DuplicateKeyError

from ptsflow.core import model
from ptsflow.core.insight import RunRecord
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
from ptsflow.errors import StoreDamaged, StoreError
from ptsflow.host import workdirs
from ptsflow.host.clock import Clock, since_boot
from ptsflow.stores.mongo import migrations
from ptsflow.stores.mongo.commits import MongoCommits
from ptsflow.stores.mongo.connection import Connection
from ptsflow.stores.mongo.containers import MongoContainers
from ptsflow.stores.mongo.deletions import MongoDeletions
from ptsflow.stores.mongo.documents import MetaDocument
from ptsflow.stores.mongo.logs import MongoLogs
from ptsflow.stores.mongo.looks import MongoLooks
from ptsflow.stores.mongo.place import Place
from ptsflow.stores.mongo.queue import MongoQueue
from ptsflow.stores.mongo.reads import MongoReads
from ptsflow.stores.mongo.records import object_id
from ptsflow.stores.mongo.runs import MongoRuns
from ptsflow.stores.mongo.schedules import MongoSchedules
from ptsflow.stores.mongo.tasks import MongoTasks
from ptsflow.stores.rules import check_held, raise_lost
from ptsflow.stores.store_wait import NO_WAIT, StoreWait


class MongoStore(MongoReads):
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
        self._meta = self._link.collection(MetaDocument.collection_name())
        self._containers = MongoContainers(self._link, clock)
        self._tasks = MongoTasks(self._link)
        self._looks = MongoLooks(self._link, self._tasks)
        self._runs = MongoRuns(self._link, self._containers)
        self.queue = MongoQueue(self._link)
        self._schedules = MongoSchedules(self._link)
        self._place = Place(self._link)
        self._commits = MongoCommits(
            self._link, self._containers, self._tasks, self._place
        )
        # Names whose answer was lost, so that their containers may be stored or not.
        self._made: dict[str, ObjectId] = {}
        self._deletions = MongoDeletions(
            self._link, self._containers, self._tasks, self._runs, self.queue
        )
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

    def key_of(self, record: ContainerRecord) -> str:
        """Return the container's uid, which is used nowhere else."""
        return f"mongodb:{record.uid}"

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

    def unsynced(self) -> nullcontext[None]:
        """Change nothing: the server may lose its power while this process goes on."""
        return nullcontext()

    # -- containers ---------------------------------------------------------

    def create(
        self, name: str, *, created_at: int | None = None
    ) -> tuple[ContainerRecord, bool]:
        """Return the container of that name, and whether this call made it."""
        # The id is kept until the answer is known: it shows which call made the document.
        uid = self._made.setdefault(name, ObjectId())
        with self._link.call():
            record = self._containers.add(uid, name, created_at)
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

    def containers(self, *, plans: bool = True) -> list[ContainerRecord]:
        """Return all containers, oldest first; without `plans`, their plans are empty."""
        return self._containers.all(plans=plans)

    def delete(self, uid: str, *, fence: int | None = None) -> bool:
        """Delete a container and its tasks, unless another's lease holds it."""
        return self._deletions.delete(uid, fence)

    def claim(
        self,
        uid: str,
        owner: Owner,
        lease_ms: int,
        *,
        dead: int | None = None,
        above: int = 0,
    ) -> ContainerRecord | None:
        """Take the lease for `owner` and raise the fence by one, or return None."""
        container = object_id(uid)
        record = self._containers.claim(container, owner, lease_ms, dead, above)
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

    def save(self, record: ContainerRecord, run: RunRecord | None = None) -> None:
        """Write the fields of a leased container, but name, lease and time of making."""
        container = object_id(record.uid)
        with self._link.call():
            released = self._containers.save(container, record)
            if released is None:
                raise_lost(
                    record.name,
                    record.fence,
                    self._place.present(self._containers.get(container)),
                )
        if run is not None:
            if record.fence > 1:
                self._runs.lose(record.uid, record.fence, released)
            self._runs.put(run)

    def release(self, record: ContainerRecord, run: RunRecord | None = None) -> bool:
        """Do what `save` does and give the lease back, in one write."""
        container = object_id(record.uid)
        if run is not None:
            self._runs.put(run)
        has_run = run is not None
        with self._link.call():
            if not self._containers.release(container, record, has_run=has_run):
                stored = self._place.present(self._containers.get(container))
                if stored is None or stored.fence != record.fence:
                    return False
        self._tasks.stamp_released(container, record.fence)
        self._place.check()
        if run is not None:
            with suppress(
                StoreError
            ):  # The lease is given back, and that is what counts.
                self._runs.prune(run.workflow)
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

    def names(self, uid: str) -> list[str]:
        """Return the names of all tasks by position, also of damaged ones."""
        return self._tasks.names(object_id(uid))

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


#: How many times a lease is renewed before it would end, while a claim goes on.
_RENEWALS = 6
