"""The ticks of a cron expression found the slow way: by looking at each minute."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta, tzinfo

from cronsim import CronSim

MINUTE = timedelta(minutes=1)


class Fields:
    """Whether a cron expression names what a clock on the wall shows."""

    def __init__(self, expression: str) -> None:
        self._parsed = CronSim(expression, datetime(2026, 1, 1))  # noqa: DTZ001
        minute, hour, *_ = expression.split()
        self.is_repeated = minute.startswith("*") or hour.startswith("*")

    def has(self, shown: datetime) -> bool:
        """Whether it names that minute."""
        parsed = self._parsed
        return (
            shown.minute in parsed.minutes
            and shown.hour in parsed.hours
            and shown.month in parsed.months
            and parsed.match_day(shown.date())
        )


def scanned(
    expression: str, zone: tzinfo, after: datetime, until: datetime
) -> list[datetime]:
    """Return the ticks after a moment up to another one, both in UTC."""
    fields = Fields(expression)
    if fields.is_repeated:
        found = (now for now, shown in _walk(zone, after, until) if fields.has(shown))
        return list(found)
    # Each minute of the wall clock counts when the clock first shows it, or jumps over it.
    begin = after - timedelta(days=2)
    latest = _wall(begin, zone)
    ticks = []
    for now, shown in _walk(zone, begin, until):
        new = []
        while latest < shown:
            latest += MINUTE
            new.append(latest)
        if now > after and any(map(fields.has, new)):
            ticks.append(now)
    return ticks


def _wall(moment: datetime, zone: tzinfo) -> datetime:
    return moment.astimezone(zone).replace(tzinfo=None)


def _walk(
    zone: tzinfo, after: datetime, until: datetime
) -> Iterator[tuple[datetime, datetime]]:
    now = after
    while now < until:
        now += MINUTE
        yield now, _wall(now, zone)
