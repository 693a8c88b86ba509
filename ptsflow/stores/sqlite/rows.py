"""Records as rows of SQLite and back, with the statements that carry them.

A row's last column is a check value over all before it. SQLite keeps a whole float as
an int and knows no negative zero; both are levelled out before the value is taken.
"""

from __future__ import annotations

from typing import Any
from zlib import crc32

from msgspec import UNSET
from msgspec.json import decode as from_json
from msgspec.json import encode as to_json
from msgspec.msgpack import encode

from ptsflow.core.model import (
    LEDGER_LENGTH,
    Attempt,
    Cause,
    ContainerRecord,
    Owner,
    Status,
    StepSummary,
    Stop,
    TaskRecord,
)

#: A row as SQLite gives it: what its types are is what the tables promise.
Row = tuple[Any, ...]

CONTAINER = (
    "uid, name, workflow, params, plan, status, finish_reason, target, "
    "fence, owner, leased_till, stop_asked, created_at, started_at, ended_at, "
    "next_position, checksum"
)
TASK = (
    "container, name, position, is_open, step, key, status, version, fence, attempt, "
    "invoke_count, percentage_complete, status_text, due, began_at, last_invoked_at, "
    "task_ended_at, task_duration_ms, leased_till, max_retries, "
    "delay_between_retries, error, cause, code_version, code_hash, ran_by, checksum"
)
#: How many columns of a task there are, the check value included.
WIDTH = len(TASK.split(", "))


def _assign(columns: str) -> str:
    return ", ".join(f"{column} = ?" for column in columns.split(", "))


def _marks(columns: str) -> str:
    return ", ".join("?" for _ in columns.split(", "))


# -- statements: assembled from the constants above alone -----------------------

CONTAINERS = f"SELECT {CONTAINER} FROM containers"  # noqa: S608
LAST_UID = "SELECT seq FROM sqlite_sequence WHERE name = 'containers'"
NEW_CONTAINER = f"INSERT INTO containers ({CONTAINER}) VALUES ({_marks(CONTAINER)})"  # noqa: S608
DELETE_CONTAINER = (
    "DELETE FROM payloads WHERE task IN (SELECT id FROM tasks WHERE container = ?)",
    "DELETE FROM attempts WHERE task IN (SELECT id FROM tasks WHERE container = ?)",
    "DELETE FROM tasks WHERE container = ?",
    "DELETE FROM containers WHERE uid = ?",
)
UPDATE_CONTAINER = f"UPDATE containers SET {_assign(CONTAINER)} WHERE uid = ?"  # noqa: S608
WRITER = "SELECT fence, owner IS NULL FROM containers WHERE uid = ?"
STOP_ASKED = "SELECT stop_asked IS NOT NULL FROM containers WHERE uid = ?"

_MATCH = "WHERE container = ? AND name = ? AND version = ? AND fence = ?"
INSERT = (
    f"INSERT INTO tasks ({TASK}) VALUES ({_marks(TASK)}) "  # noqa: S608
    "ON CONFLICT (container, name) DO NOTHING"
)
#: For a change of neither name, position nor completeness: no index is written.
UPDATE_UNINDEXED = f"UPDATE tasks SET {_assign(TASK.split(', ', 4)[4])} {_MATCH}"  # noqa: S608
#: For a task that becomes complete, or is opened again.
UPDATE_STATUS = f"UPDATE tasks SET {_assign(TASK.split(', ', 3)[3])} {_MATCH}"  # noqa: S608
#: For another name or another position, whatever else changes with it.
UPDATE_KEYS = f"UPDATE OR IGNORE tasks SET {_assign(TASK.split(', ', 1)[1])} {_MATCH}"  # noqa: S608
DELETE = f"DELETE FROM tasks {_MATCH} RETURNING id"  # noqa: S608
DELETE_PARTS = (
    "DELETE FROM payloads WHERE task = ?",
    "DELETE FROM attempts WHERE task = ?",
)
TOUCH = (
    "UPDATE tasks SET percentage_complete = ?, status_text = ?, checksum = ? "
    "WHERE container = ? AND name = ?"
)

TASKS = f"SELECT {TASK} FROM tasks AS t WHERE container = ?"  # noqa: S608
FULL_TASKS = (
    f"SELECT {', '.join('t.' + column for column in TASK.split(', '))}, "  # noqa: S608
    "p0.checksum, CAST(p0.text AS BLOB), p1.checksum, CAST(p1.text AS BLOB), "
    "p2.checksum, CAST(p2.text AS BLOB) FROM tasks AS t "
    "LEFT JOIN payloads AS p0 ON p0.task = t.id AND p0.field = 0 "
    "LEFT JOIN payloads AS p1 ON p1.task = t.id AND p1.field = 1 "
    "LEFT JOIN payloads AS p2 ON p2.task = t.id AND p2.field = 2 "
    "WHERE t.container = ?"
)
OF_NAMES = " AND t.name IN (SELECT value FROM json_each(?))"
OF_NAME = " AND t.name = ?"
RUNNING = " AND t.status = 'running'"
OPEN = " AND t.is_open"
UNLEASED = " AND (t.leased_till IS NULL OR t.leased_till <= ?)"
FIRST = " ORDER BY t.position, t.name LIMIT 1"

