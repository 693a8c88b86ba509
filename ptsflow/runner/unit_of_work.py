"""The tasks of a run as they are now, and the changes of them that are not written yet.

Changes are staged and then written together, in one commit; a body that saves processing
data waits until the commit is durable. Progress is not a change: it is written once a
second, and may be lost in a crash.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

from ptsflow.core import transitions
from ptsflow.core.counts import tallies_of
from ptsflow.core.gauge import Gauge
from ptsflow.core.model import (
    Attempt,
    Change,
    ContainerRecord,
    Progress,
    Tally,
    TaskRecord,
    progressed,
    without_payloads,
)
from ptsflow.core.resume import Resumption
from ptsflow.errors import (
    Conflict,
    ContainerNotFound,
    LeaseLost,
    StoreDamaged,
    StoreFull,
)
from ptsflow.events import Progressed
from ptsflow.host.clock import Clock, since_boot
from ptsflow.host.workdirs import Workdirs
from ptsflow.runner.event_bus import Bus, tell_changes
from ptsflow.runner.heartbeat import patiently
from ptsflow.runner.mailbox import CheckpointRequest, Mailbox
from ptsflow.runner.telling import Telling
from ptsflow.stores.base import Store

T = TypeVar("T")

#: Results up to this many characters stay in memory; longer ones are read when needed.
_CACHED_RESULT_CHARS = 512


class UnitOfWork:
    """The tasks of a held container; only for the thread that holds the turn.

    Args:
        store: keeps the container.
        container: the container as the run holds it.
        resumption: its tasks, and the first changes of them.
        tallies: the tasks, counted by step and status.
        mailbox: has the progress that is not written yet.
        clock: tells the time.
        bus: tells listeners what was written.
        deadline: says when the lease must be taken as lost, in seconds since boot.
        workdirs: the folders of the tasks.
        telling: keeps the percentage that was shown.
    """

    def __init__(  # noqa: PLR0913 - made in one place, all by keyword
        self,
        *,
        store: Store,
        container: ContainerRecord,
        resumption: Resumption,
        tallies: Iterable[Tally],
        mailbox: Mailbox,
        clock: Clock,
        bus: Bus,
        deadline: Callable[[], float],
        workdirs: Workdirs,
        telling: Telling,
    ) -> None:
        self.store = store
        self.container = container
        self.tasks = resumption.tasks
        self.deadline = deadline
        self.workdirs = workdirs
        self.clock = clock
        self.bus = bus
        #: The attempts of steps whose checkpoints renew their budget: the number of each,
        #: and the processing data that it began with.
        self.renewable: dict[str, tuple[int, str | None]] = {}
        #: How much of the container is complete, as `tasks` tell.
        self.gauge = Gauge(container.plan, tallies)
        self._telling = telling
        self._mailbox = mailbox
        self._changes: list[Change] = list(resumption.changes)
        #: The checkpoints among the changes; bodies wait for them.
        self._checkpoints: list[CheckpointRequest] = []

    def patiently(self, ask: Callable[[], T]) -> T:
        """Ask the store; while the store is away, wait as long as the lease is held.

        Raises:
            LeaseLost: the store was away for longer.
        """
        return patiently(
            ask,
            self.container.name,
            deadline=self.deadline,
            notice=self.bus.notice,
        )

    def read(self, names: Iterable[str]) -> list[TaskRecord]:
        """Return tasks of this run as they are stored, with payloads.

        Raises:
            StoreDamaged: one of them is not there any more.
        """
        uid, wanted = self.container.uid, dict.fromkeys(names)
        found = self.patiently(lambda: self.store.tasks(uid, wanted, payloads=True))
        if len(found) < len(wanted):
            lost = min(wanted.keys() - {task.name for task in found})
            raise _foreign(f"task {lost!r} is not there any more")
        return found

    # -- changes --------------------------------------------------------------------

    def stage(
        self,
        before: TaskRecord | None,
        after: TaskRecord,
        ended: Attempt | None = None,
    ) -> None:
        """Have the next commit make `after` of `before`.

        Args:
            before: the task as it was; None for a new task.
            after: the task as it will be.
            ended: the entry of the ledger for the attempt that ended, if one ended.
        """
        self._changes.append(Change(before, after, ended))
        self.tasks[after.name] = after
        if before is None:
            self.gauge.put(after)
        elif before.percentage_complete != after.percentage_complete:
            gained = after.percentage_complete - before.percentage_complete
            self.gauge.move(after.step, gained)

    def drop(self, task: TaskRecord) -> None:
        """Have the next commit delete a task."""
        self._changes.append(Change(task, None))
        del self.tasks[task.name]
        self.gauge.drop(task)

    def save(self, request: CheckpointRequest, task: TaskRecord) -> None:
        """Have the next commit save the processing data of a running task."""
        self._checkpoints.append(request)
        attempt, before = self.renewable.get(task.name, (task.attempt, None))
        if task.name in self.renewable and request.text != before:
            attempt = 0
        after = transitions.save(task, processing_data=request.text, attempt=attempt)
        self.stage(task, after)

    def commit(self) -> None:
        """Write the staged changes, in one durable commit.

        Raises:
            LeaseLost: the lease ended, or another runner holds it.
            StoreDamaged: what is stored is not what this run recorded.
            StoreFull: nothing was written; `tasks` are as before the changes.
        """
        changes, self._changes = self._changes, []
        if not changes:
            return
        # A body may have held the GIL until after the deadline, so that neither the
        # heartbeat nor the driver could see it pass.
        if since_boot() >= self.deadline():
            raise LeaseLost(
                f"container {self.container.name!r}: the lease was lost, it could not be "
                "renewed in time; what was recorded is safe, run again"
            )
        self._write(changes)
        if self.workdirs.may_be_there:
            self.workdirs.settle(changes)
        checkpoints, self._checkpoints = self._checkpoints, []
        for request in checkpoints:
            request.is_saved = True
            request.is_settled.set()
        for change in changes:
            after = change.after
            if after is None or not (after.result or after.processing_data):
                continue
            if _is_large(after):
                current = self.tasks[after.name]
                self.tasks[after.name] = without_payloads(current)
        if self.bus:
            tell_changes(self.bus, self.container, changes, self.clock())

    def _write(self, changes: Sequence[Change]) -> None:
        uid, fence = self.container.uid, self.container.fence
        try:
            if self.gauge.peak is not None:
                self._hold_percentage()
            self.patiently(lambda: self.store.commit(uid, changes, fence=fence))
        except StoreFull:
            self._take_back(changes)
            raise
        except (Conflict, ContainerNotFound) as error:
            raise _foreign(str(error)) from error

    def _hold_percentage(self) -> None:
        """Before less of the container is complete, have the store keep how much was."""
        peak, self.gauge.peak = self.gauge.peak, None
        if peak is not None and self.gauge.value < peak:
            self.patiently(lambda: self._telling.hold(self.store, peak))

    def _take_back(self, changes: Sequence[Change]) -> None:
        for change in reversed(changes):
            if change.before is not None:
                self.tasks[change.before.name] = change.before
            elif change.after is not None:
                del self.tasks[change.after.name]
        self.gauge = Gauge(self.container.plan, tallies_of(self.tasks))

    def abandon(self) -> None:
        """Write nothing more, as the run is over; no body waits any longer."""
        checkpoints, self._checkpoints = self._checkpoints, []
        for request in checkpoints:
            request.is_settled.set()
        self._mailbox.abandon()

    # -- progress -------------------------------------------------------------------

    def with_progress(self, name: str) -> TaskRecord:
        """Return a task with the progress that the mailbox has of it."""
        task = self.tasks[name]
        entry = self._mailbox.progress.pop(name, None)
        return task if entry is None else _with(task, entry)

    def tell_progress(self, progress: Progress) -> None:
        """Note the progress of a task."""
        self._mailbox.progress[progress.name] = progress

    def pending_progress(self, name: str) -> Progress | None:
        """Return the progress of a task that is not written yet."""
        return self._mailbox.progress.get(name)

    def show_progress(self, running: set[str]) -> None:
        """Tell listeners how far the running tasks are."""
        # One call, which no other thread interrupts: bodies add to it meanwhile.
        progress = list(self._mailbox.progress.values())
        entries = [entry for entry in progress if entry.name in running]
        if entries:
            self.bus.emit(Progressed(at=self.clock(), progress=entries))

    def write_progress(self, running: set[str]) -> list[Progress]:
        """Write the progress of the running tasks, in one write that is no commit.

        Return what was written.
        """
        progress = self._mailbox.take_progress()
        entries = [entry for entry in progress if entry.name in running]
        if not entries:
            return []
        for entry in entries:
            before = self.tasks[entry.name]
            after = self.tasks[entry.name] = _with(before, entry)
            gained = after.percentage_complete - before.percentage_complete
            self.gauge.move(after.step, gained)
        if self.gauge.peak is not None:
            self._hold_percentage()
        uid, fence = self.container.uid, self.container.fence
        self.patiently(lambda: self.store.touch(uid, entries, fence=fence))
        return entries


def _with(task: TaskRecord, entry: Progress) -> TaskRecord:
    return progressed(task, entry.percentage, entry.text)


def _foreign(found: str) -> StoreDamaged:
    """Return the error of records that this run did not make.

    While the lease is held, nobody else can change a task by way of ptsflow.
    """
    return StoreDamaged(
        f"expected what this run recorded, found other records ({found}); if a copy "
        "was put back, or another program wrote there, stop that, and run again"
    )


def _is_large(task: TaskRecord) -> bool:
    result, saved = task.result, task.processing_data
    return (isinstance(result, str) and len(result) > _CACHED_RESULT_CHARS) or (
        isinstance(saved, str) and len(saved) > _CACHED_RESULT_CHARS
    )
