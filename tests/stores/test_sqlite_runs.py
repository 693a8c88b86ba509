"""The optional table of runs in a SQLite file: when it is made, and what damage is told."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import apsw
import pytest
from msgspec.structs import replace

from ptsflow.core.insight import RunStatus
from ptsflow.errors import StoreDamaged
from ptsflow.stores.sqlite.store import SqliteStore
from tests.stores.making import CURE, LEASE, Ticker, filled, held
from tests.stores.test_contract_runs import NOW, begun, claimed, over, run_through


@pytest.fixture
def store(path: Path, clock: Ticker) -> Iterator[SqliteStore]:
    opened = SqliteStore(f"sqlite:///{path}", clock=clock, patience=0.2)
    yield opened
    opened.close()


def tables(raw: apsw.Connection) -> set[str]:
    query = "SELECT name FROM sqlite_schema WHERE name LIKE 'runs%'"
    return {name for (name,) in raw.execute(query)}


def test_the_table_is_made_by_the_first_who_writes_a_run(
    store: SqliteStore, raw: apsw.Connection
) -> None:
    record = claimed(store)
    store.save(record)
    assert store.runs() == []
    assert not store.number_run(record.uid, 1, 1, told_at=NOW)
    assert store.release(record)
    assert store.delete(filled(store))
    assert tables(raw) == set()

    run_through(store, "feed", NOW)
    assert tables(raw) == {"runs", "runs_by_workflow"}
    assert raw.pragma("user_version") == 3


def test_a_run_and_its_container_are_written_in_one_transaction(
    store: SqliteStore,
) -> None:
    record = claimed(store)
    statements: list[str] = []

    def trace(_: object, sql: str, __: object) -> bool:
        statements.append(sql)
        return True

    store._database.connection.exec_trace = trace
    for write in (
        lambda: store.save(record, begun(record)),
        lambda: store.release(record, over(begun(record))),
    ):
        statements.clear()
        write()
        bounds = [sql for sql in statements if sql.startswith(("BEGIN", "COMMIT"))]
        assert bounds == ["BEGIN IMMEDIATE", "COMMIT"]
        assert any("INTO runs" in sql for sql in statements)


@pytest.mark.parametrize(
    "damage",
    [
        "fence = 7",
        "container = '17'",
        "name = 'other'",
        "name = CAST(x'ff' AS TEXT)",
        "workflow = 'Feeds'",
        "began_at = began_at + 1",
        "status = 'failed'",
        "entry = replace(entry, 'done', 'lost')",
        "entry = CAST(x'ff' AS TEXT)",
        "checksum = 1",
    ],
)
def test_a_damaged_row_is_told_when_it_is_read(
    store: SqliteStore, raw: apsw.Connection, path: Path, damage: str
) -> None:
    run_through(store, "feed", NOW)
    raw.execute(f"UPDATE runs SET {damage}")  # noqa: S608 - of the parameters above
    fence, name = next(raw.execute("SELECT fence, CAST(name AS BLOB) FROM runs"))
    shown = name.decode(errors="replace")

    with pytest.raises(StoreDamaged) as caught:
        store.runs()
    assert str(caught.value) == (
        f"{path}: the run under fence {fence} of container {shown!r} does not fit its "
        f"check value; {CURE}"
    )


def test_damaged_history_keeps_no_run_from_beginning(
    store: SqliteStore, raw: apsw.Connection, clock: Ticker
) -> None:
    died = claimed(store)
    store.save(died, begun(died))
    raw.execute("UPDATE runs SET entry = CAST(x'ff' AS TEXT)")
    clock.now += LEASE

    again = held(store, died.uid, "b")
    store.save(again, begun(again, NOW + 1))
    assert store.release(again, over(begun(again, NOW + 1)))
    assert store.runs(status=RunStatus.DONE) == [over(begun(again, NOW + 1))]
    with pytest.raises(StoreDamaged):
        store.runs()


@pytest.mark.parametrize(
    ("statements", "named"),
    [
        (("CREATE TABLE runs (container TEXT, fence INTEGER) STRICT",), "table runs"),
        (
            (
                "CREATE TABLE other (workflow TEXT, began_at INTEGER)",
                "CREATE INDEX runs_by_workflow ON other (began_at, workflow)",
            ),
            "index runs_by_workflow",
        ),
    ],
)
def test_a_table_of_the_name_that_is_another_one_is_refused_at_opening(
    path: Path, statements: tuple[str, ...], named: str
) -> None:
    SqliteStore(f"sqlite:///{path}").close()
    connection = apsw.Connection(str(path))
    for statement in statements:
        connection.execute(statement)
    connection.close()

    with pytest.raises(StoreDamaged) as caught:
        SqliteStore(f"sqlite:///{path}")
    assert str(caught.value) == (
        f"{path}: expected {named} as in layout 3, found something else or nothing; "
        f"{CURE}"
    )


def test_columns_of_a_later_version_are_left_alone(
    store: SqliteStore, raw: apsw.Connection, path: Path
) -> None:
    first = run_through(store, "feed", NOW)
    raw.execute("ALTER TABLE runs ADD COLUMN cost REAL DEFAULT 1.5")
    again = SqliteStore(f"sqlite:///{path}")
    second = run_through(again, "feed", NOW + 1)

    assert again.runs() == [second, first]
    assert again.number_run(first.uid, first.fence, 1, told_at=NOW)
    assert store.runs()[1] == replace(first, ordinal=1, told_at=NOW)
    assert list(raw.execute("SELECT DISTINCT cost FROM runs")) == [(1.5,)]
    again.close()
