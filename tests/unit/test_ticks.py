"""The ticks of cron expressions, also where clocks are put forward and back."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import islice
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ptsflow.core.ticks import newest, spelt_out, ticks
from tests.support.minutes import scanned

ZONES = (
    "UTC",
    "Europe/Berlin",
    "Australia/Lord_Howe",
    "America/Sao_Paulo",
    "America/New_York",
    "Asia/Kolkata",
    "Pacific/Chatham",
    "Africa/Casablanca",
)
EXPRESSIONS = (
    "5 * * * *",
    "45 * * * *",
    "*/15 * * * *",
    "30 */2 * * *",
    "* 2 * * 0",
    "*/7 2 * * *",
    "30 2 * * *",
    "0,30 1-3 * * *",
    "10,40 0-1 * * *",
    "15 0 1 * *",
)
#: Days of 2026 and 2027 on which some of these clocks are put forward or back.
CHANGES = (
    "2026-02-15",
    "2026-03-08",
    "2026-03-22",
    "2026-03-29",
    "2026-04-05",
    "2026-09-27",
    "2026-10-04",
    "2026-10-25",
    "2026-11-01",
    "2027-02-07",
    "2027-03-14",
    "2027-03-28",
    "2027-04-04",
    "2027-09-26",
    "2027-10-03",
    "2027-10-31",
    "2027-11-07",
)


def moment(text: str) -> datetime:
    """Return a time in UTC."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def shown(expression: str, zone: str, day: str, hours: int = 24) -> list[str]:
    """Return the ticks of the hours after a day began in UTC, as that zone's clock."""
    begin = moment(day)
    found = ticks(
        expression, ZoneInfo(zone), begin, begin + timedelta(hours=hours, minutes=-1)
    )
    return [f"{tick.astimezone(ZoneInfo(zone)):%H:%M%z}" for tick in found]


@pytest.mark.parametrize(
    ("expression", "zone", "day", "expected"),
    [
        # Berlin: 02:00 becomes 03:00; 03:00 becomes 02:00.
        (
            "5 0-4 * * *",
            "Europe/Berlin",
            "2026-03-29",
            "01:05+0100 03:00+0200 03:05+0200 04:05+0200",
        ),
        (
            "5 * * * *",
            "Europe/Berlin",
            "2026-03-29",
            "01:05+0100 03:05+0200 04:05+0200",
        ),
        (
            "5 * * * *",
            "Europe/Berlin",
            "2026-10-25",
            "02:05+0200 02:05+0100 03:05+0100",
        ),
        ("30 2 * * *", "Europe/Berlin", "2026-03-29", "03:00+0200"),
        ("30 2 * * *", "Europe/Berlin", "2026-10-25", "02:30+0200"),
        # Lord Howe: 02:00 becomes 02:30 at 15:30; 02:00 becomes 01:30 at 15:00.
        ("15 2 * * *", "Australia/Lord_Howe", "2026-10-03T14:40", "02:30+1100"),
        (
            "45 * * * *",
            "Australia/Lord_Howe",
            "2026-04-04T14:40",
            "01:45+1100 01:45+1030 02:45+1030 03:45+1030",
        ),
        ("45 1 * * *", "Australia/Lord_Howe", "2026-04-04T14:40", "01:45+1100"),
        # São Paulo, until 2019: midnight becomes 01:00 at 03:00; 23:00 at 02:00.
        ("0 0 * * *", "America/Sao_Paulo", "2018-11-04T01:00", "01:00-0200"),
        (
            "30 * * * *",
            "America/Sao_Paulo",
            "2018-11-04T02:00",
            "23:30-0300 01:30-0200 02:30-0200",
        ),
        ("30 23 * * *", "America/Sao_Paulo", "2019-02-17T00:00", "23:30-0200"),
        (
            "30 * * * *",
            "America/Sao_Paulo",
            "2019-02-17T01:00",
            "23:30-0200 23:30-0300 00:30-0300",
        ),
    ],
)
def test_the_clocks_change(expression: str, zone: str, day: str, expected: str) -> None:
    assert shown(expression, zone, day, hours=3) == expected.split()


@settings(max_examples=25, deadline=None)
@given(
    st.sampled_from(EXPRESSIONS),
    st.sampled_from(ZONES),
    st.sampled_from(CHANGES),
    st.integers(0, 24 * 60),
)
def test_ticks_are_those_that_a_look_at_each_minute_finds(
    expression: str, zone: str, day: str, minutes: int
) -> None:
    after = moment(day) - timedelta(days=1, minutes=minutes)
    until = after + timedelta(days=2)

    found = list(ticks(expression, ZoneInfo(zone), after, until))

    assert found == scanned(expression, ZoneInfo(zone), after, until)
    assert newest(expression, ZoneInfo(zone), until) == (
        found[-1] if found else newest(expression, ZoneInfo(zone), after)
    )


@pytest.mark.soak
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("zone", ZONES)
def test_two_years_of_ticks_are_those_that_a_look_at_each_minute_finds(
    zone: str,
) -> None:
    after, until = moment("2026-01-01"), moment("2028-01-01")
    for expression in EXPRESSIONS:
        found = list(ticks(expression, ZoneInfo(zone), after, until))

        assert found == scanned(expression, ZoneInfo(zone), after, until)


@given(
    st.sampled_from(EXPRESSIONS),
    st.sampled_from(ZONES),
    st.datetimes(datetime(2000, 1, 1), datetime(2035, 1, 1)),  # noqa: DTZ001
)
def test_no_tick_lies_between_the_newest_and_the_next(
    expression: str, zone: str, at: datetime
) -> None:
    now = at.replace(tzinfo=UTC)
    before = newest(expression, ZoneInfo(zone), now)
    (after,) = islice(ticks(expression, ZoneInfo(zone), now), 1)

    assert before is not None
    assert before <= now < after
    assert list(ticks(expression, ZoneInfo(zone), before, after)) == [after]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("@hourly", "0 * * * *"),
        ("@Daily", "0 0 * * *"),
        ("@weekly", "0 0 * * 0"),
        ("@monthly", "0 0 1 * *"),
        ("@yearly", "0 0 1 1 *"),
        ("  5  4 * jan-mar mon ", "5 4 * jan-mar mon"),
        ("5 4 * *", None),
        ("0 5 4 * * *", None),
        ("61 * * * *", None),
        ("0 0 31 2 *", None),
        ("@reboot", None),
        ("", None),
    ],
)
def test_an_expression_is_spelt_out(given: str, expected: str | None) -> None:
    assert spelt_out(given) == expected


def test_what_comes_once_in_years_is_found() -> None:
    (tick,) = islice(ticks("0 0 29 2 *", UTC, moment("2026-01-01")), 1)

    assert tick == moment("2028-02-29")
    assert newest("0 0 29 2 *", UTC, moment("2026-01-01")) == moment("2024-02-29")
