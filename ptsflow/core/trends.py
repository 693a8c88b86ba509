"""What the runs of a workflow tell of its steps: how long they take, and what changed."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence

from msgspec import Struct

from ptsflow.core.averages import median
from ptsflow.core.insight import RunRecord, RunStatus, StepStats

#: How many of the newest runs are told of.
TOLD_OF = 20
#: How many of the newest runs are compared with those before.
_NEWEST = 5


class StepTrend(Struct, frozen=True, kw_only=True):
    """A step in the newest runs: those that completed a container, if not said otherwise.

    The duration of a step in a run is that of its task, or the mean of its items'.
    """

    #: "" for steps that found no room in the records, as one.
    name: str
    #: How many tasks it has: the median.
    count: int
    median_ms: float
    #: What nine of ten runs stay below.
    p90_ms: float
    #: The median of the newest runs to that of the runs before, less 1; None if there are
    #: too few.
    change: float | None
    #: In how many runs an attempt failed, of how many.
    retried: int
    runs: int
    #: In how many runs a task was failed at the end, of how many that ended at all.
    failed: int
    ended: int


def trends(rows: Iterable[RunRecord]) -> list[StepTrend]:
    """Return what the newest runs tell of each step, in the order of the newest one.

    Args:
        rows: the records of one workflow's runs, the newest first.
    """
    rows = list(rows)
    ended = [row for row in rows if row.status is not RunStatus.RUNNING][:TOLD_OF]
    failed = [{_step_of(task.name) for task in row.failed} for row in ended]
    told: dict[str, list[StepStats]] = defaultdict(list)
    for row in [row for row in rows if row.steps][:TOLD_OF]:
        for stats in row.steps:
            if stats.count:
                told[stats.name].append(stats)
    names = dict.fromkeys([*told, *sorted(set[str]().union(*failed))])
    return [
        _trend(name, told[name], sum(name in steps for steps in failed), len(ended))
        for name in names
    ]


def _trend(name: str, stats: Sequence[StepStats], failed: int, ended: int) -> StepTrend:
    took = [run.busy_ms / run.count for run in stats]
    before = took[_NEWEST:]
    usual = median(before) if before else 0.0
    return StepTrend(
        name=name,
        count=round(median(run.count for run in stats)) if stats else 0,
        median_ms=median(took) if took else 0.0,
        p90_ms=sorted(took)[math.ceil(0.9 * len(took)) - 1] if took else 0.0,
        change=median(took[:_NEWEST]) / usual - 1 if usual else None,
        retried=sum(run.failed_attempts > 0 for run in stats),
        runs=len(stats),
        failed=failed,
        ended=ended,
    )


def _step_of(task: str) -> str:
    return task.partition("[")[0]
