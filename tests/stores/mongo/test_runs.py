"""The collection of runs: what it costs, what a death leaves there, and its damage."""

from __future__ import annotations

from contextlib import closing
from typing import Any

import pytest
from msgspec.structs import replace
from pymongo.database import Database

from ptsflow.core.insight import RunStatus
from ptsflow.core.model import Status
from ptsflow.errors import StoreDamaged
from ptsflow.stores.mongo.store import MongoStore
from tests.stores.making import LEASE, held, new, one, owner, swap
from tests.stores.test_contract_runs import NOW, begun, claimed, over, run_through
from tests.support.databases import Raw, listening

pytestmark = pytest.mark.mongod

_WRITES = {"insert", "update", "delete", "findAndModify"}


def test_the_collection_is_made_by_the_first_who_writes_a_run(
    store: MongoStore, database: Database[Raw]
) -> None:
    record = claimed(store)
    store.save(record)
    assert store.runs() == []
    assert store.release(record)
    assert store.delete(record.uid)
    assert "ptsflow_runs" not in database.list_collection_names()

    run_through(store, "feed", NOW)
    assert set(database["ptsflow_runs"].index_information()) == {
        *("_id_", "workflow_1_began_at_1", "workflow_1_ordinal_1")
    }


def test_a_container_that_is_run_once_costs_two_more_writes(url: str) -> None:
    MongoStore(url).close()
    counts = []
    for name in ("plain", "with a run"):
        with listening() as ear, closing(MongoStore(url)) as store:
            record = claimed(store, name)
            run = None if name == "plain" else begun(record)
            store.save(record, run)
            store.commit(record.uid, [new("a", fence=record.fence)], fence=record.fence)
            task = one(store, record.uid, "a")
            done = swap(task, status=Status.DONE, fence=record.fence)
            store.commit(record.uid, [done], fence=record.fence)
            assert store.release(record, run and over(run))
        counts.append(sum(name in _WRITES for name in ear.names))

    assert counts[1] - counts[0] == 2


def test_a_run_that_died_amid_its_release_has_not_ended(
    store: MongoStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = claimed(store)
    run = begun(record)
    store.save(record, run)
    with monkeypatch.context() as dying:
        dying.setattr(store._containers, "release", _die)
        with pytest.raises(KeyboardInterrupt):
            store.release(replace(record, status=Status.DONE), over(run))
    assert store.runs() == [run]
    assert store.runs(status=RunStatus.DONE) == []

    again = store.claim(record.uid, owner("b"), LEASE, dead=record.fence)
    assert again is not None
    assert store.runs() == [run]
    store.save(again, begun(again, NOW + 1))
    assert store.release(again, over(begun(again, NOW + 1)))
    lost = replace(run, status=RunStatus.LOST)
    assert store.runs() == [over(begun(again, NOW + 1)), lost]


def _die(*_: object, **__: object) -> Any:
    raise KeyboardInterrupt


def test_an_owner_that_wakes_up_late_ends_no_run_that_is_lost(
    store: MongoStore, other: MongoStore
) -> None:
    first = claimed(store)
    store.save(first, begun(first))
    second = other.claim(first.uid, owner("b"), LEASE, dead=first.fence)
    assert second is not None
    other.save(second, begun(second, NOW + 1))
    assert other.release(second, over(begun(second, NOW + 1)))

    assert not store.release(first, over(begun(first)))
    assert [run.status for run in other.runs()] == [RunStatus.DONE, RunStatus.LOST]


def test_runs_that_cannot_be_pruned_end_all_the_same(
    store: MongoStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = claimed(store)
    monkeypatch.setattr(store._runs, "prune", _fail)

    assert store.release(record, over(begun(record)))
    assert [run.status for run in store.runs()] == [RunStatus.DONE]


def _fail(*_: object) -> None:
    raise StoreDamaged("none")


def test_the_release_of_a_version_without_history_is_no_end_of_a_run(
    store: MongoStore,
) -> None:
    ended = run_through(store, "feed", NOW)
    record = held(store, ended.uid, "b")
    store.save(record, begun(record, NOW + 1))
    assert store.release(record)
    later = held(store, ended.uid, "c")
    store.save(later, begun(later, NOW + 2))

    assert [run.status for run in store.runs()] == [
        *(RunStatus.RUNNING, RunStatus.LOST, RunStatus.DONE)
    ]


@pytest.mark.parametrize(
    "damage",
    [
        {"name": "other"},
        {"name": None},
        {"workflow": "Feeds"},
        {"began_at": 5},
        {"told_at": "never"},
        {"ordinal": "first"},
        {"entry": "{}"},
        {"entry": None},
        {"entry": '{"uid": 1}'},
    ],
)
def test_a_damaged_run_is_told_when_it_is_read(
    store: MongoStore, database: Database[Raw], damage: Raw
) -> None:
    ended = run_through(store, "feed", NOW)
    database["ptsflow_runs"].update_one({}, {"$set": damage})

    with pytest.raises(StoreDamaged) as caught:
        store.runs()
    name = damage.get("name", "feed")
    assert str(caught.value).startswith(
        f"expected the run under fence {ended.fence} of container {name!r} in MongoDB as "
        "ptsflow writes it, found "
    )
