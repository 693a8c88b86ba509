"""Records as rows of SQLite and back, and the statements of the store.

The last column of a row is a check value of the other columns. SQLite keeps a whole float
as an integer and has no negative zero. So `+ 0.0` makes such values alike before the check
value is computed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any
from zlib import crc32

from msgspec import UNSET
from msgspec.json import decode as from_json
from msgspec.json import encode as to_json
from msgspec.msgpack import encode
from msgspec.structs import asdict

from ptsflow.core.model import (
    LEDGER_LENGTH,
    PAYLOADS,
    Attempt,
    Cause,
    ContainerRecord,
    Owner,
    Status,
    StepSummary,
    Stop,
    TaskRecord,
)

#: A row as SQLite returns it; the STRICT tables guarantee the types of its cells.
Row = tuple[Any, ...]

# The columns are the fields of the records, in their order, and the store's own. Check
# values depend on the order: a new order of fields is a new layout.

CONTAINER = (*ContainerRecord.__struct_fields__, "next_position", "checksum")

#: The fields of a task that are copied into its row, after the keys.
_PLAIN = tuple(
    name
    for name in TaskRecord.__struct_fields__
    if name not in {"name", "position", *PAYLOADS}
)
#: The keys and indexed columns come first, so that UPDATE statements can leave them out.
TASK = ("container", "name", "position", "is_open", *_PLAIN, "checksum")
_PERCENTAGE, _TEXT = TASK.index("percentage_complete"), TASK.index("status_text")
#: The columns of floats, in which SQLite keeps no negative zero.
_FIGURES = ("percentage_complete", "delay_between_retries")


def _list(columns: Sequence[str]) -> str:
    return ", ".join(columns)


def _assign(columns: Sequence[str]) -> str:
    return ", ".join(f"{column} = ?" for column in columns)


def _marks(columns: Sequence[str]) -> str:
    return ", ".join("?" for _ in columns)


# -- statements: assembled from the constants above alone -----------------------

CONTAINERS = f"SELECT {_list(CONTAINER)} FROM containers"  # noqa: S608
LAST_UID = "SELECT seq FROM sqlite_sequence WHERE name = 'containers'"
NEW_CONTAINER = (
    f"INSERT INTO containers ({_list(CONTAINER)}) VALUES ({_marks(CONTAINER)})"  # noqa: S608
)
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
    f"INSERT INTO tasks ({_list(TASK)}) VALUES ({_marks(TASK)}) "  # noqa: S608
    "ON CONFLICT (container, name) DO NOTHING"
)
#: For a change of neither name, position nor completeness: no index is written.
UPDATE_UNINDEXED = f"UPDATE tasks SET {_assign(TASK[4:])} {_MATCH}"  # noqa: S608
#: For a task that becomes complete, or is opened again.
UPDATE_STATUS = f"UPDATE tasks SET {_assign(TASK[3:])} {_MATCH}"  # noqa: S608
#: For another name or another position, whatever else changes with it.
UPDATE_KEYS = f"UPDATE OR IGNORE tasks SET {_assign(TASK[1:])} {_MATCH}"  # noqa: S608
DELETE = f"DELETE FROM tasks {_MATCH} RETURNING id"  # noqa: S608
DELETE_PARTS = (
    "DELETE FROM payloads WHERE task = ?",
    "DELETE FROM attempts WHERE task = ?",
)
TOUCH = (
    "UPDATE tasks SET percentage_complete = ?, status_text = ?, checksum = ? "
    "WHERE container = ? AND name = ?"
)

TASKS = f"SELECT {_list(TASK)} FROM tasks AS t WHERE container = ?"  # noqa: S608
FULL_TASKS = (
    f"SELECT {_list(['t.' + column for column in TASK])}, "  # noqa: S608
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
    """Return the uid as an integer; for a uid of another kind of store 0, which none has."""
    return int(uid) if uid.isdecimal() and len(uid) < 19 else 0  # noqa: PLR2004 - 64 bits.


def is_intact(row: Row) -> bool:
    """Return whether the check value at the row's end fits the other columns."""
    return bool(crc32(encode(row[:-1])) == row[-1])


