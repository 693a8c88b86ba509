"""A prune or a copy that is killed leaves nothing that belongs to nothing."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import closing
from itertools import count
from pathlib import Path

import pytest

from ptsflow.cli.store import found_faults
from ptsflow.client.retention import Pruning
from ptsflow.core.retention import Retention
from ptsflow.host import workdirs
from ptsflow.stores import open_care, open_store
from ptsflow.stores.base import Store
from ptsflow.stores.care import Grade
from ptsflow.stores.sqlite import containers as sqlite_containers
from tests.crash.faulty import Fault, FaultyStore
from tests.stores.sound import finished
from tests.support.databases import new_database_url, raw_database


@pytest.fixture(params=["sqlite", pytest.param("mongod", marks=pytest.mark.mongod)])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/pts.db"
    return new_database_url(request.getfixturevalue("mongod_url"))


def prune(store: Store) -> list[str]:
    """Delete all that is done."""
    pruning = Pruning(store, Retention(before=store.now() + 1_000))
    pruning.delete(pruning.found())
    return pruning.deleted


def in_a_process(act: Callable[[], object]) -> int:
    """Act in a process of its own; return how it ended."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            act()
            code = 0
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def faults(url: str) -> list[str]:
    """Return what is wrong with a store; a deletion that was cut short is not."""
    with closing(open_care(url)) as care:
        found = found_faults(care, url, deep=True)
        return [fault.text for fault in found if fault.grade is not Grade.NOTE]


def fill(url: str, names: list[str]) -> None:
    with closing(open_store(url)) as store:
        for name in names:
            record = finished(store, name)
            root = workdirs.root_of(store.work_root)
            assert root is not None
            folder = root / workdirs.container_folder(record)
            (folder / f"load-{'0' * 32}").mkdir(parents=True)


def test_a_prune_that_is_killed_at_any_write_leaves_no_orphans(url: str) -> None:
    names = [f"box {number}" for number in range(3)]
    fill(url, names)
    for number in count(1):
        fault = Fault(number, "after" if number % 2 else "before", "kill")

        def act(fault: Fault = fault) -> None:
            with closing(open_store(url)) as store:
                prune(FaultyStore(store, fault))

        code = in_a_process(act)
        assert faults(url) == []
        if code == 0:
            break
        with closing(open_store(url)) as store:
            missing = [name for name in names if store.container(name) is None]
        fill(url, missing)
    with closing(open_store(url)) as store:
        assert store.containers() == []
        assert len(store.runs(limit=1000)) >= len(names)
    with raw_database(url) if url.startswith("mongodb") else closing(open_store(url)):
        pass

    assert number > 6


def test_a_large_deletion_that_is_killed_is_finished_by_the_next_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"sqlite:///{tmp_path}/pts.db"
    with closing(open_store(url)) as store:
        finished(store, "wide", 3_000)
        finished(store, "other")
    monkeypatch.setattr(sqlite_containers, "_LONGEST_TURN", 0.0)

    kind = sqlite_containers.SqliteContainers
    remove, calls = kind.remove_left, count()

    def remove_once(self: sqlite_containers.SqliteContainers) -> bool:
        return remove(self) if next(calls) == 0 else os._exit(9)

    def act() -> None:
        monkeypatch.setattr(kind, "remove_left", remove_once)
        with closing(open_store(url)) as store:
            record = store.container("wide")
            assert record is not None
            store.delete(record.uid)

    assert in_a_process(act) == 9
    with closing(open_care(url)) as care:
        found = list(found_faults(care, url, deep=True))
    with closing(open_store(url)) as store:
        assert store.container("wide") is None
        prune(store)

    assert [fault.kind for fault in found] == ["left log", "deletion"]
    assert faults(url) == []
