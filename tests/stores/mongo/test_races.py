"""Many stores that write to one database of MongoDB at the same moment."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
from pymongo import monitoring
from pymongo.database import Database

from ptsflow.errors import Conflict, ContainerNotFound
from ptsflow.stores.mongo.documents import INLINE_LIMIT
from ptsflow.stores.mongo.store import MongoStore
from tests.stores.making import LEASE, filled, held, new, one, owner, swap
from tests.support.databases import Raw

pytestmark = pytest.mark.mongod


_CROWD = 8


def test_of_many_makers_exactly_one_is_told_that_it_made_the_container(
    store: MongoStore,
) -> None:
    answers = _at_once(store, lambda each, _: each.create("feed"))

    assert len({record.uid for record, _ in answers}) == 1
    assert sorted(is_new for _, is_new in answers) == [False] * (_CROWD - 1) + [True]


def test_of_many_claims_exactly_one_wins(store: MongoStore) -> None:
    uid = filled(store, "one")
    won = _at_once(store, lambda each, i: each.claim(uid, owner(str(i)), LEASE))

    (record,) = [claimed for claimed in won if claimed is not None]
    assert record.fence == 1
    assert store.container("feed") == record


def test_of_many_equal_swaps_by_clients_exactly_one_wins(store: MongoStore) -> None:
    uid = filled(store, "one")
    change = swap(one(store, uid, "one"), invoke_count=1, leased_till=5)
    outcomes = _at_once(store, lambda each, _: _outcome(each, uid, change))

    assert sorted(outcomes) == ["conflict"] * (_CROWD - 1) + ["made"]


def test_of_many_equal_inserts_by_clients_exactly_one_wins(store: MongoStore) -> None:
    uid = filled(store)
    outcomes = _at_once(store, lambda each, _: _outcome(each, uid, new("one")))

    assert sorted(outcomes) == ["conflict"] * (_CROWD - 1) + ["made"]


def test_tasks_added_at_once_get_positions_of_their_own(store: MongoStore) -> None:
    uid = filled(store)

    def add_five(each: MongoStore, i: int) -> None:
        for n in range(5):
            each.commit(uid, [new(f"{i}.{n}")], fence=None)

    _at_once(store, add_five)

    tasks = store.tasks(uid)
    assert len({task.position for task in tasks}) == len(tasks) == 5 * _CROWD
    for i in range(_CROWD):
        mine = [task.name for task in tasks if task.name.startswith(f"{i}.")]
        assert mine == [f"{i}.{n}" for n in range(5)]


def _outcome(store: MongoStore, uid: str, change: Any) -> str:
    try:
        store.commit(uid, [change], fence=None)
    except Conflict:
        return "conflict"
    return "made"


def _at_once(store: MongoStore, call: Callable[[MongoStore, int], Any]) -> list[Any]:
    """Return the answers of a crowd that calls at the same moment."""
    gate = threading.Barrier(_CROWD)
    answers: list[Any] = []

    def run(i: int) -> None:
        sibling = store.sibling()
        gate.wait()
        answers.append(call(sibling, i))
        sibling.close()

    threads = [threading.Thread(target=run, args=(i,)) for i in range(_CROWD)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return answers


class Meddler(monitoring.CommandListener):
    """Does something once, just before tasks are inserted."""

    def __init__(self, act: Callable[[], object]) -> None:
        self.act: Callable[[], object] | None = act

    def started(self, event: monitoring.CommandStartedEvent) -> None:
        if event.command.get("insert") == "ptsflow_tasks" and self.act is not None:
            act, self.act = self.act, None
            act()

    def succeeded(self, event: monitoring.CommandSucceededEvent) -> None:
        """Do nothing."""

    def failed(self, event: monitoring.CommandFailedEvent) -> None:
        """Do nothing."""


@pytest.mark.parametrize("by_runner", [False, True])
def test_an_insert_that_meets_a_deletion_leaves_nothing(
    store: MongoStore, url: str, database: Database[Raw], *, by_runner: bool
) -> None:
    uid = filled(store, "a")
    fence = held(store, uid).fence if by_runner else None

    def delete() -> None:
        database["ptsflow_containers"].update_one({}, {"$set": {"owner": None}})
        assert store.delete(uid)

    meddler = Meddler(delete)
    listeners = monitoring._LISTENERS.command_listeners
    monitoring.register(meddler)
    writer = MongoStore(url)
    listeners.remove(meddler)
    batch = [new("b", fence=fence or 0, result=f'"{"x" * INLINE_LIMIT}"')]

    with pytest.raises(ContainerNotFound):
        writer.commit(uid, batch, fence=fence)
    assert meddler.act is None
    assert database["ptsflow_tasks"].count_documents({}) == 0
    assert database["ptsflow_payloads"].count_documents({}) == 0
    writer.close()
