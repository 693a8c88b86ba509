"""Making the loop of a run that holds its container, from what is stored."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Collection, Iterable, Mapping

from msgspec.structs import replace

from ptsflow import codec
from ptsflow.core.forecast import blocked
from ptsflow.core.model import Change, ContainerRecord, Status, TaskRecord
from ptsflow.core.plan import Plan
from ptsflow.core.resume import Resumption, changed, resume
from ptsflow.errors import ContainerMismatch, PtsflowError
from ptsflow.events import Notice, RunStarted
from ptsflow.executors.placement import Placement
from ptsflow.host.workdirs import Workdirs
from ptsflow.runner.event_bus import Bus
from ptsflow.runner.loop import Loop
from ptsflow.runner.mailbox import Mailbox
from ptsflow.runner.options import Options
from ptsflow.runner.unit_of_work import UnitOfWork
from ptsflow.stores.base import Store
from ptsflow.workflow.workflow import Workflow


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


def asked_again(
    plan: Plan, stored: Iterable[TaskRecord], options: Options
) -> list[str]:
    """Return the steps that a person wants run again."""
    again = [options.from_step] if options.from_step else []
    return again + (list(changed(plan.summary(), stored)) if options.changed else [])


def _unmet(
    plan: Plan, resumption: Resumption, only: Collection[str] | None
) -> list[str]:
    """Say which of the steps that are to run alone will not start."""
    stuck = {} if only is None else blocked(plan, resumption, only)
    return [
        f"{name} cannot start: it waits for {stuck[name]}, which is not done"
        for name in only or ()
        if name in stuck
    ]


def _forget_lines(store: Store, container: ContainerRecord, bus: Bus, now: int) -> None:
    """Drop what earlier runs logged; no run fails because of its logs."""
    try:
        with contextlib.closing(store.logs()) as kept:
            kept.forget(container.uid)
    except PtsflowError as error:
        text = f"what earlier runs printed cannot be dropped: {error}"
        bus.emit(Notice(at=now, text=text))


def prepare(  # noqa: PLR0913 - both callers have them at hand
    workflow: Workflow,
    plan: Plan,
    store: Store,
    container: ContainerRecord,
    options: Options,
    *,
    bus: Bus,
    mailbox: Mailbox,
    deadline: Callable[[], float],
) -> Loop:
    """Make the loop of a run that holds its container, from what is stored."""
    clock = options.clock
    now = clock()
    stored = store.tasks(container.uid)
    if options.fresh and stored:
        # Whoever looks after a crash in between must not see a complete container.
        store.save(replace(container, status=Status.PENDING))
        erase = [Change(task, None) for task in stored]
        store.commit(container.uid, erase, fence=container.fence)
        _forget_lines(store, container, bus, now)
        stored = []
    again = asked_again(plan, stored, options)
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
    for text in _unmet(plan, resumption, options.only):
        bus.emit(Notice(at=now, text=text))
    short_lived = {step.name for step in plan.steps if not step.keep_workdir}
    workdirs = Workdirs(store.work_root, container, short_lived)
    workdirs.sweep(stored)
    work = UnitOfWork(
        store=store,
        container=container,
        resumption=resumption,
        mailbox=mailbox,
        clock=clock,
        bus=bus,
        deadline=deadline,
        workdirs=workdirs,
    )
    placement = Placement(
        workflow,
        plan,
        container,
        store=store.identity,
        executor=options.executor or plan.executor,
        jobs=options.jobs,
        on_room=mailbox.wake,
    )
    loop = Loop(
        workflow=workflow,
        plan=plan,
        work=work,
        mailbox=mailbox,
        placement=placement,
        only=options.only,
    )
    if bus:
        bus.emit(RunStarted(at=now, container=container, tasks=stored))
    return loop
