"""A store that is away before a run begins is waited for."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

import ptsflow
from ptsflow import Workflow, step
from ptsflow.client.client import Client
from ptsflow.core.model import ContainerRecord
from ptsflow.errors import StoreError, StoreUnavailable
from ptsflow.events import Event, Notice
from ptsflow.host.clock import since_boot
from ptsflow.runner.options import RunOptions
from ptsflow.runner.planned_run import plan_run
from ptsflow.runner.run import run_planned
from ptsflow.stores.memory.store import MemoryStore
from ptsflow.stores.store_wait import StoreWait
from tests.support.processes import free_port

_AWAY = StoreUnavailable("away", may_pass=True)


class Once(Workflow):
    @step
    def only(self) -> None:
        pass


class Electing(MemoryStore):
    """A store that is away in the first calls of every kind that a start makes."""

    def __init__(self, away: int) -> None:
        super().__init__()
        self._away = dict.fromkeys(("create", "claim", "table", "save"), away)
        self.claims: list[ContainerRecord | None] = []

    def _be_away(self, call: str) -> None:
        self._away[call] -= 1
        if self._away[call] >= 0:
            raise _AWAY

    def create(
        self, name: str, *, created_at: int | None = None
    ) -> tuple[ContainerRecord, bool]:
        self._be_away("create")
        return super().create(name, created_at=created_at)

    def claim(self, *args: Any, **kwargs: Any) -> ContainerRecord | None:
        # The claim is made, and its answer is lost.
        self.claims.append(super().claim(*args, **kwargs))
        self._be_away("claim")
        return self.claims[-1]

    def table(self, uid: str) -> Any:
        self._be_away("table")
        return super().table(uid)

    def save(self, *args: Any, **kwargs: Any) -> None:
        self._be_away("save")
        super().save(*args, **kwargs)


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))


def test_a_run_begins_once_and_says_once_that_it_waits() -> None:
    store, told = Electing(2), []
    options = RunOptions(store_wait=StoreWait(30))
    planned = plan_run(Once(), options)
    events: list[Any] = []
    report = run_planned(planned, Client(store), [events.append])
    told = [event.text for event in events if hasattr(event, "text")]

    assert report.ok
    assert {claim.fence for claim in store.claims if claim is not None} == {1}
    assert len(store.claims) == 3
    assert told.count("waiting for the store: away") >= 1


def test_without_a_wait_a_run_does_not_begin() -> None:
    with pytest.raises(StoreUnavailable, match="away"):
        run_planned(plan_run(Once(), RunOptions()), Client(Electing(1)), [])


def test_the_wait_for_another_runner_covers_the_store() -> None:
    store = Electing(2)

    assert ptsflow.run(Once(), Client(store), wait=30).ok
    assert len(store.claims) == 3


def test_a_store_of_a_url_is_waited_for_and_that_is_told() -> None:
    told: list[str] = []
    began = since_boot()

    def listen(event: Event) -> None:
        told.append(event.text if isinstance(event, Notice) else "")

    url = f"mongodb://127.0.0.1:{free_port()}/x?timeoutMS=200"
    with pytest.raises(StoreUnavailable):
        ptsflow.run(Once(), url, wait=1.2, listeners=[listen])

    assert since_boot() - began >= 1.2
    assert [text.split(":")[0] for text in told] == ["waiting for the store"]


def test_what_does_not_pass_by_itself_is_not_waited_for() -> None:
    told: list[str] = []
    errors = [StoreUnavailable("unknown host"), StoreError("refused login")]
    began = since_boot()
    for error in errors:

        def fail(error: StoreError = error) -> None:
            raise error

        with pytest.raises(StoreError, match=str(error)):
            StoreWait(30, told.append).through(fail)

    assert told == []
    assert since_boot() - began < 15


def test_a_wait_ends() -> None:
    told: list[str] = []
    began = since_boot()

    def fail() -> None:
        raise _AWAY

    with pytest.raises(StoreUnavailable, match="away"):
        StoreWait(0.3, told.append).through(fail)

    assert told == ["waiting for the store: away"]
    assert 0.3 <= since_boot() - began < 15


def test_a_store_that_is_slow_to_fail_is_told_and_asked_again() -> None:
    told: list[str] = []
    asked: list[float] = []

    def fail_slowly() -> None:
        asked.append(since_boot())
        time.sleep(0.3)
        raise _AWAY

    with pytest.raises(StoreUnavailable, match="away"):
        StoreWait(0.2, told.append).through(fail_slowly)

    assert told == ["waiting for the store: away"]
    assert len(asked) == 2
