"""One run from its claim to its end: claim the container, drive the loop, give it back."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable

from msgspec.structs import replace

from ptsflow.client import lease
from ptsflow.client.fields import check_name
from ptsflow.client.lease import acquire
from ptsflow.core.model import ContainerRecord, Status
from ptsflow.core.plan import Plan
from ptsflow.errors import LeaseLost
from ptsflow.events import Notice, RunEnded, RunEnding
from ptsflow.host import container_lock
from ptsflow.host.clock import since_boot
from ptsflow.host.process_identity import this_process
from ptsflow.runner.driver import Driver
from ptsflow.runner.event_bus import Bus
from ptsflow.runner.heartbeat import Heartbeat
from ptsflow.runner.log_writer import LogWriter
from ptsflow.runner.loop import Loop
from ptsflow.runner.mailbox import Mailbox
from ptsflow.runner.options import Options
from ptsflow.runner.prepare import check_fits, prepare
from ptsflow.runner.report import Report, Stopped
from ptsflow.stores.base import Store
from ptsflow.workflow.workflow import Workflow

#: Opens the store once more, for a report that is read after the run.
Reopen = Callable[[], contextlib.AbstractContextManager[Store]]


def execute(
    workflow: Workflow, plan: Plan, store: Store, options: Options, reopen: Reopen
) -> Report:
    """Run a workflow in its container; return how it went.

    Raises:
        Stopped: a signal ended it.
        PtsflowError: as `ptsflow.run` says.
    """
    bus = Bus(options.listeners)
    name = workflow.container_name if options.container is None else options.container
    check_name(name, "container")
    encoded = workflow.encoded_parameters()
    stop_at = since_boot() + (math.inf if options.timeout is None else options.timeout)
    seen = _create(store, name)
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
        until=stop_at,
    )
    log_writer = LogWriter(store.logs, claimed.uid, notice)
    mailbox = Mailbox(claimed.name, log_writer.add)
    heartbeat = Heartbeat(
        store,
        claimed,
        lease_ms,
        asked_at=asked_at,
        on_lost=mailbox.lose_lease,
        on_stop=mailbox.ask_to_stop,
    )
    heartbeat.start()
    loop: Loop | None = None
    try:
        check_fits(claimed, plan, encoded, fresh=options.fresh)
        container_lock.wait_alone(
            container_lock.file_of(store.identity, claimed.uid),
            notice,
            lambda: (
                mailbox.has_news or since_boot() >= min(heartbeat.deadline, stop_at)
            ),
        )
        loop = prepare(
            workflow,
            plan,
            store,
            claimed,
            options,
            bus=bus,
            mailbox=mailbox,
            deadline=lambda: heartbeat.deadline,
        )
        ended = _drive(Driver(loop, stop_at=stop_at), loop)
        return conclude(loop, ended, options, reopen)
    except BaseException:
        let_go(store, claimed, loop)
        raise
    finally:
        log_writer.stop()
        heartbeat.stop()


def _create(store: Store, name: str) -> ContainerRecord:
    # One that is made and then not run would look as if it were complete.
    container_lock.check_folder()
    container, _ = store.create(name)
    return container


def _drive(driver: Driver, loop: Loop) -> int | None:
    """Run the loop, and let nobody of this host begin while its bodies may run."""
    mark = lease.mark(loop.store, loop.container)
    try:
        return driver.run()
    finally:
        driver.when_idle(mark.remove)


def let_go(store: Store, claimed: ContainerRecord, loop: Loop | None) -> None:
    """Give the lease of a run back that broke off, if nothing of it runs any more.

    Where bodies still run in this process, nobody may begin them beside it: the lease is
    left to end, or to be taken over when this process has.
    """
    if loop is None or not loop.schedule.running:
        with contextlib.suppress(Exception):
            store.release(_at_rest(claimed if loop is None else loop.container))
    if loop is not None:
        loop.work.workdirs.close()


def _at_rest(record: ContainerRecord) -> ContainerRecord:
    is_running = record.status is Status.RUNNING
    return replace(record, status=Status.PENDING) if is_running else record


def conclude(loop: Loop, ended: int | None, options: Options, reopen: Reopen) -> Report:
    """Record how the container stands, give the lease back, and report."""
    for text in loop.work.workdirs.close():
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
    if not loop.work.patiently(lambda: loop.store.release(record)):
        raise LeaseLost(
            f"container {record.name!r}: another runner took it over at the end; "
            "what was recorded is safe, run again"
        )
    ok = complete or (
        options.only is not None
        and not schedule.failed_steps()
        and all(schedule.steps[name].satisfied for name in options.only)
    )
    is_stopped = ended is not None and not complete
    if loop.bus:
        how = RunEnding.DONE if ok else RunEnding.FAILED
        how = RunEnding.STOPPED if is_stopped else how
        loop.bus.emit(RunEnded(at=loop.clock(), container=record, how=how))
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
