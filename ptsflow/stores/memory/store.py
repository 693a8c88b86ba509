"""A store in this process's memory, for tests and `run_inline`; nothing outlives it."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from threading import Lock
from uuid import uuid4

from msgspec import UNSET, UnsetType
from msgspec.structs import replace

from ptsflow.core.model import (
    Attempt,
    Change,
    ContainerRecord,
    Owner,
    Progress,
    Status,
    Stop,
    Tally,
    TaskRecord,
)
from ptsflow.host.clock import Clock, system_clock
from ptsflow.stores.memory.logs import Lines, MemoryLogs
from ptsflow.stores.rules import (
    asked_to_stop,
    check_writer,
    claimed,
    given_back,
    is_held,
    is_leased,
    ledger_of,
    raise_lost,
    recognise,
    saved,
)


class _Shelf:
    """One container with its tasks, payloads included."""

    __slots__ = ("ledgers", "next_position", "record", "tasks")

    def __init__(self, record: ContainerRecord) -> None:
        self.record = record
        self.tasks: dict[str, TaskRecord] = {}
        #: The attempts of those tasks that have any.
        self.ledgers: dict[str, list[Attempt]] = {}
        self.next_position = 0


class _Data:
    """What siblings share. Uids are counted, so that none is ever used again."""

    __slots__ = ("lines", "lock", "shelves", "uids")

    def __init__(self) -> None:
        self.lines = Lines()
        self.lock = Lock()
        self.shelves: dict[str, _Shelf] = {}
        self.uids = 0


class MemoryStore:
    """Containers and tasks in dictionaries, under one lock."""

    url = "memory:"

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
        """Return the container of that name, made now if there was none."""
        data = self._data
        with data.lock:
            found = self._find(name)
            if found is not None:
                return found, False
            data.uids += 1
            record = ContainerRecord(
                uid=str(data.uids), name=name, created_at=self.now()
            )
            data.shelves[record.uid] = _Shelf(record)
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
        """Delete a container that nobody leases, with its tasks."""
        with self._data.lock:
            shelf = self._data.shelves.get(uid)
            if shelf is None or is_leased(shelf.record, self.now()):
                return False
            del self._data.shelves[uid]
        self.logs().forget(uid)
        return True

    def claim(
        self, uid: str, owner: Owner, lease_ms: int, *, dead: int | None = None
    ) -> ContainerRecord | None:
        """Take the lease for `owner`, the fence grown by one, or return None."""
        with self._data.lock:
            shelf = self._data.shelves.get(uid)
            if shelf is None:
                return None
            record = claimed(shelf.record, owner, self.now(), lease_ms, dead)
            if record is not None:
                shelf.record = record
            return record

    def renew(self, uid: str, fence: int, lease_ms: int) -> bool:
        """Move the end of the lease to now + `lease_ms`; False if it was lost."""
        with self._data.lock:
            shelf = self._data.shelves.get(uid)
            if shelf is None or not is_held(shelf.record, fence):
                return False
            shelf.record = replace(shelf.record, leased_till=self.now() + lease_ms)
            return True

    def save(self, record: ContainerRecord) -> None:
        """Write all but the lease of a container that is held."""
        with self._data.lock:
            shelf = self._data.shelves.get(record.uid)
            if shelf is None or not is_held(shelf.record, record.fence):
                raise_lost(record.name, record.fence, shelf.record if shelf else None)
            shelf.record = saved(shelf.record, record)

    def release(self, record: ContainerRecord) -> bool:
        """Do what `save` does and give the lease back, in one write."""
        with self._data.lock:
            shelf = self._data.shelves.get(record.uid)
            if shelf is None or shelf.record.fence != record.fence:
                return False
            if shelf.record.owner is not None:
                shelf.record = given_back(shelf.record, record)
            return True

    def ask_to_stop(self, uid: str, fence: int, how: Stop) -> bool:
        """Leave word for the owner of the lease of that fence, in `stop_asked`."""
        with self._data.lock:
            shelf = self._data.shelves.get(uid)
            if shelf is None or not is_held(shelf.record, fence):
                return False
            shelf.record = asked_to_stop(shelf.record, how)
            return True

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
        """Return tasks by position: all, or those of `names` that exist."""
        with self._data.lock:
            shelf = self._data.shelves.get(uid)
            if shelf is None:
                return []
            if names is None:
                found = list(shelf.tasks.values())
            else:
                found = [shelf.tasks[name] for name in set(names) & shelf.tasks.keys()]
        found.sort(key=_place)
        return found if payloads else [_bare(task) for task in found]

    def next_open(
        self, uid: str, *, unleased_at: int | None = None
    ) -> TaskRecord | None:
        """Return the first task that is not complete, with payloads, or None."""
        with self._data.lock:
            shelf = self._data.shelves.get(uid)
            if shelf is None:
                return None
            return min(
                (
                    task
                    for task in shelf.tasks.values()
                    if not task.is_complete
                    and (unleased_at is None or (task.leased_till or 0) <= unleased_at)
                ),
                key=_place,
                default=None,
            )

    def commit(self, uid: str, changes: Sequence[Change], *, fence: int | None) -> None:
        """Swap every task from `before` to `after`, or none."""
        with self._data.lock:
            shelf = self._data.shelves.get(uid)
            check_writer(shelf.record if shelf else None, uid, fence, self.now())
            if shelf is not None:
                batch = _Batch(shelf, fence)
                for change in changes:
                    batch.add(change)
                batch.apply()

    def touch(self, uid: str, progress: Sequence[Progress], *, fence: int) -> None:
        """Note progress of running tasks, no version moved; late ones are dropped."""
        with self._data.lock:
            shelf = self._data.shelves.get(uid)
            if shelf is None or not is_held(shelf.record, fence):
                name = shelf.record.name if shelf else uid
                raise_lost(name, fence, shelf.record if shelf else None)
            for each in progress:
                task = shelf.tasks.get(each.name)
                if task is not None and task.status is Status.RUNNING:
                    shelf.tasks[each.name] = replace(
                        task, percentage_complete=each.percentage, status_text=each.text
                    )

    def attempts(self, uid: str, name: str) -> list[Attempt]:
        """Return the last attempts in a task's ledger, oldest first."""
        with self._data.lock:
            shelf = self._data.shelves.get(uid)
            return list(shelf.ledgers.get(name, ())) if shelf else []

    def logs(self) -> MemoryLogs:
        """Return another view of the lines that siblings share."""
        return MemoryLogs(self._data.lines)

    def tallies(self, uids: Iterable[str]) -> Mapping[str, list[Tally]]:
        """Return, for each container, its tasks counted by step and status."""
        with self._data.lock:
            return {uid: _tally(self._data.shelves.get(uid)) for uid in uids}


