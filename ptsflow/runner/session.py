"""One run from its claim to its end: claim the container, drive the loop, give it back."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable
from functools import partial
from types import TracebackType
from typing import Self

from msgspec.structs import replace

from ptsflow.client import lease
from ptsflow.core.insight import RunRecord, RunStatus
from ptsflow.core.model import ContainerRecord, Status
from ptsflow.core.names import listed, similar
from ptsflow.core.packed import listing, parts_of
from ptsflow.core.scheduler import Schedule
from ptsflow.core.sources import outdated, say_outdated
from ptsflow.errors import LeaseLost, StoreFull, StoreMoved, TurnLost
from ptsflow.events import RunEnded, RunEnding
from ptsflow.host import container_lock
from ptsflow.host.clock import since_boot
from ptsflow.host.process_identity import this_process
from ptsflow.runner.driver import Driver
from ptsflow.runner.event_bus import Bus
from ptsflow.runner.heartbeat import Heartbeat
from ptsflow.runner.log_writer import LogWriter
from ptsflow.runner.loop import Loop
from ptsflow.runner.mailbox import Mailbox
from ptsflow.runner.planned_run import PlannedRun
from ptsflow.runner.prepare import prepare
from ptsflow.runner.report import Halt, Report, Stopped
from ptsflow.runner.run_entry import RunEntry, ending_by, status_by, status_of
from ptsflow.runner.telling import Telling
from ptsflow.stores.base import Store
from ptsflow.workflow.class_options import has_hooks
from ptsflow.workflow.workflow import hiding

#: Opens the store once more, for a report that is read after the run.
Reopen = Callable[[], contextlib.AbstractContextManager[Store]]


def execute(planned: PlannedRun, store: Store, bus: Bus, reopen: Reopen) -> Report:
    """Run a workflow in its container; return how it went.

    Raises:
        Stopped: a signal ended it.
        PtsflowError: as `ptsflow.run` says.
    """
    options = planned.options
    stop_at = since_boot() + (math.inf if options.timeout is None else options.timeout)
    claimed, asked_at = _claim(planned, store, bus, stop_at)
    log_writer = LogWriter(store.logs, claimed.uid, bus.notice)
    mailbox = Mailbox(
        claimed.name, log_writer.add, options.show_printed, hiding(planned.workflow)
    )
    held = HeldRun(planned, store, claimed, bus)
    heartbeat = Heartbeat(
        store,
        claimed,
        options.lease_ms,
        asked_at=asked_at,
        on_lost=mailbox.lose_lease,
        on_stop=mailbox.ask_to_stop,
        tell=held.telling.tell,
    )
    with contextlib.ExitStack() as stack:
        stack.callback(heartbeat.stop)
        stack.enter_context(held)
        if options.hooks and has_hooks(type(planned.workflow).declared_options):
            held.tell_end = partial(_call_hooks, planned, store, bus, heartbeat)
        heartbeat.start()
        if options.admit is not None:
            options.admit(store, claimed)
        planned.check_fits(claimed)
        container_lock.wait_alone(
            container_lock.file_of(store.key_of(claimed)),
            bus.notice,
            lambda: (
                mailbox.has_news or since_boot() >= min(heartbeat.deadline, stop_at)
            ),
        )
        loop = held.prepare(mailbox, lambda: heartbeat.deadline)
        try:
            ended = _drive(Driver(loop, stop_at=stop_at), loop)
        finally:
            log_writer.stop()
        return held.conclude(loop, ended, reopen)


def _claim(
    planned: PlannedRun, store: Store, bus: Bus, stop_at: float
) -> tuple[ContainerRecord, float]:
    """Claim the container; wait while the store is away, as long as the options say."""
    options = planned.options
    owner, since = this_process(options.clock), since_boot()

    def claim() -> tuple[ContainerRecord, float]:
        return lease.acquire(
            store,
            _container_of(planned, store, bus.notice),
            owner,
            options.lease_ms,
            wait=options.wait,
            since=since,
            notice=bus.notice,
            until=stop_at,
        )

    return options.store_wait.through(claim, bus.notice)


def _container_of(
    planned: PlannedRun, store: Store, notice: Callable[[str], None]
) -> ContainerRecord:
    """Return the container, made if there is none; refuse a container that does not fit."""
    # Check $TMPDIR first: a container without tasks counts as complete.
    container_lock.check_folder()
    return planned.find_or_make(store, notice)


def _call_hooks(
    planned: PlannedRun, store: Store, bus: Bus, heartbeat: Heartbeat, run: RunRecord
) -> None:
    from ptsflow.runner.hooks import call_hooks  # noqa: PLC0415 - few runs have hooks

    heartbeat.stop()  # There is no lease to renew any more.
    call_hooks(planned, store, bus.hook_failed, run)


def _drive(driver: Driver, loop: Loop) -> Halt | None:
    """Run the loop; until its bodies have ended, no run of this host begins them again."""
    mark = lease.mark(loop.store, loop.container)
    try:
        return driver.run()
    except StoreMoved:
        lease.stay_for_latecomers()
        raise
    finally:
        driver.when_idle(mark.remove)


class HeldRun:
    """A run that holds its container.

    On every way out the container is given back, and then `RunEnded` is told.

    Args:
        planned: the run.
        store: keeps the container.
        container: the container as it was claimed.
        bus: the listeners.
    """

    def __init__(
        self, planned: PlannedRun, store: Store, container: ContainerRecord, bus: Bus
    ) -> None:
        self._planned = planned
        self._store = store
        self._container = container
        self._bus = bus
        self._loop: Loop | None = None
        #: None until the run begins, and for one that has nothing to do.
        self._entry: RunEntry | None = None
        #: Tells the store what the run expects; the heartbeat does it.
        self.telling = Telling(container, planned.options.clock)
        self._is_given_back = False
        self._is_ok = False
        #: Told of the run when the container is given back, before the listeners are.
        self.tell_end: Callable[[RunRecord], None] = lambda _: None
        self._run: RunRecord | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        if not self._is_given_back:
            self._let_go(error)
        if self._run is not None:
            self.tell_end(self._run)
        if not self._bus or isinstance(error, TurnLost):
            return  # A run that lost its turn never began.
        how, text = RunEnding.DONE if self._is_ok else RunEnding.FAILED, ""
        if error is not None:
            how, text = ending_by(error)
        at = self._planned.options.clock()
        self._bus.emit(RunEnded(at=at, container=self._container, how=how, error=text))

    def prepare(self, mailbox: Mailbox, deadline: Callable[[], float]) -> Loop:
        """Make the loop of the run, as `prepare` does."""
        self._loop = prepare(
            self._planned,
            self._store,
            self._container,
            bus=self._bus,
            mailbox=mailbox,
            deadline=deadline,
            begin=self._begin,
            telling=self.telling,
        )
        return self._loop

    def _begin(self, container: ContainerRecord, now: int, jobs: int) -> RunRecord:
        workflow, tick = self._planned.workflow, self._planned.options.tick
        self._entry = RunEntry(
            self._store, container, workflow, now, jobs=jobs, tick=tick
        )
        return self._entry.begun

    def _ended(self, container: ContainerRecord, status: RunStatus) -> RunRecord | None:
        """Return the run's entry in the ledger, as the run ends."""
        if self._entry is None:
            return None
        loop = self._loop
        return self._entry.ended(
            self._store,
            container,
            {} if loop is None else loop.tasks,
            expected=() if loop is None else loop.foresight.ends,
            status=status,
            now=self._planned.options.clock(),
            notice=self._bus.notice,
        )

    def conclude(self, loop: Loop, halt: Halt | None, reopen: Reopen) -> Report:
        """Record how the container stands, give the lease back, and report.

        Args:
            loop: the loop, which is over.
            halt: what stopped it, if anything did.
            reopen: opens the store for the report.

        Raises:
            Stopped: the signal ended the run before the container was complete.
            LeaseLost: another runner took the container over.
        """
        for text in loop.work.workdirs.close():
            self._bus.notice(text)
        schedule = loop.schedule
        is_complete = schedule.succeeded()
        if is_complete:
            status = Status.DONE
        elif halt is not None or not schedule.failed_steps():
            status = Status.PENDING
        else:
            status = Status.FAILED
        record = loop.container
        # A complete container in which nothing was to be done keeps its times.
        if not (is_complete and record.status is Status.DONE):
            is_over = status is not Status.PENDING or halt is not None
            ended_at = loop.clock() if is_over else None
            record = replace(record, status=status, ended_at=ended_at)
        is_ok = is_complete or self._is_done_as_asked(schedule)
        run = self._ended(record, status_of(status, halt, is_ok=is_ok))
        if not loop.work.patiently(lambda: self._give_back(record, run)):
            raise LeaseLost(
                f"container {record.name!r}: another runner took it over at the end; "
                "what was recorded is safe, run again"
            )
        self._is_ok = is_ok
        tasks, _ = parts_of(loop.tasks)  # What is packed is done.
        for text in (self._outdated(loop), self._missing_items(schedule)):
            if text:
                self._bus.notice(text)
        failed = [t for t in tasks if t.has_failed and schedule.knows(t.name)]
        failed.sort(key=lambda task: task.position)
        report = Report(
            ok=self._is_ok,
            record=self._container,
            errors={task.name: task.error or "" for task in failed},
            plan=loop.plan,
            done_items=schedule.done_items,
            opened=reopen,
        )
        if halt is not None and not is_complete:
            raise Stopped(halt, report)
        return report

    def _outdated(self, loop: Loop) -> str:
        """Name what earlier runs made from other results than its sources have now."""
        if self._container.fence == 1:
            return ""  # No earlier run made anything.
        return say_outdated(outdated(loop.plan.summary(), listing(loop.tasks)))

    def _is_done_as_asked(self, schedule: Schedule) -> bool:
        only = self._planned.options.only
        return (
            only is not None
            and not schedule.failed_steps()
            and all(
                schedule.steps[name].satisfied
                if name in schedule.steps
                else schedule.complete.get(name) in (Status.DONE, Status.SKIPPED)
                for name in only
            )
        )

    def _missing_items(self, schedule: Schedule) -> str:
        """Name the items that were to be run alone and that there are not."""
        plan = self._planned.plan
        for name in self._planned.options.only or ():
            step, key = plan.named(name) or (name, None)
            if key is not None and schedule.is_expanded(step):
                items = schedule.items(step)
                if name not in items:
                    return (
                        f"there is no item {name!r}{similar(name, items)}; {step} has "
                        f"{listed(items, name) or 'none'}"
                    )
        return ""

    def _give_back(self, record: ContainerRecord, run: RunRecord | None) -> bool:
        record = replace(record, owner=None, leased_till=None)
        self._is_given_back = self._store.release(record, run)
        if self._is_given_back:
            self._container, self._run = record, run
        return self._is_given_back

    def _let_go(self, error: BaseException | None) -> None:
        """Give back the container of a run that broke off, if no body runs any more.

        A lost lease is not given back: another thread may be held up in the store.

        While bodies run in this process, no other run may begin them: the lease is left
        to end, or to be taken over when this process has ended.
        """
        loop = self._loop
        if loop is not None:
            self._container = loop.container
            if isinstance(error, StoreFull):
                # A large result finds no room where these few bytes still do.
                with contextlib.suppress(Exception):
                    loop.leave_running(f"its end could not be recorded: {error}")
        is_held = not isinstance(error, LeaseLost)
        if is_held and (loop is None or not loop.schedule.running):
            record = self._container
            if record.status is Status.RUNNING:
                record = replace(record, status=Status.PENDING)
            with contextlib.suppress(Exception):
                how = RunEnding.FAILED if error is None else ending_by(error)[0]
                self._give_back(record, self._ended(record, status_by(how)))
        if loop is not None:
            loop.work.workdirs.close()
