"""The history: what a run leaves behind when it ends, and what is learned of many runs."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from ptsflow.core import counts
from ptsflow.core.attempt_ledger import complete, with_entries
from ptsflow.core.averages import fmean, median
from ptsflow.core.insight import FailedTask, RunRecord, RunStatus, StepStats
from ptsflow.core.model import (
    Attempt,
    ContainerRecord,
    Ending,
    Status,
    StepSummary,
    Tally,
    TaskRecord,
)
from ptsflow.core.packed import parts_of
from ptsflow.core.plan import PlanStep
from ptsflow.core.step_stats import stats_of
from ptsflow.core.texts import cut

#: How many of the newest runs that completed a container are learned from.
LEARNED_FROM = 20
#: The largest record of a run, in bytes of JSON; and how much of it failed tasks take.
_ROW_LIMIT = 6_000
_FAILED_ROOM = 2_500
_MOST_FAILED = 10
_ERROR_LIMIT = 200
#: The least weight of a step, as a share of the sum of all.
_LEAST_WEIGHT = 0.002
#: No task is expected to take less: of one that takes no time at all, nothing could tell
#: how many times longer it takes in a slow run.
_LEAST_MS = 0.1
#: With fewer runs than this, nothing is said of how much they differ.
_FEWEST_FOR_RANGE = 5


def begun(
    container: ContainerRecord, *, now: int, jobs: int = 0, tick: int | None = None
) -> RunRecord:
    """Return the record of a run that begins.

    Args:
        container: as the run claimed it, with its owner.
        now: the time.
        jobs: how many bodies can run at once.
        tick: the tick of the schedule that the container is named by.
    """
    owner = container.owner
    return RunRecord(
        uid=container.uid,
        fence=container.fence,
        container=container.name,
        workflow=container.workflow or "",
        target=container.target or "",
        tick=tick,
        ran_by="" if owner is None else owner.process,
        jobs=jobs,
        began_at=now,
    )


def record_of(
    run: RunRecord,
    container: ContainerRecord,
    tasks: Mapping[str, TaskRecord] | Collection[TaskRecord],
    ledgers: Mapping[str, Sequence[Attempt]],
    *,
    now: int,
    status: RunStatus,
) -> RunRecord:
    """Return the record of a run that ended.

    Args:
        run: its record as it began.
        container: as the run leaves it.
        tasks: all of its tasks.
        ledgers: the attempts of tasks that were tried more than once or failed, by
            their names; none need be given for other tasks.
        now: the time.
        status: how the run ended.
    """
    records, packs = parts_of(tasks)
    tallies = counts.tallies_of(tasks)
    is_done = container.status is Status.DONE
    row = replace(
        run,
        # The workflow's name and plan are written when its first run begins.
        workflow=container.workflow or "",
        ended_at=max(now, run.began_at),
        status=status,
        percentage=100.0 if is_done else _percentage(container, tallies),
        counts=_by_status(tallies),
        retries=_retries(with_entries(records, packs), ledgers, run.began_at),
        failed=_failed(records, ledgers),
    )
    if not (is_done and status is RunStatus.DONE) or not _did_a_part(
        records, run.began_at
    ):
        return row
    room = _ROW_LIMIT - len(msgspec.json.encode(row)) - len(',"steps":[]')
    stats = stats_of(records, packs, ledgers, room)
    if packs:  # Of all other tasks the order is that of the plan.
        places = {step.name: place for place, step in enumerate(container.plan)}
        stats = tuple(sorted(stats, key=lambda s: places.get(s.name, len(places))))
    return replace(row, steps=stats)


def _percentage(container: ContainerRecord, tallies: Iterable[Tally]) -> float:
    return round(counts.percentage(container.plan, tallies), 2)


def _by_status(tallies: Iterable[Tally]) -> dict[str, int]:
    numbers = counts.count_by_status(tallies)
    return {status.value: number for status, number in numbers.items() if number}


def _did_a_part(tasks: Iterable[TaskRecord], since: int) -> bool:
    # What is packed was done before the run.
    return any((task.last_invoked_at or 0) >= since for task in tasks)


#: How an attempt ends after which another one is a retry.
_TO_BE_RETRIED = (Ending.FAILED, Ending.CRASHED)


def _retries(
    tasks: Iterable[TaskRecord], ledgers: Mapping[str, Sequence[Attempt]], since: int
) -> int:
    """Count the attempts since then whose task had failed, or crashed, the time before."""
    count = 0
    for task in tasks:
        attempts = complete(task, ledgers.get(task.name, ()))
        # A long ledger has no room for the oldest ones.
        others = {each.number for each in attempts if each.ending not in _TO_BE_RETRIED}
        count += sum(
            each.number > 1 and each.number - 1 not in others and each.began_at >= since
            for each in attempts
        )
    return count


def _failed(
    tasks: Iterable[TaskRecord], ledgers: Mapping[str, Sequence[Attempt]]
) -> tuple[FailedTask, ...]:
    failed = [task for task in tasks if task.status is Status.FAILED]
    failed.sort(key=lambda task: task.position)
    found: list[FailedTask] = []
    room = _FAILED_ROOM
    for task in failed[:_MOST_FAILED]:
        first_line = (task.error or "").partition("\n")[0]
        kind = failure_type(ledgers.get(task.name, ()))
        entry = FailedTask(task.name, kind, cut(first_line, _ERROR_LIMIT))
        room -= len(msgspec.json.encode(entry))
        if room >= 0:
            found.append(entry)
    return tuple(found)


def failure_type(ledger: Iterable[Attempt]) -> str:
    """Return the class of the exception of the last attempt that failed, or ""."""
    failed = [a.error_type for a in ledger if a.ending is Ending.FAILED]
    return failed[-1] if failed else ""


def errors_of(
    told: Iterable[tuple[int, int]], began_at: int, ended_at: int
) -> tuple[float | None, ...]:
    """Return the median relative error of what was told in each quarter of a run.

    Nothing is returned if nothing was told.

    Args:
        told: when something was told, and the end that was told then.
        began_at: when the run began.
        ended_at: when it ended.
    """
    found: tuple[list[float], ...] = ([], [], [], [])
    for at, eta_at in told:
        if began_at <= at < ended_at:
            quarter = 4 * (at - began_at) // (ended_at - began_at)
            found[quarter].append(abs(eta_at - ended_at) / (ended_at - at))
    if not any(found):
        return ()
    return tuple(median(errors) if errors else None for errors in found)


class StepProfile(Struct, frozen=True, kw_only=True):
    """What a step usually does: medians over runs."""

    #: How many tasks it has.
    count: int
    #: How long one of its tasks takes, and one of those that have no key here.
    mean_ms: float
    other_ms: float
    #: Its share of the time in which any task runs.
    wall_ms: float
    #: The duration of failed attempts for each millisecond of good ones.
    loss: float
    #: Of items, by their keys.
    keys: Mapping[str, float]


class Profile(Struct, frozen=True, kw_only=True):
    """What is usual for a workflow, as its runs that completed a container tell."""

    #: How many runs it was learned from.
    runs: int = 0
    steps: Mapping[str, StepProfile] = {}
    #: How long a container takes: the median, and what one in ten stays below and above.
    usual_ms: int | None = None
    low_ms: int | None = None
    high_ms: int | None = None
    #: The median relative error of the time left that was foretold in each quarter of a
    #: run; None where too few runs tell.
    errors: tuple[float | None, ...] = ()

    def step(self, name: str) -> StepProfile | None:
        """Return what a step usually does; None if no run tells."""
        # Steps that found no room in the records are kept as one, by its mean.
        return self.steps.get(name) or self.steps.get("")


def profile(rows: Iterable[RunRecord]) -> Profile:
    """Return what is usual, from the records of a workflow's runs in any order."""
    complete = [row for row in rows if row.steps]
    complete.sort(key=lambda row: row.began_at, reverse=True)
    newest = complete[:LEARNED_FROM]
    if not newest:
        return Profile()
    told: dict[str, list[StepStats]] = defaultdict(list)
    for row in newest:
        for stats in row.steps:
            if stats.count:
                told[stats.name].append(stats)
    took = sorted(map(_took, newest))
    tenth = len(took) // 10
    return Profile(
        runs=len(newest),
        steps={name: _step_profile(stats) for name, stats in told.items()},
        usual_ms=round(median(took)),
        low_ms=took[tenth],
        high_ms=took[-1 - tenth],
        errors=_usual_errors(newest),
    )


