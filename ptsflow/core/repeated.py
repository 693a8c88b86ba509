"""Which steps and items run again although they are done."""

from __future__ import annotations

from collections.abc import Iterable

from ptsflow.core.model import Cause, Status, TaskRecord
from ptsflow.core.plan import Plan, PlanStep, downstream
from ptsflow.core.sources import behind


def is_shaped(step: PlanStep, task: TaskRecord) -> bool:
    """Whether the task is an item where the step fans out, and none where it does not."""
    return (step.each is None) == (task.key is None)


def repeated(
    plan: Plan, tasks: Iterable[TaskRecord], again: Iterable[str]
) -> dict[str, set[str] | None]:
    """Return the steps to run again: those asked for, those whose version changed.

    By step None, or the keys of the items to run again.
    """
    asked = [named for name in again if (named := plan.named(name))]
    chosen = {step for step, key in asked if key is None}
    for task in tasks:
        step = plan.by_name.get(task.step)
        if (
            step is not None
            and (task.status is Status.DONE or task.cause is Cause.BODY)
            and task.code_version != step.version
            and is_shaped(step, task)
        ):
            chosen.add(step.name)
    found: dict[str, set[str] | None] = {}
    if chosen:
        found = dict.fromkeys(downstream(plan.summary(), chosen))
    for source, key in asked:
        waiting = {} if key is None else behind(plan.summary(), source, key)
        for name, item in ({source: key} | waiting).items():
            keys = found.setdefault(name, set())
            if item is None:
                found[name] = None
            elif keys is not None:
                keys.add(item)
    return found
