"""A client of every kind of store; each test has containers of its own in it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from ptsflow.client import Client, Container
from ptsflow.stores import open_store
from tests.stores.making import Ticker
from tests.stores.mongo_fixtures import new_database_url, raw_database

_SERVERS = {"mongod": "mongod_url", "mongod-rs": "mongod_rs_url"}
SERVERS = [pytest.param(kind, marks=pytest.mark.mongod) for kind in _SERVERS]
KINDS = ["memory", "sqlite", *SERVERS]

#: For tests that need several connections or processes.
shared_stores = pytest.mark.parametrize("kind", ["sqlite", *SERVERS], indirect=True)
#: For tests of what a store can hardly influence: each kind of store once.
main_stores = pytest.mark.parametrize(
    "kind", ["sqlite", pytest.param("mongod", marks=pytest.mark.mongod)], indirect=True
)


class _Databases:
    """One database a server for the whole session: making one takes a while."""

    def __init__(self) -> None:
        self.urls: dict[str, str] = {}


@pytest.fixture(scope="session")
def databases() -> Iterator[_Databases]:
    made = _Databases()
    yield made
    for url in made.urls.values():
        with raw_database(url):
            """Dropped on the way out."""


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def url(
    kind: str, tmp_path: Path, databases: _Databases, request: pytest.FixtureRequest
) -> str:
    if kind not in _SERVERS:
        return "memory:" if kind == "memory" else f"sqlite:///{tmp_path}/pts.db"
    if kind not in databases.urls:
        server = str(request.getfixturevalue(_SERVERS[kind]))
        databases.urls[kind] = new_database_url(server)
    return databases.urls[kind]


@pytest.fixture
def clock() -> Ticker:
    return Ticker()


@pytest.fixture
def client(url: str, clock: Ticker) -> Iterator[Client]:
    """Open a client whose store tells the time by `clock`."""
    with Client(open_store(url, clock=clock)) as opened:
        yield opened


@pytest.fixture
def name() -> str:
    """Name a container that nobody else uses."""
    return f"feed:{uuid4().hex[:8]}"


@pytest.fixture
def container(client: Client, name: str) -> Container:
    return client.get_or_create_task_container(name)[0]
