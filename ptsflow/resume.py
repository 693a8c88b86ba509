"""What a new run makes of what earlier runs left: pure, from plan and stored tasks.

Nothing that is done is repeated, but for what a person asked for (`again`, a changed
`version=`) and the steps that always run, which belong to every run that has work.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from msgspec import Struct

from ptsflow import transitions
from ptsflow.model import Cause, Change, ContainerRecord, Status, TaskRecord
from ptsflow.plan import Plan, PlanStep, downstream, item_name

#: Room for the items of a step between its position and the next step's.
STRIDE = 10**10


class Resumption(Struct, frozen=True):
    """What to change before anything starts."""

    changes: list[Change]
    #: All tasks as they are then, by name.
    tasks: dict[str, TaskRecord]
    #: Steps that tasks are stored of and the plan does not have.
    removed: list[str]


def resume(
    plan: Plan,
    container: ContainerRecord,
    tasks: Iterable[TaskRecord],
    *,
    now: int,
    again: Iterable[str] = (),
) -> Resumption:
    """Say what a run that holds `container` starts from.

    Args:
        plan: the workflow's, as it is now.
        container: held, with the fence of this run.
        tasks: what is stored.
        now: the time.
        again: steps that a person wants run again, with all that waits for them.
    """
    stored = {task.name: task for task in tasks}
    repeated = _repeated(plan, stored.values(), again)
    after: dict[str, TaskRecord | None] = {
        task.name: _next(plan, task, repeated, now, container.fence)
        for task in stored.values()
    }
    for step in plan.steps:
        if step.each is None and step.name not in stored:
            after[step.name] = new_task(step, fence=container.fence)
    if _has_work(plan, container, after):
        for step in plan.steps[plan.usual :]:
            task = after[step.name]
            if task is not None and task.status in (Status.DONE, Status.SKIPPED):
                after[step.name] = transitions.reset(task, fence=container.fence)
    changes = [
        Change(stored.get(name), task)
        for name, task in after.items()
        if stored.get(name) is not task
    ]
    return Resumption(
        # What depends on a step comes before it: where a store does not keep a batch
        # together, the cause of the changes is still there after a part of them.
        changes=changes[::-1],
        tasks={name: task for name, task in after.items() if task is not None},
        removed=sorted(
            {task.step or task.name for task in stored.values()} - plan.by_name.keys()
        ),
    )


def new_task(
    step: PlanStep, *, fence: int, key: str | None = None, index: int = 0
) -> TaskRecord:
    """Return the first record of a step, or of one of its items."""
    return TaskRecord(
        name=step.name if key is None else item_name(step.name, key),
        step=step.name,
        key=key,
        position=(step.index + 1) * STRIDE + index,
        version=1,
        fence=fence,
        max_retries=step.retry.max_retries,
        delay_between_retries=step.retry.delay,
        task_data=None,
        processing_data=None,
        result=None,
    )


def _repeated(
    plan: Plan, tasks: Iterable[TaskRecord], again: Iterable[str]
) -> set[str]:
    """Return the steps to run again: those asked for, those whose version changed."""
    chosen = set(again)
    for task in tasks:
        step = plan.by_name.get(task.step)
        if (
            step is not None
            and task.status is Status.DONE
            and task.code_version != step.version
        ):
            chosen.add(step.name)
    return downstream(plan.summary(), chosen) if chosen else chosen


def _next(
    plan: Plan, task: TaskRecord, repeated: set[str], now: int, fence: int
) -> TaskRecord | None:
    """Return what a stored task becomes; itself where nothing changes."""
    step = plan.by_name.get(task.step)
    if step is not None and (step.each is None) != (task.key is None):
        # A fan-out that was refused as a whole, or a step that was declared otherwise.
        return task if task.status is Status.DONE else None
    if task.status is Status.RUNNING:
        retries = task.max_retries if step is None else step.retry.max_retries
        task = transitions.crash(
            task, now=now, fence=fence, max_retries=retries, error=_crashed(task)
        )
        if task.step not in repeated:
            return task
    if step is None:
        return task
    if task.step in repeated:
        return _reset(task, fence)
    return _reopened(task, repeated, fence)


def _reset(task: TaskRecord, fence: int) -> TaskRecord:
    return task if _is_fresh(task) else transitions.reset(task, fence=fence)


def _reopened(task: TaskRecord, repeated: set[str], fence: int) -> TaskRecord:
    if task.status is Status.FAILED:
        return transitions.reopen(task, fence=fence)
    if task.status is Status.SKIPPED:
        unfinished = task.cause is Cause.FINISH and bool(repeated)
        if unfinished or task.cause in (Cause.UPSTREAM, Cause.REMOVED):
            return transitions.reopen(task, fence=fence)
    if task.status is Status.DONE and task.cause is Cause.FINISH and repeated:
        return transitions.carry_on(task, fence=fence)
    return task


def _is_fresh(task: TaskRecord) -> bool:
    return task.status is Status.PENDING and task.invoke_count == 0


def _crashed(task: TaskRecord) -> str:
    return f"the runner died while it ran (attempt {task.attempt})"


def _has_work(
    plan: Plan, container: ContainerRecord, after: dict[str, TaskRecord | None]
) -> bool:
    """Whether this run will start any step that is not one of those always run."""
    usual = {step.name: step for step in plan.steps[: plan.usual]}
    known = {step.name for step in container.plan}
    if any(step.each and step.name not in known for step in usual.values()):
        return True
    tasks = [task for task in after.values() if task is not None]
    if any(task.cause is Cause.FINISH and task.status is Status.DONE for task in tasks):
        return False
    return any(task.step in usual and not task.is_complete for task in tasks)


def finisher(tasks: Iterable[TaskRecord]) -> TaskRecord | None:
    """Return the task that ended the workflow early, if one did."""
    return next(
        (t for t in tasks if t.status is Status.DONE and t.cause is Cause.FINISH), None
    )


class Forecast(Struct, frozen=True):
    """What a run would do with one task, or with a step whose items are not known."""

    name: str
    action: str
    reason: str


def forecast(
    plan: Plan,
    container: ContainerRecord | None,
    stored: Sequence[TaskRecord],
    resumption: Resumption,
) -> list[Forecast]:
    """Say for each task what a run would do with it, and why."""
    before = {task.name: task for task in stored}
    finish = finisher(resumption.tasks.values())
    lines: list[Forecast] = []
    for step in plan.steps:
        tasks = [task for task in resumption.tasks.values() if task.step == step.name]
        if not tasks:
            needs = step.each or "the steps above it"
            lines.append(Forecast(step.name, "run", f"for each item of {needs}"))
        for task in sorted(tasks, key=lambda task: task.position):
            lines.append(_forecast(before.get(task.name), task, finish))
    for task in stored:
        if task.step not in plan.by_name:
            lines.append(
                Forecast(task.name, "ignore", "its step is not in the workflow any more")
            )
    return lines if container is not None or lines else []


def _forecast(
    before: TaskRecord | None, task: TaskRecord, finish: TaskRecord | None
) -> Forecast:
    if task.is_complete:
        reason = task.status_text if task.status is Status.SKIPPED else "its result is kept"
        if task.status is Status.FAILED:
            reason = task.error or "failed"
        return Forecast(task.name, "skip", f"{task.status}: {reason}")
    if finish is not None:
        return Forecast(task.name, "skip", f"{finish.name} finished the workflow")
    if task.status is Status.WAITING:
        return Forecast(task.name, "retry", f"failed before: {task.error or task.status_text}")
    if before is None or before.invoke_count == 0:
        return Forecast(task.name, "run", "not run yet")
    if before.status is Status.RUNNING:
        return Forecast(task.name, "run", "it was running when the runner died")
    if before.status is Status.FAILED:
        return Forecast(task.name, "retry", f"failed before: {before.error}")
    if before.status is Status.PENDING:
        return Forecast(task.name, "run", before.error or "it was interrupted")
    return Forecast(task.name, "run", "run again, as asked for or as its version changed")