def _took(row: RunRecord) -> int:
    """Return how long the container took, also if earlier runs did a part of it."""
    worked = sum(step.wall_ms for step in row.steps)
    return max(worked, (row.ended_at or row.began_at) - row.began_at)


def _usual_errors(rows: Sequence[RunRecord]) -> tuple[float | None, ...]:
    found: list[float | None] = []
    for quarter in range(4):
        told = [row.outlook_errors[quarter : quarter + 1] for row in rows]
        errors = [error for errors in told for error in errors if error is not None]
        found.append(median(errors) if len(errors) >= _FEWEST_FOR_RANGE else None)
    return tuple(found)


def _step_profile(stats: Sequence[StepStats]) -> StepProfile:
    keys: dict[str, list[int]] = defaultdict(list)
    for run in stats:
        for key, took in run.keys.items():
            keys[key].append(took)
    busy = sum(run.busy_ms for run in stats)
    return StepProfile(
        count=round(median(run.count for run in stats)),
        mean_ms=_usual(run.busy_ms / run.count for run in stats),
        other_ms=_usual(map(_mean_of_others, stats)),
        wall_ms=median(run.wall_ms for run in stats),
        loss=sum(run.lost_ms for run in stats) / busy if busy else 0.0,
        keys={key: _usual(took) for key, took in keys.items()},
    )


