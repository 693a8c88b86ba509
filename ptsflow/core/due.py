"""Which ticks of a schedule are to be run now, and in which order.

The container that a tick names tells whether the tick is done, and its lease is the lock:
who holds it runs the tick, all others leave it alone.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from enum import StrEnum
from zlib import crc32

from msgspec import Struct

from ptsflow.core.insight import RunRecord, RunStatus, ScheduleRecord
from ptsflow.core.model import ContainerRecord, Status


class Tick(Struct, frozen=True):
    """A moment at which a workflow is due, and the container that the moment names."""

    at: int
    name: str


class DueReason(StrEnum):
    """Why a tick is due."""

    NEW = "new"
    #: A run of its container failed, and it is time to try again.
    FAILED = "failed"
    #: A run of its container ended before all was done: it was stopped, or it died.
    UNFINISHED = "unfinished"


class Due(Struct, frozen=True):
    """A tick that is to be run."""

    tick: Tick
    reason: DueReason
    #: Its container, if there is one.
    container: ContainerRecord | None = None

    @property
    def name(self) -> str:
        """The name of its container."""
        return self.tick.name


class DueTicks(Struct, frozen=True):
    """What one look at a schedule finds."""

    #: What is to be run, in this order.
    due: Sequence[Due] = ()
    #: The tick that a live runner has; then nothing is to be run beside it.
    held: Due | None = None
    #: When the next of the ticks that were looked at will be due; None if none will.
    next_at: int | None = None


def first_in(schedule: ScheduleRecord, now: int, since: int | None = None) -> int:
    """Return the earliest moment whose tick may be due.

    Args:
        schedule: the schedule.
        now: the time.
        since: older ticks are wanted on purpose, back to this time.
    """
    if since is not None:
        return since
    return max(schedule.since, now - schedule.catch_up_ms + 1)


def due_at(schedule: ScheduleRecord, tick: Tick) -> int:
    """Return when a tick is due: every host delays it by the same part of the jitter."""
    return tick.at + crc32(tick.name.encode()) % (schedule.jitter_ms + 1)


def due(  # noqa: PLR0913 - all that a decision is made of
    schedule: ScheduleRecord,
    ticks: Iterable[Tick],
    *,
    now: int,
    containers: Mapping[str, ContainerRecord],
    held: Collection[str] = (),
    elsewhere: Sequence[Tick] = (),
    done: Collection[str] = (),
    tried: Collection[str] = (),
) -> DueTicks:
    """Return what is to be run of a schedule that is not paused.

    Args:
        schedule: the schedule.
        ticks: those of the window that begins with `first_in`, oldest first.
        now: the time.
        containers: those that ticks name, by their names.
        held: names of those that a live runner has.
        elsewhere: ticks outside of the window whose containers a live runner still has:
            it may run for longer than the window is, or the clock was set.
        done: names of containers that are gone, and that a run completed.
        tried: names that this caller has run, so that it does not run them again.
    """
    past = [tick for tick in ticks if due_at(schedule, tick) <= now]
    newest = past[-1:]
    one_at_a_time = {
        "resume": [*elsewhere, *past],
        "skip": [*elsewhere, *past],
        "latest": newest,
        "parallel": [],
    }[schedule.overlap]
    past = newest if schedule.overlap in ("latest", "skip") else past
    open_ones = [
        tick
        for tick in past
        if tick.name not in done and not _is_done(containers.get(tick.name))
    ]
    found, next_at = [], None
    for tick in open_ones:
        container = containers.get(tick.name)
        again_at = _again_at(schedule, container)
        if tick.name in held:
            continue
        if again_at > now:
            next_at = again_at if next_at is None else min(next_at, again_at)
        elif tick.name not in tried:
            found.append(Due(tick, _reason(container), container))
    for tick in one_at_a_time:
        container = containers.get(tick.name)
        # One that is done is only looked at.
        if tick.name in held and not _is_done(container):
            return DueTicks([], Due(tick, DueReason.UNFINISHED, container), next_at)
    return DueTicks(found, None, next_at)


def _is_done(container: ContainerRecord | None) -> bool:
    return container is not None and container.status is Status.DONE


def _again_at(schedule: ScheduleRecord, container: ContainerRecord | None) -> int:
    """Return when the tick of a container is due again; 0 for at once."""
    if container is None or container.status is not Status.FAILED:
        return 0
    return (container.ended_at or 0) + schedule.again_ms


def _reason(container: ContainerRecord | None) -> DueReason:
    if container is None or container.started_at is None:
        return DueReason.NEW
    is_failed = container.status is Status.FAILED
    return DueReason.FAILED if is_failed else DueReason.UNFINISHED


def completed(runs: Iterable[RunRecord]) -> set[str]:
    """Return the names of the containers that runs completed."""
    return {run.container for run in runs if run.status is RunStatus.DONE}
