"""Making the loop of a run that holds its container, from what is stored."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterable
from typing import TypeVar

from msgspec.structs import replace

from ptsflow.core.forecast import blocked
from ptsflow.core.model import Change, ContainerRecord, Status, TaskRecord
from ptsflow.core.names import listed
from ptsflow.core.packed import listing
from ptsflow.core.resume import Resumption, resume
from ptsflow.errors import PtsflowError
from ptsflow.events import RunStarted
from ptsflow.executors.placement import Placement
from ptsflow.host.workdirs import Workdirs
from ptsflow.runner.event_bus import Bus
from ptsflow.runner.heartbeat import patiently
from ptsflow.runner.loop import Loop
from ptsflow.runner.mailbox import Mailbox
from ptsflow.runner.planned_run import PlannedRun
from ptsflow.runner.unit_of_work import UnitOfWork
from ptsflow.stores.base import Store
from ptsflow.workflow.workflow import fresh

T = TypeVar("T")


def prepare(
    planned: PlannedRun,
    store: Store,
    container: ContainerRecord,
    *,
    bus: Bus,
    mailbox: Mailbox,
    deadline: Callable[[], float],
) -> Loop:
    """Make the loop of a run, and record in its container that the run has begun.

    Args:
        planned: the run.
        store: keeps the container.
        container: the container as it was claimed.
        bus: the listeners.
        mailbox: the door to the loop for other threads.
        deadline: says when the lease must be taken as lost, in seconds since boot.
    """
    plan, options = planned.plan, planned.options
    now = options.clock()

    def patient(ask: Callable[[], T]) -> T:
        return patiently(ask, container.name, deadline=deadline, notice=bus.notice)

    stored = patient(lambda: store.table(container.uid))
    if options.fresh and stored:
        patient(lambda: _erase(store, container, stored.values(), bus))
        stored = {}
    again = planned.asked_again(listing(stored))
    resumption = resume(plan, container, stored, now=now, again=again)
    container = _planned(planned, container)
    if resumption.has_work or container.status is not Status.DONE:
        container = _begun(container, now, is_fresh=options.fresh)
    begun = container
    patient(lambda: store.save(begun))
    for text in _remarks(planned, resumption):
        bus.notice(text)
    short_lived = {step.name for step in plan.steps if not step.keep_workdir}
    workdirs = Workdirs(store.work_root, container, short_lived)
    workdirs.sweep(listing(stored))
    work = UnitOfWork(
        store=store,
        container=container,
        resumption=resumption,
        mailbox=mailbox,
        clock=options.clock,
        bus=bus,
        deadline=deadline,
        workdirs=workdirs,
    )
    loop = Loop(
        copy_of_workflow=fresh(planned.workflow, planned.for_bodies()),
        plan=plan,
        work=work,
        mailbox=mailbox,
        placement=_placement(planned, store, container, mailbox),
        only=options.only,
    )
    if bus:
        bus.emit(RunStarted(at=now, container=container, tasks=listing(stored)))
    return loop


def _erase(
    store: Store,
    container: ContainerRecord,
    stored: Iterable[TaskRecord],
    bus: Bus,
) -> None:
    """Forget the tasks of earlier runs, and what their bodies printed."""
    # If the run dies in between, the container must not look complete.
    store.save(replace(container, status=Status.PENDING))
    erase = [Change(task, None) for task in stored]
    store.commit(container.uid, erase, fence=container.fence)
    try:
        with contextlib.closing(store.logs()) as kept:
            kept.forget(container.uid)
    except PtsflowError as error:  # No run fails because of its logs.
        bus.notice(f"what earlier runs printed cannot be dropped: {error}")


def _planned(planned: PlannedRun, record: ContainerRecord) -> ContainerRecord:
    """Return the container's record with what the run knows of its workflow."""
    return replace(
        record,
        workflow=planned.plan.workflow,
        plan=planned.plan.summary(),
        module=planned.plan.module,
        file=planned.plan.file,
        params=json.dumps(planned.parameters, ensure_ascii=False),
        target=planned.options.target or record.target,
    )


def _begun(record: ContainerRecord, now: int, *, is_fresh: bool) -> ContainerRecord:
    """Return the container's record as it is while a run with work to do lasts."""
    return replace(
        record,
        status=Status.RUNNING,
        finish_reason=None,
        started_at=now if is_fresh else record.started_at or now,
        ended_at=None,
    )


def _remarks(planned: PlannedRun, resumption: Resumption) -> list[str]:
    """Say which stored tasks are ignored, and which steps to run alone cannot start."""
    remarks = []
    if resumption.removed:
        names = listed(resumption.removed)
        remarks.append(f"not in the workflow any more, and ignored: {names}")
    only = planned.options.only or ()
    stuck = blocked(planned.plan, resumption, only) if only else {}
    remarks += [
        f"{name} cannot start: it waits for {stuck[name]}, which is not done"
        for name in only
        if name in stuck
    ]
    return remarks


def _placement(
    planned: PlannedRun, store: Store, container: ContainerRecord, mailbox: Mailbox
) -> Placement:
    return Placement(
        type(planned.workflow),
        planned.plan,
        container,
        parameters=planned.for_bodies(),
        store=store.identity,
        executor=planned.options.executor or planned.plan.executor,
        jobs=planned.options.jobs,
        on_room=mailbox.wake,
    )
