"""Counting: how far a container is, from its plan and its tasks counted by step."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal

from ptsflow.core.insight import Outlook
from ptsflow.core.model import ContainerRecord, Status, StepSummary, Tally, TaskRecord
from ptsflow.core.pack import Pack
from ptsflow.core.packed import parts_of
from ptsflow.core.plan import PlanStep


def tallies_of(
    tasks: Mapping[str, TaskRecord] | Iterable[TaskRecord],
) -> list[Tally]:
    """Count tasks by step and status."""
    records, packs = parts_of(tasks)
    sums: dict[tuple[str, Status], list[float]] = defaultdict(lambda: [0, 0.0])
    step = status = None
    entry: list[float] = []
    for task in records:
        # Neighbours are mostly alike, and to hash a status takes longer than all else.
        if task.status is not status or task.step != step:
            step, status = task.step, task.status
            entry = sums[step, status]
        entry[0] += 1
        entry[1] += task.percentage_complete
    for pack in packs:
        entry = sums[pack.step, Status.DONE]
        entry[0] += len(pack)
        entry[1] += sum(pack.each("percentage_complete"))
    return [
        Tally(step, status, int(count), percentage)
        for (step, status), (count, percentage) in sums.items()
    ]


def count_by_status(tallies: Iterable[Tally]) -> dict[Status, int]:
    """Return how many tasks stand in each status, every status named."""
    totals = dict.fromkeys(Status, 0)
    for tally in tallies:
        totals[tally.status] += tally.count
    return totals


def percentage(plan: Sequence[StepSummary], tallies: Iterable[Tally]) -> float:
    """Return how much is complete, 0 to 100: the steps' shares by their weights.

    A step's share is the mean of its tasks'. A client's own tasks count as a step of
    weight 1 each, those of steps that were removed not at all; with neither plan nor
    tasks all is complete.
    """
    weights = {step.name: step.weight for step in plan}
    sums: dict[str, list[float]] = defaultdict(lambda: [0, 0.0])
    for tally in tallies:
        entry = sums[tally.step]
        entry[0] += tally.count
        entry[1] += tally.percentage
    total = done = 0.0
    for name, weight in weights.items():
        count, percent = sums.get(name, (0, 0.0))
        total += weight
        done += weight * (percent / count if count else 0.0)
    count, percent = sums.get("", (0, 0.0))
    total += count
    done += percent
    return 100.0 if total == 0 else min(100.0, done / total)


def percentage_of(
    container: ContainerRecord, tallies: Iterable[Tally], told: Outlook | None
) -> float:
    """Return the percentage complete of a container, 0 to 100: never less than was told."""
    tallies = list(tallies)
    if status_of(container, tallies) is Status.DONE:
        return 100.0
    shown = 0.0 if told is None else told.percentage
    return max(shown, percentage(container.plan, tallies))


def status_of(container: ContainerRecord, tallies: Iterable[Tally]) -> Status:
    """Return what became of a container.

    The runner of a workflow recorded it; in a client's container the tasks make it.
    """
    numbers = count_by_status(tallies)
    is_open = any(n for status, n in numbers.items() if not status.is_complete)
    if container.workflow is not None:
        reopened = container.status is Status.DONE and is_open
        return Status.PENDING if reopened else container.status
    if numbers[Status.RUNNING]:
        return Status.RUNNING
    if is_open:
        return Status.PENDING
    return Status.FAILED if numbers[Status.FAILED] else Status.DONE


def allowed_failures(tolerate: int | str, total: int) -> int:
    """Return how many of `total` items may fail: a number, or a share such as "2%"."""
    if isinstance(tolerate, str):
        # Exact, as 10,000 times 0.57 in floats is a little less than 5,700.
        return int(total * Decimal(tolerate.rstrip("%")) / 100)
    return tolerate


def is_accepted(step: StepSummary | PlanStep, failed: int, total: int) -> bool:
    """Whether `failed` of a step's `total` tasks may fail without failing the run."""
    return (
        failed == 0
        or step.optional
        or (step.each is not None and failed <= allowed_failures(step.tolerate, total))
    )


def accepted_steps(
    steps: Iterable[PlanStep], tasks: Iterable[TaskRecord], packs: Iterable[Pack]
) -> set[str]:
    """Return the steps whose failures, if any, do not fail a run."""
    total = Counter({pack.step: len(pack) for pack in packs})
    failed = Counter[str]()
    for task in tasks:
        total[task.step] += 1
        failed[task.step] += task.has_failed
    return {
        step.name
        for step in steps
        if is_accepted(step, failed[step.name], total[step.name])
    }


def is_satisfied(step: StepSummary | PlanStep, by_status: Mapping[Status, int]) -> bool:
    """Whether a step has tasks, all are complete, and its failures are accepted."""
    total = sum(by_status.values())
    complete = sum(n for status, n in by_status.items() if status.is_complete)
    failed = by_status.get(Status.FAILED, 0)
    return total > 0 and complete == total and is_accepted(step, failed, total)
