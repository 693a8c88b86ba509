"""The tables of a SQLite store, and the check that an opened file has them.

Unknown tables, indexes and columns are left alone: a later version or another program,
such as Litestream, may have made them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

import apsw
from msgspec import Struct

from ptsflow.core import model
from ptsflow.errors import StoreDamaged
from ptsflow.stores.layouts import check_number

#: "ptsf", in the file's header: what it is, whatever its name.
APPLICATION_ID = 0x70747366

# The plan and the parameters are the last columns of a container: SQLite reads a row up to
# the last column that a query names, and a commit asks for the fence alone.
#
# Deleted containers of which tasks are left are in `deleted`.
#
# Of tasks, `is_open` is for clients: 1 for a client's task that is not complete, 0 for all
# tasks of steps, which no runner looks for by an index. `id` of a payload is four times its
# task's and the payload's place in `PAYLOADS`. A payload overflows its page, and where
# keys are columns, SQLite would read the whole row to compare them.
TABLES = (
    """CREATE TABLE containers (
    uid INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL UNIQUE,
    workflow TEXT,
    status TEXT NOT NULL,
    finish_reason TEXT,
    target TEXT,
    fence INTEGER NOT NULL,
    owner TEXT,
    leased_till INTEGER,
    stop_asked TEXT,
    created_at INTEGER NOT NULL,
    started_at INTEGER,
    ended_at INTEGER,
    module TEXT NOT NULL DEFAULT '',
    file TEXT NOT NULL DEFAULT '',
    next_position INTEGER NOT NULL,
    task_count INTEGER NOT NULL DEFAULT 0,
    checksum INTEGER NOT NULL,
    params TEXT,
    plan TEXT NOT NULL DEFAULT ''
) STRICT""",
    """CREATE TABLE tasks (
    id INTEGER PRIMARY KEY,
    container INTEGER NOT NULL,
    name TEXT NOT NULL,
    position INTEGER NOT NULL,
    is_open INTEGER NOT NULL,
    step TEXT NOT NULL,
    key TEXT,
    status TEXT NOT NULL,
    version INTEGER NOT NULL,
    fence INTEGER NOT NULL,
    attempt INTEGER NOT NULL,
    invoke_count INTEGER NOT NULL,
    percentage_complete REAL NOT NULL,
    status_text TEXT NOT NULL,
    due INTEGER,
    began_at INTEGER,
    last_invoked_at INTEGER,
    task_ended_at INTEGER,
    task_duration_ms INTEGER,
    leased_till INTEGER,
    max_retries INTEGER NOT NULL,
    delay_between_retries REAL NOT NULL,
    error TEXT,
    cause TEXT NOT NULL,
    code_version TEXT NOT NULL,
    code_hash TEXT NOT NULL,
    ran_by TEXT NOT NULL,
    result_hash INTEGER NOT NULL DEFAULT 0,
    made_from INTEGER NOT NULL DEFAULT 0,
    postponed_at INTEGER,
    checksum INTEGER NOT NULL,
    task_data_check INTEGER,
    processing_data_check INTEGER,
    result_check INTEGER,
    ledger_length INTEGER NOT NULL DEFAULT 0
) STRICT""",
    "CREATE TABLE deleted (container INTEGER PRIMARY KEY) STRICT",
    "CREATE UNIQUE INDEX tasks_by_name ON tasks (container, name)",
    "CREATE INDEX open_tasks ON tasks (container, position, name) WHERE is_open",
    """CREATE TABLE payloads (
    id INTEGER PRIMARY KEY,
    text TEXT NOT NULL
) STRICT""",
    """CREATE TABLE attempts (
    task INTEGER NOT NULL,
    number INTEGER NOT NULL,
    checksum INTEGER NOT NULL,
    entry TEXT NOT NULL,
    PRIMARY KEY (task, number)
) STRICT, WITHOUT ROWID""",
)

RUNS = """CREATE TABLE runs (
    container TEXT NOT NULL,
    fence INTEGER NOT NULL,
    name TEXT NOT NULL,
    workflow TEXT NOT NULL,
    began_at INTEGER NOT NULL,
    status TEXT NOT NULL,
    checksum INTEGER NOT NULL,
    entry TEXT NOT NULL,
    PRIMARY KEY (container, fence)
) STRICT, WITHOUT ROWID"""
RUNS_INDEX = "CREATE INDEX runs_by_workflow ON runs (workflow, began_at)"
OUTLOOKS = """CREATE TABLE outlooks (
    container INTEGER PRIMARY KEY,
    fence INTEGER NOT NULL,
    checksum INTEGER NOT NULL,
    entry TEXT NOT NULL
) STRICT"""
QUEUE = """CREATE TABLE queue (
    container INTEGER PRIMARY KEY,
    workflow TEXT NOT NULL,
    not_before INTEGER NOT NULL,
    priority INTEGER NOT NULL,
    at INTEGER NOT NULL,
    checksum INTEGER NOT NULL,
    entry TEXT NOT NULL
) STRICT"""
SCHEDULES = """CREATE TABLE schedules (
    workflow TEXT PRIMARY KEY,
    checksum INTEGER NOT NULL,
    entry TEXT NOT NULL
) STRICT, WITHOUT ROWID"""

#: What is made by the first who writes to it. Older versions leave it alone, so it belongs
#: to no layout.
OPTIONAL = (RUNS, RUNS_INDEX, OUTLOOKS, QUEUE, SCHEDULES)


def cure(path: Path) -> str:
    """Return the advice to the user of a damaged file.

    SQLite would play the log of the damaged file into the copy.
    """
    return (
        f"restore the file from a copy, and remove {path.name}-wal and {path.name}-shm "
        "before"
    )


def check_application(
    path: Path, connection: apsw.Connection, wanted: int, *, what: str, cure: str
) -> None:
    """Refuse a database of another program.

    Raises:
        StoreDamaged: it is none of `what`; `cure` says what to do.
    """
    found = connection.pragma("application_id")
    if found != wanted:
        raise StoreDamaged(
            f"{path}: expected {what}, found another program's database "
            f"(application_id {found}); {cure}"
        )


def check_layout(path: Path, connection: apsw.Connection) -> int:
    """Return the number of the file's layout: this version's, or an earlier one.

    Raises:
        StoreDamaged: the file is another program's, its layout is unknown, or a table
            is missing.
    """
    number = check_marks(path, connection)
    if number == model.SCHEMA:
        check_tables(path, connection)
    return number


def check_marks(path: Path, connection: apsw.Connection) -> int:
    """Return the number of the file's layout, whatever its tables are.

    Raises:
        StoreDamaged: the file is another program's, or its layout is unknown.
    """
    _name_dump(path, connection)
    check_application(
        path,
        connection,
        APPLICATION_ID,
        what="a ptsflow store",
        cure="choose another file",
    )
    return check_number(str(path), connection.pragma("user_version"))


def _name_dump(path: Path, connection: apsw.Connection) -> None:
    """Refuse a store that SQLite's `.dump` made: it has all tables, and lacks our marks."""
    if connection.pragma("application_id") or missing_from(statements_of(connection)):
        return
    marks = f"PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {model.SCHEMA}"
    raise StoreDamaged(
        f"{path}: expected the marks of a ptsflow store, found its tables without them, as "
        f'.dump makes them; set the marks: sqlite3 {path} "{marks}"'
    )


