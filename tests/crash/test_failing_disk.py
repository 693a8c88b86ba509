"""The disk fails at the n-th call of each kind, for every n: nothing acknowledged is lost.

A failure is told as a `StoreError`, and the file is whole afterwards.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import closing, suppress
from itertools import count
from pathlib import Path

import apsw
import pytest
from msgspec import Struct
from msgspec.structs import replace

from ptsflow.errors import StoreError
from ptsflow.stores.sqlite.store import SqliteStore
from tests.crash.disk import Disk, ShortWriteError, disk
from tests.stores.making import filled, names, new


class Way(Struct, frozen=True):
    """A way in which a disk fails."""

    operation: str
    error: type[apsw.Error]
    #: SQLite's number of it.
    code: int
    is_short: bool = False

    def strike(self) -> None:
        error = self.error("the disk fails here")
        error.extendedresult = self.code  # type: ignore[attr-defined] # not in its stub.
        raise ShortWriteError(error) if self.is_short else error


WAYS = {
    "a write fails": Way("write", apsw.IOError, apsw.SQLITE_IOERR_WRITE),
    "the disk is full": Way("write", apsw.FullError, apsw.SQLITE_FULL),
    "a write is short": Way("write", apsw.IOError, apsw.SQLITE_IOERR_WRITE, True),  # noqa: FBT003
    "half fits the disk": Way("write", apsw.FullError, apsw.SQLITE_FULL, True),  # noqa: FBT003
    "a sync fails": Way("sync", apsw.IOError, apsw.SQLITE_IOERR_FSYNC),
    "a read fails": Way("read", apsw.IOError, apsw.SQLITE_IOERR_READ),
    "a read is of bad sectors": Way("read", apsw.IOError, apsw.SQLITE_IOERR_CORRUPTFS),
    "a file cannot be opened": Way("open", apsw.CantOpenError, apsw.SQLITE_CANTOPEN),
    "a file cannot be cut": Way("truncate", apsw.IOError, apsw.SQLITE_IOERR_TRUNCATE),
    "a lock fails": Way("lock", apsw.IOError, apsw.SQLITE_IOERR_LOCK),
    "a size is not known": Way("size", apsw.IOError, apsw.SQLITE_IOERR_FSTAT),
    "a file is not removed": Way("delete", apsw.IOError, apsw.SQLITE_IOERR_DELETE),
    "a file is not seen": Way("access", apsw.IOError, apsw.SQLITE_IOERR_ACCESS),
    "memory runs out": Way("read", apsw.NoMemError, apsw.SQLITE_NOMEM),
}


class Bench:
    """A store whose disk fails at a call."""

    def __init__(self, folder: Path, failing: Disk) -> None:
        self.disk = failing
        self.made = folder / "made.db"
        self.path = folder / "failing" / "pts.db"
        self.path.parent.mkdir()
        self.url = f"sqlite:///{self.path}"
        with closing(SqliteStore(f"sqlite:///{self.made}")) as store:
            self.uid = filled(store, "task 0")
        self.acknowledged: list[str] = []
        self.told: list[StoreError] = []

    def restore(self) -> None:
        for left in self.path.parent.iterdir():
            left.unlink()
        shutil.copy(self.made, self.path)
        self.acknowledged, self.told = ["task 0"], []

    def work(self, commits: int) -> None:
        """Add tasks, open the store again where that is needed, and try each once."""
        store: SqliteStore | None = None
        for number in range(1, commits + 1):
            try:
                store = store or SqliteStore(self.url, patience=0)
                kind = store._database._kind
                store._database._kind = replace(kind, longest_log=8)
                task = new(f"task {number}", result='"' + "x" * 5000 + '"')
                store.commit(self.uid, [task], fence=None)
                self.acknowledged.append(f"task {number}")
                names(store, self.uid)
            except StoreError as error:
                self.told.append(error)
        # What SQLite itself ignores when it closes a file, apsw raises.
        with suppress(apsw.Error):
            if store is not None:
                store.close()

    def fail(self, way: Way, number: int, commits: int, *, for_ever: bool) -> bool:
        """Work on a disk that fails at that call; return whether there was one."""
        self.restore()
        calls = count(1)

        def before(operation: str) -> None:
            if operation == way.operation:
                call = next(calls)
                if call == number or (for_ever and call > number):
                    way.strike()

        self.disk.before = before
        try:
            self.work(commits)
        finally:
            self.disk.before = lambda _: None
        return next(calls) > number

    def check(self) -> None:
        """All that was acknowledged is there, and the store goes on."""
        with closing(SqliteStore(self.url)) as store:
            assert store._database.connection.pragma("integrity_check") == "ok"
            found = names(store, self.uid)
            assert set(found) >= set(self.acknowledged)
            assert len(store.tasks(self.uid, payloads=True)) == len(found)
            store.commit(self.uid, [new("next")], fence=None)
            assert names(store, self.uid) == [*found, "next"]


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    with disk() as failing:
        yield Bench(tmp_path, failing)


@pytest.mark.parametrize("for_ever", [False, True], ids=["once", "for ever"])
@pytest.mark.parametrize("way", WAYS.values(), ids=list(WAYS))
def test_what_was_acknowledged_outlives_a_disk_that_fails_at_any_call(
    bench: Bench, way: Way, *, for_ever: bool
) -> None:
    for number in count(1, 5):
        has_struck = bench.fail(way, number, 2, for_ever=for_ever)
        bench.check()
        if not has_struck:
            break

    assert number > 1


@pytest.mark.soak
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("for_ever", [False, True], ids=["once", "for ever"])
@pytest.mark.parametrize("way", WAYS.values(), ids=list(WAYS))
def test_what_was_acknowledged_outlives_a_disk_that_fails_at_every_call(
    bench: Bench, way: Way, *, for_ever: bool
) -> None:
    told = 0
    for number in count(1):
        has_struck = bench.fail(way, number, 8, for_ever=for_ever)
        bench.check()
        told += len(bench.told)
        if not has_struck:
            break
    print(number, "calls,", told, "told")  # noqa: T201 - the figures of the soak.
