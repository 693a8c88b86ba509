"""Time: milliseconds since the epoch for records, seconds since boot for deadlines."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import overload

#: Returns the time in milliseconds since the epoch. Tests pass clocks of their own.
Clock = Callable[[], int]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def system_clock() -> int:
    """Return the time of day in milliseconds since the epoch."""
    return time.time_ns() // 1_000_000


# CLOCK_BOOTTIME counts while a laptop sleeps, CLOCK_MONOTONIC does not. With the latter,
# a lease that expired during the sleep would seem to be live.
_BOOTTIME = getattr(time, "CLOCK_BOOTTIME", None) or time.CLOCK_MONOTONIC


def since_boot() -> float:
    """Return seconds since the machine started, including the time asleep."""
    return time.clock_gettime(_BOOTTIME)


def boot_millis() -> int:
    """Return milliseconds since the machine started: a clock that nobody can set."""
    return time.clock_gettime_ns(_BOOTTIME) // 1_000_000


def steady_clock() -> Clock:
    """Return a clock that begins at the time of day, and then counts as `boot_millis` does.

    The waits and durations of a run are right also if the time of day is set meanwhile,
    or stands still, as in tests with a frozen clock.
    """
    ahead = system_clock() - boot_millis()
    return lambda: time.clock_gettime_ns(_BOOTTIME) // 1_000_000 + ahead


@overload
def to_datetime(millis: int) -> datetime: ...
@overload
def to_datetime(millis: int | None) -> datetime | None: ...
def to_datetime(millis: int | None) -> datetime | None:
    """Return the aware UTC datetime of `millis`, exact to the millisecond."""
    return None if millis is None else _EPOCH + timedelta(milliseconds=millis)


def to_millis(moment: datetime) -> int:
    """Return an aware datetime as milliseconds since the epoch, rounded down."""
    return (moment - _EPOCH) // timedelta(milliseconds=1)