def _usual(took: Iterable[float]) -> float:
    return max(_LEAST_MS, median(took))


def _mean_of_others(run: StepStats) -> float:
    """Return the mean duration of the items that have no key in the record."""
    others = run.count - len(run.keys)
    if others <= 0:
        return run.busy_ms / run.count
    return (run.busy_ms - sum(run.keys.values())) / others


def kept_weights(
    steps: Sequence[PlanStep], stored: Sequence[StepSummary], learned: Profile
) -> dict[str, float]:
    """Return each step's share in the percentage of a container that keeps a plan.

    As the container's first run found them; a step that was added since then gets the
    mean of the others. What a step declares holds always.

    Args:
        steps: the steps of the workflow.
        stored: the plan that the container keeps; empty before its first run.
        learned: what is usual for the workflow.
    """
    known = {step.name: step.weight for step in stored}
    found = {step.name: known[step.name] for step in steps if step.name in known}
    if not found or any(step.weight is not None for step in steps):
        return weights(steps, learned)
    mean = fmean(found.values())
    return {step.name: found.get(step.name, mean) for step in steps}


def weights(steps: Sequence[PlanStep], learned: Profile) -> dict[str, float]:
    """Return each step's share in the percentage of its container.

    As declared, if a step declares its weight; else as runs tell: its share of their
    time. A step that no run tells of gets the mean of the others.
    """
    if any(step.weight is not None for step in steps):
        return {s.name: 1.0 if s.weight is None else s.weight for s in steps}
    told = {step.name: learned.step(step.name) for step in steps}
    known = {name: entry.wall_ms for name, entry in told.items() if entry is not None}
    total = math.fsum(known.values())
    if not total:
        return {step.name: 1.0 for step in steps}
    least = total * _LEAST_WEIGHT
    found = {name: max(least, wall) for name, wall in known.items()}
    mean = fmean(found.values())
    return {step.name: found.get(step.name, mean) for step in steps}
