"""A store in this process's memory, for tests and `run_inline`; nothing outlives it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import nullcontext
from uuid import uuid4

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
    without_payloads,
)
from ptsflow.core.packed import Tasks, tasks_of
from ptsflow.host.clock import Clock, system_clock
from ptsflow.stores.leasing import Decide, Leasing
from ptsflow.stores.looks import Order
from ptsflow.stores.memory import looks
from ptsflow.stores.memory.data import MemoryData
from ptsflow.stores.memory.logs import MemoryLogs
from ptsflow.stores.memory.queue import MemoryQueue
from ptsflow.stores.memory.tasks import Shelf
from ptsflow.stores.rules import check_held, check_writer, is_held, may_delete


class MemoryStore(Leasing):
    """Containers and tasks in dictionaries, under one lock."""

    url = "memory:"
    is_in_memory = True
    work_root = None

    def __init__(self, *, clock: Clock = system_clock) -> None:
        self._clock = clock
        self._data = MemoryData()
        self._id = uuid4().hex

    @property
    def queue(self) -> MemoryQueue:
        """The containers that wait for a worker."""
        return self._data.queue

    def key_of(self, record: ContainerRecord) -> str:
        """Return the container's uid in this store."""
        return f"memory:{self._id}\n{record.uid}"

    def now(self) -> int:
        """Return the clock's time."""
        return self._clock()

    def sibling(self) -> MemoryStore:
        """Return another store over the same data."""
        other = MemoryStore(clock=self._clock)
        other._data = self._data
        other._id = self._id
        return other

    def close(self) -> None:
        """Do nothing: the data lives as long as a store that shares it."""

    def unsynced(self) -> nullcontext[None]:
        """Change nothing: all is gone with the power anyway."""
        return nullcontext()

    # -- containers ---------------------------------------------------------

    def create(
        self, name: str, *, created_at: int | None = None
    ) -> tuple[ContainerRecord, bool]:
        """Return the container of that name, and whether this call made it."""
        data = self._data
        with data.lock:
            found = self._find(name)
            if found is not None:
                return found, False
            data.uids += 1
            at = self.now() if created_at is None else created_at
            record = ContainerRecord(uid=str(data.uids), name=name, created_at=at)
            data.shelves[record.uid] = Shelf(record)
            return record, True

    def container(self, name: str) -> ContainerRecord | None:
        """Return the container of that name as it is now, or None."""
        with self._data.lock:
            return self._find(name)

    def _find(self, name: str) -> ContainerRecord | None:
        for shelf in self._data.shelves.values():
            if shelf.record.name == name:
                return shelf.record
        return None

    def containers(self, *, plans: bool = True) -> list[ContainerRecord]:
        """Return all containers, oldest first; without `plans`, their plans are empty."""
        with self._data.lock:
            return looks.containers(self._data.shelves.values(), plans=plans)

    def delete(self, uid: str, *, fence: int | None = None) -> bool:
        """Delete a container and its tasks, unless another's lease holds it."""
        with self._data.lock:
            shelf = self._data.shelves.get(uid)
            if shelf is None or not may_delete(shelf.record, fence, self.now()):
                return False
            self._data.runs.lose(uid, shelf.record.fence + 1)
            self._data.outlooks.pop(uid, None)
            self._data.queue.remove(uid)
            del self._data.shelves[uid]
        self.logs().forget(uid)
        return True

    def _swap_container(
        self, uid: str, decide: Decide, run: RunRecord | None = None
    ) -> ContainerRecord | None:
        with self._data.lock:
            shelf = self._data.shelves.get(uid)
            record = decide(shelf.record if shelf else None)
            if shelf is not None and record is not None:
                shelf.record = record
                if run is not None:
                    self._data.runs.put(run)
            return record

    def stop_asked(self, uid: str, fence: int) -> Stop | None:
        """Return how the owner of that fence was asked to stop, or None."""
        with self._data.lock:
            shelf = self._data.shelves.get(uid)
            if shelf is None or not is_held(shelf.record, fence):
                return None
            return shelf.record.stop_asked

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
        with self._data.lock:
            return self._data.runs.find(workflow, name, limit, before, status)

    def add_run(self, run: RunRecord) -> None:
        """Put a run of another store into the ledger, or replace it."""
        with self._data.lock:
            self._data.runs.put(run)

    def numbered_runs(self, workflow: str) -> list[RunRecord]:
        """Return the runs of a workflow that have an ordinal, back to a good one."""
        with self._data.lock:
            return self._data.runs.numbered(workflow)

    def number_run(
        self, uid: str, fence: int, ordinal: int, *, told_at: int | None
    ) -> bool:
        """Keep the ordinal of a run, unless another run of its workflow has it."""
        with self._data.lock:
            return self._data.runs.number(uid, fence, ordinal, told_at)

    def tell(self, uid: str, fence: int, outlook: Outlook | None) -> bool:
        """Keep what the owner of that fence expects; False if the lease was lost."""
        with self._data.lock:
            shelf = self._data.shelves.get(uid)
            if shelf is None or not is_held(shelf.record, fence):
                return False
            if outlook is None:
                self._data.outlooks.pop(uid, None)
            else:
                self._data.outlooks[uid] = fence, outlook
            return True

    def outlooks(
        self, uids: Iterable[str], *, of_earlier_runs: bool = False
    ) -> Mapping[str, Outlook]:
        """Return the outlooks of containers by uid; not all of them have one."""
        with self._data.lock:
            told = {uid: self._data.outlooks.get(uid, (0, None)) for uid in uids}
            return {
                uid: outlook
                for uid, (fence, outlook) in told.items()
                if outlook is not None
                and (of_earlier_runs or self._data.shelves[uid].record.fence == fence)
            }

    def schedules(self) -> list[ScheduleRecord]:
        """Return all schedules, by the names of their workflows."""
        return self._data.schedules.all()

    def swap_schedule(
        self, before: ScheduleRecord | None, after: ScheduleRecord
    ) -> bool:
        """Keep a schedule in place of the one before; False if another one is there."""
        return self._data.schedules.swap(before, after)

    # -- tasks --------------------------------------------------------------

    def tasks(
        self,
        uid: str,
        names: Iterable[str] | None = None,
        *,
        payloads: bool = False,
    ) -> list[TaskRecord]:
        """Return all tasks, or those of `names` that exist, by position."""
        with self._data.lock:
            found = self._shelf(uid).in_order(names)
        return found if payloads else [without_payloads(task) for task in found]

    def table(self, uid: str) -> Tasks:
        """Return all tasks by name, without payloads, for a run."""
        return tasks_of(self.tasks(uid))

    def next_open(
        self, uid: str, *, unleased_at: int | None = None
    ) -> TaskRecord | None:
        """Return the first task that is not complete, with payloads, or None."""
        with self._data.lock:
            shelf = self._data.shelves.get(uid)
            return shelf.first_open(unleased_at) if shelf else None

    def commit(self, uid: str, changes: Sequence[Change], *, fence: int | None) -> None:
        """Make all changes, or none of them."""
        with self._data.lock:
            shelf = self._data.shelves.get(uid)
            check_writer(shelf.record if shelf else None, uid, fence, self.now())
            if shelf is not None:
                shelf.commit(changes, fence)
                if fence is None:
                    self._data.outlooks.pop(uid, None)

    def touch(self, uid: str, progress: Sequence[Progress], *, fence: int) -> None:
        """Write the progress of running tasks; versions stay, other tasks are skipped."""
        with self._data.lock:
            shelf = self._data.shelves.get(uid)
            check_held(shelf.record if shelf else None, uid, fence)
            if shelf is not None:
                shelf.touch(progress)

    def attempts(self, uid: str, name: str) -> list[Attempt]:
        """Return the last attempts in a task's ledger, oldest first."""
        with self._data.lock:
            return list(self._shelf(uid).ledgers.get(name, ()))

    def logs(self) -> MemoryLogs:
        """Return another connection to the log lines that siblings share."""
        return MemoryLogs(self._data.lines)

    def tallies(self, uids: Iterable[str]) -> Mapping[str, list[Tally]]:
        """Return, for each container, its tasks counted by step and status."""
        with self._data.lock:
            return {uid: self._shelf(uid).tally() for uid in uids}

    # -- reads for screens --------------------------------------------------

    def recent(
        self,
        limit: int = 200,
        before: ContainerRecord | None = None,
        workflow: str | None = None,
        status: Status | None = None,
        part: str | None = None,
        *,
        damaged: list[str] | None = None,  # noqa: ARG002 - nothing here is damaged
    ) -> list[ContainerRecord]:
        """Return containers, those that were made last first."""
        with self._data.lock:
            shelves = self._data.shelves.values()
            return looks.recent(shelves, limit, before, workflow, status, part)

    def glance(self, uid: str, active: int = 50, failed: int = 50) -> Glance:
        """Return what a screen shows of a container."""
        with self._data.lock:
            return looks.glance(self._shelf(uid), active, failed)

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
        with self._data.lock:
            found = looks.page(self._shelf(uid), step, status, part, order)
            there = len(found) if total is None else total
            return found[offset : offset + limit], there

    def names(self, uid: str) -> list[str]:
        """Return the names of all tasks by position, also of damaged ones."""
        with self._data.lock:
            return [task.name for task in self._shelf(uid).in_order()]

    def origins(self, uid: str, steps: Collection[str]) -> Sequence[TaskRecord]:
        """Return the tasks of steps by position, with the fields of `ORIGIN` alone."""
        with self._data.lock:
            return looks.origins(self._shelf(uid), steps)

    def spans(self, uid: str, step: str) -> Spans:
        """Return when the last attempts of a step's tasks ran, as far as they began."""
        with self._data.lock:
            return looks.spans(self._shelf(uid), step)

    def ledgers(
        self, uid: str, names: Iterable[str]
    ) -> Mapping[str, Sequence[Attempt]]:
        """Return what `attempts` returns for each task, of tasks that have attempts."""
        with self._data.lock:
            kept = self._shelf(uid).ledgers
            return {name: list(kept[name]) for name in set(names) & kept.keys()}

    def _shelf(self, uid: str) -> Shelf:
        """Return the container with its tasks; one without any if it was deleted."""
        return self._data.shelves.get(uid) or Shelf(ContainerRecord(uid=uid, name=""))
