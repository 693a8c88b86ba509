"""Which ticks of a schedule are late: what should have happened, and did not."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum

from msgspec import Struct

from ptsflow.core.insight import (
    FailedTask,
    Outlook,
    RunRecord,
    RunStatus,
    ScheduleRecord,
)
from ptsflow.core.model import ContainerRecord, Status

#: How much longer than usual a tick may take.
_SLACK = 1.5


class Lateness(StrEnum):
    """In which way something is late."""

    LATE = "late"
    #: It is older than `catch_up`, so that `--due` does not run it any more.
    GIVEN_UP = "given up"
    #: It runs, and its end is expected after the next tick.
    SLOW = "slow"
    #: A workflow without a schedule was not done for too long.
    SILENT = "silent"


class Overdue(Struct, frozen=True, kw_only=True):
    """Something that should be done by now; times are milliseconds since the epoch."""

    workflow: str
    lateness: Lateness
    #: The tick, or when the workflow was last done; None if it never was.
    tick: int | None
    #: When it is usually done, or is expected to be done; None if nothing tells.
    expected_at: int | None = None
    #: The container, if a run of it tells of the tick.
    container: str = ""
    #: How the container stands; None if there is none.
    status: Status | None = None
    #: Whether somebody runs it.
    is_live: bool = False
    failed: Sequence[FailedTask] = ()


def looked_at_from(schedule: ScheduleRecord, now: int) -> int:
    """Return the oldest moment whose tick is told of: for a time, what was given up is."""
    return max(schedule.since, now - 2 * schedule.catch_up_ms)


def overdue(  # noqa: PLR0913 - all that a decision is made of
    schedule: ScheduleRecord,
    ticks: Sequence[int],
    runs: Iterable[RunRecord],
    containers: Mapping[str, ContainerRecord],
    *,
    now: int,
    usual_ms: int | None,
    grace_ms: int,
    outlooks: Mapping[str, Outlook],
) -> list[Overdue]:
    """Return the ticks of a schedule that are late, the oldest first.

    A tick is late if it is not done after 1.5 times the usual time, and not before the
    grace is over. While the schedule is paused nothing is.

    Args:
        schedule: the schedule.
        ticks: those since `looked_at_from`, up to the first after now.
        runs: those that began since then.
        containers: of these runs, by their names; a dead runner holds nothing.
        now: the time.
        usual_ms: how long a container usually takes; None if nothing tells.
        grace_ms: a tick may be late by so much.
        outlooks: what runners expect, by the names of containers.
    """
    if schedule.paused_at is not None:
        return []
    told = list(runs)
    names = {run.tick: run.container for run in told if run.tick is not None}
    done = {run.container for run in told if run.status is RunStatus.DONE}
    past = [tick for tick in ticks if tick <= now]
    following = next((tick for tick in ticks if tick > now), None)
    if schedule.overlap in ("latest", "skip"):
        past = past[-1:]  # Older ones are passed over.
    found = []
    for tick in past:
        name = names.get(tick, "")
        container = containers.get(name)
        if name in done or (container and container.status is Status.DONE):
            continue
        lateness, expected_at = _judged(
            schedule,
            tick,
            now=now,
            following=following,
            outlook=outlooks.get(name),
            usual_ms=usual_ms,
            grace_ms=grace_ms,
        )
        if lateness is None:
            continue
        failed = next((run.failed for run in told if run.container == name), ())
        found.append(
            Overdue(
                workflow=schedule.workflow,
                lateness=lateness,
                tick=tick,
                expected_at=expected_at,
                container=name,
                status=None if container is None else container.status,
                is_live=container is not None and container.is_leased(now),
                failed=failed,
            )
        )
    return found


def _judged(  # noqa: PLR0913 - all that a decision is made of
    schedule: ScheduleRecord,
    tick: int,
    *,
    now: int,
    following: int | None,
    outlook: Outlook | None,
    usual_ms: int | None,
    grace_ms: int,
) -> tuple[Lateness | None, int | None]:
    due_at = tick + schedule.jitter_ms
    usually_at = None if usual_ms is None else due_at + usual_ms
    if tick <= now - schedule.catch_up_ms:
        return Lateness.GIVEN_UP, usually_at
    if due_at + max(_SLACK * (usual_ms or 0), grace_ms) < now:
        return Lateness.LATE, usually_at
    eta_at = None if outlook is None else outlook.eta_at
    if eta_at is not None and following is not None and eta_at > following:
        return Lateness.SLOW, eta_at
    return None, None


def silent(
    workflow: str, newest: RunRecord | None, *, now: int, within_ms: int
) -> Overdue | None:
    """Return what is late of a workflow without a schedule; None if nothing is.

    Args:
        workflow: its name.
        newest: the last run that completed a container of it.
        now: the time.
        within_ms: one must have been completed within this time.
    """
    done_at = None if newest is None else newest.ended_at
    if done_at is not None and done_at > now - within_ms:
        return None
    return Overdue(workflow=workflow, lateness=Lateness.SILENT, tick=done_at)
