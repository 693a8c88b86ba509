"""One fixture for every kind of store, so that each test is run on all of them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import apsw
import pymongo
import pytest

from ptsflow.stores import open_store
from ptsflow.stores.base import Store
from tests.stores.making import Ticker

_SERVERS = {"mongod": "mongod_url", "mongod-rs": "mongod_rs_url"}
KINDS = [
    "memory",
    "sqlite",
    *(pytest.param(kind, marks=pytest.mark.mongod) for kind in _SERVERS),
]


@pytest.fixture
def clock() -> Ticker:
    return Ticker()


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def url(kind: str, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[str]:
    """Name a store that nobody else uses."""
    if kind not in _SERVERS:
        yield "memory:" if kind == "memory" else f"sqlite:///{tmp_path}/pts.db"
        return
    server = str(request.getfixturevalue(_SERVERS[kind]))
    database = f"ptsflow_{uuid4().hex}"
    address, _, query = server.partition("?")
    yield f"{address.rstrip('/')}/{database}?{query}"
    with pymongo.MongoClient[dict[str, object]](server) as client:
        client.drop_database(database)


@pytest.fixture
def store(url: str, clock: Ticker) -> Iterator[Store]:
    opened = open_store(url, clock=clock)
    yield opened
    opened.close()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Name the file of a SQLite store."""
    return tmp_path / "pts.db"


@pytest.fixture
def raw(store: Store, path: Path) -> Iterator[apsw.Connection]:
    """Open another program's connection, in a fixture so that it closes before."""
    assert store.url
    connection = apsw.Connection(str(path))
    yield connection
    connection.close()


@pytest.fixture
def other(store: Store) -> Iterator[Store]:
    """Open another connection to the same data."""
    sibling = store.sibling()
    yield sibling
    sibling.close()