def container_row(record: ContainerRecord, next_position: int) -> Row:
    """Return the columns of a container, the check value last."""
    owner = record.owner
    columns = asdict(record) | {
        "uid": int(record.uid),
        "plan": to_json(record.plan).decode(),
        "owner": None if owner is None else to_json(owner).decode(),
    }
    row = (*columns.values(), next_position)
    return (*row, crc32(encode(row)))


def container_of(row: Row) -> ContainerRecord:
    """Return the container of an intact row."""
    columns = dict(zip(ContainerRecord.__struct_fields__, row, strict=False))
    owner, stop = columns["owner"], columns["stop_asked"]
    columns |= {
        "uid": str(columns["uid"]),
        "plan": from_json(columns["plan"], type=tuple[StepSummary, ...]),
        "status": Status(columns["status"]),
        "owner": None if owner is None else from_json(owner, type=Owner),
        "stop_asked": None if stop is None else Stop(stop),
    }
    return ContainerRecord(**columns)


_ENUMS = {
    "status": {status.value: status for status in Status},
    "cause": {cause.value: cause for cause in Cause},
}


def _compiled(parameters: str, expression: str) -> Callable[..., Any]:
    """Compile a function that names every field; a loop over fields takes twice as long."""
    known = {"TaskRecord": TaskRecord, "enums": _ENUMS}
    function: Callable[..., Any] = eval(  # noqa: S307 - made of names of fields alone.
        f"lambda {parameters}: {expression}", known
    )
    return function


def _compiled_cells() -> Callable[[int, TaskRecord, int], Row]:
    cells = {name: f"task.{name}" for name in _PLAIN}
    cells |= {name: f"task.{name} + 0.0" for name in _FIGURES}
    keys = "container, task.name, position, 0 if task.is_complete else 1"
    row = f"({keys}, {_list(list(cells.values()))})"
    return _compiled("container, task, position", row)


def _compiled_task_of() -> Callable[[Row, Row], TaskRecord]:
    cells = {"name": "row[1]", "position": "row[2]"}
    cells |= {name: f"row[{place}]" for place, name in enumerate(_PLAIN, 4)}
    cells |= {name: f"enums[{name!r}][{cells[name]}]" for name in _ENUMS}
    cells |= {name: f"payloads[{place}]" for place, name in enumerate(PAYLOADS)}
    fields = _list([f"{name}={cell}" for name, cell in cells.items()])
    return _compiled("row, payloads", f"TaskRecord({fields})")


_cells = _compiled_cells()
#: Makes a task of an intact row and of its payloads, in the order of `PAYLOADS`.
task_of = _compiled_task_of()


def task_row(container: int, task: TaskRecord, position: int) -> Row:
    """Return the columns of a task, the check value last."""
    row = _cells(container, task, position)
    return (*row, crc32(encode(row)))


#: The payloads of a task that was read without them.
NOT_LOADED = (UNSET, UNSET, UNSET)


def progressed(row: Row, percentage: float, text: str) -> Row:
    """Return the values that `TOUCH` writes: percentage, text and the new check value."""
    moved = list(row[:-1])
    moved[_PERCENTAGE], moved[_TEXT] = percentage + 0.0, text
    return moved[_PERCENTAGE], text, crc32(encode(moved))


def attempt_row(attempt: Attempt) -> Row:
    """Return the columns of an attempt but its task, the check value last."""
    entry = to_json(attempt)
    return attempt.number, entry.decode(), crc32(encode((attempt.number, entry)))


def payloads_of(cells: Row) -> Row | None:
    """Return the texts of three (check value, bytes) pairs; None if a value does not fit."""
    texts: list[str | None] = []
    for value, data in zip(cells[::2], cells[1::2], strict=True):
        if value is None:
            texts.append(None)
        elif crc32(data) != value:
            return None
        else:
            texts.append(data.decode())
    return tuple(texts)
