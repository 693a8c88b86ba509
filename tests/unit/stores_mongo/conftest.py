"""A store in MongoDB on a database of mongomock, for each test its own."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from msgspec import to_builtins
from pymongo.collection import Collection

from ptsflow.core.model import ContainerRecord
from ptsflow.stores.mongo import logs, store
from ptsflow.stores.mongo.documents import Raw
from ptsflow.stores.mongo.store import MongoStore
from ptsflow.stores.store_wait import NO_WAIT, StoreWait
from tests.stores.making import Ticker, owner
from tests.unit.stores_mongo.mock_database import MockConnection, compare_timestamps

Collections = Callable[[str], Collection[Raw]]


@pytest.fixture
def database(monkeypatch: pytest.MonkeyPatch) -> Collections:
    """Return the collections behind the store's back, by name."""
    compare_timestamps(monkeypatch)
    connection = MockConnection()

    def connect(_url: str, _wait: StoreWait = NO_WAIT) -> MockConnection:
        return connection

    monkeypatch.setattr(store, "Connection", connect)
    monkeypatch.setattr(logs, "Connection", connect)
    return connection.collection


@pytest.fixture
def mocked(database: Collections) -> MongoStore:
    """Open a store; its clock stands still, as mongomock has none."""
    del database
    return MongoStore("mongodb://mock/mocked", clock=Ticker())


@pytest.fixture
def leased(mocked: MongoStore, database: Collections) -> ContainerRecord:
    """Return a container that is held under fence 1, as a claim leaves it."""
    uid = mocked.create("feed")[0].uid
    held = {"fence": 1, "owner": to_builtins(owner("a"))}
    database("ptsflow_containers").update_one({}, {"$set": held})
    record = mocked.container("feed")
    assert record is not None
    assert record.uid == uid
    return record
