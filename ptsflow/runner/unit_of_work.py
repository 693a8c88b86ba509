"""The tasks of one run: what is known of them, and what is still to be written.

Changes are staged and then committed together; a body that saved something waits until
its change is durable. Progress is no change: it is written once in a while.
"""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Callable, Iterable
from typing import TypeVar

from ptsflow.core import transitions
from ptsflow.core.model import (
    Attempt,
    Change,
    ContainerRecord,
    Progress,
    TaskRecord,
)
from ptsflow.core.resume import Resumption
from ptsflow.errors import LeaseLost
from ptsflow.events import Notice, Progressed
from ptsflow.host.clock import Clock, since_boot
from ptsflow.host.workdirs import Workdirs
from ptsflow.runner.event_bus import Bus, tell_changes
from ptsflow.runner.heartbeat import patiently
from ptsflow.runner.mailbox import Ended, Saving
from ptsflow.stores.base import Store

T = TypeVar("T")

#: Results up to this many characters stay in memory; longer ones are read when needed.
_KEPT = 512


class Records:
    """The tasks of a container that is held; not thread-safe but for `progress`."""

    def __init__(  # noqa: PLR0913 - made in one place, all by keyword
        self,
        *,
        store: Store,
        container: ContainerRecord,
        resumption: Resumption,
        clock: Clock,
        bus: Bus,
        deadline: Callable[[], float],
        workdirs: Workdirs,
    ) -> None:
        self.store = store
        self.container = container
        self.tasks = resumption.tasks
        #: Progress not written yet, by task; bodies' threads add to it.
        self.progress: dict[str, Progress] = {}
        #: Seconds since boot at which the lease must be taken as lost.
        self.deadline = deadline
        self.workdirs = workdirs
        self.clock = clock
        self.bus = bus
        self._changes: list[Change] = list(resumption.changes)
        #: What bodies wait for and the next commit holds.
        self._savings: list[Saving] = []

    def patiently(self, ask: Callable[[], T]) -> T:
        """Ask the store; wait for one that is away as long as the lease is ours.

        Raises:
            LeaseLost: it was away for longer.
        """
        return patiently(
            ask,
            self.container.name,
            deadline=self.deadline,
            notice=lambda text: self.bus.emit(Notice(at=self.clock(), text=text)),
        )

    def read(self, names: Iterable[str]) -> list[TaskRecord]:
        """Return tasks as they are stored, with payloads."""
        uid = self.container.uid
        return self.patiently(lambda: self.store.tasks(uid, names, payloads=True))

    # -- changes --------------------------------------------------------------------

    def stage(
        self,
        before: TaskRecord | None,
        after: TaskRecord,
        ended: Attempt | None = None,
    ) -> None:
        """Have the next commit make `after` of `before`."""
        self._changes.append(Change(before, after, ended))
        self.tasks[after.name] = after

    def drop(self, task: TaskRecord) -> None:
        """Have the next commit delete a task."""
        self._changes.append(Change(task, None))
        del self.tasks[task.name]

    def save(self, saving: Saving, task: TaskRecord) -> None:
        """Have the next commit save what a running body handed in."""
        self._savings.append(saving)
        self.stage(task, transitions.save(task, processing_data=saving.text))

    def commit(self) -> None:
        """Write what was staged, in one durable commit.

        Raises:
            LeaseLost: it could not be renewed in time, or another runner took it.
        """
        changes, self._changes = self._changes, []
        if not changes:
            return
        # A body that held the interpreter may be the first to go on after the deadline.
        if since_boot() >= self.deadline():
            raise LeaseLost(
                f"container {self.container.name!r}: the lease was lost, it could not be "
                "renewed in time; what was recorded is safe, run again"
            )
        uid, fence = self.container.uid, self.container.fence
        self.patiently(lambda: self.store.commit(uid, changes, fence=fence))
        self.workdirs.settle(changes)
        savings, self._savings = self._savings, []
        for saving in savings:
            saving.kept = True
            saving.settled.set()
        for change in changes:
            after = change.after
            if after is not None and _is_heavy(after):
                current = self.tasks[after.name]
                self.tasks[after.name] = transitions.without_payloads(current)
        if self.bus:
            tell_changes(self.bus, self.container, changes, self.clock())

    def let_go(self, arrived: deque[Ended | Saving]) -> None:
        """The run is over: nothing that came in since is recorded, nobody waits."""
        savings, self._savings = self._savings, []
        for saving in savings:
            saving.settled.set()
        # Another thread may be in a turn just now, and take from it as well.
        with contextlib.suppress(IndexError):
            while True:
                message = arrived.popleft()
                if isinstance(message, Saving):
                    message.settled.set()

    # -- progress -------------------------------------------------------------------

    def caught_up(self, name: str) -> TaskRecord:
        """Return a task with the progress that came in since."""
        task = self.tasks[name]
        entry = self.progress.pop(name, None)
        return task if entry is None else _with(task, entry)

    def show_progress(self, running: set[str]) -> None:
        """Tell those who listen how far the running tasks are."""
        entries = self._of(running)
        if entries:
            self.bus.emit(Progressed(at=self.clock(), progress=entries))

    def flush_progress(self, running: set[str]) -> None:
        """Write progress that came in, in one write; not a commit."""
        entries = self._of(running)
        self.progress = {}
        if not entries:
            return
        for entry in entries:
            self.tasks[entry.name] = _with(self.tasks[entry.name], entry)
        uid, fence = self.container.uid, self.container.fence
        self.patiently(lambda: self.store.touch(uid, entries, fence=fence))

    def _of(self, running: set[str]) -> list[Progress]:
        # Copied in one go: bodies' threads add to it meanwhile.
        entries = list(self.progress.values())
        return [entry for entry in entries if entry.name in running]


def _with(task: TaskRecord, entry: Progress) -> TaskRecord:
    return transitions.progressed(task, entry.percentage, entry.text)


def _is_heavy(task: TaskRecord) -> bool:
    result, saved = task.result, task.processing_data
    return (isinstance(result, str) and len(result) > _KEPT) or (
        isinstance(saved, str) and len(saved) > _KEPT
    )
