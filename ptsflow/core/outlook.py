"""When a run will be over, and how much of it is done: what a runner tells of its container.

Each open task takes as long as in earlier runs, corrected by how much slower or faster
this run is; and so the rest is played in virtual time. The end of the last task is the
outlook. It supposes that nothing fails for good.
"""

from __future__ import annotations

from collections.abc import Iterable

from ptsflow.core.history import Profile
from ptsflow.core.insight import Outlook
from ptsflow.core.pace import paces
from ptsflow.core.plan import Plan
from ptsflow.core.run_progress import RunProgress
from ptsflow.core.virtual_run import OpenTasks, VirtualRun

#: Without a history, the rate of a run tells its end after so many milliseconds and
#: so many points of its percentage.
_RATE_AFTER_MS = 5_000
_RATE_AFTER_PERCENT = 3.0


def outlook(
    plan: Plan,
    progress: RunProgress,
    profile: Profile,
    *,
    jobs: int,
    now: int,
    only: Iterable[str] | None = None,
) -> Outlook | None:
    """Return when the run will be over; None if nothing tells how long it takes.

    Args:
        plan: the plan of the run.
        progress: what became of its tasks so far.
        profile: what is usual for the workflow. If no run tells of it, the rate of this
            run so far tells its end.
        jobs: how many bodies run at once.
        now: the time.
        only: the steps and items that the run does alone, if not all.
    """
    if not profile.runs:
        return _by_rate(progress, now)
    chosen = None if only is None else frozenset(only)
    rest = OpenTasks(plan, progress, now=now, only=chosen)
    pace = paces(progress, rest.work, now)
    left = VirtualRun(rest, jobs, pace).play()
    percentage = progress.percentage
    if all(step.weight is None for step in plan.steps):
        if chosen is not None:
            rest = OpenTasks(plan, progress, now=now)
        usual = VirtualRun(rest, jobs, pace, in_usual=True).play()
        whole = _whole(plan, progress, jobs)
        percentage = max(percentage, 100 * (1 - usual / whole))
    gone = max(0, now - progress.began_at)
    quarter = min(3, int(4 * gone / max(1.0, gone + left)))
    error = profile.errors[quarter]
    eta_at = now + round(left)
    spread = None if error is None else round(left * error)
    return Outlook(
        at=now,
        percentage=percentage,
        eta_at=eta_at,
        low_at=None if spread is None else max(now, eta_at - spread),
        high_at=None if spread is None else eta_at + spread,
        runs=profile.runs,
    )


def _whole(plan: Plan, progress: RunProgress, jobs: int) -> float:
    """Return how many milliseconds all of the container usually takes."""
    if progress.whole_ms is None:
        tasks = OpenTasks(plan, progress.blank(), now=0)
        usual = {step.name: 1.0 for step in plan.steps}
        progress.whole_ms = max(1.0, VirtualRun(tasks, jobs, usual).play())
    return progress.whole_ms


def _by_rate(progress: RunProgress, now: int) -> Outlook | None:
    elapsed = now - progress.began_at
    gained = progress.percentage - progress.first_percentage
    if elapsed < _RATE_AFTER_MS or gained < _RATE_AFTER_PERCENT:
        return None
    left = elapsed * (100 - progress.percentage) / gained
    return Outlook(at=now, percentage=progress.percentage, eta_at=now + round(left))
