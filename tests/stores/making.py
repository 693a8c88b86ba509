"""Owners, tasks and changes for tests, as short as a test wants to say them."""

from __future__ import annotations

from msgspec.structs import replace

from ptsflow.core.insight import ScheduleRecord
from ptsflow.core.model import (
    Attempt,
    Change,
    ContainerRecord,
    Ending,
    LogChunk,
    LogLine,
    Owner,
    TaskRecord,
)
from ptsflow.stores.base import Store

#: A lease that no test outlives by itself.
LEASE = 60_000


#: What a message about a damaged file `pts.db` ends with.
CURE = "restore the file from a copy, and remove pts.db-wal and pts.db-shm before"


class Ticker:
    """A clock that moves when it is told to."""

    def __init__(self, now: int = 1_700_000_000_000) -> None:
        self.now = now

    def __call__(self) -> int:
        return self.now


def owner(name: str = "a", since: int = 1_700_000_000_000) -> Owner:
    return Owner(id=name, host="box", boot="b1", pid=42, started=7, since=since)


def schedule(workflow: str = "Feed", **fields: object) -> ScheduleRecord:
    """Return an hourly schedule."""
    made = ScheduleRecord(
        workflow=workflow,
        cron="5 * * * *",
        catch_up_ms=86_400_000,
        again_ms=3_600_000,
        since=1_700_000_000_000,
    )
    return replace(made, **fields)


def new(name: str, **fields: object) -> Change:
    """Insert a task."""
    return Change(None, replace(TaskRecord(name=name, version=1), **fields))


def swap(before: TaskRecord, **fields: object) -> Change:
    """Change a task as whoever read it would."""
    return Change(before, replace(before, version=before.version + 1, **fields))


def drop(before: TaskRecord) -> Change:
    return Change(before, None)


def ended(change: Change, number: int, **fields: object) -> Change:
    """Have an attempt end with the change."""
    return replace(change, ended=attempt(number, **fields))


def attempt(number: int, **fields: object) -> Attempt:
    """Return an attempt that failed after a second."""
    made = Attempt(
        number=number,
        began_at=1_700_000_000_000 + number * 2000,
        ended_at=1_700_000_001_000 + number * 2000,
        ending=Ending.FAILED,
    )
    return replace(made, **fields)


def chunk(
    text: str, *, task: str = "load", attempt: int = 1, number: int = 0
) -> LogChunk:
    """Return one line of an attempt."""
    line = LogLine(at=1_700_000_000_000, level="INFO", text=text)
    return LogChunk(task=task, attempt=attempt, number=number, lines=(line,))


def filled(store: Store, *names: str) -> str:
    """Return the uid of a new container with those tasks."""
    container, _ = store.create("feed")
    store.commit(container.uid, [new(name) for name in names], fence=None)
    return container.uid


def held(store: Store, uid: str, name: str = "a") -> ContainerRecord:
    """Claim a container that is free."""
    record = store.claim(uid, owner(name), LEASE)
    assert record is not None
    return record


def one(store: Store, uid: str, name: str, *, payloads: bool = False) -> TaskRecord:
    (task,) = store.tasks(uid, [name], payloads=payloads)
    return task


def names(store: Store, uid: str) -> list[str]:
    return [task.name for task in store.tasks(uid)]
