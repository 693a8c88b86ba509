"""`keep`: a good run deletes done containers of its workflow that ended long ago."""

from __future__ import annotations

import time
from collections.abc import Collection

import pytest

import ptsflow
from ptsflow import Fail, Workflow, step
from ptsflow.client import retention
from ptsflow.client.client import Client
from ptsflow.core.model import ContainerRecord
from ptsflow.errors import StoreUnavailable
from ptsflow.events import Event, Notice
from ptsflow.stores.memory.store import MemoryStore
from tests.api.conftest import main_stores


class Kept(Workflow):
    """Keeps its containers for a moment."""

    container = "kept:{number}"
    number: int
    fails: bool = False
    keep = 0.05

    @step(retry=0)
    def work(self) -> int:
        if self.fails:
            raise Fail("not today")
        return self.number


#: The same workflow, as it was when it kept its containers for longer.
Earlier = type("Kept", (Kept,), {"keep": "30d"})


class Lasting(Workflow):
    container = "lasting:{number}"
    number: int

    @step
    def work(self) -> int:
        return self.number


def names(client: Client, others: Collection[str] = ()) -> list[str]:
    found = [container.name for container in client.get_task_containers()]
    return [name for name in found if name not in others]


@main_stores
def test_a_good_run_deletes_what_is_old_and_its_history_stays(url: str) -> None:
    with ptsflow.connect(url) as client:
        others = names(client)
        for number in (1, 2):
            assert ptsflow.run(Earlier(number=number), client).ok
        assert ptsflow.run(Lasting(number=1), client).ok
        assert not ptsflow.run(Earlier(number=3, fails=True), client).ok
        client.get_or_create_task_container("a client's")
        time.sleep(0.1)
        assert not ptsflow.run(Kept(number=4, fails=True), client).ok
        before = names(client, others)
        assert ptsflow.run(Kept(number=5), client).ok

        assert before == [
            "kept:1",
            "kept:2",
            "lasting:1",
            "kept:3",
            "a client's",
            "kept:4",
        ]
        assert names(client, others) == [
            "lasting:1",
            "kept:3",
            "a client's",
            "kept:4",
            "kept:5",
        ]
        assert len(client.store.runs("Kept")) == 5


def test_a_run_never_deletes_its_own_container() -> None:
    brief = type("Kept", (Kept,), {"keep": 0.001})
    with ptsflow.connect("memory:") as client:
        for number in (1, 2):
            slow = [lambda _: time.sleep(0.02)]
            assert ptsflow.run(brief(number=number), client, listeners=slow).ok
            assert names(client) == [f"kept:{number}"]


def test_a_run_deletes_twenty_at_the_most_and_the_next_one_goes_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(retention, "_LONGEST", 60.0)
    with ptsflow.connect("memory:") as client:
        for number in range(25):
            assert ptsflow.run(Earlier(number=number), client).ok
        time.sleep(0.1)
        for number, left in ((100, 5), (101, 0)):
            assert ptsflow.run(Kept(number=number), client).ok
            last = ["kept:100", "kept:101"]
            assert len(names(client, last)) == left


def test_a_store_that_is_away_then_changes_nothing_of_how_the_run_ended(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    told: list[Event] = []

    def away(_store: MemoryStore, **_: object) -> list[ContainerRecord]:
        raise StoreUnavailable("it is away")

    monkeypatch.setattr(MemoryStore, "containers", away)
    report = ptsflow.run(Kept(number=1), "memory:", listeners=[told.append])

    assert report.ok
    notices = [event.text for event in told if isinstance(event, Notice)]
    assert notices == ["old containers were not deleted: it is away"]
