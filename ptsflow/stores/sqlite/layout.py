"""The tables of a SQLite store, and whether an opened file has them.

What an older version may ignore never changes the number of the layout: tables, indexes
and columns that this version does not know are left alone, whoever made them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

import apsw
from msgspec import Struct

from ptsflow.core.model import SCHEMA
from ptsflow.errors import StoreDamaged

#: "ptsf", in the file's header: what it is, whatever its name.
APPLICATION_ID = 0x70747366

TABLES = (
    """CREATE TABLE containers (
    uid INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL UNIQUE,
    workflow TEXT,
    params TEXT,
    plan TEXT NOT NULL,
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
    next_position INTEGER NOT NULL,
    checksum INTEGER NOT NULL
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
    checksum INTEGER NOT NULL
) STRICT""",
    "CREATE UNIQUE INDEX tasks_by_name ON tasks (container, name)",
    "CREATE INDEX open_tasks ON tasks (container, position, name) WHERE is_open",
    """CREATE TABLE payloads (
    task INTEGER NOT NULL,
    field INTEGER NOT NULL,
    checksum INTEGER NOT NULL,
    text TEXT NOT NULL,
    PRIMARY KEY (task, field)
) STRICT, WITHOUT ROWID""",
    """CREATE TABLE attempts (
    task INTEGER NOT NULL,
    number INTEGER NOT NULL,
    checksum INTEGER NOT NULL,
    entry TEXT NOT NULL,
    PRIMARY KEY (task, number)
) STRICT, WITHOUT ROWID""",
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


def check_layout(path: Path, connection: apsw.Connection) -> None:
    """Refuse a database that is no store of this layout.

    Raises:
        StoreDamaged: it is another program's, of another layout, or lacks a table.
    """
    check_application(
        path,
        connection,
        APPLICATION_ID,
        what="a ptsflow store",
        cure="choose another file",
    )
    version = connection.pragma("user_version")
    if version != SCHEMA:
        raise StoreDamaged(
            f"{path}: expected layout {SCHEMA}, found layout {_layout(version)}"
        )
    check_tables(path, connection)


def check_tables(path: Path, connection: apsw.Connection) -> None:
    """Refuse a database in which a table or an index is not as this version knows it.

    Raises:
        StoreDamaged: one is missing, or lacks a column or a constraint.
    """
    found = [sql for (sql,) in connection.execute("SELECT sql FROM sqlite_schema")]
    missing = missing_from(found)
    if missing:
        raise StoreDamaged(
            f"{path}: expected {', '.join(missing)} as in layout {SCHEMA}, found "
            "something else or nothing; restore the file from a copy"
        )


def missing_from(statements: Iterable[str | None]) -> list[str]:
    """Return which of `TABLES` are not among those that the statements made.

    A table is there if it has all columns and constraints of ours, in whatever order.
    """
    texts = {text for text in statements if text is not None}
    unseen = [text for text in TABLES if text not in texts]
    if not unseen:
        return []
    made = [_parts(text) for text in texts]
    return [
        wanted.name
        for wanted in map(_parts, unseen)
        if not any(map(wanted.is_within, made))
    ]


class _Parts(Struct, frozen=True):
    """A CREATE statement: what comes before its parentheses, in them, and after."""

    head: str
    definitions: tuple[str, ...]
    tail: str

    @property
    def name(self) -> str:
        """What it makes, such as "table tasks"."""
        kind, name = _NAMED.findall(self.head)[0]
        return f"{kind.lower()} {name}"

    def is_within(self, other: _Parts) -> bool:
        """Whether the other one makes the same thing, or a table with more columns."""
        if (self.head, self.tail) != (other.head, other.tail):
            return False
        if self.head.startswith("CREATE TABLE"):
            return set(self.definitions) <= set(other.definitions)
        return self.definitions == other.definitions


_NAMED = re.compile(r"(TABLE|INDEX) (\w+)")
_COMMA = re.compile(r",(?![^(]*\))")


def _parts(statement: str) -> _Parts:
    # SQLite quotes the name of a table that was renamed.
    head, _, rest = " ".join(statement.replace('"', "").split()).partition("(")
    body, _, tail = rest.rpartition(")")
    definitions = tuple(part.strip() for part in _COMMA.split(body))
    return _Parts(head.strip(), definitions, tail.strip())


def _layout(version: int) -> str:
    if version > SCHEMA:
        return f"{version}; upgrade ptsflow"
    if version < 1:
        return f"{version}; restore the file from a copy"
    return (
        f"{version}, made by an earlier version of ptsflow; finish what is in it with "
        "that version, or choose another file"
    )
