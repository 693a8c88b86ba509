"""A store whose process dies, or stops, around its n-th write."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TypeVar

from msgspec import Struct

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
from ptsflow.stores.base import LogStore, Store

T = TypeVar("T")

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


class FaultyStore:
    """Another store, and a fault."""

    def __init__(
        self, store: Store, fault: Fault | None, count: _Count | None = None
    ) -> None:
        self.url = store.url
        self.identity = store.identity
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

    def create(self, name: str) -> tuple[ContainerRecord, bool]:
        return self._write(lambda: self._store.create(name))

    def delete(self, uid: str) -> bool:
        return self._write(lambda: self._store.delete(uid))

    def claim(
        self, uid: str, owner: Owner, lease_ms: int, *, dead: int | None = None
    ) -> ContainerRecord | None:
        return self._write(lambda: self._store.claim(uid, owner, lease_ms, dead=dead))

    def renew(self, uid: str, fence: int, lease_ms: int) -> bool:
        return self._write(lambda: self._store.renew(uid, fence, lease_ms))

    def save(self, record: ContainerRecord) -> None:
        self._write(lambda: self._store.save(record))

    def release(self, record: ContainerRecord) -> bool:
        return self._write(lambda: self._store.release(record))

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

    # -- the rest -----------------------------------------------------------

    def sibling(self) -> FaultyStore:
        return FaultyStore(self._store.sibling(), self._fault, self._count)

    def now(self) -> int:
        return self._store.now()

    def close(self) -> None:
        self._store.close()

    def container(self, name: str) -> ContainerRecord | None:
        return self._store.container(name)

    def containers(self) -> list[ContainerRecord]:
        return self._store.containers()

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
