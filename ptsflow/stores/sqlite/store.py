"""A store in one SQLite file, for the processes of one machine.

Every write is one `BEGIN IMMEDIATE` transaction in WAL mode with `synchronous=FULL`: each
commit is synced once, and survives a power cut. Payloads have a table of their own, so
that the start or end of a task does not rewrite them. Every row has a check value, because
SQLite itself does not notice a flipped byte.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import closing, suppress
from functools import partial
from pathlib import Path

from ptsflow.core.insight import (
    Glance,
    Outlook,
    RunRecord,
    RunStatus,
    ScheduleRecord,
    Spans,
)
from ptsflow.core.model import (
    Attempt,
    Change,
    ContainerRecord,
    Progress,
    Status,
    Stop,
    Tally,
    TaskRecord,
)
from ptsflow.core.packed import Tasks
from ptsflow.errors import StoreError
from ptsflow.host.clock import Clock, system_clock
from ptsflow.stores.leasing import Decide, Leasing
from ptsflow.stores.looks import Order, PageWindow
from ptsflow.stores.rules import is_held, may_delete
from ptsflow.stores.sqlite.commits import SqliteCommits
from ptsflow.stores.sqlite.containers import PAUSE, SqliteContainers
from ptsflow.stores.sqlite.database import Database
from ptsflow.stores.sqlite.file import Upgrade, carry_over, kind, path_of
from ptsflow.stores.sqlite.logs import SqliteLogs
from ptsflow.stores.sqlite.looks import SqliteLooks
from ptsflow.stores.sqlite.outlooks import SqliteOutlooks
from ptsflow.stores.sqlite.queue import SqliteQueue
from ptsflow.stores.sqlite.runs import SqliteRuns
from ptsflow.stores.sqlite.schedules import SqliteSchedules
from ptsflow.stores.sqlite.tasks import SqliteTasks


class SqliteStore(Leasing):
    """Containers and tasks in one file, for one thread at a time.

    Args:
        url: `sqlite:///FILE` or `sqlite:////ABSOLUTE/FILE`; the file and its folder
            are made where there are none, for this user alone.
        clock: Tells the time for leases.
        patience: For how many seconds to wait while other processes write.
        notice: Told in a line that the file was of an earlier layout and was upgraded.
        upgrade: What else becomes of a file of an earlier layout.
    """

    is_in_memory = False

    def __init__(
        self,
        url: str,
        *,
        clock: Clock = system_clock,
        patience: float = 10.0,
        notice: Callable[[str], None] | None = None,
        upgrade: Upgrade | None = None,
    ) -> None:
        if upgrade is None:
            upgrade = partial(carry_over, clock=clock, notice=notice)
        self._use(url, clock, Database(path_of(url), kind(upgrade), patience))

    def _use(self, url: str, clock: Clock, database: Database) -> None:
        self.url = url
        self._clock = clock
        self._database = database
        self._read = database.read
        self._write = database.write
        self.unsynced = database.unsynced
        self._containers = SqliteContainers(database)
        self._runs = SqliteRuns(database)
        self._outlooks = SqliteOutlooks(database)
        self.queue = SqliteQueue(database)
        self._schedules = SqliteSchedules(database)
        self._tasks = SqliteTasks(database, self._containers)
        self._looks = SqliteLooks(database, self._tasks)
        self._commits = SqliteCommits(
            database, self._containers, self._tasks, self._outlooks, clock
        )

    @property
    def work_root(self) -> Path:
        """The folder for files of its tasks: beside the store's file."""
        return self._database.path.with_name(f"{self._database.path.name}.work")

    def key_of(self, record: ContainerRecord) -> str:
        """Return the file and the container's name: a file may be made anew."""
        return f"sqlite:{self._database.path}\n{record.name}"

    def now(self) -> int:
        """Return the clock's time."""
        return self._clock()

    def sibling(self) -> SqliteStore:
        """Return another connection to the same file."""
        other = type(self).__new__(type(self))
        other._use(self.url, self._clock, self._database.another())  # noqa: SLF001 - its own.
        return other

    def close(self) -> None:
        """Close the file; a second call does nothing."""
        self._database.close()

    # -- containers ---------------------------------------------------------

    def create(
        self, name: str, *, created_at: int | None = None
    ) -> tuple[ContainerRecord, bool]:
        """Return the container of that name, and whether this call made it."""
        found = self.container(name)
        return (found, False) if found else self._write(self._create, name, created_at)

    def _create(
        self, name: str, created_at: int | None
    ) -> tuple[ContainerRecord, bool]:
        found = self._containers.named(name)
        if found is not None:
            return found, False
        return self._containers.add(name, self.now(), created_at), True

    def container(self, name: str) -> ContainerRecord | None:
        """Return the container of that name as it is now, or None."""
        self._database.check_place()
        return self._read(self._containers.named, name)

    def containers(self, *, plans: bool = True) -> list[ContainerRecord]:
        """Return all containers, oldest first; without `plans`, their plans are empty."""
        return self._read(self._containers.all, plans=plans)

    def delete(self, uid: str, *, fence: int | None = None) -> bool:
        """Delete a container and its tasks, unless another's lease holds it."""
        deleted = self._write(self._delete, uid, fence)
        if deleted is None:
            return False
        has_left, uids = deleted
        while has_left:  # If the process is killed here, the next `delete` goes on.
            time.sleep(PAUSE)
            has_left = self._write(self._containers.remove_left)
        logs = self.logs()
        # If the lines cannot be deleted, the container is deleted all the same.
        with suppress(StoreError), closing(logs):
            for each in uids:
                logs.forget(each)
        return True

    def _delete(self, uid: str, fence: int | None) -> tuple[bool, list[str]] | None:
        """Delete a container and some tasks; None if it must not be deleted.

        Return whether tasks are left, and the container's uid with those of deletions
        that were cut short: these are finished now.
        """
        stored, _ = self._containers.get(uid)
        if stored is None or not may_delete(stored, fence, self.now()):
            return None
        self._runs.lose(uid, stored.fence + 1)
        self._outlooks.forget(uid)
        self.queue.forget(uid)
        uids = [uid, *self._containers.left()]
        return self._containers.remove(uid), uids

    def _swap_container(
        self, uid: str, decide: Decide, run: RunRecord | None = None
    ) -> ContainerRecord | None:
        return self._write(self._swap, uid, decide, run)

    def _swap(
        self, uid: str, decide: Decide, run: RunRecord | None
    ) -> ContainerRecord | None:
        record = self._containers.swap(uid, decide)
        if record is not None and run is not None:
            self._runs.put(run)
        return record

    def stop_asked(self, uid: str, fence: int) -> Stop | None:
        """Return how the owner of that fence was asked to stop, or None."""
        # A runner that commits nothing for long hears of it by this question.
        self._database.check_place()
        return self._read(self._stop_asked, uid, fence)

    def _stop_asked(self, uid: str, fence: int) -> Stop | None:
        if not self._containers.is_asked_to_stop(uid):
            return None
        stored, _ = self._containers.get(uid)
        return stored.stop_asked if is_held(stored, fence) else None

    # -- runs ---------------------------------------------------------------

    def runs(
        self,
        workflow: str | None = None,
        name: str | None = None,
        limit: int = 50,
        before: RunRecord | None = None,
        status: RunStatus | None = None,
    ) -> list[RunRecord]:
        """Return runs, those that began last first."""
        find = self._runs.find
        return self._database.snapshot(find, workflow, name, limit, before, status)

    def add_run(self, run: RunRecord) -> None:
        """Put a run of another store into the ledger, or replace it."""
        self._write(self._runs.put, run)

    def numbered_runs(self, workflow: str) -> list[RunRecord]:
        """Return the runs of a workflow that have an ordinal, back to a good one."""
        return self._database.snapshot(self._runs.numbered, workflow)

    def number_run(
        self, uid: str, fence: int, ordinal: int, *, told_at: int | None
    ) -> bool:
        """Keep the ordinal of a run, unless another run of its workflow has it."""
        return self._write(self._runs.number, uid, fence, ordinal, told_at)

    def tell(self, uid: str, fence: int, outlook: Outlook | None) -> bool:
        """Keep what the owner of that fence expects; False if the lease was lost."""
        return self._write(self._outlooks.tell, uid, fence, outlook)

    def outlooks(
        self, uids: Iterable[str], *, of_earlier_runs: bool = False
    ) -> Mapping[str, Outlook]:
        """Return the outlooks of containers by uid; not all of them have one."""
        find, earlier = self._outlooks.find, of_earlier_runs
        return self._database.snapshot(find, list(uids), of_earlier_runs=earlier)

    def schedules(self) -> list[ScheduleRecord]:
        """Return all schedules, by the names of their workflows."""
        return self._database.snapshot(self._schedules.all)

    def swap_schedule(
        self, before: ScheduleRecord | None, after: ScheduleRecord
    ) -> bool:
        """Keep a schedule in place of the one before; False if another one is there."""
        return self._write(self._schedules.swap, before, after)

    # -- tasks --------------------------------------------------------------

    def tasks(
        self,
        uid: str,
        names: Iterable[str] | None = None,
        *,
        payloads: bool = False,
    ) -> list[TaskRecord]:
        """Return all tasks, or those of `names` that exist, by position."""
        return self._tasks.tasks(uid, names, payloads=payloads)

    def table(self, uid: str) -> Tasks:
        """Return all tasks by name, without payloads, for a run."""
        return self._tasks.table(uid)

    def next_open(
        self, uid: str, *, unleased_at: int | None = None
    ) -> TaskRecord | None:
        """Return the first task that is not complete, with payloads, or None."""
        return self._tasks.next_open(uid, unleased_at)

    def commit(self, uid: str, changes: Sequence[Change], *, fence: int | None) -> None:
        """Make the changes; a client's, and a runner's unless they are many, at once."""
        self._commits.commit(uid, changes, fence)

    def touch(self, uid: str, progress: Sequence[Progress], *, fence: int) -> None:
        """Write the progress of running tasks; versions stay, other tasks are skipped."""
        self._commits.touch(uid, progress, fence)

    def attempts(self, uid: str, name: str) -> list[Attempt]:
        """Return the last attempts in a task's ledger, oldest first."""
        return self._tasks.attempts(uid, name)

    def logs(self) -> SqliteLogs:
        """Return a connection to the log lines, which have a file beside this one."""
        return SqliteLogs(self._database.path, self._database.patience)

    def tallies(self, uids: Iterable[str]) -> Mapping[str, list[Tally]]:
        """Return, for each container, its tasks counted by step and status."""
        return self._tasks.tallies(uids)

    # -- reads for screens --------------------------------------------------

    def recent(
        self,
        limit: int = 200,
        before: ContainerRecord | None = None,
        workflow: str | None = None,
        status: Status | None = None,
        part: str | None = None,
        *,
        damaged: list[str] | None = None,
    ) -> list[ContainerRecord]:
        """Return containers, those that were made last first."""
        recent = partial(self._containers.recent, damaged=damaged)
        return self._database.snapshot(recent, limit, before, workflow, status, part)

    def glance(self, uid: str, active: int = 50, failed: int = 50) -> Glance:
        """Return what a screen shows of a container."""
        return self._database.snapshot(self._looks.glance, uid, active, failed)

    def page(  # noqa: PLR0913 - three of them say which
        self,
        uid: str,
        step: str | None = None,
        status: Status | None = None,
        part: str | None = None,
        *,
        order: Order = "position",
        offset: int = 0,
        limit: int = 200,
        total: int | None = None,
    ) -> tuple[list[TaskRecord], int]:
        """Return some tasks without payloads, and how many there are in all."""
        wanted = {"step": step, "status": status}
        window = PageWindow(order=order, offset=offset, limit=limit, total=total)
        return self._database.snapshot(self._looks.page, uid, wanted, part, window)

    def names(self, uid: str) -> list[str]:
        """Return the names of all tasks by position, also of damaged ones."""
        return self._database.read(self._tasks.names, uid)

    def origins(self, uid: str, steps: Collection[str]) -> Sequence[TaskRecord]:
        """Return the tasks of steps by position, with the fields of `ORIGIN` alone."""
        return self._database.snapshot(self._looks.origins, uid, steps)

    def spans(self, uid: str, step: str) -> Spans:
        """Return when the last attempts of a step's tasks ran, as far as they began."""
        return self._database.snapshot(self._looks.spans, uid, step)

    def ledgers(
        self, uid: str, names: Iterable[str]
    ) -> Mapping[str, Sequence[Attempt]]:
        """Return what `attempts` returns for each task, of tasks that have attempts."""
        return self._tasks.ledgers(uid, names)