def statements_of(connection: apsw.Connection) -> list[str]:
    """Return the CREATE statements of all tables and indexes."""
    query = "SELECT sql FROM sqlite_schema WHERE typeof(sql) = 'text'"
    return [sql for (sql,) in connection.execute(query)]


def check_tables(path: Path, connection: apsw.Connection) -> None:
    """Refuse a database that lacks a table, an index, or a part of one.

    Raises:
        StoreDamaged: the message names the tables and indexes.
    """
    made = statements_of(connection)
    missing = missing_from(made) + spoiled(made)
    if missing:
        raise StoreDamaged(
            f"{path}: expected {', '.join(missing)} as in layout {model.SCHEMA}, found "
            f"something else or nothing; {cure(path)}"
        )


def missing_from(statements: Iterable[str]) -> list[str]:
    """Return the names of the tables and indexes in `TABLES` that the statements lack.

    A table may have more columns and constraints, in any order. An index may not.
    """
    return [name for name, _ in _unlike(TABLES, set(statements))]


def spoiled(statements: Iterable[str]) -> list[str]:
    """Return the names of the tables and indexes in `OPTIONAL` that are made otherwise."""
    return [name for name, is_there in _unlike(OPTIONAL, set(statements)) if is_there]


def foreign(connection: apsw.Connection) -> list[str]:
    """Return the names of the tables that this version does not know, such as "table x"."""
    known = {each.name for each in map(_parts, (*TABLES, *OPTIONAL))}
    query = "SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name"
    found = [f"table {name}" for (name,) in connection.execute(query)]
    return [
        each
        for each in found
        if each not in known and not each.startswith("table sqlite_")
    ]


