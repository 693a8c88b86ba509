"""Looks at a schedule, one after the other: each finds what one by itself would."""

from __future__ import annotations

import random
from datetime import UTC, datetime
from itertools import count
from typing import Any

import pytest

import ptsflow
from ptsflow import Cron, Hour, Workflow, step
from ptsflow.client.schedules import ScheduledWorkflow
from ptsflow.core.due import DueReason
from ptsflow.host.clock import to_millis
from ptsflow.stores import open_store
from ptsflow.stores.base import Store

_NOW = to_millis(datetime(2026, 11, 1, 0, 30, tzinfo=UTC))
_HOUR = 3_600_000
_TICK = {"hour": "{tick:%Y-%m-%dT%H:00+00:00}"}


class Feed(Workflow):
    hour: Hour
    container = "feed:{hour:%Y%m%dT%H}"
    schedule = Cron("0 * * * *", params=_TICK)

    @step
    def load(self) -> None:
        pass


class Berlin(Workflow):
    """Its ticks pass both changes of the clock."""

    schedule = Cron(
        "*/30 1-3 * * *", timezone="Europe/Berlin", params={"tick": "{tick}"}
    )
    tick: str

    @step
    def load(self) -> None:
        pass


@pytest.fixture
def store() -> Store:
    return open_store("memory://", clock=lambda: _NOW)


def scheduled(kind: type[Workflow], since: int | None = None) -> ScheduledWorkflow:
    cron = kind.declared_options.schedule
    assert cron is not None
    return ScheduledWorkflow(kind, cron, since)


@pytest.mark.parametrize("kind", [Feed, Berlin])
@pytest.mark.parametrize("seed", range(3))
def test_ticks_are_the_same_whatever_was_asked_before(
    kind: type[Workflow], seed: int
) -> None:
    chance, one = random.Random(seed), scheduled(kind)  # noqa: S311 - a test
    first, last = _NOW - 300 * _HOUR, _NOW
    for _ in range(20):
        assert one.ticks(first, last) == scheduled(kind).ticks(first, last)
        # Mostly on, by less or more than the window; now and then the clock is set back.
        first += round(chance.choice([0, 1, 1, 1, 400, -350]) * _HOUR * chance.random())
        last = max(first - 1, last + round(chance.uniform(-1, 9) * _HOUR))


def test_many_years_of_ticks_are_not_looked_for_one_by_one(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    years = scheduled(Feed, since=_NOW - 5_000 * _HOUR)
    schedule = years.keep(store, _NOW)
    oldest = years.ticks(_NOW - 5_000 * _HOUR, _NOW)[0]
    store.create(oldest.name)  # By a client, or by a run that died before it began.
    ptsflow.run(Feed(hour=datetime(2026, 10, 31, 7, tzinfo=UTC)), ptsflow.Client(store))
    asked = count()
    container = store.container

    def counted(name: str) -> Any:
        next(asked)
        return container(name)

    monkeypatch.setattr(store, "container", counted)
    found = years.look(store, schedule, _NOW)

    assert len(found.due) == 5_000 - 1
    assert found.due[0].container is not None
    assert {each.reason for each in found.due} == {DueReason.NEW}
    assert next(asked) < 100
