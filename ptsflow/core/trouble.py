"""Who is told of a run's end: once when trouble begins, once when it is over.

A trouble of a workflow begins with a run that fails, and goes on until a run has ended
well and no container that failed in it is unfinished. So an hour that fails while other
hours succeed is one trouble, until that hour is repaired, deleted or given up.

What was told is kept in the ledger of runs. Each run that failed is given an ordinal, and
so is each run that ended a trouble: so a trouble is the runs that failed after the last
one that ended well, by their ordinals. No two runs have one ordinal. So if several runs
end at the same time, each one's decision is made after the other's; clocks do not matter.
`told_at` of such a run says when somebody was told of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from enum import StrEnum

from msgspec import Struct

from ptsflow.core.insight import FailedTask, RunRecord, RunStatus

#: How runs end that begin a trouble. A run that died is not among them: the next run goes
#: on with it.
FAILURES = (RunStatus.FAILED, RunStatus.TIMEOUT)


class HookName(StrEnum):
    """What is called at the end of a run."""

    FAILURE = "on_failure"
    RECOVERY = "on_recovery"
    DONE = "on_done"


class RunEnd(Struct, frozen=True, kw_only=True):
    """How a run ended, as hooks are told of it."""

    hook: HookName
    container: str
    workflow: str
    #: "done", "failed" or "timeout".
    status: str
    #: One line for people.
    summary: str
    #: How much of the container is complete.
    percentage: float
    #: The first ten tasks that failed, each with the first line of its error.
    failed: tuple[FailedTask, ...]
    #: How many runs of the workflow have failed in this trouble.
    failures: int
    #: The tick of the schedule that the container is named by, in milliseconds since the
    #: epoch; None if it has none.
    tick: int | None
    began_at: int
    ended_at: int


class Trouble(Struct, frozen=True):
    """A trouble that was told and is not over."""

    #: When it was told last.
    told_at: int
    #: The runs that failed in it, also those without an ordinal.
    failures: Sequence[RunRecord]


def trouble_of(
    numbered: Sequence[RunRecord], failures: Iterable[RunRecord]
) -> Trouble | None:
    """Return the trouble that a workflow is in; None if it is in none.

    Args:
        numbered: its runs that have an ordinal, the largest first, back to the last one
            that ended well.
        failures: its runs that failed. Those without an ordinal, whose runner was killed
            or called no hooks, belong to the trouble if they ended in it.
    """
    failed = [run for run in numbered if run.status in FAILURES]
    if not failed:
        return None
    began = min(_ended(run) for run in failed)
    others = [r for r in failures if r.ordinal is None and _ended(r) >= began]
    told = [run.told_at for run in failed if run.told_at is not None]
    return Trouble(told_at=max(told, default=0), failures=[*failed, *others])


def ordinal_after(numbered: Sequence[RunRecord]) -> int:
    """Return the ordinal of the next run that fails, or that ends a trouble."""
    return 1 + (numbered[0].ordinal or 0) if numbered else 1


def hook_for(
    run: RunRecord,
    trouble: Trouble | None,
    is_unfinished: Callable[[RunRecord], bool],
    *,
    now: int,
    remind_ms: int | None = None,
) -> HookName | None:
    """Return what the end of a run is told by, besides `on_done`; None for nothing.

    Args:
        run: the run, which has ended.
        trouble: the trouble that its workflow is in.
        is_unfinished: whether the container of a failed run is still to be repaired.
        now: the time.
        remind_ms: after how long a trouble that goes on is told again, if at all.
    """
    if run.status in FAILURES:
        is_new = trouble is None
        is_due = (
            remind_ms is not None and trouble and now - trouble.told_at >= remind_ms
        )
        return HookName.FAILURE if is_new or is_due else None
    if run.status is RunStatus.DONE and trouble is not None:
        is_over = not any(map(is_unfinished, trouble.failures))
        return HookName.RECOVERY if is_over else None
    return None


def _ended(run: RunRecord) -> int:
    return run.began_at if run.ended_at is None else run.ended_at
