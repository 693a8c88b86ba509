"""What tests of clusters share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.executors.dask_cluster import DaskCluster, dask_cluster
from tests.support.databases import new_database_url, raw_database


@pytest.fixture(params=["sqlite", pytest.param("mongod", marks=pytest.mark.mongod)])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path}/pts.db"
        return
    address = new_database_url(request.getfixturevalue("mongod_rs_url"))
    with raw_database(address):
        yield address


@pytest.fixture(scope="session")
def started(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaskCluster]:
    with dask_cluster(tmp_path_factory.mktemp("dask"), threads=2) as cluster:
        yield cluster


@pytest.fixture
def cluster(started: DaskCluster, monkeypatch: pytest.MonkeyPatch) -> DaskCluster:
    """Return a cluster of which nothing is missing, on what is one host with it."""
    monkeypatch.setenv("TMPDIR", f"{started.folder}")
    started.mend()
    return started


@pytest.fixture
def journal(tmp_path: Path) -> str:
    return f"{tmp_path}/journal"