PUT_PAYLOAD = (
    "INSERT INTO payloads (task, field, checksum, text) "
    "SELECT id, ?, ?, ? FROM tasks WHERE container = ? AND name = ? "
    "ON CONFLICT (task, field) DO UPDATE "
    "SET checksum = excluded.checksum, text = excluded.text"
)
DROP_PAYLOAD = (
    "DELETE FROM payloads WHERE field = ? "
    "AND task = (SELECT id FROM tasks WHERE container = ? AND name = ?)"
)
ATTEMPTS = (
    "SELECT number, CAST(entry AS BLOB), checksum FROM attempts WHERE task = "
    "(SELECT id FROM tasks WHERE container = ? AND name = ?) ORDER BY number"
)
PUT_ATTEMPT = (
    "INSERT INTO attempts (task, number, entry, checksum) "
    "SELECT id, ?, ?, ? FROM tasks WHERE container = ? AND name = ? "
    "ON CONFLICT (task, number) DO UPDATE "
    "SET entry = excluded.entry, checksum = excluded.checksum RETURNING task"
)
DROP_ATTEMPTS = (
    "DELETE FROM attempts WHERE task = ?1 AND number <= "  # noqa: S608
    "(SELECT number FROM attempts "
    f"WHERE task = ?1 ORDER BY number DESC LIMIT 1 OFFSET {LEDGER_LENGTH})"
)
TALLIES = (
    "SELECT container, step, status, count(*), sum(percentage_complete) FROM tasks "
    "WHERE container IN (SELECT value FROM json_each(?)) "
    "GROUP BY container, step, status ORDER BY container, min(position), status"
)

# -- rows --------------------------------------------------------------------------


def number(uid: str) -> int:
    """Return the uid as SQLite counts it; 0, which is nobody's, for another store's."""
    return int(uid) if uid.isdecimal() and len(uid) < 19 else 0  # noqa: PLR2004 - 64 bits.


def is_intact(row: Row) -> bool:
    """Return whether the check value at the row's end is that of the rest."""
    return bool(crc32(encode(row[:-1])) == row[-1])


def container_row(record: ContainerRecord, next_position: int) -> Row:
    """Return the columns of a container, the check value last."""
    row = (
        int(record.uid),
        record.name,
        record.workflow,
        record.params,
        to_json(record.plan).decode(),
        record.status,
        record.finish_reason,
        record.target,
        record.fence,
        None if record.owner is None else to_json(record.owner).decode(),
        record.leased_till,
        record.stop_asked,
        record.created_at,
        record.started_at,
        record.ended_at,
        next_position,
    )
    return (*row, crc32(encode(row)))


def container_of(row: Row) -> ContainerRecord:
    """Return the container of an intact row."""
    owner = row[9]
    return ContainerRecord(
        uid=str(row[0]),
        name=row[1],
        workflow=row[2],
        params=row[3],
        plan=from_json(row[4], type=tuple[StepSummary, ...]),
        status=Status(row[5]),
        finish_reason=row[6],
        target=row[7],
        fence=row[8],
        owner=None if owner is None else from_json(owner, type=Owner),
        leased_till=row[10],
        stop_asked=None if row[11] is None else Stop(row[11]),
        created_at=row[12],
        started_at=row[13],
        ended_at=row[14],
    )


def task_row(container: int, task: TaskRecord, position: int) -> Row:
    """Return the columns of a task, the check value last."""
    row = (
        container,
        task.name,
        position,
        0 if task.is_complete else 1,
        task.step,
        task.key,
        task.status,
        task.version,
        task.fence,
        task.attempt,
        task.invoke_count,
        task.percentage_complete + 0.0,
        task.status_text,
        task.due,
        task.began_at,
        task.last_invoked_at,
        task.task_ended_at,
        task.task_duration_ms,
        task.leased_till,
        task.max_retries,
        task.delay_between_retries + 0.0,
        task.error,
        task.cause,
        task.code_version,
        task.code_hash,
        task.ran_by,
    )
    return (*row, crc32(encode(row)))


_STATUS = {status.value: status for status in Status}
_CAUSE = {cause.value: cause for cause in Cause}


def task_of(row: Row, payloads: Row) -> TaskRecord:
    """Return the task of an intact row."""
    return TaskRecord(
        name=row[1],
        position=row[2],
        step=row[4],
        key=row[5],
        status=_STATUS[row[6]],
        version=row[7],
        fence=row[8],
        attempt=row[9],
        invoke_count=row[10],
        percentage_complete=row[11],
        status_text=row[12],
        due=row[13],
        began_at=row[14],
        last_invoked_at=row[15],
        task_ended_at=row[16],
        task_duration_ms=row[17],
        leased_till=row[18],
        max_retries=row[19],
        delay_between_retries=row[20],
        error=row[21],
        cause=_CAUSE[row[22]],
        code_version=row[23],
        code_hash=row[24],
        ran_by=row[25],
        task_data=payloads[0],
        processing_data=payloads[1],
        result=payloads[2],
    )


#: The payloads of a task that was read without them.
NOT_LOADED = (UNSET, UNSET, UNSET)


def progressed(row: Row, percentage: float, text: str) -> Row:
    """Return what `TOUCH` writes to an intact row: percentage, text and check value."""
    moved = (*row[:11], percentage + 0.0, text, *row[13:-1])
    return moved[11], text, crc32(encode(moved))


def attempt_row(attempt: Attempt) -> Row:
    """Return the columns of an attempt but its task, the check value last."""
    entry = to_json(attempt)
    return attempt.number, entry.decode(), crc32(encode((attempt.number, entry)))


def payloads_of(cells: Row) -> Row | None:
    """Return the texts of three (check value, bytes) pairs, or None if one is wrong."""
    texts: list[str | None] = []
    for value, data in zip(cells[::2], cells[1::2], strict=True):
        if value is None:
            texts.append(None)
        elif crc32(data) != value:
            return None
        else:
            texts.append(data.decode())
    return tuple(texts)
