"""The database or a collection is dropped while stores have it open."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from pymongo.database import Database

from ptsflow.client.client import Client
from ptsflow.client.container import Container
from ptsflow.core.model import Progress, Status
from ptsflow.errors import StoreDamaged
from ptsflow.stores.mongo.store import MongoStore
from tests.stores.making import LEASE, filled, held, new, owner, swap
from tests.support.databases import Raw

pytestmark = pytest.mark.mongod

_ALL = ["the database", "ptsflow_containers", "ptsflow_tasks", "ptsflow_payloads"]
_NAMED = r"^store '.*': expected the collection ptsflow_\w+ that was opened, found it "


def _drop(database: Database[Raw], what: str) -> None:
    if what == "the database":
        database.client.drop_database(database.name)
    else:
        database.drop_collection(what)


@pytest.mark.parametrize("what", _ALL)
def test_a_runner_whose_collections_are_dropped_is_refused(
    store: MongoStore, database: Database[Raw], what: str
) -> None:
    uid = filled(store, "one")
    record = held(store, uid)
    done = swap(*store.tasks(uid), fence=1, status=Status.DONE)
    store.commit(uid, [done], fence=1)
    calls: list[Callable[[], object]] = [
        lambda: store.renew(uid, 1, LEASE),
        lambda: store.next_open(uid),
        lambda: store.commit(uid, [new("two", fence=1)], fence=1),
        lambda: store.release(record),
        store.sibling,
    ]
    if what in {"the database", "ptsflow_containers"}:
        calls += [
            lambda: store.save(record),
            lambda: store.touch(uid, [Progress("two", 1.0, "")], fence=1),
            lambda: store.claim(uid, owner("b"), LEASE),
            lambda: store.stop_asked(uid, 1),
        ]
    _drop(database, what)

    for call in calls:
        with pytest.raises(StoreDamaged, match=_NAMED):
            call()


@pytest.mark.parametrize("what", ["the database", "ptsflow_tasks"])
@pytest.mark.parametrize("fence", [None, 1])
def test_the_end_of_a_task_is_not_recorded_in_a_collection_that_is_gone(
    store: MongoStore, database: Database[Raw], what: str, fence: int | None
) -> None:
    uid = filled(store, "one")
    if fence:
        held(store, uid)
    done = swap(*store.tasks(uid), fence=1, status=Status.DONE)
    _drop(database, what)

    with pytest.raises(StoreDamaged, match=_NAMED):
        store.commit(uid, [done], fence=fence)
    assert database.ptsflow_tasks.count_documents({}) == 0


def _is_complete(container: Container) -> bool:
    container.refresh()
    return container.is_complete


@pytest.mark.parametrize("what", _ALL)
def test_clients_that_had_it_open_add_and_lease_nothing_and_leave_nothing(
    store: MongoStore, other: MongoStore, database: Database[Raw], url: str, what: str
) -> None:
    clients = Client(store), Client(other)
    opened = [each.get_or_create_task_container("feed")[0] for each in clients]
    _drop(database, what)
    for client, container in zip(clients, opened, strict=True):
        with pytest.raises(StoreDamaged, match=_NAMED):
            container.add_task("one")
        with pytest.raises(StoreDamaged, match=_NAMED):
            container.lease_next_task(seconds=60)
        with pytest.raises(StoreDamaged, match=_NAMED):
            container.get_tasks()
        with pytest.raises(StoreDamaged, match=_NAMED):
            _is_complete(container)
        with pytest.raises(StoreDamaged, match=_NAMED):
            client.get_or_create_task_container("other")

    assert database.ptsflow_tasks.count_documents({}) == 0
    assert database.ptsflow_containers.count_documents({"name": "other"}) == 0
    again = MongoStore(url)
    with Client(again) as client:
        container, _ = client.get_or_create_task_container("feed")
        container.add_task("one")
        assert container.lease_next_task(seconds=60) is not None
        assert container.lease_next_task(seconds=60) is None
        indexes = database.ptsflow_tasks.index_information()
        assert indexes["container_1_name_1"]["unique"]


def test_a_restored_collection_is_not_taken_for_the_one_that_was_opened(
    store: MongoStore, database: Database[Raw]
) -> None:
    uid = filled(store, "one")
    held(store, uid)
    kept = list(database.ptsflow_tasks.find())
    database.drop_collection("ptsflow_tasks")
    database.ptsflow_tasks.insert_many(kept)

    with pytest.raises(StoreDamaged, match="dropped or replaced"):
        store.renew(uid, 1, LEASE)
    assert list(database.ptsflow_tasks.find()) == kept
