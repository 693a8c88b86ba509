"""Running a workflow: claim its container, drive the loop with threads, give it back."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import FrameType
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from ptsflow import attempt
from ptsflow.client import Client, check_name, store_url
from ptsflow.clock import Clock, since_boot, system_clock
from ptsflow.errors import ContainerMismatch, LeaseLost, StoreUnavailable, UsageError
from ptsflow.events import Bus, Listener, Notice, RunEnded, RunStarted
from ptsflow.executors.threads import ThreadExecutor
from ptsflow.lease import Keeper, acquire, this_process
from ptsflow.loading import similar
from ptsflow.loop import Ended, Job, Loop
from ptsflow.model import Change, ContainerRecord, Status
from ptsflow.plan import Plan, plan_of
from ptsflow.report import Report
from ptsflow.resume import Resumption, resume
from ptsflow.stores import open_store
from ptsflow.stores.base import Store
from ptsflow.workflow import Workflow

#: The shortest lease, in seconds: six renewals must fit into it.
SHORTEST_LEASE = 5
#: How often progress is shown, and how often it is written, in seconds.
_WRITE_EVERY = 1.0


#: Opens the store once more, for a report that is read after the run.
Reopen = Callable[[], contextlib.AbstractContextManager[Store]]


class Options(Struct, frozen=True, kw_only=True):
    """How to run."""

    container: str | None = None
    jobs: int | None = None
    lease: float = 60
    wait: float = 0
    fresh: bool = False
    from_step: str | None = None
    only: tuple[str, ...] | None = None
    listeners: tuple[Listener, ...] = ()
    clock: Clock = system_clock


class Stopped(BaseException):
    """A signal ended the run; the state is recorded, running again continues."""

    def __init__(self, number: int, report: Report) -> None:
        super().__init__(number)
        self.number = number
        self.report = report


def run(  # noqa: PLR0913 - the names of DESIGN's interface
    workflow: Workflow,
    store: str | Client | None = None,
    container: str | None = None,
    jobs: int | None = None,
    lease: float = 60,
    *,
    wait: float = 0,
    fresh: bool = False,
    from_step: str | None = None,
    only: Sequence[str] | None = None,
    listeners: Sequence[Listener] = (),
) -> Report:
    """Run a workflow, or what is left of it; return how it went.

    In the main thread, the first SIGINT or SIGTERM stops gently: nothing more starts,
    and what runs may end. The second one stops at once.

    Args:
        workflow: the workflow object, with its parameters.
        store: a URL, or a connected client. Without it $PTSFLOW_STORE, then
            `sqlite:///.ptsflow/ptsflow.db`.
        container: the container's name, instead of the workflow's own.
        jobs: how many bodies run at the same time. Without it, four more than the
            machine has processors, 32 at the most.
        lease: seconds after which another host may take over a runner that died; at
            least 5.
        wait: seconds to wait while another live runner holds the container.
        fresh: forget all that is stored of the container and begin anew.
        from_step: run this step again, and all that waits for it.
        only: run these steps alone.
        listeners: called with every event.

    Raises:
        ContainerBusy: another live runner holds the container.
        ContainerMismatch: it was made with other parameters, or by another workflow.
        LeaseLost: the lease ended while running; running again is safe.
        StoreError: the store cannot be reached, is damaged or full.
        KeyboardInterrupt: SIGINT stopped it; the state is recorded.
        SystemExit: SIGTERM stopped it, with code 143; the state is recorded.
    """
    options = Options(
        container=container,
        jobs=jobs,
        lease=lease,
        wait=wait,
        fresh=fresh,
        from_step=from_step,
        only=None if only is None else tuple(only),
        listeners=tuple(listeners),
    )
    try:
        return run_with(workflow, store, options)
    except Stopped as stopped:
        if stopped.number == signal.SIGINT:
            raise KeyboardInterrupt from None
        raise SystemExit(128 + stopped.number) from None


def run_with(
    workflow: Workflow, store: str | Client | None, options: Options
) -> Report:
    """Do what `run` does; raise `Stopped` where a signal ended it."""
    plan = plan_of(type(workflow))
    check_options(plan, options)
    if isinstance(store, Client):
        held = store.store
        return _run(workflow, plan, held, options, lambda: contextlib.nullcontext(held))
    url = store_url(store)
    opened = open_store(url)
    if opened.url.startswith("memory:"):
        return _run(
            workflow, plan, opened, options, lambda: contextlib.nullcontext(opened)
        )
    try:
        return _run(
            workflow, plan, opened, options, lambda: contextlib.closing(open_store(url))
        )
    finally:
        opened.close()


def check_options(plan: Plan, options: Options) -> None:
    """Refuse options that make no sense for the plan.

    Raises:
        UsageError: one does not.
    """
    lease, jobs = options.lease, options.jobs
    if not SHORTEST_LEASE <= lease <= 24 * 3600:
        raise UsageError(
            f"lease: expected {SHORTEST_LEASE} to 86400 seconds, found {lease:g}"
        )
    if jobs is not None and jobs < 1:
        raise UsageError(f"jobs: expected a whole number of 1 or more, found {jobs!r}")
    for name in [*(options.only or ()), *([options.from_step] if options.from_step else [])]:
        if name not in plan.by_name:
            raise UsageError(
                f"{plan.workflow} has no step {name!r}{similar(name, plan.by_name)}; "
                f"it has {', '.join(plan.by_name) or 'none'}"
            )


def default_jobs() -> int:
    """Return how many bodies run at the same time unless it is said."""
    return min(32, (os.cpu_count() or 1) + 4)


def _run(
    workflow: Workflow, plan: Plan, store: Store, options: Options, reopen: Reopen
) -> Report:
    bus = Bus(options.listeners)
    clock = options.clock
    name = options.container or workflow.container_name
    check_name(name, "container")
    encoded = workflow.encoded_parameters()
    seen, _ = store.create(name)
    check_fits(seen, plan, encoded, fresh=options.fresh)
    asked_at = since_boot()
    lease_ms = round(options.lease * 1000)

    def notice(text: str) -> None:
        bus.emit(Notice(at=clock(), text=text))

    claimed = acquire(
        store, seen, this_process(clock), lease_ms, wait=options.wait, notice=notice
    )
    drive = _Drive(options, bus)
    keeper = Keeper(
        store, claimed, lease_ms, asked_at=asked_at, on_lost=drive.lost
    )
    keeper.start()
    try:
        check_fits(claimed, plan, encoded, fresh=options.fresh)
        loop = prepare(
            workflow, plan, store, claimed, options, bus, lambda: keeper.deadline
        )
        ended = drive.run(loop)
        keeper.stop()
        return conclude(loop, ended, options, reopen)
    except BaseException:
        keeper.stop()
        with contextlib.suppress(Exception):
            store.release(claimed)
        raise


def check_fits(
    record: ContainerRecord, plan: Plan, encoded: Mapping[str, str], *, fresh: bool
) -> None:
    """Refuse a container that another workflow, or other parameters, made.

    Raises:
        ContainerMismatch: with the difference.
    """
    if record.workflow is not None and record.workflow != plan.workflow:
        raise ContainerMismatch(
            f"container {record.name!r} belongs to the workflow {record.workflow}, "
            f"not {plan.workflow}; choose another container with -c NAME"
        )
    stored: dict[str, str] = json.loads(record.params or "{}")
    different = [
        f"{name} was {stored[name]}, is {text}"
        for name, text in encoded.items()
        if name in stored and stored[name] != text
    ]
    if different and not fresh:
        raise ContainerMismatch(
            f"container {record.name!r} was made with other parameters: "
            f"{'; '.join(different)}; choose another container with -c NAME, "
            "or begin this one anew with --fresh"
        )


def prepare(  # noqa: PLR0913 - one place where a run is put together
    workflow: Workflow,
    plan: Plan,
    store: Store,
    container: ContainerRecord,
    options: Options,
    bus: Bus,
    deadline: Callable[[], float],
) -> Loop:
    """Make the loop of a run that holds its container, from what is stored."""
    clock = options.clock
    now = clock()
    stored = store.tasks(container.uid)
    container = replace(
        container,
        workflow=plan.workflow,
        params=json.dumps(workflow.encoded_parameters(), ensure_ascii=False),
        status=Status.RUNNING,
        finish_reason=None,
        started_at=container.started_at or now,
        ended_at=None,
    )
    if options.fresh and stored:
        erase = [Change(task, None) for task in stored]
        store.commit(container.uid, erase, fence=container.fence)
        stored = []
    again = [options.from_step] if options.from_step else []
    resumption = resume(plan, container, stored, now=now, again=again)
    container = replace(container, plan=plan.summary())
    store.save(container)
    if resumption.removed:
        names = ", ".join(resumption.removed)
        text = f"not in the workflow any more, and ignored: {names}"
        bus.emit(Notice(at=now, text=text))
    loop = Loop(
        workflow=workflow,
        plan=plan,
        store=store,
        container=container,
        resumption=resumption,
        clock=clock,
        jobs=options.jobs or default_jobs(),
        bus=bus,
        only=options.only,
        deadline=deadline,
    )
    if bus:
        tasks = list(loop.tasks.values())
        bus.emit(RunStarted(at=now, container=container, tasks=tasks))
    return loop


class _Drive:
    """Runs bodies in threads and wakes the main thread when it has something to do."""

    def __init__(self, options: Options, bus: Bus) -> None:
        self._jobs = options.jobs or default_jobs()
        self._bus = bus
        self._clock = options.clock
        #: The main thread sleeps on it; safe to put to from a signal handler.
        self._inbox: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._lost: str | None = None
        self._signals: list[int] = []
        self._written = 0.0

    def lost(self, reason: str) -> None:
        """The lease is lost; called from the keeper's thread."""
        self._lost = reason
        self._inbox.put(None)

    def run(self, loop: Loop) -> int | None:
        """Take turns until the loop is over; return the signal that ended it, if any."""
        self._loop = loop
        self._pool = ThreadExecutor[Job](self._work, self._jobs)
        loop.on_progress = lambda: self._inbox.put(None)
        loop.on_arrival = lambda: self._pump(keep=False)
        try:
            with self._listening():
                self._turn()
                while not loop.is_over:
                    self._sleep()
                    self._look()
        finally:
            loop.let_go()
            self._pool.stop()
        self._raise_failure()
        return self._signals[0] if self._signals else None

    # -- the main thread ----------------------------------------------------------

    def _sleep(self) -> None:
        pauses = []
        due = self._loop.schedule.next_due()
        if due is not None:
            pauses.append((due - self._clock()) / 1000)
        if self._loop.progress:
            pauses.append(self._written + _WRITE_EVERY - since_boot())
        # A wait without end would not let Python's signal handlers run on all systems.
        timeout = max(0.0, min([*pauses, 3600.0]))
        with contextlib.suppress(queue.Empty):
            self._inbox.get(timeout=timeout)

    def _look(self) -> None:
        loop = self._loop
        if self._lost is not None:
            error = LeaseLost(
                f"container {loop.container.name!r}: the lease was lost, {self._lost}; "
                "what was recorded is safe, run again"
            )
            loop.fail(error)
            return
        with loop.lock:
            if loop.is_over:
                return
            if len(self._signals) == 1 and not loop.is_cancelled:
                loop.stop()
                count = len(loop.schedule.running)
                text = f"stopping: waiting for {count} running; once more stops at once"
                self._bus.emit(Notice(at=self._clock(), text=text))
            elif len(self._signals) > 1:
                self._guarded(loop.interrupt)
                return
            if loop.progress and since_boot() >= self._written + _WRITE_EVERY:
                self._written = since_boot()
                self._guarded(loop.flush_progress)
        self._turn()

    def _turn(self) -> None:
        with self._loop.lock:
            if self._loop.is_over:
                self._loop.let_go()
                return
            jobs = self._guarded(self._loop.turn)
            self._pool.submit(jobs or [], len(self._loop.schedule.running))
        self._pump(keep=False)

    def _raise_failure(self) -> None:
        failure = self._loop.failure
        if failure is None:
            return
        if isinstance(failure, StoreUnavailable):
            raise LeaseLost(
                f"container {self._loop.container.name!r}: the store was away for longer "
                f"than the lease ({failure}); what was recorded is safe, run again"
            ) from failure
        raise failure

    @contextlib.contextmanager
    def _listening(self) -> Iterator[None]:
        """Take SIGINT and SIGTERM while the loop runs, in the main thread."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return

        def note(number: int, _frame: FrameType | None) -> None:
            self._signals.append(number)
            self._inbox.put(None)

        before = {
            number: signal.signal(number, note)
            for number in (signal.SIGINT, signal.SIGTERM)
        }
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    # -- the bodies' threads --------------------------------------------------------

    def _work(self, job: Job) -> Job | None:
        outcome = attempt.run(job.call)
        self._loop.arrived.append(Ended(job.task, outcome))
        return self._pump(keep=True)

    def _pump(self, *, keep: bool) -> Job | None:
        """Take turns while something has come in and nobody else takes them.

        Whoever appended to `arrived` and finds the lock taken may leave: the one who
        holds it looks at `arrived` again after giving it back.
        """
        loop = self._loop
        kept: Job | None = None
        while loop.arrived and loop.lock.acquire(blocking=False):
            try:
                if loop.is_over:
                    loop.let_go()
                    break
                jobs = self._guarded(loop.turn) or []
                if keep and kept is None and jobs:
                    kept, *jobs = jobs
                if jobs:
                    self._pool.submit(jobs, len(loop.schedule.running))
                if loop.is_over or loop.schedule.next_due() is not None:
                    self._inbox.put(None)
            finally:
                loop.lock.release()
        return kept

    def _guarded(self, act: Callable[[], Any]) -> Any:
        try:
            return act()
        except BaseException as error:  # noqa: BLE001 - the main thread raises it
            self._loop.fail(error)
            self._inbox.put(None)
            return None


def conclude(
    loop: Loop, ended: int | None, options: Options, reopen: Reopen
) -> Report:
    """Record how the container stands, give the lease back, and report."""
    schedule = loop.schedule
    complete = schedule.succeeded()
    failed = [t.name for t in loop.tasks.values() if t.has_failed]
    if complete:
        status = Status.DONE
    elif ended is not None or not schedule.failed_steps():
        status = Status.PENDING
    else:
        status = Status.FAILED
    record = replace(
        loop.container, status=status, ended_at=loop.clock(), owner=None, leased_till=None
    )
    if not loop.store.release(record):
        raise LeaseLost(
            f"container {record.name!r}: another runner took it over at the end; "
            "what was recorded is safe, run again"
        )
    if loop.bus:
        loop.bus.emit(RunEnded(at=loop.clock(), container=record))
    ok = complete or (
        options.only is not None
        and not schedule.failed_steps()
        and all(schedule.steps[name].satisfied for name in options.only)
    )
    report = Report(
        ok=ok, record=record, failed=failed, plan=loop.plan, opened=reopen
    )
    if ended is not None and not complete:
        raise Stopped(ended, report)
    return report
