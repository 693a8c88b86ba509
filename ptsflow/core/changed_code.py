"""Which finished tasks ran other code than their steps have now."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from ptsflow.core.model import Cause, Status, StepSummary, TaskRecord
from ptsflow.core.names import listed
from ptsflow.core.packed import parts_of

#: The cure.
RUN_CHANGED = "--changed runs it again"


def say_changed(steps: Collection[str]) -> str:
    """Name steps whose code changed, and what runs them again; "" where there are none."""
    return f"changed since it ran: {listed(steps)}; {RUN_CHANGED}" if steps else ""


def changed(
    plan: Iterable[StepSummary], tasks: Iterable[TaskRecord]
) -> dict[str, list[str]]:
    """Return the finished tasks whose body's code is another one now, by step.

    Args:
        plan: the steps with the hashes of their code as it is now.
        tasks: what is stored.
    """
    hashes = {step.name: step.code_hash for step in plan}
    found: dict[str, list[str]] = {name: [] for name in hashes}
    records, packs = parts_of(tasks)
    for task in records:
        is_finished = task.status is Status.DONE or task.cause is Cause.BODY
        if is_finished and is_changed(task.code_hash, hashes.get(task.step, "")):
            found[task.step].append(task.name)
    for pack in packs:
        now = hashes.get(pack.step, "")
        if any(is_changed(before, now) for before in set(pack.different("code_hash"))):
            before = pack.each("code_hash")
            names = zip(pack.names, before, strict=True)
            found[pack.step] += [name for name, old in names if is_changed(old, now)]
    return {step: names for step, names in found.items() if names}


def changed_steps(
    plan: Iterable[StepSummary], code: Mapping[str, Collection[str]]
) -> list[str]:
    """Return the steps whose code is another one now than finished tasks ran.

    Args:
        plan: the steps with the fingerprints of their code as it is now.
        code: by step the fingerprints of what its finished tasks ran.
    """
    return [
        step.name
        for step in plan
        if any(is_changed(before, step.code_hash) for before in code.get(step.name, ()))
    ]


def is_changed(before: str, now: str) -> bool:
    """Whether two fingerprints tell of a change; False where they cannot be compared."""
    compiler, _, _ = before.partition(":")
    return before != now and compiler != "" and now.startswith(f"{compiler}:")
