"""The worker: takes containers of its workflows, and has a process run each of them.

A worker holds no lease. The runner claims its container, as any runner does: if two
workers take the same container, one of the two runners ends at once (exit 5). No code is
loaded because a store names it: a worker runs the TARGETs that it was given.
"""

from __future__ import annotations

import random
import signal
from collections.abc import Callable, Collection, Iterator, Sequence
from itertools import chain

from msgspec import Struct

from ptsflow.client.looking import seen
from ptsflow.core.model import ContainerRecord, Status
from ptsflow.core.work_queue import (
    Fate,
    QueueEntry,
    fate,
    is_orphaned,
    is_over,
    to_try,
)
from ptsflow.errors import StoreUnavailable
from ptsflow.host.clock import since_boot
from ptsflow.host.process_identity import this_process
from ptsflow.service.children import Children, Job, wait
from ptsflow.service.due_work import DueWork
from ptsflow.stores.base import ALL, Store

#: How often an idle worker looks at the store, in seconds, and how much that varies.
_LOOK_EVERY, _JITTER = 6.0, 1.0
#: Looks for orphans take at most one part in so many of the time.
_TIMES_ITS_COST = 500
#: How many running containers are looked at.
_MOST_RUNNING = 1_000
#: After so many runs in a row that broke off, a container is left alone, in seconds.
_MOST_BROKEN, _LEFT_FOR = 3, 600.0
#: The exit code of a run of which a step failed.
_FAILED = 1
#: How long runners may take that were asked to stop at once, in seconds.
_AT_ONCE = 10.0


class Duty(Struct, frozen=True, kw_only=True):
    """What a worker was started for."""

    workflows: Collection[str]
    #: Returns the command that runs a container.
    command: Callable[[ContainerRecord], list[str]]
    #: Whether a container was made by another class that has the name of a workflow.
    is_foreign: Callable[[ContainerRecord], bool]
    #: The workflows that have schedules.
    due: Sequence[DueWork] = ()
    #: How many containers run at a time.
    slots: int = 1
    #: Whether to end when nothing is left to take.
    until_idle: bool = False


