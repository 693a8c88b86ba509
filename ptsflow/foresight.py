"""What a run would do, without doing it: pure, from plan, stored tasks and options."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from msgspec.structs import replace

from ptsflow.core import counts
from ptsflow.core.model import ContainerRecord, Status, TaskRecord
from ptsflow.core.plan import Plan, PlanStep
from ptsflow.core.resume import Forecast, Resumption, forecast, resume


def foresee(
    plan: Plan,
    container: ContainerRecord,
    stored: Sequence[TaskRecord],
    *,
    now: int,
    again: Iterable[str] = (),
    only: Collection[str] | None = None,
) -> list[Forecast]:
    """Say for each task what a run would do with it, and why.

    Args:
        plan: the workflow's, as it is now.
        container: as it is stored.
        stored: its tasks; none where the run would forget them first.
        now: the time.
        again: steps to run again, with all that waits for them.
        only: the steps to run alone, if not all.
    """
    resumption = resume(plan, container, stored, now=now, again=again)
    foreseen = forecast(plan, stored, resumption)
    if only is None:
        return foreseen
    stuck = blocked(plan, resumption, only)
    return [_narrowed(entry, only, stuck) for entry in foreseen]


def _narrowed(
    entry: Forecast, only: Collection[str], blocked: dict[str, str]
) -> Forecast:
    if entry.action not in ("run", "retry"):
        return entry
    step = entry.name.partition("[")[0]
    if step not in only:
        return replace(entry, action="leave", reason="not among --only")
    if step in blocked:
        reason = f"waits for {blocked[step]}, which is not done and not among --only"
        return replace(entry, action="blocked", reason=reason)
    return entry


def blocked(
    plan: Plan, resumption: Resumption, only: Collection[str]
) -> dict[str, str]:
    """Return the steps that will not start, each with a step that is to blame.

    Args:
        plan: the workflow's, as it is now.
        resumption: what a run starts from.
        only: the steps that it runs alone.
    """
    tasks: dict[str, list[TaskRecord]] = {}
    for task in resumption.tasks.values():
        tasks.setdefault(task.step, []).append(task)
    found: dict[str, str] = {}
    for step in plan.steps:
        if _is_satisfied(step, tasks.get(step.name, [])):
            continue
        needs = [*step.needs, *([step.each] if step.each else [])]
        needs += [above.name for above in plan.steps[: step.above or 0]]
        culprit = next((found[name] for name in needs if name in found), None)
        if culprit is not None:
            found[step.name] = culprit
        elif step.name not in only:
            found[step.name] = step.name
    return found


def _is_satisfied(step: PlanStep, tasks: Sequence[TaskRecord]) -> bool:
    failed = sum(task.status is Status.FAILED for task in tasks)
    complete = bool(tasks) and all(task.is_complete for task in tasks)
    return complete and counts.is_accepted(step.summary(), failed, len(tasks))
