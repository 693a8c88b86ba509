"""A store whose process dies, or stops, around its n-th write."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, TypeVar

from msgspec import Struct

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
    Owner,
    Progress,
    Status,
    Stop,
    Tally,
    TaskRecord,
)
from ptsflow.core.packed import Tasks
from ptsflow.core.work_queue import QueueEntry
from ptsflow.stores.base import LogStore, Store
from ptsflow.stores.looks import Order
from ptsflow.stores.queues import WorkQueue

T = TypeVar("T")
_Act = Callable[[], object]

#: What a process that dies by `os._exit` exits with.
DIED = 99


class Died(BaseException):
    """The runner ends here, as far as the store can tell."""


class Fault(Struct, frozen=True):
    """What happens, and where."""

    #: Which write, from 1 on.
    number: int
    #: "before" it, "after" it; or amid a commit of which "first" only the first change
    #: was made, or all but the "last": in MongoDB each task is swapped by itself.
    when: str = "before"
    #: "exit", "kill", "stop", or "raise" where it is to end within this process.
    how: str = "exit"

    def strike(self) -> None:
        if self.how == "raise":
            raise Died
        if self.how == "exit":
            os._exit(DIED)
        number = signal.SIGSTOP if self.how == "stop" else signal.SIGKILL
        # To this very thread: to the process, it might go on for a moment.
        signal.pthread_kill(threading.get_ident(), number)


class _Count:
    """The number of writes, over all siblings."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.number = 0

    def next(self) -> int:
        with self.lock:
            self.number += 1
            return self.number


class _FaultyQueue:
    """The queue of another store, whose writes count as the store's."""

    def __init__(self, queue: WorkQueue, write: Callable[[_Act], Any]) -> None:
        self.due = queue.due
        self._queue = queue
        self._write = write

    def put(self, entry: QueueEntry) -> None:
        self._write(lambda: self._queue.put(entry))

    def remove(self, uid: str, until: int | None = None) -> bool:
        return bool(self._write(lambda: self._queue.remove(uid, until)))


