"""A database of its own for every test of MongoDB alone, on two kinds of server."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from pymongo.database import Database

from ptsflow.stores.mongo.store import MongoStore
from tests.stores.mongo.tcp_proxy import TcpProxy
from tests.support.databases import Raw, new_database_url, raw_database
from tests.support.mongod import Mongod


@pytest.fixture(params=["mongod_url", "mongod_rs_url"])
def server(request: pytest.FixtureRequest) -> str:
    return str(request.getfixturevalue(request.param))


@pytest.fixture
def database(server: str) -> Iterator[Database[Raw]]:
    """Open a database of this test's own, behind the store's back."""
    with raw_database(new_database_url(server)) as opened:
        yield opened


@pytest.fixture
def url(server: str, database: Database[Raw]) -> str:
    """Name that database; it is dropped after the test."""
    address, _, query = server.partition("?")
    return f"{address.rstrip('/')}/{database.name}?{query}"


@pytest.fixture
def store(url: str) -> Iterator[MongoStore]:
    """Open a store that goes by the server's clock."""
    opened = MongoStore(url)
    yield opened
    opened.close()


@pytest.fixture
def other(store: MongoStore) -> Iterator[MongoStore]:
    sibling = store.sibling()
    yield sibling
    sibling.close()


@pytest.fixture
def proxy(mongod: Mongod) -> Iterator[TcpProxy]:
    """Open a way to the standalone server on which answers can get lost."""
    opened = TcpProxy(mongod.port)
    yield opened
    opened.close()
