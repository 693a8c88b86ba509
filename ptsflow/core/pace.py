"""How fast a run is, against what is usual: by what it finished, and by what runs."""

from __future__ import annotations

import math
from collections.abc import Mapping

from ptsflow.core.run_progress import Running, RunProgress

#: How many finished tasks make the pace of a step as telling as that of the whole run.
_TELLING_TASKS = 3
#: Of all expected work, the share that has to be seen to tell half of the run's pace.
_TELLING_WORK = 0.05
#: From here on, in percent, a report of progress tells when its task ends; and whether
#: the run is slow.
_FIRST_REPORT = 2.0
_TELLING_REPORT = 5.0
#: How long a task goes on that should be over: of what it should take, and of its delay.
_LEAST_LEFT = 0.15
_LEFT_OF_DELAY = 0.25


def paces(
    progress: RunProgress, work: Mapping[str, float], now: int
) -> dict[str, float]:
    """Return by step how many times longer than usual its tasks take in this run.

    Args:
        progress: what became of the run's tasks so far.
        work: how long the open tasks of each step usually take in all, in milliseconds.
        now: the time.
    """
    finished = progress.finished
    seen = [(f.expected_ms, f.log_ratio) for f in finished.values() if f.count]
    seen += [
        told
        for entry in progress.running.values()
        if (told := _told_by(entry, progress.durations.of(entry.task), now))
    ]
    weight = math.fsum(expected for expected, _ in seen)
    total = math.fsum(f.expected_ms for f in finished.values())
    total += math.fsum(work.values())
    of_run = math.fsum(expected * ratio for expected, ratio in seen)
    of_run /= max(1.0, weight + _TELLING_WORK * total)
    found: dict[str, float] = {}
    for step, of_step in finished.items():
        own = of_step.count / (of_step.count + _TELLING_TASKS)
        found[step] = math.exp(own * of_step.log_ratio + (1 - own) * of_run)
    return found


def _told_by(entry: Running, usual: float, now: int) -> tuple[float, float] | None:
    """Return how much work a running task tells of, and the logarithm of its pace."""
    elapsed = entry.elapsed(now)
    if not usual or not elapsed:
        return None
    total = entry.total(_TELLING_REPORT)
    if total is None:
        return (usual, math.log(elapsed / usual)) if elapsed > usual else None
    total = max(total, elapsed)
    return usual * elapsed / total, math.log(total / usual)


def left_of(entry: Running, expected: float, now: int) -> float:
    """Return how many milliseconds a running task still takes.

    Args:
        entry: the task.
        expected: how long it should take in all, in this run.
        now: the time.
    """
    elapsed, share = entry.elapsed(now), entry.percentage / 100
    by_report = entry.total(_FIRST_REPORT)
    if by_report is not None:
        # The further the task is, the more its own rate is believed.
        trust = math.sqrt(share)
        total = trust * by_report + (1 - trust) * expected
        expected = entry.elapsed(entry.said_at) + (1 - share) * total
    delay = max(0.0, elapsed - expected)
    least = _LEAST_LEFT * (1 - share) * expected + _LEFT_OF_DELAY * delay
    return max(expected - elapsed, least)
