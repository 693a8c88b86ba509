"""What a run would do, without doing it: from plan, stored tasks and options."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence

from msgspec import Struct
from msgspec.structs import replace

from ptsflow.core import counts
from ptsflow.core.changed_code import RUN_CHANGED, changed
from ptsflow.core.model import (
    Cause,
    ContainerRecord,
    Status,
    TaskRecord,
    item_name,
)
from ptsflow.core.plan import Plan, PlanStep, awaited
from ptsflow.core.resume import Resumption, finisher, resume
from ptsflow.core.sources import OUTDATED, RESET, outdated


class Forecast(Struct, frozen=True):
    """What a run would do with one task, or with a step whose items are not known."""

    name: str
    action: str
    reason: str


def forecast(
    plan: Plan,
    stored: Sequence[TaskRecord],
    resumption: Resumption,
    again: Collection[str] = (),
) -> list[Forecast]:
    """Say for each task what a run would do with it, and why.

    `again` are the steps and items that a person wants run again.
    """
    before = {task.name: task for task in stored}
    stale = changed(plan.summary(), stored).keys() & set(again)
    asked = dict.fromkeys(again, _ASKED) | dict.fromkeys(stale, _CHANGED)
    finish = finisher(resumption.tasks.values())
    tasks: dict[str, list[TaskRecord]] = {step.name: [] for step in plan.steps}
    for task in resumption.tasks.values():
        tasks.setdefault(task.step, []).append(task)
    lines: list[Forecast] = []
    for listed in tasks.values():
        listed.sort(key=lambda task: task.position)
    known = _known(plan, [task for listed in tasks.values() for task in listed])
    for step in plan.steps:
        ending = None if step.always else finish
        lines += [
            known.get(task.name)
            or _forecast(step, before.get(task.name), task, ending, asked)
            for task in tasks[step.name]
        ]
        if not tasks[step.name]:
            lines.append(_forecast_items(step, ending))
    return lines + [
        Forecast(task.name, "ignore", "its step is not in the workflow any more")
        for step, left in tasks.items()
        for task in left
        if step and step not in plan.by_name
    ]


def _known(plan: Plan, tasks: Sequence[TaskRecord]) -> dict[str, Forecast]:
    """Return the forecasts of finished tasks whose code or sources are other ones now."""
    summary = plan.summary()
    old = set(outdated(summary, tasks))
    stale = {name for names in changed(summary, tasks).values() for name in names}
    found = {name: Forecast(name, "skip", _OLD) for name in old}
    found |= {name: Forecast(name, "skip", _STALE) for name in stale}
    for task in tasks:
        if task.is_in_doubt and task.is_complete:
            is_old = task.name in old and task.name not in stale
            action, why = ("run", _OTHER) if is_old else ("check", _IN_DOUBT)
            found[task.name] = Forecast(task.name, action, why)
    return found


def _forecast_items(step: PlanStep, finish: TaskRecord | None) -> Forecast:
    if finish is not None:
        return Forecast(step.name, "skip", f"{finish.name} finished the workflow")
    return Forecast(step.name, "run", f"for each item of {step.each}")


def _forecast(
    step: PlanStep,
    before: TaskRecord | None,
    task: TaskRecord,
    finish: TaskRecord | None,
    asked: Mapping[str, str],
) -> Forecast:
    if task.is_complete:
        return Forecast(task.name, "skip", f"{task.status}: {_kept(task)}")
    if finish is not None:
        return Forecast(task.name, "skip", f"{finish.name} finished the workflow")
    if before is None or before.invoke_count == 0:
        return Forecast(task.name, "run", "not run yet")
    if before.status in (Status.FAILED, Status.WAITING):
        why = f"put off before: {before.status_text or '-'}"
        why = f"failed before: {before.error}" if before.error else why
        return Forecast(task.name, "retry", why)
    return Forecast(task.name, "run", _why_again(step, before, asked))


def _why_again(step: PlanStep, before: TaskRecord, asked: Mapping[str, str]) -> str:
    """Say why a task that was begun before runs, though it did not fail."""
    if before.status is Status.RUNNING:
        return "it was running when the runner was killed"
    if before.status is Status.PENDING:
        # A reset leaves no trace but the count of invocations, a retry leaves the error.
        if before.task_ended_at is not None:
            return before.error or "it was stopped"
        return f"failed before: {before.error}" if before.error else "it was reset"
    if step.always:
        return "it always runs"
    if step.name in asked or before.name in asked:
        return asked.get(before.name) or asked[step.name]
    if before.status is Status.SKIPPED and before.cause is not Cause.BODY:
        return f"it was skipped before: {before.status_text or '-'}"
    if before.code_version != step.version:
        return "its version= changed"
    return "a step before it runs again"


_ASKED = "run again, as asked for"
_CHANGED = "its code changed since it ran"


#: Of a finished task that is not made again.
_OLD = f"{OUTDATED}; {RESET}"
_OTHER = f"{OUTDATED}, as a source was reset"
_IN_DOUBT = "a source was reset: run again if other results come of it"
_STALE = f"done: {_CHANGED}; {RUN_CHANGED}"


def _kept(task: TaskRecord) -> str:
    if task.status is Status.DONE:
        return "its result is kept"
    return (task.error if task.status is Status.FAILED else task.status_text) or "-"


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
        again: steps and items to run again, with all that waits for them.
        only: the steps and items to run alone, if not all.
    """
    resumption = resume(plan, container, stored, now=now, again=again)
    foreseen = forecast(plan, stored, resumption, list(again))
    if only is None:
        return foreseen
    stuck = blocked(plan, resumption, only)
    return [_narrowed(plan, entry, only, stuck) for entry in foreseen]


