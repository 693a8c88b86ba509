"""Running a workflow: claim its container, drive the loop with threads, give it back."""

from __future__ import annotations

import contextlib
import queue
import signal
from collections.abc import Callable, Sequence

from msgspec.structs import replace

from ptsflow import loading
from ptsflow.client import Client, store_url
from ptsflow.driver import Driver
from ptsflow.errors import LeaseLost, UsageError
from ptsflow.events import Bus, Listener, Notice, RunEnded
from ptsflow.executors import presence
from ptsflow.fields import check_name
from ptsflow.lease import Keeper, acquire, this_process
from ptsflow.logs import Recorder
from ptsflow.loop import Loop
from ptsflow.model import ContainerRecord, Status, Stop
from ptsflow.options import Options, check_options
from ptsflow.plan import Plan, plan_of
from ptsflow.preparation import check_fits, prepare
from ptsflow.report import Report
from ptsflow.step import Executor
from ptsflow.stores import open_store
from ptsflow.stores.base import Store
from ptsflow.workflow import Workflow

#: Opens the store once more, for a report that is read after the run.
Reopen = Callable[[], contextlib.AbstractContextManager[Store]]


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
    changed: bool = False,
    executor: Executor | None = None,
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
        changed: run steps again whose code changed since they ran, and all that waits
            for them.
        executor: where bodies run whose step does not say it: "thread", "process",
            "dask", `dask://HOST:PORT`, or a callable that makes an executor of
            `concurrent.futures`.
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
        changed=changed,
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
    if loading.is_for_bodies:
        raise UsageError(
            "run: this script is being imported by a process for its bodies; put the "
            'call under if __name__ == "__main__":'
        )
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
    inbox: queue.SimpleQueue[Stop | str | None] = queue.SimpleQueue()
    keeper = Keeper(
        store,
        claimed,
        lease_ms,
        asked_at=asked_at,
        on_lost=inbox.put,
        on_asked=inbox.put,
    )
    recorder = Recorder(store.logs, claimed.uid, notice)
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
        loop.log = recorder.add
        ended = Driver(loop, inbox, timeout=options.timeout).run()
        return conclude(loop, ended, options, reopen)
    except BaseException:
        _let_go(store, claimed, loop)
        raise
    finally:
        recorder.stop()
        keeper.stop()


def _let_go(store: Store, claimed: ContainerRecord, loop: Loop | None) -> None:
    """Give the lease of a run back that broke off, if nothing of it runs any more.

    Where bodies still run in this process, nobody may begin them beside it: the lease is
    left to end, or to be taken over when this process has.
    """
    if loop is None or not loop.schedule.running:
        with contextlib.suppress(Exception):
            store.release(_at_rest(claimed if loop is None else loop.container))
    if loop is not None:
        loop.records.workdirs.close()


def _at_rest(record: ContainerRecord) -> ContainerRecord:
    is_running = record.status is Status.RUNNING
    return replace(record, status=Status.PENDING) if is_running else record


def conclude(loop: Loop, ended: int | None, options: Options, reopen: Reopen) -> Report:
    """Record how the container stands, give the lease back, and report."""
    for text in loop.records.workdirs.close():
        loop.bus.emit(Notice(at=loop.clock(), text=text))
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
    if not loop.records.patiently(lambda: loop.store.release(record)):
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
