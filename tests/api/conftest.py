"""A client of every kind of store; each test has containers of its own in it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from ptsflow.client import Client, Container
from ptsflow.client.task import Task
from ptsflow.stores import open_store
from tests.stores.making import Ticker
from tests.support.databases import new_database_url, raw_database

_SERVERS = {"mongod": "mongod_database", "mongod-rs": "mongod_rs_database"}
SERVERS = [pytest.param(kind, marks=pytest.mark.mongod) for kind in _SERVERS]
KINDS = ["memory", "sqlite", *SERVERS]

#: For tests that need several connections or processes.
shared_stores = pytest.mark.parametrize("kind", ["sqlite", *SERVERS], indirect=True)
#: For tests of what a store can hardly influence: each kind of store once.
main_stores = pytest.mark.parametrize(
    "kind", ["sqlite", pytest.param("mongod", marks=pytest.mark.mongod)], indirect=True
)


def only_task(container: Container) -> Task:
    """Return the task of a container that has one."""
    (task,) = container.get_tasks()
    return task


@pytest.fixture(scope="session")
def mongod_database(mongod_url: str) -> Iterator[str]:
    """Name a database for the whole session: making one takes a while."""
    url = new_database_url(mongod_url)
    with raw_database(url):
        yield url


@pytest.fixture(scope="session")
def mongod_rs_database(mongod_rs_url: str) -> Iterator[str]:
    url = new_database_url(mongod_rs_url)
    with raw_database(url):
        yield url


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def url(kind: str, tmp_path: Path, request: pytest.FixtureRequest) -> str:
    if kind in _SERVERS:
        return str(request.getfixturevalue(_SERVERS[kind]))
    return "memory:" if kind == "memory" else f"sqlite:///{tmp_path}/pts.db"


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