class _Batch:
    """Changes that were matched, kept aside until all of them are."""

    __slots__ = ("fence", "ledgers", "next_position", "shelf", "staged")

    def __init__(self, shelf: _Shelf, fence: int | None) -> None:
        self.shelf = shelf
        self.fence = fence
        self.next_position = shelf.next_position
        self.staged: dict[str, TaskRecord | None] = {}
        self.ledgers: dict[str, list[Attempt]] = {}

    def add(self, change: Change) -> None:
        """Stage one change, or raise Conflict."""
        before, after = change.before, change.after
        stored = self._get(before.name) if before else None
        taken = self._get(after.name) if after else None
        renames = before is None or (after is not None and after.name != before.name)
        if not _matches(before, stored) or (renames and taken is not None):
            recognise(
                self.shelf.record.name,
                change,
                self.fence,
                at_before=stored,
                at_after=taken,
            )
            return
        ledger = self._ledger(before.name) if before else []
        if change.ended is not None:
            ledger = ledger_of([*ledger, change.ended])
        if before is not None and (after is None or renames):
            self.staged[before.name] = None
            self.ledgers[before.name] = []
        if after is not None:
            self.staged[after.name] = self._merged(before, after, stored)
            if change.ended is not None or (renames and ledger):
                self.ledgers[after.name] = ledger

    def apply(self) -> None:
        """Put everything that was staged where everybody sees it."""
        tasks = self.shelf.tasks
        for name, task in self.staged.items():
            if task is None:
                tasks.pop(name, None)
            else:
                tasks[name] = task
        for name, ledger in self.ledgers.items():
            if ledger:
                self.shelf.ledgers[name] = ledger
            else:
                self.shelf.ledgers.pop(name, None)
        self.shelf.next_position = self.next_position

    def _get(self, name: str) -> TaskRecord | None:
        if name in self.staged:
            return self.staged[name]
        return self.shelf.tasks.get(name)

    def _ledger(self, name: str) -> list[Attempt]:
        found = self.ledgers.get(name)
        return self.shelf.ledgers.get(name, []) if found is None else found

    def _merged(
        self, before: TaskRecord | None, after: TaskRecord, stored: TaskRecord | None
    ) -> TaskRecord:
        position = self.next_position if after.position < 0 else after.position
        self.next_position = max(self.next_position, position + 1)
        seen, kept = before or _EMPTY, stored or _EMPTY
        return replace(
            after,
            position=position,
            task_data=_pick(seen.task_data, after.task_data, kept.task_data),
            processing_data=_pick(
                seen.processing_data, after.processing_data, kept.processing_data
            ),
            result=_pick(seen.result, after.result, kept.result),
        )


_EMPTY = TaskRecord(name="", task_data=None, processing_data=None, result=None)

_Payload = str | None | UnsetType


def _pick(before: _Payload, after: _Payload, stored: _Payload) -> _Payload:
    return stored if after is UNSET or after is before else after


def _matches(before: TaskRecord | None, stored: TaskRecord | None) -> bool:
    if before is None or stored is None:
        return before is None
    return before.version == stored.version and before.fence == stored.fence


def _place(task: TaskRecord) -> tuple[int, str]:
    return task.position, task.name


def _bare(task: TaskRecord) -> TaskRecord:
    return replace(task, task_data=UNSET, processing_data=UNSET, result=UNSET)


def _tally(shelf: _Shelf | None) -> list[Tally]:
    counts: Counter[tuple[str, Status]] = Counter()
    sums: defaultdict[tuple[str, Status], float] = defaultdict(float)
    for task in sorted(shelf.tasks.values(), key=_place) if shelf else ():
        counts[task.step, task.status] += 1
        sums[task.step, task.status] += task.percentage_complete
    return [
        Tally(step=step, status=status, count=count, percentage=sums[step, status])
        for (step, status), count in counts.items()
    ]
