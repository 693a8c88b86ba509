"""Parameters that mean a whole hour or day, whatever moment is given."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone
from typing import Optional
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ptsflow import Cron, Day, Hour, Workflow, codec, step
from ptsflow.errors import DeclarationError, ParameterError
from ptsflow.workflow.schedule import at

BERLIN = ZoneInfo("Europe/Berlin")
EAST = timezone(timedelta(hours=5, minutes=30))


class Feed(Workflow):
    container = "feed:{hour:%Y%m%dT%H}"
    hour: Hour

    @step
    def load(self) -> None: ...


class Local(Workflow):
    container = "local:{hour:%Y%m%dT%H%z}:{day}"
    schedule = Cron("5 * * * *", timezone="Europe/Berlin")
    hour: Hour
    day: Day

    @step
    def load(self) -> None: ...


def hour_of(kind: type[Workflow], text: str) -> object:
    """Return the hour that a text means to a class."""
    return kind.declared_parameters["hour"].parsed(text, "hour")


def day_of(text: str) -> object:
    """Return the day that a text means to Local."""
    return Local.declared_parameters["day"].parsed(text, "day")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2011-09-30T13", "2011-09-30T13:00:00+00:00"),
        ("2011-09-30T13:59:59.999999", "2011-09-30T13:00:00+00:00"),
        ("2011-09-30 13:05:00+00:00", "2011-09-30T13:00:00+00:00"),
        ("2011-09-30T13:05:00+02:00", "2011-09-30T11:00:00+00:00"),
        ("2011-09-30T13:05:00+05:30", "2011-09-30T07:00:00+00:00"),
        ("2011-09-30", "2011-09-30T00:00:00+00:00"),
    ],
)
def test_a_text_means_an_hour_of_utc(text: str, expected: str) -> None:
    assert hour_of(Feed, text) == datetime.fromisoformat(expected)


def test_the_zone_is_that_of_the_schedule() -> None:
    given = Local(hour=datetime(2026, 6, 1, 23, 40, tzinfo=UTC), day=date(2026, 6, 1))

    assert given.hour == datetime(2026, 6, 2, 1, tzinfo=BERLIN)
    assert day_of("2026-06-01T23:40+00:00") == date(2026, 6, 2)
    assert day_of("2026-06-01T23:40") == date(2026, 6, 1)
    assert day_of("20260601") == date(2026, 6, 1)


def test_values_from_python() -> None:
    assert Local(hour=datetime(2026, 6, 1, 2), day=date(2026, 6, 1)).container_name == (  # noqa: DTZ001
        "local:20260601T02+0200:2026-06-01"
    )
    assert Feed(hour=datetime(2026, 6, 1, 2, 31, tzinfo=EAST)).container_name == (
        "feed:20260531T21"
    )


@pytest.mark.parametrize("value", ["2026-06-01T02", 5, None, date(2026, 6, 1)])
def test_what_is_no_moment_is_refused(value: object) -> None:
    with pytest.raises(ParameterError, match="expected Hour, a time such as"):
        Feed(hour=value)


@pytest.mark.parametrize(
    "text", ["noon", "", "none", "2011-09-30T25", "0001-01-01T00+14:00"]
)
def test_a_text_that_means_no_moment_is_refused(text: str) -> None:
    with pytest.raises(ParameterError, match="expected Hour, a time such as"):
        hour_of(Feed, text)


#: Whatever a clock shows.
FROM, TO = datetime(1971, 1, 1), datetime(2037, 1, 1)  # noqa: DTZ001


@given(st.datetimes(FROM, TO, timezones=st.timezones()))
def test_all_moments_of_an_hour_are_one_value(moment: datetime) -> None:
    for kind in (Feed, Local):
        parameter = kind.declared_parameters["hour"]
        hour = parameter.converted(moment, "hour")

        assert hour.utcoffset() == moment.astimezone(hour.tzinfo).utcoffset()
        assert (
            timedelta()
            <= moment.astimezone(UTC) - hour.astimezone(UTC)
            < timedelta(hours=1)
        )
        assert parameter.converted(hour, "hour") == hour
        assert parameter.parsed(str(moment), "hour") == hour
        assert codec.decode(codec.encode(hour), parameter.hint) == hour


def test_the_two_hours_that_autumn_shows_alike_are_two_values() -> None:
    begin = datetime(2026, 10, 24, 23, tzinfo=UTC)
    names = [
        Local(hour=begin + timedelta(minutes=m), day=date(2026, 1, 1)).container_name
        for m in range(0, 240, 10)
    ]

    assert [name.split(":")[1] for name in dict.fromkeys(names)] == [
        "20261025T01+0200",
        "20261025T02+0200",
        "20261025T02+0100",
        "20261025T03+0100",
    ]


def test_half_an_hour_that_comes_twice_is_one_value() -> None:
    class Island(Workflow):
        hour: Hour
        schedule = Cron("5 * * * *", timezone="Australia/Lord_Howe")

        @step
        def load(self) -> None: ...

    begin = datetime(2026, 4, 4, 14, tzinfo=UTC)
    texts = {
        Island(hour=begin + timedelta(minutes=m)).encoded_parameters()["hour"]
        for m in range(0, 89, 2)
    }

    assert len(texts) == 1


def test_an_hour_that_must_be_given_is_that_of_the_tick() -> None:
    tick = datetime(2026, 10, 25, 1, 5, tzinfo=UTC)

    assert at(Local, Local.schedule, tick).container_name == (
        "local:20261025T02+0100:2026-10-25"
    )


def test_an_hour_in_the_container_s_own_name_is_short() -> None:
    class Plain(Workflow):
        hour: Hour
        last: Optional[Day] = None  # noqa: UP045 - as users may write it
        source: str = "a"

        @step
        def load(self) -> None: ...

    made = Plain(hour=datetime(2026, 6, 1, 2, 30, tzinfo=UTC))

    assert made.container_name == "Plain:hour=2026-06-01T02+00:00,last=None,source=a"
    assert Plain.from_encoded(made.encoded_parameters()).parameters == made.parameters


def test_defaults_are_truncated_too() -> None:
    class Since(Workflow):
        since: Hour = datetime(2026, 6, 1, 2, 30, tzinfo=UTC)
        until: Day | None = None

        @step
        def load(self) -> None: ...

    assert Since().parameters == {
        "since": datetime(2026, 6, 1, 2, tzinfo=UTC),
        "until": None,
    }
    assert Since.declared_parameters["until"].parsed("none", "until") is None
    assert Since.declared_parameters["until"].spelling == "Day | None"


def test_many_hours_are_refused() -> None:
    with pytest.raises(DeclarationError, match="an hour or a day is one parameter"):

        class Many(Workflow):
            hours: list[Hour]

            @step
            def load(self) -> None: ...
