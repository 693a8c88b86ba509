"""The log lines of bodies, in a SQLite file of their own beside the store's.

Lines are no state, so a body does not wait until they are on the disk: this file is never
synced. Lines survive the end of the process; a power cut may lose the last ones. A fault
of this file does not affect the store.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import apsw
from msgspec import DecodeError
from msgspec.json import decode as from_json
from msgspec.json import encode as to_json

from ptsflow.core.model import LogChunk, LogLine
from ptsflow.errors import StoreDamaged, StoreError
from ptsflow.stores.rules import outlived
from ptsflow.stores.sqlite.database import Database, Kind
from ptsflow.stores.sqlite.file import (
    exists,
    make_file,
)
from ptsflow.stores.sqlite.layout import check_application
from ptsflow.stores.sqlite.refusals import refusal, unmade
from ptsflow.stores.sqlite.rows import Row, number

#: "ptsl", in the file's header.
_APPLICATION_ID = 0x7074736C
_LAYOUT = 1

_TABLES = (
    """CREATE TABLE chunks (
    mark INTEGER PRIMARY KEY AUTOINCREMENT,
    container INTEGER NOT NULL,
    task TEXT NOT NULL,
    attempt INTEGER NOT NULL,
    number INTEGER NOT NULL,
    lines TEXT NOT NULL
) STRICT""",
    # SQLite appends the mark to every index, so that rows are found in its order.
    "CREATE INDEX chunks_of_containers ON chunks (container)",
    "CREATE INDEX chunks_of_attempts ON chunks (container, task, attempt)",
)

_PUT = (
    "INSERT INTO chunks (container, task, attempt, number, lines) "
    "VALUES (?, ?, ?, ?, ?)"
)
_DROP = "DELETE FROM chunks WHERE container = ? AND task = ? AND attempt <= ?"
_TRIM = (
    "DELETE FROM chunks WHERE container = ? AND task = ? AND attempt = ? "
    "AND number BETWEEN ? AND ?"
)
#: In parts, so that runners can write their lines between two.
_FORGET_SOME = (
    "DELETE FROM chunks WHERE mark IN "
    "(SELECT mark FROM chunks WHERE container = ? LIMIT 1000)"
)
_READ = (
    "SELECT mark, task, attempt, number, CAST(lines AS BLOB) FROM chunks "
    "WHERE container = ? AND mark > ?"
)

_WHAT = "the log lines of a ptsflow store"
_CURE = "move it away to start over"
_LONGEST_LOG = 1000


class SqliteLogs:
    """Chunks of lines in one file, for one thread at a time.

    Args:
        store: The store's file; this file has the same name with `.logs` at its end.
        patience: How many seconds to wait while other processes write.
    """

    def __init__(self, store: Path, patience: float) -> None:
        self._path = store.with_name(f"{store.name}.logs")
        self._patience = patience
        self._database: Database | None = None

    def put(self, uid: str, chunks: Sequence[LogChunk]) -> None:
        """Add chunks; drop the chunks of attempts before the last `LEDGER_LENGTH`."""
        rows = [_chunk_row(number(uid), each) for each in chunks]
        old = [(number(uid), task, last) for task, last in outlived(chunks).items()]
        database = self._database_in_place() or self._open()
        database.write(_put, database, rows, old)

    def trim(self, uid: str, task: str, attempt: int, first: int, last: int) -> None:
        """Drop the chunks of an attempt whose numbers are `first` to `last`."""
        self._drop(_TRIM, (number(uid), task, attempt, first, last))

    def forget(self, uid: str) -> None:
        """Drop all chunks of a container."""
        while self._drop(_FORGET_SOME, (number(uid),)):
            pass

    def _drop(self, statement: str, args: Row) -> int:
        """Return how many chunks were dropped."""
        database = self._database_in_place()
        if database is None:
            return 0
        database.write(database.execute, statement, args)
        return database.changes()

    def read(
        self,
        uid: str,
        *,
        task: str | None = None,
        attempt: int | None = None,
        after: str | None = None,
        newest: int | None = None,
    ) -> tuple[list[LogChunk], str | None]:
        """Return chunks in the order in which they were put, and a mark of the last."""
        database = self._database_in_place()
        if database is None:
            return [], after
        query = _READ
        args: list[str | int] = [number(uid), number(after or "")]
        for column, value in (("task", task), ("attempt", attempt)):
            if value is not None:
                query += f" AND {column} = ?"
                args.append(value)
        query += " ORDER BY mark DESC LIMIT ?"
        args.append(-1 if newest is None else newest)
        found = database.read(_fetch, database, query, tuple(args))
        found.reverse()
        try:
            chunks = [_chunk(row) for row in found]
        except DecodeError as error:
            raise StoreDamaged(
                f"{self._path}: expected {_WHAT}, found others ({error}); {_CURE}"
            ) from error
        return chunks, str(found[-1][0]) if found else after

    def close(self) -> None:
        """Close the file; a second call does nothing."""
        if self._database is not None:
            self._database.close()

    def _database_in_place(self) -> Database | None:
        """Return the file's database, or None where there is no file."""
        database = self._database
        if database is not None and database.is_in_place():
            return database
        self.close()
        self._database = None
        return self._open() if self._path.exists() else None

    def _open(self) -> Database:
        self._database = Database(self._path, _LOGS, self._patience)
        return self._database


