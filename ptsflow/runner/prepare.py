"""Making the loop of a run that holds its container, from what is stored."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterable
from functools import partial
from typing import TypeVar

from msgspec.structs import replace

from ptsflow.core.counts import tallies_of
from ptsflow.core.forecast import blocked
from ptsflow.core.history import Profile, kept_weights
from ptsflow.core.insight import RunRecord
from ptsflow.core.model import Change, ContainerRecord, Status, TaskRecord
from ptsflow.core.names import listed
from ptsflow.core.packed import Tasks, listing
from ptsflow.core.plan import Plan
from ptsflow.core.resume import Resumption, resume
from ptsflow.errors import PtsflowError
from ptsflow.events import RunStarted
from ptsflow.executors.placement import Placement
from ptsflow.host.workdirs import Workdirs
from ptsflow.runner.event_bus import Bus
from ptsflow.runner.foresight import Foresight, learned_by_run
from ptsflow.runner.heartbeat import patiently
from ptsflow.runner.loop import Loop
from ptsflow.runner.mailbox import Mailbox
from ptsflow.runner.planned_run import PlannedRun
from ptsflow.runner.telling import Telling
from ptsflow.runner.unit_of_work import UnitOfWork
from ptsflow.stores.base import Store
from ptsflow.workflow.workflow import fresh

T = TypeVar("T")


def prepare(  # noqa: PLR0913 - called in one place, most by keyword
    planned: PlannedRun,
    store: Store,
    container: ContainerRecord,
    *,
    bus: Bus,
    mailbox: Mailbox,
    deadline: Callable[[], float],
    begin: Callable[[ContainerRecord, int, int], RunRecord],
    telling: Telling,
) -> Loop:
    """Make the loop of a run, and record in its container that the run has begun.

    Args:
        planned: the run.
        store: keeps the container.
        container: the container as it was claimed.
        bus: the listeners.
        mailbox: the door to the loop for other threads.
        deadline: says when the lease must be taken as lost, in seconds since boot.
        begin: returns the run's entry in the ledger, for the container as it is then, the
            time, and how many bodies may run; called if there is work to do.
        telling: keeps the percentage that was shown, and tells what the run expects.
    """
    plan, options, now = planned.plan, planned.options, planned.options.clock()

    def patient(ask: Callable[[], T]) -> T:
        return patiently(ask, container.name, deadline=deadline, notice=bus.notice)

    placement = _placement(planned, store, container, mailbox)
    stored = patient(lambda: store.table(container.uid))
    again = planned.asked_again(listing({} if options.fresh else stored))
    is_anew = options.fresh or bool(again) or container.status is Status.DONE
    shown = patient(partial(telling.begin, store, container, stored, is_anew=is_anew))
    if options.fresh and stored:
        patient(partial(_erase, store, container, stored.values(), bus))
        stored = {}
    resumption = resume(plan, container, stored, now=now, again=again)
    has_work = resumption.has_work or container.status is not Status.DONE
    if not has_work:
        planned.check_only(listing(stored) if options.only else ())
    learn = partial(learned_by_run, store, plan.workflow, bus)
    profile = patient(learn) if has_work else Profile()
    container, run = with_plan(planned, container, profile), None
    if has_work:
        container = _begun(container, now, is_fresh=options.fresh)
        run = patient(partial(begin, container, now, placement.jobs))
    tallies = tallies_of(resumption.tasks)
    patient(partial(telling.hold_above, store, shown, container, tallies))
    patient(partial(store.save, container, run))
    for text in _remarks(planned, resumption):
        bus.notice(text)
    work = UnitOfWork(
        store=store,
        container=container,
        resumption=resumption,
        tallies=tallies,
        mailbox=mailbox,
        clock=options.clock,
        bus=bus,
        deadline=deadline,
        workdirs=_swept_workdirs(plan, store, container, stored),
        telling=telling,
    )
    foresight = Foresight(
        plan,
        profile,
        telling,
        only=options.only,
        began_at=now,
        percentage=max(shown, work.gauge.value),
    )
    loop = Loop(
        copy_of_workflow=fresh(planned.workflow, planned.for_bodies()),
        plan=plan,
        work=work,
        mailbox=mailbox,
        placement=placement,
        foresight=foresight,
        only=options.only,
    )
    if bus:
        bus.emit(RunStarted(at=now, container=container, tasks=listing(stored)))
    return loop


def _swept_workdirs(
    plan: Plan, store: Store, container: ContainerRecord, stored: Tasks
) -> Workdirs:
    """Return the folders of the tasks; those that nobody needs any more are removed."""
    short_lived = {step.name for step in plan.steps if not step.keep_workdir}
    workdirs = Workdirs(store.work_root, container, short_lived)
    workdirs.sweep(listing(stored))
    return workdirs


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


def with_plan(
    planned: PlannedRun, record: ContainerRecord, profile: Profile
) -> ContainerRecord:
    """Return the container's record with what the run knows of its workflow."""
    stored = () if planned.options.fresh else record.plan
    is_known = bool(stored or profile.runs)
    steps = planned.plan.steps
    weights = kept_weights(steps, stored, profile) if is_known else None
    return replace(
        record,
        workflow=planned.plan.workflow,
        plan=planned.plan.summary(weights),
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
        key=store.key_of(container),
        executor=planned.options.executor or planned.plan.executor,
        jobs=planned.options.jobs,
        on_room=mailbox.wake,
    )
