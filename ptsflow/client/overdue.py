"""Looks at a store for what should be done by now and is not."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, tzinfo
from itertools import islice, takewhile

from ptsflow.client.looking import outlooks, runs_back, seen
from ptsflow.core.history import profile
from ptsflow.core.insight import RunStatus, ScheduleRecord
from ptsflow.core.model import ContainerRecord
from ptsflow.core.overdue import Overdue, looked_at_from, overdue, silent
from ptsflow.host.clock import to_datetime, to_millis
from ptsflow.stores.base import Store

#: How late a tick may be that nothing tells the usual time of, in milliseconds.
GRACE_MS = 600_000
#: How many runs are read to know what is usual.
_LEARNED = 40
#: The most ticks that are looked at.
_MOST_TICKS = 2_500


def zone_of(schedule: ScheduleRecord) -> tzinfo:
    """Return the time zone of a schedule; UTC where this machine does not know it."""
    if schedule.zone == "UTC":
        return UTC
    from zoneinfo import ZoneInfo  # noqa: PLC0415 - only for schedules

    try:
        return ZoneInfo(schedule.zone)
    except (LookupError, ValueError, OSError):
        return UTC


def ticks_from(schedule: ScheduleRecord, first: int) -> Iterator[int]:
    """Yield the ticks from a moment on."""
    from ptsflow.core.ticks import ticks  # noqa: PLC0415 - only for schedules

    begin = to_datetime(first - 1)
    yield from map(to_millis, ticks(schedule.cron, zone_of(schedule), begin))


def overdue_of(
    store: Store,
    schedule: ScheduleRecord,
    now: int,
    grace_ms: int = GRACE_MS,
    known: Mapping[str, ContainerRecord] | None = None,
) -> list[Overdue]:
    """Return the ticks of a schedule that are late.

    Args:
        store: where runs and containers are.
        schedule: the schedule.
        now: the time.
        grace_ms: a tick may be late by so much.
        known: all containers by name, where they were read already.
    """
    if schedule.paused_at is not None:
        return []
    first = looked_at_from(schedule, now)
    ticks = _up_to_the_next(schedule, first, now)
    every = runs_back(store, schedule.workflow)
    runs = list(takewhile(lambda run: run.began_at >= first, every))
    names = {run.container for run in runs if run.tick is not None}
    containers = {}
    for name in names:
        record = store.container(name) if known is None else known.get(name)
        if record is not None:
            containers[name] = seen(store, record, now)
    live = [record for record in containers.values() if record.is_leased(now)]
    told = outlooks(store, live, now)
    learned = profile(store.runs(schedule.workflow, limit=_LEARNED))
    return overdue(
        schedule,
        ticks,
        runs,
        containers,
        now=now,
        usual_ms=learned.usual_ms,
        grace_ms=grace_ms,
        outlooks={r.name: told[r.uid] for r in live if r.uid in told},
    )


def _up_to_the_next(schedule: ScheduleRecord, first: int, now: int) -> list[int]:
    found = []
    for tick in islice(ticks_from(schedule, first), _MOST_TICKS):
        found.append(tick)
        if tick > now:
            break
    return found


def silent_for(
    store: Store, workflows: Iterable[str], now: int, within_ms: int
) -> list[Overdue]:
    """Return which of the workflows without a schedule were not done for so long."""
    found = []
    for name in workflows:
        done = store.runs(name, limit=1, status=RunStatus.DONE)
        late = silent(name, done[0] if done else None, now=now, within_ms=within_ms)
        found += [] if late is None else [late]
    return found


def workflows_of(records: Iterable[ContainerRecord]) -> list[str]:
    """Return the names of the workflows that containers are of."""
    return sorted({record.workflow for record in records if record.workflow})
