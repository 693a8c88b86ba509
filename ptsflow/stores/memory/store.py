"""A store in this process's memory, for tests and `run_inline`; nothing outlives it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from threading import Lock
from uuid import uuid4

from ptsflow.core.model import (
    Attempt,
    Change,
    ContainerRecord,
    Progress,
    Stop,
    Tally,
    TaskRecord,
    without_payloads,
)
from ptsflow.core.packed import Tasks, tasks_of
from ptsflow.host.clock import Clock, system_clock
from ptsflow.stores.leasing import Decide, Leasing
from ptsflow.stores.memory.logs import MemoryLogs, SharedLines
from ptsflow.stores.memory.tasks import Shelf
from ptsflow.stores.rules import check_held, check_writer, is_held


class _Data:
    """The data that siblings share. Uids are counted, so that none is used twice."""

    __slots__ = ("lines", "lock", "shelves", "uids")

    def __init__(self) -> None:
        self.lines = SharedLines()
        self.lock = Lock()
        self.shelves: dict[str, Shelf] = {}
        self.uids = 0


class MemoryStore(Leasing):
    """Containers and tasks in dictionaries, under one lock."""

    url = "memory:"
    is_in_memory = True
    work_root = None

    def __init__(self, *, clock: Clock = system_clock) -> None:
        self._clock = clock
        self._data = _Data()
        self.identity = f"memory:{uuid4().hex}"

    def now(self) -> int:
        """Return the clock's time."""
        return self._clock()

    def sibling(self) -> MemoryStore:
        """Return another store over the same data."""
        other = MemoryStore(clock=self._clock)
        other._data = self._data
        other.identity = self.identity
        return other

    def close(self) -> None:
        """Do nothing: the data lives as long as a store that shares it."""

    # -- containers ---------------------------------------------------------

    def create(self, name: str) -> tuple[ContainerRecord, bool]:
        """Return the container of that name, and whether this call made it."""
        data = self._data
        with data.lock:
            found = self._find(name)
            if found is not None:
                return found, False
            data.uids += 1
            record = ContainerRecord(
                uid=str(data.uids), name=name, created_at=self.now()
            )
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

    def containers(self) -> list[ContainerRecord]:
        """Return all containers, oldest first."""
        with self._data.lock:
            return [shelf.record for shelf in self._data.shelves.values()]

    def delete(self, uid: str) -> bool:
        """Delete a container and its tasks, unless a live lease holds it."""
        with self._data.lock:
            shelf = self._data.shelves.get(uid)
            if shelf is None or shelf.record.is_leased(self.now()):
                return False
            del self._data.shelves[uid]
        self.logs().forget(uid)
        return True

    def _swap_container(self, uid: str, decide: Decide) -> ContainerRecord | None:
        with self._data.lock:
            shelf = self._data.shelves.get(uid)
            record = decide(shelf.record if shelf else None)
            if shelf is not None and record is not None:
                shelf.record = record
            return record

    def stop_asked(self, uid: str, fence: int) -> Stop | None:
        """Return how the owner of that fence was asked to stop, or None."""
        with self._data.lock:
            shelf = self._data.shelves.get(uid)
            if shelf is None or not is_held(shelf.record, fence):
                return None
            return shelf.record.stop_asked

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
            shelf = self._data.shelves.get(uid)
            found = shelf.in_order(names) if shelf else []
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
            shelf = self._data.shelves.get(uid)
            return list(shelf.ledgers.get(name, ())) if shelf else []

    def logs(self) -> MemoryLogs:
        """Return another connection to the log lines that siblings share."""
        return MemoryLogs(self._data.lines)

    def tallies(self, uids: Iterable[str]) -> Mapping[str, list[Tally]]:
        """Return, for each container, its tasks counted by step and status."""
        with self._data.lock:
            shelves = {uid: self._data.shelves.get(uid) for uid in uids}
            return {
                uid: shelf.tally() if shelf else [] for uid, shelf in shelves.items()
            }
