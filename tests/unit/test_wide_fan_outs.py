"""A run that inserts many items in bites goes on at once, and can be stopped between."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Sequence

import pytest

import ptsflow
from ptsflow import Workflow, step
from ptsflow.client import Client
from ptsflow.core.model import Change
from ptsflow.runner import expansion
from ptsflow.stores.memory.store import MemoryStore

COUNT = 60


class Wide(Workflow):
    """Many items that note that they ran."""

    container = "wide"

    @step
    def numbers(self) -> list[int]:
        return list(range(COUNT))

    @step(each=numbers)
    def item(self, number: int) -> None:
        RAN.append(number)


RAN: list[int] = []


class Stopping(MemoryStore):
    """Has its process asked to stop in one commit."""

    commits = 0
    stop_at = 0

    def commit(self, uid: str, changes: Sequence[Change], *, fence: int | None) -> None:
        """Count, and stop."""
        self.commits += 1
        if self.commits == self.stop_at:
            os.kill(os.getpid(), signal.SIGTERM)
        super().commit(uid, changes, fence=fence)


@pytest.fixture(autouse=True)
def _bites(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(expansion, "_BITE", 5)
    RAN.clear()


def test_one_bite_follows_the_other_without_a_wait() -> None:
    began = time.monotonic()

    assert ptsflow.run(Wide(), "memory:").ok
    assert sorted(RAN) == list(range(COUNT))
    assert time.monotonic() - began < COUNT / 5 / 2


def test_a_run_stopped_between_two_bites_inserts_the_others_when_it_goes_on() -> None:
    store = Stopping()
    store.stop_at = 4
    with pytest.raises(SystemExit):
        ptsflow.run(Wide(), Client(store))
    container = store.container("wide")
    assert container is not None
    stored = len(store.tasks(container.uid)) - 1
    assert 0 < stored < COUNT
    assert RAN == []

    assert ptsflow.run(Wide(), Client(store)).ok
    assert sorted(RAN) == list(range(COUNT))
