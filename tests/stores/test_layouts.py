"""What a version does not know in a store is left alone, whoever put it there."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import apsw
import pytest
from pymongo.database import Database

import ptsflow
from ptsflow import stores
from ptsflow.stores.sqlite import layout
from tests.stores.golden.flow import CONTINUED, JOURNAL, Golden
from tests.stores.golden.restore import restore_mongo, restore_sqlite
from tests.support.databases import new_database_url, raw_database

DAY = datetime(2011, 9, 1, 12, tzinfo=UTC)
LAYOUT = "layout2"

#: What Litestream 0.3 makes in the databases that it copies, and a later version might.
_FOREIGN = (
    "CREATE TABLE _litestream_seq (id INTEGER PRIMARY KEY, seq INTEGER)",
    "CREATE TABLE _litestream_lock (id INTEGER)",
    "INSERT INTO _litestream_seq VALUES (1, 7)",
    "CREATE TABLE signals (workflow TEXT, entry TEXT) STRICT",
    "CREATE INDEX tasks_by_status ON tasks (status)",
    "ALTER TABLE containers ADD COLUMN colour TEXT DEFAULT 'red'",
    "ALTER TABLE tasks ADD COLUMN note TEXT CHECK (note IN ('a', 'b'))",
    "ALTER TABLE payloads ADD COLUMN kind TEXT NOT NULL DEFAULT ''",
    "ALTER TABLE attempts ADD COLUMN cost REAL",
    "UPDATE tasks SET note = 'a'",
    "UPDATE attempts SET cost = 1.5",
)


@pytest.fixture(autouse=True)
def _journal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(JOURNAL, str(tmp_path / "journal"))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Restore a SQLite store."""
    path = tmp_path / "pts.db"
    restore_sqlite(LAYOUT, path)
    return path


def execute(path: Path, *statements: str) -> list[Any]:
    connection = apsw.Connection(str(path))
    try:
        return [row for each in statements for row in connection.execute(each)]
    finally:
        connection.close()


def test_foreign_tables_and_columns_of_a_file_outlive_a_run(path: Path) -> None:
    execute(path, *_FOREIGN)
    report = ptsflow.run(Golden(day=DAY), f"sqlite:///{path}")

    assert report.result("join") == CONTINUED
    assert execute(path, "SELECT seq FROM _litestream_seq") == [(7,)]
    assert execute(path, "SELECT DISTINCT colour FROM containers") == [("red",)]
    assert execute(path, "SELECT DISTINCT note FROM tasks") == [("a",)]
    assert execute(path, "SELECT cost FROM attempts LIMIT 1") == [(1.5,)]


def test_columns_are_known_in_whatever_order_and_place() -> None:
    moved = """CREATE TABLE "attempts"(entry TEXT NOT NULL, number INTEGER NOT NULL,
        more TEXT, checksum INTEGER NOT NULL, task INTEGER NOT NULL,
        PRIMARY KEY (task, number)) STRICT, WITHOUT ROWID"""
    made = [*layout.TABLES[:-1], moved]

    assert layout.missing_from(made) == []
    assert layout.missing_from(reversed(made)) == []


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("number INTEGER", "number TEXT"),
        ("(task, number)", "(number, task)"),
        ("STRICT, WITHOUT ROWID", "STRICT"),
        ("TABLE attempts", "VIEW attempts"),
        ("TABLE attempts", "TABLE ledger"),
        ("    entry TEXT NOT NULL,\n", ""),
    ],
)
def test_a_table_that_is_another_one_is_missing(old: str, new: str) -> None:
    table = layout.TABLES[-1]
    assert old in table

    made = [*layout.TABLES[:-1], table.replace(old, new)]
    assert layout.missing_from(made) == ["table attempts"]


def test_an_index_over_other_columns_is_missing() -> None:
    texts = [
        text.replace("(container, name)", "(name, container)") for text in layout.TABLES
    ]

    assert layout.missing_from(texts) == ["index tasks_by_name"]


# -- MongoDB -----------------------------------------------------------------------------


@pytest.fixture
def url(mongod_url: str) -> str:
    return new_database_url(mongod_url)


@pytest.fixture
def database(url: str) -> Iterator[Database[dict[str, Any]]]:
    """Restore a MongoDB store."""
    with raw_database(url) as opened:
        restore_mongo(LAYOUT, opened)
        yield opened


@pytest.mark.mongod
def test_foreign_collections_and_fields_of_a_database_outlive_a_run(
    url: str, database: Database[dict[str, Any]]
) -> None:
    database["ptsflow_signals"].insert_one({"_id": 1})
    database["ptsflow_tasks"].create_index("status")
    for name in ("ptsflow_containers", "ptsflow_tasks", "ptsflow_payloads"):
        database[name].update_many({}, {"$set": {"colour": {"of": "a later version"}}})
    database["ptsflow_tasks"].update_many(
        {"ledger": {"$exists": True}}, {"$set": {"ledger.$[].cost": 1.5}}
    )
    database["ptsflow_meta"].update_one({}, {"$set": {"colour": 1}})
    before = database["ptsflow_tasks"].count_documents({"colour": {"$exists": True}})
    stores.upgrade_store(url)
    report = ptsflow.run(Golden(day=DAY), url)

    assert report.result("join") == CONTINUED
    assert database["ptsflow_signals"].count_documents({}) == 1
    for name in ("ptsflow_containers", "ptsflow_tasks", "ptsflow_payloads"):
        assert database[name].count_documents({"colour": {"$exists": False}}) == 0
    assert database["ptsflow_tasks"].count_documents({}) == before
    assert database["ptsflow_tasks"].count_documents({"ledger.cost": 1.5}) > 0
