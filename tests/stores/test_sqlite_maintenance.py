"""What people and other programs do to a SQLite file: the store is usable afterwards."""

from __future__ import annotations

import multiprocessing
import re
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from ptsflow.errors import StoreDamaged
from ptsflow.stores import open_care
from ptsflow.stores.care import Grade
from ptsflow.stores.sqlite.store import SqliteStore
from tests.stores.making import filled, names, new


def said(statements: str) -> Callable[[Path], Path]:
    def act(path: Path) -> Path:
        with closing(sqlite3.connect(path)) as other:
            other.executescript(statements)
        return path

    return act


def into(path: Path) -> Path:
    copy = path.with_name("into.db")
    with closing(sqlite3.connect(path)) as other:
        other.execute("VACUUM INTO ?", (str(copy),))
    return copy


def reloaded(path: Path) -> Path:
    copy = path.with_name("reloaded.db")
    with closing(sqlite3.connect(path)) as old, closing(sqlite3.connect(copy)) as other:
        other.executescript("\n".join(old.iterdump()))
    with pytest.raises(StoreDamaged) as caught:
        SqliteStore(f"sqlite:///{copy}")
    advice = re.fullmatch(
        rf"{copy}: expected the marks of a ptsflow store, found its tables without them, "
        rf'as \.dump makes them; set the marks: sqlite3 {copy} "(.*)"',
        str(caught.value),
    )
    assert advice is not None
    return said(advice[1])(copy)


DONE = {
    "VACUUM": said("VACUUM"),
    "VACUUM INTO": into,
    "dump": reloaded,
    "REINDEX": said("REINDEX"),
    "ANALYZE": said("ANALYZE"),
    "a table of Litestream": said(
        "CREATE TABLE _litestream_seq (id INTEGER PRIMARY KEY, seq INTEGER);"
        "INSERT INTO _litestream_seq VALUES (1, 1);"
        "CREATE TABLE _litestream_lock (id INTEGER);"
    ),
    "an index of another": said("CREATE INDEX theirs ON tasks (status)"),
    "a view": said("CREATE VIEW theirs AS SELECT name FROM tasks"),
    "a column of another": said("ALTER TABLE tasks ADD COLUMN theirs TEXT"),
    "pages of another size": said(
        "PRAGMA journal_mode = DELETE; PRAGMA page_size = 8192; VACUUM"
    ),
    "incremental": said("PRAGMA auto_vacuum = INCREMENTAL; VACUUM"),
}


@pytest.mark.parametrize("what", DONE)
def test_a_store_is_usable_after_maintenance(what: str, tmp_path: Path) -> None:
    path = tmp_path / "pts.db"
    store = SqliteStore(f"sqlite:///{path}")
    uid = filled(store, "one", "two")
    store.commit(uid, [new("three", result="[1]")], fence=None)
    store.close()

    url = f"sqlite:///{DONE[what](path)}"
    with closing(open_care(url)) as care:
        assert Grade.DAMAGE not in {fault.grade for fault in care.faults(deep=True)}
    again = SqliteStore(url)
    assert names(again, uid) == ["one", "two", "three"]
    again.commit(uid, [new("four")], fence=None)
    assert again.tasks(uid, ["three"], payloads=True)[0].result == "[1]"
    again.close()


def do(what: str, path: Path) -> None:
    DONE[what](path)


@pytest.mark.parametrize("what", ["VACUUM", "REINDEX", "a table of Litestream"])
def test_maintenance_disturbs_no_store_that_is_open(what: str, tmp_path: Path) -> None:
    path = tmp_path / "pts.db"
    store = SqliteStore(f"sqlite:///{path}")
    uid = filled(store, "one")
    # Within this process another SQLite would drop the locks of the store.
    process = multiprocessing.get_context("spawn").Process(target=do, args=(what, path))
    process.start()
    process.join()
    assert process.exitcode == 0

    store.commit(uid, [new("two")], fence=None)
    assert names(store, uid) == ["one", "two"]
    store.close()


def test_the_database_of_another_program_is_not_taken_for_a_dump(
    tmp_path: Path,
) -> None:
    path = tmp_path / "other.db"
    said("CREATE TABLE tasks (id INTEGER)")(path)
    with pytest.raises(StoreDamaged, match="found another program's database"):
        SqliteStore(f"sqlite:///{path}")