class FaultyStore:
    """Another store, and a fault."""

    def __init__(
        self, store: Store, fault: Fault | None, count: _Count | None = None
    ) -> None:
        self.url = store.url
        self.key_of = store.key_of
        self.is_in_memory = store.is_in_memory
        self.work_root = store.work_root
        self._store = store
        self._fault = fault
        self._count = count or _Count()

    def _write(self, act: Callable[[], T], amid: Callable[[], object] = int) -> T:
        number = self._count.next()
        fault = self._fault
        if fault is None or number != fault.number:
            return act()
        if fault.when == "after":
            answer = act()
            fault.strike()
            return answer
        if fault.when != "before":
            amid()
        fault.strike()
        return act()

    # -- writes -------------------------------------------------------------

    def create(
        self, name: str, *, created_at: int | None = None
    ) -> tuple[ContainerRecord, bool]:
        return self._write(lambda: self._store.create(name, created_at=created_at))

    def delete(self, uid: str, *, fence: int | None = None) -> bool:
        return self._write(lambda: self._store.delete(uid, fence=fence))

    def claim(
        self,
        uid: str,
        owner: Owner,
        lease_ms: int,
        *,
        dead: int | None = None,
        above: int = 0,
    ) -> ContainerRecord | None:
        claim = self._store.claim
        return self._write(lambda: claim(uid, owner, lease_ms, dead=dead, above=above))

    def renew(self, uid: str, fence: int, lease_ms: int) -> bool:
        return self._write(lambda: self._store.renew(uid, fence, lease_ms))

    def save(self, record: ContainerRecord, run: RunRecord | None = None) -> None:
        self._write(lambda: self._store.save(record, run))

    def release(self, record: ContainerRecord, run: RunRecord | None = None) -> bool:
        return self._write(lambda: self._store.release(record, run))

    def add_run(self, run: RunRecord) -> None:
        self._write(lambda: self._store.add_run(run))

    def number_run(
        self, uid: str, fence: int, ordinal: int, *, told_at: int | None
    ) -> bool:
        number = self._store.number_run
        return self._write(lambda: number(uid, fence, ordinal, told_at=told_at))

    def commit(self, uid: str, changes: Sequence[Change], *, fence: int | None) -> None:
        fault = self._fault
        some = changes[:1] if fault and fault.when == "first" else changes[:-1]
        self._write(
            lambda: self._store.commit(uid, changes, fence=fence),
            lambda: self._store.commit(uid, some, fence=fence),
        )

    def ask_to_stop(self, uid: str, fence: int, how: Stop) -> bool:
        return self._write(lambda: self._store.ask_to_stop(uid, fence, how))

    def touch(self, uid: str, progress: Sequence[Progress], *, fence: int) -> None:
        self._write(lambda: self._store.touch(uid, progress, fence=fence))

    def tell(self, uid: str, fence: int, outlook: Outlook | None) -> bool:
        return self._write(lambda: self._store.tell(uid, fence, outlook))

    def unsynced(self) -> AbstractContextManager[None]:
        return self._store.unsynced()

    @property
    def queue(self) -> _FaultyQueue:
        return _FaultyQueue(self._store.queue, self._write)

    def swap_schedule(
        self, before: ScheduleRecord | None, after: ScheduleRecord
    ) -> bool:
        return self._write(lambda: self._store.swap_schedule(before, after))

    # -- the rest -----------------------------------------------------------

    def sibling(self) -> FaultyStore:
        return FaultyStore(self._store.sibling(), self._fault, self._count)

    def now(self) -> int:
        return self._store.now()

    def close(self) -> None:
        self._store.close()

    def container(self, name: str) -> ContainerRecord | None:
        return self._store.container(name)

    def containers(self, *, plans: bool = True) -> list[ContainerRecord]:
        return self._store.containers(plans=plans)

    def runs(
        self,
        workflow: str | None = None,
        name: str | None = None,
        limit: int = 50,
        before: RunRecord | None = None,
        status: RunStatus | None = None,
    ) -> list[RunRecord]:
        return self._store.runs(workflow, name, limit, before, status)

    def numbered_runs(self, workflow: str) -> list[RunRecord]:
        return self._store.numbered_runs(workflow)

    def tasks(
        self,
        uid: str,
        names: Iterable[str] | None = None,
        *,
        payloads: bool = False,
    ) -> list[TaskRecord]:
        return self._store.tasks(uid, names, payloads=payloads)

    def table(self, uid: str) -> Tasks:
        return self._store.table(uid)

    def next_open(
        self, uid: str, *, unleased_at: int | None = None
    ) -> TaskRecord | None:
        return self._store.next_open(uid, unleased_at=unleased_at)

    def stop_asked(self, uid: str, fence: int) -> Stop | None:
        return self._store.stop_asked(uid, fence)

    def attempts(self, uid: str, name: str) -> list[Attempt]:
        return self._store.attempts(uid, name)

    def logs(self) -> LogStore:
        return self._store.logs()

    def tallies(self, uids: Iterable[str]) -> Mapping[str, list[Tally]]:
        return self._store.tallies(uids)

    def outlooks(
        self, uids: Iterable[str], *, of_earlier_runs: bool = False
    ) -> Mapping[str, Outlook]:
        return self._store.outlooks(uids, of_earlier_runs=of_earlier_runs)

    def schedules(self) -> list[ScheduleRecord]:
        return self._store.schedules()

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
        recent = self._store.recent
        return recent(limit, before, workflow, status, part, damaged=damaged)

    def glance(self, uid: str, active: int = 50, failed: int = 50) -> Glance:
        return self._store.glance(uid, active, failed)

    def page(  # noqa: PLR0913 - as the store's
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
        return self._store.page(
            uid,
            step,
            status,
            part,
            order=order,
            offset=offset,
            limit=limit,
            total=total,
        )

    def names(self, uid: str) -> list[str]:
        return self._store.names(uid)

    def origins(self, uid: str, steps: Collection[str]) -> Sequence[TaskRecord]:
        return self._store.origins(uid, steps)

    def spans(self, uid: str, step: str) -> Spans:
        return self._store.spans(uid, step)

    def ledgers(
        self, uid: str, names: Iterable[str]
    ) -> Mapping[str, Sequence[Attempt]]:
        return self._store.ledgers(uid, names)