def _chunk_row(container: int, chunk: LogChunk) -> Row:
    lines = to_json(chunk.lines).decode()
    return container, chunk.task, chunk.attempt, chunk.number, lines


def _chunk(row: Row) -> LogChunk:
    _, task, attempt, place, lines = row
    read = from_json(lines, type=tuple[LogLine, ...])
    return LogChunk(task=task, attempt=attempt, number=place, lines=read)


def _put(database: Database, rows: Sequence[Row], old: Sequence[Row]) -> None:
    for row in rows:
        database.execute(_PUT, row)
    for row in old:
        database.execute(_DROP, row)


def _fetch(database: Database, query: str, args: Row) -> list[Row]:
    return database.execute(query, args).fetchall()


# -- the file --------------------------------------------------------------------------


def _prepare(path: Path) -> None:
    try:
        if not exists(path, _WHAT):
            make_file(path, _fill, beside=path.with_suffix(""))
    except OSError as error:
        raise unmade(path, error) from error


def _fill(path: Path) -> None:
    connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READWRITE)
    try:
        with connection:
            for statement in _TABLES:
                connection.execute(statement)
            connection.execute(f"PRAGMA application_id = {_APPLICATION_ID}")
            connection.execute(f"PRAGMA user_version = {_LAYOUT}")
        connection.execute("PRAGMA journal_mode = WAL")
    except apsw.Error as error:
        raise _refusal(path, error, connection.system_errno) from error
    finally:
        connection.close()


def _connect(path: Path, patience: float) -> apsw.Connection:
    connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READWRITE)
    try:
        connection.set_busy_timeout(int(patience * 100))
        check_logs(path, connection)
        for name, value in (
            ("journal_mode", "wal"),
            ("synchronous", "OFF"),
            ("mmap_size", 0),
            ("trusted_schema", "OFF"),
        ):
            connection.pragma(name, value)
    except BaseException:
        connection.close()
        raise
    return connection


def check_logs(path: Path, connection: apsw.Connection) -> None:
    """Refuse a file that is none of log lines of this version.

    Raises:
        StoreDamaged: it is another program's, or of another layout.
    """
    check_application(path, connection, _APPLICATION_ID, what=_WHAT, cure=_CURE)
    layout = connection.pragma("user_version")
    if layout != _LAYOUT:
        raise StoreDamaged(
            f"{path}: expected log lines of layout {_LAYOUT}, found layout {layout}; "
            f"{_CURE}"
        )


def _refusal(path: Path, error: apsw.Error, system: int) -> StoreError:
    return refusal(path, error, system, what=_WHAT, cure=_CURE)


_LOGS = Kind(_prepare, _connect, _refusal, lambda _: _CURE, _LONGEST_LOG)
