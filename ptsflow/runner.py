"""Running a workflow: claim its container, drive the loop with threads, give it back."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
from collections.abc import Callable, Mapping, Sequence

from msgspec import Struct
from msgspec.structs import replace

from ptsflow import codec
from ptsflow.client import Client, store_url
from ptsflow.clock import Clock, system_clock
from ptsflow.driver import Driver
from ptsflow.errors import ContainerMismatch, LeaseLost, UsageError
from ptsflow.events import Bus, Listener, Notice, RunEnded, RunStarted
from ptsflow.executors import presence
from ptsflow.fields import check_name
from ptsflow.lease import Keeper, acquire, this_process
from ptsflow.loading import similar
from ptsflow.loop import Loop
from ptsflow.model import Change, ContainerRecord, Status
from ptsflow.plan import Plan, plan_of
from ptsflow.report import Report
from ptsflow.resume import resume
from ptsflow.stores import open_store
from ptsflow.stores.base import Store
from ptsflow.workflow import Workflow

#: The shortest lease, in seconds: six renewals must fit into it.
SHORTEST_LEASE = 5


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
    executor: str | None = None
    #: Seconds after which the run is stopped.
    timeout: float | None = None
    #: What the command line was given, kept so that others can run it again.
    target: str | None = None
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
    executor: str | None = None,
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
        executor: where bodies run whose step does not say it: "thread" or "process".
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
        executor=executor,
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
    plan = planned(workflow)
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
        # After a lost lease, a body's thread may still wait for the store in it.
        with contextlib.suppress(Exception):
            opened.close()


def planned(workflow: Workflow) -> Plan:
    """Return the plan of a workflow object.

    Raises:
        UsageError: it is something else, most often its class.
    """
    if isinstance(workflow, Workflow):
        return plan_of(type(workflow))
    what, advice = repr(workflow), "make one of a Workflow class"
    if isinstance(workflow, type):
        what = f"the class {workflow.__name__}"
        advice = f"call it with its parameters, e.g. {workflow.__name__}(...)"
    raise UsageError(f"run: expected a workflow object, found {what}; {advice}")


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
    if jobs is not None and not (type(jobs) is int and jobs >= 1):
        raise UsageError(f"jobs: expected a whole number of 1 or more, found {jobs!r}")
    for name in [
        *(options.only or ()),
        *([options.from_step] if options.from_step else []),
    ]:
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
    name = workflow.container_name if options.container is None else options.container
    check_name(name, "container")
    encoded = workflow.encoded_parameters()
    seen, _ = store.create(name)
    check_fits(seen, plan, encoded, fresh=options.fresh)
    lease_ms = round(options.lease * 1000)

    def notice(text: str) -> None:
        bus.emit(Notice(at=options.clock(), text=text))

    claimed, asked_at = acquire(
        store,
        seen,
        this_process(options.clock),
        lease_ms,
        wait=options.wait,
        notice=notice,
    )
    inbox: queue.SimpleQueue[str | None] = queue.SimpleQueue()
    keeper = Keeper(store, claimed, lease_ms, asked_at=asked_at, on_lost=inbox.put)
    keeper.start()
    loop: Loop | None = None
    try:
        check_fits(claimed, plan, encoded, fresh=options.fresh)
        presence.wait_alone(presence.file_of(store.url, claimed.uid), notice)
        loop = prepare(
            workflow,
            store,
            claimed,
            options,
            bus=bus,
            deadline=lambda: keeper.deadline,
        )
        ended = Driver(loop, inbox, timeout=options.timeout).run()
        return conclude(loop, ended, options, reopen)
    except BaseException:
        # Where bodies still run in this process, nobody may begin them beside it: the
        # lease is left to end, or to be taken over when this process has.
        if loop is None or not loop.schedule.running:
            with contextlib.suppress(Exception):
                store.release(_at_rest(claimed if loop is None else loop.container))
        raise
    finally:
        keeper.stop()


def _at_rest(record: ContainerRecord) -> ContainerRecord:
    is_running = record.status is Status.RUNNING
    return replace(record, status=Status.PENDING) if is_running else record


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
        f"{name} was {codec.peek(stored[name])!s}, is {codec.peek(text)!s}"
        for name, text in encoded.items()
        if name in stored and stored[name] != text
    ]
    if different and not fresh:
        raise ContainerMismatch(
            f"container {record.name!r} was made with other parameters: "
            f"{'; '.join(different)}; choose another container with -c NAME, "
            "or begin this one anew with --fresh"
        )


def prepare(
    workflow: Workflow,
    store: Store,
    container: ContainerRecord,
    options: Options,
    *,
    bus: Bus,
    deadline: Callable[[], float],
) -> Loop:
    """Make the loop of a run that holds its container, from what is stored."""
    plan = plan_of(type(workflow))
    clock = options.clock
    now = clock()
    stored = store.tasks(container.uid)
    if options.fresh and stored:
        # Whoever looks after a crash in between must not see a complete container.
        store.save(replace(container, status=Status.PENDING))
        erase = [Change(task, None) for task in stored]
        store.commit(container.uid, erase, fence=container.fence)
        stored = []
    again = [options.from_step] if options.from_step else []
    resumption = resume(plan, container, stored, now=now, again=again)
    container = replace(
        container,
        workflow=plan.workflow,
        plan=plan.summary(),
        params=json.dumps(workflow.encoded_parameters(), ensure_ascii=False),
        target=options.target or container.target,
        status=Status.RUNNING,
        finish_reason=None,
        started_at=now if options.fresh else container.started_at or now,
        ended_at=None,
    )
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
        executor=options.executor or plan.executor,
        deadline=deadline,
    )
    if bus:
        bus.emit(RunStarted(at=now, container=container, tasks=stored))
    return loop


def conclude(loop: Loop, ended: int | None, options: Options, reopen: Reopen) -> Report:
    """Record how the container stands, give the lease back, and report."""
    schedule = loop.schedule
    complete = schedule.succeeded()
    failed = [t for t in loop.tasks.values() if t.has_failed and schedule.knows(t.name)]
    failed.sort(key=lambda task: task.position)
    if complete:
        status = Status.DONE
    elif ended is not None or not schedule.failed_steps():
        status = Status.PENDING
    else:
        status = Status.FAILED
    record = replace(
        loop.container,
        status=status,
        ended_at=loop.clock(),
        owner=None,
        leased_till=None,
    )
    if not loop.patiently(lambda: loop.store.release(record)):
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
        ok=ok,
        record=record,
        failed=[task.name for task in failed],
        plan=loop.plan,
        done_items=schedule.done_items,
        opened=reopen,
    )
    if ended is not None and not complete:
        raise Stopped(ended, report)
    return report
