"""A runner on MongoDB is overtaken between its look at the lease and its write."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import pytest
from msgspec.structs import replace

from ptsflow.core.model import Change, ContainerRecord, Status, TaskRecord
from ptsflow.errors import LeaseLost
from ptsflow.stores.mongo.store import MongoStore
from ptsflow.stores.mongo.tasks import MongoTasks
from tests.stores.making import LEASE, held, new, one, owner, swap

pytestmark = pytest.mark.mongod
KIND = pytest.mark.parametrize("kind", ["mongod"])


def _overtake_in_the_middle(
    monkeypatch: pytest.MonkeyPatch, overtake: Callable[[], object]
) -> None:
    write = MongoTasks.swap

    def late(*given: Any, **more: Any) -> bool:
        monkeypatch.setattr(MongoTasks, "swap", write)
        overtake()
        return write(*given, **more)

    monkeypatch.setattr(MongoTasks, "swap", late)


def _claim(store: MongoStore, stored: ContainerRecord) -> ContainerRecord:
    claimed = store.claim(stored.uid, owner("b"), LEASE, dead=stored.fence)
    assert claimed is not None
    return claimed


@pytest.fixture
def first(url: str) -> Iterator[MongoStore]:
    with closing(MongoStore(url)) as store:
        yield store


@pytest.fixture
def second(url: str) -> Iterator[MongoStore]:
    with closing(MongoStore(url)) as store:
        yield store


@KIND
def test_what_it_inserts_does_not_stand_in_the_way_of_its_successor(
    first: MongoStore, second: MongoStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = held(first, first.create("feed")[0].uid)
    claims: list[ContainerRecord] = []
    _overtake_in_the_middle(monkeypatch, lambda: claims.append(_claim(second, mine)))
    with pytest.raises(LeaseLost):
        first.commit(mine.uid, [new("item", fence=mine.fence)], fence=mine.fence)
    fence = claims[0].fence
    second.commit(mine.uid, [new("item", fence=fence)], fence=fence)

    assert one(second, mine.uid, "item").fence == fence


@KIND
def test_it_is_refused_even_if_its_successor_has_given_the_lease_back(
    first: MongoStore, second: MongoStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = held(first, first.create("feed")[0].uid)
    first.commit(mine.uid, [new("task", fence=mine.fence)], fence=mine.fence)
    task: TaskRecord = one(first, mine.uid, "task")
    start: Change = swap(task, status=Status.RUNNING)
    _overtake_in_the_middle(
        monkeypatch,
        lambda: second.release(replace(_claim(second, mine), status=Status.PENDING)),
    )
    with pytest.raises(LeaseLost):
        first.commit(mine.uid, [start, new("item", fence=mine.fence)], fence=mine.fence)

    assert one(second, mine.uid, "task").status is Status.PENDING
