"""A nest for the module, and a store and a journal of its own for every test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pymongo
import pytest

from tests.crash.nest import Nest
from tests.crash.server import Server

KINDS = ["sqlite", pytest.param("mongod", marks=pytest.mark.mongod)]


@pytest.fixture(scope="session")
def nest() -> Iterator[Nest]:
    started = Nest()
    yield started
    started.close()


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def url(kind: str, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[str]:
    """Name a store that nobody else uses."""
    if kind == "sqlite":
        yield f"sqlite:///{tmp_path}/store/pts.db"
        return
    server = str(request.getfixturevalue("mongod_url"))
    database = f"ptsflow_{uuid4().hex}"
    address, _, query = server.partition("?")
    yield f"{address.rstrip('/')}/{database}?{query}"
    with pymongo.MongoClient[dict[str, object]](server) as client:
        client.drop_database(database)


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    return tmp_path / "journal"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    made = Server(tmp_path / "db")
    made.start()
    yield made
    made.kill()