def _narrowed(
    plan: Plan, entry: Forecast, only: Collection[str], blocked: dict[str, str]
) -> Forecast:
    if entry.action not in ("run", "retry", "check"):
        return entry
    step, _ = plan.named(entry.name) or (entry.name, None)
    items = [] if step in only else [n for n in only if _step_of(plan, n) == step]
    if step not in only and (not items or entry.name not in (step, *items)):
        return replace(entry, action="leave", reason="not among --only")
    blame = blocked.get(entry.name if items else step)
    if blame:
        reason = f"waits for {blame}, which is not done and not among --only"
        return replace(entry, action="blocked", reason=reason)
    if items and entry.name == step:
        return replace(entry, reason=f"only {', '.join(items)}")
    return entry


def _step_of(plan: Plan, name: str) -> str | None:
    named = plan.named(name)
    return None if named is None else named[0]


def blocked(
    plan: Plan, resumption: Resumption, only: Collection[str]
) -> dict[str, str]:
    """Return the steps and items that will not start, each with what is to blame.

    Args:
        plan: the workflow's, as it is now.
        resumption: what a run starts from.
        only: the steps and items that it runs alone.
    """
    tasks: dict[str, Counter[Status]] = {step.name: Counter() for step in plan.steps}
    for task in resumption.tasks.values():
        if task.step in tasks:
            tasks[task.step][task.status] += 1
    places: dict[str, int] = {}
    found: dict[str, str] = {}
    for step in plan.steps:
        if counts.is_satisfied(step, tasks[step.name]):
            continue
        before = awaited(step, places)
        if before is None and step.name in only:
            continue
        found[step.name] = step.name if before is None else found[before]
        places[step.name] = step.index
    for name in only:
        step_name, key = plan.named(name) or (name, None)
        if key is None:
            continue
        step = plan.by_name[step_name]
        others = {other: at for other, at in places.items() if other != step.each}
        before = awaited(step, others)
        blame = _held_up_by(plan, resumption, step, key, only)
        blame = blame or (found[before] if before else "")
        if blame:
            found[name] = blame
    return found


def _held_up_by(
    plan: Plan, resumption: Resumption, step: PlanStep, key: str, only: Collection[str]
) -> str:
    """Return the item before an item in its chain that is not done and will not be."""
    source = plan.by_name[step.each or ""]
    before = item_name(source.name, key)
    task = resumption.tasks.get(before)
    is_done = task is not None and task.status is Status.DONE
    if source.each is None or is_done or before in only or source.name in only:
        return ""
    return before