def lacking_indexes(connection: apsw.Connection) -> dict[str, str]:
    """Return the statements of indexes that are missing or made otherwise, by name.

    Those of tables that are not there belong to nothing, and do not count.
    """
    made = set(statements_of(connection))
    wanted = [text for text in (*TABLES, *OPTIONAL) if " INDEX " in text]
    unlike = {name for name, _ in _unlike(wanted, made)}
    tables = {each.name for each in map(_parts, made)}
    return {
        part.name: text
        for text, part in zip(wanted, map(_parts, wanted), strict=True)
        if part.name in unlike and f"table {part.head.split()[-1]}" in tables
    }


def _unlike(wanted: Iterable[str], made: set[str]) -> list[tuple[str, bool]]:
    """Return the wanted tables and indexes that were not made as is wanted.

    Each is returned as its name, and whether there is another one of the name.
    """
    unseen = [text for text in wanted if text not in made]
    if not unseen:
        return []
    parts = [_parts(text) for text in made]
    names = {part.name for part in parts}
    return [
        (each.name, each.name in names)
        for each in map(_parts, unseen)
        if not any(map(each.is_within, parts))
    ]


class _Parts(Struct, frozen=True):
    """A CREATE statement: the text before, in and after its parentheses."""

    head: str
    definitions: tuple[str, ...]
    tail: str

    @property
    def name(self) -> str:
        """The kind and name of the object, such as "table tasks"."""
        found = re.search(_NAMED, self.head)
        return f"{found[1].lower()} {found[2]}" if found else self.head

    def is_within(self, other: _Parts) -> bool:
        """Whether the other statement makes the same index, or a table with at least ours."""
        if (self.head, self.tail) != (other.head, other.tail):
            return False
        if self.head.startswith("CREATE TABLE"):
            return set(self.definitions) <= set(other.definitions)
        return self.definitions == other.definitions


_NAMED = r"(TABLE|INDEX) (\w+)"
_COMMA = r",(?![^(]*\))"


def _parts(statement: str) -> _Parts:
    # SQLite quotes the name of a table that was renamed.
    head, _, rest = " ".join(statement.replace('"', "").split()).partition("(")
    body, _, tail = rest.rpartition(")")
    definitions = tuple(part.strip() for part in re.split(_COMMA, body))
    return _Parts(head.strip(), definitions, tail.strip())


def if_missing(statement: str) -> str:
    """Return the CREATE statement as one that leaves what exists as it is."""
    return re.sub(_NAMED, r"\1 IF NOT EXISTS \2", statement, count=1)
