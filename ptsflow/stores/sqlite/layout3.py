"""The step from layout 2 to layout 3 of a SQLite file.

Layout 3 binds what belongs together: a container has the number of its tasks; a task has
the check values of its payloads and the length of its ledger; the check value of an
attempt covers the task. A task also has hashes of its result and of what it was made from,
0 in what layout 2 had. Plans stand behind all that a commit reads, payloads are found by
one number, and the index of open tasks has those of clients alone. A row that is damaged
already is refused and not made to fit.
"""

from __future__ import annotations

from pathlib import Path
from zlib import crc32

import apsw
from msgspec.msgpack import encode

from ptsflow.errors import StoreDamaged
from ptsflow.stores.sqlite import rows, statements
from ptsflow.stores.sqlite.layout import TABLES, cure

#: The columns of a container in layout 2, the check value last.
CONTAINER = (
    *("uid", "name", "workflow", "params", "plan", "status", "finish_reason"),
    *("target", "fence", "owner", "leased_till", "stop_asked", "created_at"),
    *("started_at", "ended_at", "next_position", "checksum"),
)
#: The columns of a task in layout 2, the check value last.
_TASK = (
    *("container", "name", "position", "is_open", "step", "key", "status", "version"),
    *("fence", "attempt", "invoke_count", "percentage_complete", "status_text", "due"),
    *("began_at", "last_invoked_at", "task_ended_at", "task_duration_ms"),
    *("leased_till", "max_retries", "delay_between_retries", "error", "cause"),
    *("code_version", "code_hash", "ran_by", "checksum"),
)
_ATTEMPT = ("number", "CAST(entry AS BLOB)", "checksum")

#: The tables that are made anew.
_NEW = ("CREATE TABLE payloads", "CREATE TABLE deleted")

_COLUMNS = (
    "ALTER TABLE containers ADD COLUMN module TEXT NOT NULL DEFAULT ''",
    "ALTER TABLE containers ADD COLUMN file TEXT NOT NULL DEFAULT ''",
    "ALTER TABLE containers ADD COLUMN task_count INTEGER NOT NULL DEFAULT 0",
    "ALTER TABLE tasks ADD COLUMN result_hash INTEGER NOT NULL DEFAULT 0",
    "ALTER TABLE tasks ADD COLUMN made_from INTEGER NOT NULL DEFAULT 0",
    "ALTER TABLE tasks ADD COLUMN postponed_at INTEGER",
    "ALTER TABLE tasks ADD COLUMN task_data_check INTEGER",
    "ALTER TABLE tasks ADD COLUMN processing_data_check INTEGER",
    "ALTER TABLE tasks ADD COLUMN result_check INTEGER",
    "ALTER TABLE tasks ADD COLUMN ledger_length INTEGER NOT NULL DEFAULT 0",
)
_BIND = (
    (
        "UPDATE containers SET task_count = "
        "(SELECT count(*) FROM tasks WHERE container = uid)"
    ),
    (
        "UPDATE tasks SET task_data_check = "
        "(SELECT checksum FROM payloads WHERE task = id AND field = 0), "
        "processing_data_check = "
        "(SELECT checksum FROM payloads WHERE task = id AND field = 1), "
        "result_check = (SELECT checksum FROM payloads WHERE task = id AND field = 2), "
        "ledger_length = (SELECT count(*) FROM attempts WHERE task = id)"
    ),
    "ALTER TABLE payloads RENAME TO payloads_of_layout2",
    *(text for text in TABLES if text.startswith(_NEW)),
    (
        "INSERT INTO payloads (id, text) SELECT task * 4 + field, text "
        "FROM payloads_of_layout2 ORDER BY task, field"
    ),
    "DROP TABLE payloads_of_layout2",
    "UPDATE tasks SET is_open = 0 WHERE step != ''",
    "ALTER TABLE containers ADD COLUMN last_params TEXT",
    "ALTER TABLE containers ADD COLUMN last_plan TEXT NOT NULL DEFAULT ''",
    "UPDATE containers SET last_params = params, last_plan = plan",
    "ALTER TABLE containers DROP COLUMN params",
    "ALTER TABLE containers DROP COLUMN plan",
    "ALTER TABLE containers RENAME COLUMN last_params TO params",
    "ALTER TABLE containers RENAME COLUMN last_plan TO plan",
)


def bind(connection: apsw.Connection) -> None:
    """Carry the tables and rows of layout 2 over to layout 3.

    Raises:
        StoreDamaged: a row does not fit its check value.
    """
    tables = (
        ("containers", ("uid",), CONTAINER, statements.CONTAINER),
        ("tasks", ("id",), _TASK, statements.TASK),
        ("attempts", ("task", "number"), _ATTEMPT, ("task", *_ATTEMPT)),
    )
    for table, _, before, _ in tables:
        _check(connection, table, before)
    for statement in (*_COLUMNS, *_BIND):
        connection.execute(statement)
    for table, key, _, after in tables:
        _seal(connection, table, key, after)


def _check(connection: apsw.Connection, table: str, columns: tuple[str, ...]) -> None:
    query = f"SELECT {', '.join(columns)} FROM {table}"  # noqa: S608 - constants.
    if not all(map(rows.is_intact, connection.execute(query))):
        path = Path(connection.filename)
        raise StoreDamaged(
            f"{path}: a row of {table} does not fit its check value; {cure(path)}"
        )


def _seal(
    connection: apsw.Connection,
    table: str,
    key: tuple[str, ...],
    columns: tuple[str, ...],
) -> None:
    """Give the rows of a table the check values of layout 3."""
    query = f"SELECT {', '.join(key + columns)} FROM {table}"  # noqa: S608 - constants.
    sealed = [
        (crc32(encode(row[len(key) : -1])), *row[: len(key)])
        for row in connection.execute(query).fetchall()
    ]
    match = " AND ".join(f"{column} = ?" for column in key)
    connection.executemany(
        f"UPDATE {table} SET checksum = ? WHERE {match}",  # noqa: S608 - constants.
        sealed,
    )
