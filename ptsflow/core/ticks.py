"""The moments that a cron expression names: its ticks.

An expression tells what a clock on the wall shows. Where that clock is put forward or
back, ticks follow Debian's cron. An expression whose minute or hour begins with `*` has a
tick whenever the wall clock shows it: twice in an hour that comes twice, never in one
that is left out. Any other has each of its times once a day: the first of the two, and
the end of the gap.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, tzinfo

#: What stands for an expression of five fields.
_NICKNAMES = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
_FIELDS = 5
#: No clock is put forward or back by more than this at once.
_LARGEST_CHANGE = timedelta(days=1, hours=3)
_DAY = timedelta(days=1)
_SECOND = timedelta(seconds=1)
#: How far changes are looked for at once.
_LONGEST_PART = timedelta(days=30)


def spelt_out(expression: str) -> str | None:
    """Return an expression as five fields; None if it names no time."""
    from cronsim import CronSim, CronSimError  # noqa: PLC0415 - only for schedules

    fields = _NICKNAMES.get(expression.strip().lower(), expression).split()
    if len(fields) != _FIELDS:
        return None
    text = " ".join(fields)
    try:
        first = next(CronSim(text, datetime(2026, 1, 1)), None)  # noqa: DTZ001
    except CronSimError:
        return None
    return None if first is None else text


def ticks(
    expression: str, zone: tzinfo, after: datetime, until: datetime | None = None
) -> Iterator[datetime]:
    """Yield the ticks after a moment, in order, up to and with `until`; all are UTC.

    Args:
        expression: five fields, as `spelt_out` returns them.
        zone: the time zone of the clock on the wall.
        after: the moment, in UTC: Python finds no time equal that another zone has twice.
        until: the end, in UTC.
    """
    every = _with_all_repeats if _is_repeated(expression) else _each_once
    for tick in every(expression, zone, after):
        if until is not None and tick > until:
            return
        yield tick


def newest(expression: str, zone: tzinfo, until: datetime) -> datetime | None:
    """Return the last tick up to and with a moment, in UTC; None if there was none."""
    wall = until.astimezone(zone).replace(tzinfo=None) + _LARGEST_CHANGE
    for shown in _wall_times(expression, wall, is_backwards=True):
        since = shown.replace(tzinfo=zone).astimezone(UTC) - _LARGEST_CHANGE
        found = list(ticks(expression, zone, since, until))
        if found:
            return found[-1]
    return None


def _is_repeated(expression: str) -> bool:
    minute, hour, *_ = expression.split()
    return minute.startswith("*") or hour.startswith("*")


def _each_once(expression: str, zone: tzinfo, after: datetime) -> Iterator[datetime]:
    """Yield each time of the wall clock once, also one that comes twice or never."""
    wall = after.astimezone(zone).replace(tzinfo=None) - _LARGEST_CHANGE
    last = after
    for shown in _wall_times(expression, wall):
        moment = shown.replace(tzinfo=zone).astimezone(UTC)
        if moment.astimezone(zone).replace(tzinfo=None) != shown:  # In a gap.
            moment = _end_of_gap(zone, shown)
        if moment > last:
            last = moment
            yield moment


def _end_of_gap(zone: tzinfo, shown: datetime) -> datetime:
    """Return when a time would be that the wall clock leaves out."""
    # With the offset after the change, such a time is before the change, and vice versa.
    before = shown.replace(tzinfo=zone, fold=1).astimezone(UTC)
    after = shown.replace(tzinfo=zone, fold=0).astimezone(UTC)
    return _change(zone, before, after)


def _with_all_repeats(
    expression: str, zone: tzinfo, after: datetime
) -> Iterator[datetime]:
    """Yield a tick whenever the wall clock shows it."""
    for begin, end, offset in _even_parts(zone, after):
        wall = (begin + offset).replace(tzinfo=None)
        for shown in _wall_times(expression, wall):
            moment = shown.replace(tzinfo=UTC) - offset
            if moment > end:
                break
            yield moment


def _even_parts(
    zone: tzinfo, after: datetime
) -> Iterator[tuple[datetime, datetime, timedelta]]:
    """Yield parts of time in which the wall clock has one offset from UTC.

    Each is after a moment, up to and with another one.
    """
    begin = end = after
    offset = _offset(zone, after)
    while True:
        if _offset(zone, end + _DAY) == offset:
            end += _DAY
            if end - begin >= _LONGEST_PART:
                yield begin, end, offset
                begin = end
        else:
            change = _change(zone, end, end + _DAY)
            yield begin, change - _SECOND, offset
            begin, end, offset = change - _SECOND, change, _offset(zone, change)


def _offset(zone: tzinfo, moment: datetime) -> timedelta:
    return moment.astimezone(zone).utcoffset() or timedelta()


def _change(zone: tzinfo, before: datetime, after: datetime) -> datetime:
    """Return the first second at which the offset is that of `after`."""
    offset = _offset(zone, after)
    while after - before > _SECOND:
        middle = before + (after - before) // (2 * _SECOND) * _SECOND
        if _offset(zone, middle) == offset:
            after = middle
        else:
            before = middle
    return after


def _wall_times(
    expression: str, wall: datetime, *, is_backwards: bool = False
) -> Iterator[datetime]:
    """Yield the times that an expression names on a wall clock that is never changed."""
    # CronSim is given no zone: where a clock changes by half an hour it misses ticks.
    from cronsim import CronSim  # noqa: PLC0415 - only for schedules

    yield from CronSim(expression, wall, reverse=is_backwards)
