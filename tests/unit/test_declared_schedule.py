"""What a class says of its runs: its schedule, how long it is kept, whom its end is told."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar
from unittest import mock

import pytest

from ptsflow import Cron, Day, Hour, Secret, Workflow, step
from ptsflow.core.ticks import ticks
from ptsflow.errors import DeclarationError, ParameterError
from ptsflow.host.clock import to_millis
from ptsflow.workflow.schedule import _value, at, tick_named

HOURLY = {"hour": "{tick:%Y-%m-%dT%H}"}


class Feed(Workflow):
    container = "feed:{hour:%Y%m%dT%H}"
    hour: datetime
    schedule = Cron("5 * * * *", params=HOURLY)

    @step
    def load(self) -> None: ...


def refused(declare: Callable[[], object]) -> str:
    """Return the one line that a declaration is refused with."""
    with pytest.raises(DeclarationError) as raised:
        declare()

    message = str(raised.value)
    assert "\n" not in message
    return message


def feed(**said: object) -> type[Workflow]:
    """Return a subclass W of Feed whose body says this."""
    return type("W", (Feed,), said)


def test_a_class_says_what_it_says() -> None:
    class Told(Feed):
        keep = "30d"
        remind = 3600
        on_failure = "mail ops"

        def on_done(self, end: object) -> None: ...

    said = Told.declared_options

    assert said.schedule is Feed.schedule
    assert (said.keep_ms, said.remind_ms) == (30 * 86_400_000, 3_600_000)
    assert (said.on_failure, said.on_recovery) == ("mail ops", None)
    assert said.on_done is Told.on_done


def test_a_subclass_may_take_back_what_its_base_says() -> None:
    assert feed(schedule=None).declared_options.schedule is None
    assert feed().declared_options.schedule is Feed.schedule


def test_annotated_names_are_parameters() -> None:
    class Shop(Workflow):
        schedule: str = "winter"
        keep: int = 3
        on_failure: str = ""

        @step
        def work(self) -> None: ...

    assert Shop(keep=4).parameters == {
        "schedule": "winter",
        "keep": 4,
        "on_failure": "",
    }
    assert Shop.declared_options.schedule is None


def test_a_class_variable_is_no_parameter() -> None:
    class Nightly(Workflow):
        container = "feed:{hour:%Y%m%dT%H}"
        hour: datetime
        schedule: ClassVar[Cron] = Cron("5 3 * * *", params=HOURLY)

        @step
        def load(self) -> None: ...

    assert Nightly.declared_options.schedule is Nightly.schedule


def test_methods_and_properties_of_these_names_are_the_classes_own_affair() -> None:
    class Own(Workflow):
        def schedule(self) -> str:
            return ""

        @property
        def keep(self) -> int:
            return 1

        @step
        def work(self) -> None: ...

    assert Own.declared_options.schedule is None
    assert Own.declared_options.keep_ms is None


@pytest.mark.parametrize(
    "name", ["schedule", "keep", "remind", "on_failure", "on_recovery", "on_done"]
)
def test_no_step_has_such_a_name(name: str) -> None:
    def body(self: object) -> None: ...

    body.__name__ = name
    message = refused(lambda: type("W", (Workflow,), {name: step(body)}))

    assert message.startswith(
        f"W.{name}: {name!r} has a meaning of its own in a workflow"
    )


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ({"schedule": 5}, "W.schedule: expected a Cron or a text"),
        ({"keep": "often"}, 'W.keep: expected a duration such as "30d"'),
        ({"keep": 0}, 'W.keep: expected a duration such as "30d"'),
        ({"remind": "x"}, 'W.remind: expected a duration such as "30d"'),
        ({"on_failure": 5}, "W.on_failure: expected a command"),
        ({"on_done": " "}, "W.on_done: expected a command"),
        ({"on_done": lambda self: self}, "W.on_done: expected a command"),
        ({"keep": "24h"}, "W.keep: expected more than the schedule's catch_up, 86400s"),
    ],
)
def test_what_does_not_fit_is_refused(said: dict[str, object], expected: str) -> None:
    assert refused(lambda: feed(**said)).startswith(expected)


def test_a_static_hook_is_given_the_end_alone() -> None:
    assert feed(on_done=staticmethod(print)).declared_options.on_done is print
    assert refused(lambda: feed(on_done=staticmethod(lambda: None)))


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (lambda: Cron("0 5 * * * *"), "found six: there are no seconds"),
        (lambda: Cron("5 * * *"), "expected minute, hour, day, month and weekday"),
        (lambda: Cron("0 0 30 2 *"), "that name a time which comes"),
        (lambda: Cron(5), "expected minute, hour"),  # type: ignore[arg-type]
        (lambda: Cron("@reboot"), "expected minute, hour"),
        (lambda: Cron("@hourly", timezone="Nowhere/Else"), "found 'Nowhere/Else'"),
        (lambda: Cron("@hourly", timezone="../etc"), "Cron(timezone=)"),
        (lambda: Cron("@hourly", timezone=""), "Cron(timezone=)"),
        (lambda: Cron("@hourly", overlap="queue"), "'resume', 'latest', 'skip'"),
        (lambda: Cron("@hourly", catch_up="soon"), "Cron(catch_up=): expected seconds"),
        (lambda: Cron("@hourly", again=0), "Cron(again=): expected seconds"),
        (lambda: Cron("@hourly", jitter=-1), "Cron(jitter=): expected seconds"),
        (lambda: Cron("@hourly", params=[]), "Cron(params=)"),  # type: ignore[arg-type]
        (lambda: Cron("@hourly", params={"n": 5}), "n: expected a text"),  # type: ignore[dict-item]
        (lambda: Cron("@hourly", catchup=1), "did you mean 'catch_up'?"),  # type: ignore[arg-type]
    ],
)
def test_a_wrong_cron_is_refused(make: Callable[[], Cron], expected: str) -> None:
    assert expected in refused(make)


def hourly(**options: Any) -> Callable[[], object]:
    """Return what declares a Feed with such an hourly schedule."""
    given = {"expression": "5 * * * *", "params": HOURLY} | options
    return lambda: feed(schedule=Cron(given.pop("expression"), **given))


@pytest.mark.parametrize(
    ("declare", "expected"),
    [
        (hourly(params={"our": "{tick}"}), "params names 'our' (did you mean 'hour'?)"),
        (hourly(params={}), "the parameter hour has no value at a tick"),
        (hourly(params={"hour": "{now}"}), "'{now}' names 'now'; it may name tick"),
        (hourly(params={"hour": "{tick"}), "is no template"),
        (hourly(params={"hour": "{tick:%H}"}), "expected datetime, found '00'"),
        (hourly(params={"hour": lambda _: 1 / 0}), "ZeroDivisionError"),
        (hourly(params={"hour": lambda _: "noon"}), "expected datetime, found 'noon'"),
        (
            hourly(expression="*/5 * * * *"),
            "both name the container 'feed:20260101T00'",
        ),
        (
            hourly(params={"hour": "2026-01-01T{tick:%H}"}),
            "2026-01-01T00:05:00+00:00 and",
        ),
        (hourly(params={"hour": "2020-{tick:%m-%dT%H}"}), "2027-01-01T00:05:00+00:00"),
        (
            hourly(timezone="Europe/Berlin"),
            "2026-10-25T02:05:00+02:00 and 2026-10-25T02:05:00+01:00 both name",
        ),
        (
            hourly(expression="* * * * *", params={"hour": "{tick}"}),
            "expected up to 1000 ticks in catch_up",
        ),
        (hourly(jitter="1h"), "make it shorter than 3600s"),
    ],
)
def test_a_schedule_that_its_class_cannot_keep_to_is_refused(
    declare: Callable[[], object], expected: str
) -> None:
    assert expected in refused(declare)


def test_a_text_alone_needs_a_name_that_tells_ticks_apart() -> None:
    class Plain(Workflow):
        @step
        def work(self) -> None: ...

    message = refused(lambda: type("W", (Plain,), {"schedule": "@hourly"}))

    assert "both name the container 'W'" in message


def test_the_doubled_hour_of_a_zone_may_be_told_apart_or_never_meant() -> None:
    told = feed(
        container="feed:{hour:%Y%m%dT%H%z}",
        schedule=Cron("5 * * * *", params={"hour": "{tick}"}, timezone="Europe/Berlin"),
    )
    nightly = feed(schedule=Cron("5 3 * * *", params=HOURLY, timezone="Europe/Berlin"))

    assert told.declared_options.schedule is not None
    assert nightly.declared_options.schedule is not None


def test_an_abstract_class_may_lack_parameters_at_a_tick() -> None:
    class Base(Workflow):
        schedule = Cron("5 * * * *")
        hour: datetime

        @step
        @abstractmethod
        def work(self) -> None: ...

    def work(self: object) -> None: ...

    message = refused(lambda: type("W", (Base,), {"work": step(work)}))
    assert "the parameter hour has no value at a tick" in message


def test_a_tick_names_its_workflow_object() -> None:
    class Both(Workflow):
        container = "both:{since:%H%M}-{until:%H%M}:{day}"
        since: datetime
        until: datetime
        day: str

        @step
        def work(self) -> None: ...

        schedule = Cron(
            "30 1,13 * * *",
            timezone="Asia/Kolkata",
            params={
                "since": "{previous:%Y-%m-%dT%H:%M}",
                "until": "{tick:%Y-%m-%dT%H:%M}",
                "day": lambda tick: f"{tick:%d.%m.%y %z}",
            },
        )

    made = at(Both, Both.schedule, datetime(2026, 6, 1, 8, 0, tzinfo=UTC))

    assert made.container_name == "both:0130-1330:01.06.26 +0530"


def test_a_secret_is_read_only_when_a_tick_is_run(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("NO_SUCH_TOKEN", raising=False)

    class Guarded(Feed):
        token: Secret[str]
        schedule = Cron("5 * * * *", params=HOURLY | {"token": "env:NO_SUCH_TOKEN"})

    tick = datetime(2026, 6, 1, tzinfo=UTC)
    with pytest.raises(ParameterError, match="NO_SUCH_TOKEN"):
        at(Guarded, Guarded.schedule, tick)
    monkeypatch.setenv("NO_SUCH_TOKEN", "xyz")
    assert at(Guarded, Guarded.schedule, tick).container_name == "feed:20260601T00"


class Daily(Feed):
    """Follows the days of a clock that is put forward and back by half an hour."""

    container = "daily:{day}"
    hour: datetime = datetime(2026, 1, 1, tzinfo=UTC)
    day: Day
    schedule = Cron("45 1 * * *", timezone="Australia/Lord_Howe", catch_up="400d")


class Hourly(Feed):
    """Follows the hours of a clock that is put forward and back."""

    container = "hourly:{hour:%Y%m%dT%H%z}"
    hour: Hour
    schedule = Cron("*/60 * * * *", timezone="Europe/Berlin", catch_up="40d")


class Spelt(Workflow):
    """Has the hour as a text, of a clock that is far ahead."""

    container = "spelt:{hour}"
    hour: str
    schedule = Cron(
        "5 * * * *",
        params={"hour": "{tick:%Y-%m-%dT%H%z}"},
        timezone="Pacific/Kiritimati",
        catch_up="40d",
    )

    @step
    def load(self) -> None: ...


class Named(Feed):
    """Has a parameter that a function makes, and a secret that nobody can read."""

    container = "named:{number}"
    hour: datetime = datetime(2026, 1, 1, tzinfo=UTC)
    number: int
    key: Secret[str]
    schedule = Cron(
        "5 * * * *",
        params={"number": lambda tick: int(tick.timestamp()), "key": "env:NO_KEY"},
    )


@pytest.mark.parametrize("kind", [Feed, Daily, Hourly, Spelt, Named])
@pytest.mark.parametrize("day", ["2026-03-30", "2026-04-06", "2026-10-26"])
def test_a_run_by_hand_is_that_of_the_tick_that_names_its_container(
    kind: type[Workflow], day: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    cron = kind.declared_options.schedule
    assert cron is not None
    now = datetime.fromisoformat(f"{day}T12:00+00:00")
    begin = now - timedelta(hours=23)
    monkeypatch.setenv("NO_KEY", "read")
    made = [
        (tick, at(kind, cron, tick))
        for tick in ticks(cron.expression, cron.zone, begin, now)
    ]
    monkeypatch.delenv("NO_KEY")

    assert made
    for tick, workflow in made:
        name = workflow.container_name
        assert tick_named(workflow, name, now) == to_millis(tick)
        assert tick_named(workflow, "another", now) is None
        later = now + timedelta(milliseconds=cron.catch_up_ms)
        assert tick_named(workflow, name, later) is None


def test_no_more_ticks_are_named_than_can_be_those_of_a_run_by_hand() -> None:
    now = datetime(2026, 11, 29, 18, 30, tzinfo=UTC)
    with mock.patch("ptsflow.workflow.schedule.at", wraps=at) as named:
        for kind in (Feed, Hourly):
            assert tick_named(kind(hour=now - timedelta(hours=7)), "x", now) is None
    with mock.patch("ptsflow.workflow.schedule._value", wraps=_value) as valued:
        for hour in (now - timedelta(days=20), now + timedelta(days=20)):
            assert tick_named(Spelt(hour=f"{hour:%Y-%m-%dT%H}"), "x", now) is None

    assert named.call_count == 1
    assert valued.call_count <= 72, "three days, not 40"