class QueueWorker:
    """Takes containers until it is asked to stop.

    Args:
        store: keeps the containers and the queue.
        duty: what to take, and how.
        children: the runners.
        say: told in a line what a person should know.
    """

    def __init__(
        self, store: Store, duty: Duty, children: Children, say: Callable[[str], None]
    ) -> None:
        self._store = store
        self._duty = duty
        self._children = children
        self._say = say
        #: How often it was asked to stop.
        self._asked = 0
        self._kill_at: float | None = None
        self._look_at = self._orphans_at = 0.0
        #: Until when containers are left alone, by uid; and whether that is soon over.
        self._rests: dict[str, tuple[float, bool]] = {}
        #: How many runs in a row broke off, by uid.
        self._broken: dict[str, int] = {}
        self._foreign = set[str]()
        self._is_away = False
        #: Whether the last look found something that is to be taken later.
        self._has_later = False
        #: Whether every run that ended was good, and no container is left alone.
        self.is_ok = True

    def run(self) -> None:
        """Work until there is nothing more to do, or somebody asks to stop."""
        while True:
            for job, code in self._children.ended():
                self._patiently(lambda: self._conclude(job, code))  # noqa: B023
                self._look_at = 0.0
            if not self._asked and self._free and since_boot() >= self._look_at:
                self._patiently(self._take)
                pause = _LOOK_EVERY + random.uniform(-_JITTER, _JITTER)  # noqa: S311
                self._look_at = since_boot() + pause
            if not self._children and (self._asked or self._is_idle):
                return
            if wait(self._pause()):
                self._stop()

    @property
    def _free(self) -> int:
        return self._duty.slots - len(self._children)

    @property
    def _is_idle(self) -> bool:
        return self._duty.until_idle and not (self._has_later or self._is_away)

    def _pause(self) -> float:
        """Return how long nothing needs to be done, in seconds."""
        if self._kill_at is not None:
            if since_boot() >= self._kill_at:
                self._children.kill()
            return max(0.1, self._kill_at - since_boot())
        is_waiting = self._asked or not self._free
        return 3600.0 if is_waiting else max(0.0, self._look_at - since_boot())

    def _patiently(self, act: Callable[[], None]) -> None:
        """Call the store; if it is away, that is said once, and the next look tries again."""
        try:
            act()
        except StoreUnavailable as error:
            if not self._is_away:
                self._say(f"the store is away, looking again: {error}")
            self._is_away = True
        else:
            if self._is_away:
                self._say("the store is back")
            self._is_away = False

    # -- taking -----------------------------------------------------------------

    def _take(self) -> None:
        """Start runners for what is to be done, as many as there is room for."""
        self._has_later = False
        taken = self._children.keys
        for job in chain(self._orphans(), self._due(), self._queued()):
            if job.key in taken or not self._may_take(job):
                continue
            taken.add(job.key)
            self._children.start(job)
            if not self._free:
                return

    def _due(self) -> Iterator[Job]:
        """Yield the workflows that have something due."""
        for work in self._duty.due:
            if work.name not in self._children.keys and work.is_due(self._store):
                yield Job(work.name, f"what is due of {work.name}", work.words)

    def _job(self, record: ContainerRecord, now: int) -> Job:
        return Job(record.uid, record.name, self._duty.command(record), record, now)

    def _may_take(self, job: Job) -> bool:
        until, is_soon = self._rests.get(job.key, (0.0, False))
        if until > since_boot():
            self._has_later |= is_soon
            return False
        if job.key in self._foreign:
            return False
        if job.container is not None and self._duty.is_foreign(job.container):
            self._foreign.add(job.key)
            return False
        return True

    def _orphans(self) -> Iterator[Job]:
        """Yield the containers whose runners died."""
        began = since_boot()
        if began < self._orphans_at and not self._duty.until_idle:
            return
        store = self._store
        running = store.recent(_MOST_RUNNING, status=Status.RUNNING)
        now = store.now()
        found = [
            self._job(shown, now)
            for record in running
            if record.workflow in self._duty.workflows
            and is_orphaned(shown := seen(store, record, now), now)
        ]
        cost = since_boot() - began
        self._orphans_at = since_boot() + max(_LOOK_EVERY, _TIMES_ITS_COST * cost)
        yield from found

    def _queued(self) -> Iterator[Job]:
        """Yield the containers of the queue that nobody runs."""
        store = self._store
        now = store.now()
        entries = store.queue.due(self._duty.workflows, now)
        for entry in to_try(entries, random.random):
            record = store.container(entry.container)
            shown = None if record is None else seen(store, record, now)
            if shown is None or is_over(entry, shown):
                store.queue.remove(entry.uid, until=entry.at)
            elif not shown.is_leased(now):
                yield self._job(shown, now)

    # -- what becomes of them -------------------------------------------------------

    def _conclude(self, job: Job, code: int) -> None:
        """Do what is to be done about a container whose runner ended."""
        uid, container = job.key, job.container
        for work in self._duty.due:
            work.look_again()
        found = fate(code, is_stopping=self._asked > 0)
        if found is Fate.BUSY:
            self._rests[uid] = since_boot() + _LOOK_EVERY, False
            return
        if found is Fate.BROKE_OFF:
            self._count(job, code)
            return
        self._broken.pop(uid, None)
        self._rests.pop(uid, None)
        if found is Fate.STOPPED:
            if container is not None:
                self._put_back(container)
        else:
            self.is_ok &= code == 0
            if code > _FAILED:
                # Refused before its lease was claimed, a container is still orphaned.
                self._rests[uid] = since_boot() + _LEFT_FOR, False
            if container is not None:
                # While hooks were called, somebody may have submitted it again.
                self._store.queue.remove(uid, until=job.taken_at)

    def _count(self, job: Job, code: int) -> None:
        """Count a run that broke off; after too many in a row leave the container alone."""
        uid, name = job.key, job.name
        times = self._broken.get(uid, 0) % _MOST_BROKEN + 1
        self._broken[uid] = times
        self._orphans_at = 0.0
        how = f"{name}: its runner ended with exit code {code}"
        if code < 0:
            how = f"{name}: its runner was killed by {signal.Signals(-code).name}"
        else:
            self._rests[uid] = since_boot() + _LOOK_EVERY, True
        if times == _MOST_BROKEN:
            self.is_ok = False
            self._rests[uid] = since_boot() + _LEFT_FOR, False
            how += f", {times} times in a row; it is left alone for 10 minutes"
        self._say(how)

    def _put_back(self, container: ContainerRecord) -> None:
        """Leave a container that was stopped to the next worker."""
        now = self._store.now()
        entries = self._store.queue.due([container.workflow or ""], now, ALL)
        if container.uid not in {entry.uid for entry in entries}:
            owner = this_process(self._store.now)
            entry = QueueEntry(
                uid=container.uid,
                container=container.name,
                workflow=container.workflow or "",
                by=owner.process,
                at=owner.since,
            )
            self._store.queue.put(entry)

    # -- stopping ---------------------------------------------------------------------

    def _stop(self) -> None:
        """Stop the runners: gently, then at once, then by force."""
        self._asked += 1
        if self._asked > 2:  # noqa: PLR2004 - gently, at once
            self._children.kill()
            return
        self._children.send(signal.SIGTERM)
        count = len(self._children)
        if self._asked == 1:
            if count:
                self._say(f"stopping: waiting for {count} that run; once more: at once")
        else:
            self._kill_at = since_boot() + _AT_ONCE
