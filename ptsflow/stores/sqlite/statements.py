"""The columns of a SQLite store's tables, and its statements, assembled from constants."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

from ptsflow.core.model import (
    LEDGER_LENGTH,
    PAYLOADS,
    ContainerRecord,
    TaskRecord,
)

# The columns are the fields of the records, in their order, and the store's own. Check
# values depend on the order: a new order of fields is a new layout.

CONTAINER = (
    *ContainerRecord.__struct_fields__,
    "next_position",
    "task_count",
    "checksum",
)

#: The fields of a task that are copied into its row, after the keys.
PLAIN = tuple(
    name
    for name in TaskRecord.__struct_fields__
    if name not in {"name", "position", *PAYLOADS}
)
#: The keys and indexed columns come first, so that UPDATE statements can leave them out.
TASK = ("container", "name", "position", "is_open", *PLAIN, "checksum")
PERCENTAGE, TEXT = TASK.index("percentage_complete"), TASK.index("status_text")
#: The columns of floats, in which SQLite keeps no negative zero.
FIGURES = ("percentage_complete", "delay_between_retries")
#: The columns of a task that bind its payloads, in the order of `PAYLOADS`. They have no
#: check value: a wrong one does not fit its payload.
CHECKS = tuple(f"{name}_check" for name in PAYLOADS)


def _list(columns: Sequence[str]) -> str:
    return ",".join(columns)


def _assign(columns: Sequence[str]) -> str:
    return ",".join(f"{column}=?" for column in columns)


def _marks(columns: Sequence[str]) -> str:
    return ",".join("?" for _ in columns)


# -- statements: assembled from the constants above alone -----------------------

# They have no needless blanks: a statement is looked up by its text each time.

CONTAINERS = f"SELECT {_list(CONTAINER)} FROM containers"  # noqa: S608
LAST_UID = "SELECT seq FROM sqlite_sequence WHERE name = 'containers'"
#: The containers; the entries of the index of names; and the containers that it lacks.
NAMED = (
    "SELECT count(*), (SELECT count(*) FROM containers "
    "INDEXED BY sqlite_autoindex_containers_1), "
    "coalesce(sum(NOT EXISTS (SELECT 1 FROM containers AS i "
    "INDEXED BY sqlite_autoindex_containers_1 WHERE i.name = c.name)), 0) "
    "FROM containers AS c NOT INDEXED"
)
NEW_CONTAINER = (
    f"INSERT INTO containers ({_list(CONTAINER)}) VALUES ({_marks(CONTAINER)})"  # noqa: S608
)
DELETE_CONTAINER = "DELETE FROM containers WHERE uid = ?"
LEAVE_TASKS = "INSERT INTO deleted (container) VALUES (?)"
LEFT = "SELECT container FROM deleted"
NOTHING_LEFT = "DELETE FROM deleted WHERE container = ?"
SOME_TASKS = "SELECT id FROM tasks WHERE container = ? LIMIT 1000"
DELETE_TASKS = (
    (
        "DELETE FROM payloads WHERE id IN (SELECT t.value * 4 + field.value "
        "FROM json_each(?) AS t, json_each('[0, 1, 2]') AS field)"
    ),
    "DELETE FROM attempts WHERE task IN (SELECT value FROM json_each(?))",
    "DELETE FROM tasks WHERE id IN (SELECT value FROM json_each(?))",
)
UPDATE_CONTAINER = f"UPDATE containers SET {_assign(CONTAINER)} WHERE uid = ?"  # noqa: S608
WRITER = "SELECT fence, owner IS NULL FROM containers WHERE uid = ?"
STOP_ASKED = "SELECT stop_asked IS NOT NULL FROM containers WHERE uid = ?"

_MATCH = "WHERE container=? AND name=? AND version=? AND fence=? AND position=?"


@cache
def insert(payloads: tuple[int, ...] = ()) -> str:
    """Return the INSERT of a task whose payloads, given by their places, are bound."""
    columns = TASK + tuple(CHECKS[field] for field in payloads)
    return (
        f"INSERT INTO tasks ({_list(columns)}) VALUES ({_marks(columns)}) "  # noqa: S608
        "ON CONFLICT (container, name) DO NOTHING"
    )


@cache
def update(first: int, payloads: tuple[int, ...] = ()) -> str:
    """Return the UPDATE of a task: its columns from `first` on, and bound payloads.

    `first` is UNINDEXED, STATUS or KEYS.
    """
    columns = TASK[first:] + tuple(CHECKS[field] for field in payloads)
    if first == KEYS:
        return f"UPDATE OR IGNORE tasks SET {_assign(columns)} {_MATCH}"  # noqa: S608
    # The check value is also of the columns that are left out: they must be as expected.
    kept = "".join(f" AND {column}=?" for column in TASK[STATUS:first])
    return f"UPDATE tasks SET {_assign(columns)} {_MATCH}{kept}"  # noqa: S608


INSERT = insert()
#: For another name or another position, whatever else changes with it.
KEYS = 1
#: For a client's task that becomes complete, or is opened again.
STATUS = 3
#: For a change of neither name, position nor completeness: no index is written.
UNINDEXED = 4
#: For a change of no payload.
UPDATE = {first: update(first) for first in (KEYS, STATUS, UNINDEXED)}

DELETE = f"DELETE FROM tasks {_MATCH} RETURNING id"  # noqa: S608
DELETE_PARTS = (
    "DELETE FROM payloads WHERE id BETWEEN ?1 * 4 AND ?1 * 4 + 2",
    "DELETE FROM attempts WHERE task = ?",
)
TOUCH = (
    "UPDATE tasks SET percentage_complete = ?, status_text = ?, checksum = ? "
    "WHERE container = ? AND name = ?"
)

TASKS = (
    f"SELECT {_list(['t.' + column for column in TASK])} "  # noqa: S608
    "FROM tasks AS t WHERE t.container = ?"
)
FULL_TASKS = (
    f"SELECT {_list(['t.' + column for column in TASK])}, "  # noqa: S608
    f"t.{CHECKS[0]}, CAST(p0.text AS BLOB), t.{CHECKS[1]}, CAST(p1.text AS BLOB), "
    f"t.{CHECKS[2]}, CAST(p2.text AS BLOB) FROM tasks AS t "
    "LEFT JOIN payloads AS p0 ON p0.id = t.id * 4 "
    "LEFT JOIN payloads AS p1 ON p1.id = t.id * 4 + 1 "
    "LEFT JOIN payloads AS p2 ON p2.id = t.id * 4 + 2 "
    "WHERE t.container = ?"
)
_FROM, _OF_CONTAINER = "FROM tasks AS t ", "WHERE t.container = ?"
#: Rows in the order in which they lie in the file; the index of names would lead from page
#: to page.
ALL_TASKS, ALL_FULL_TASKS = (
    query.removesuffix(_OF_CONTAINER).replace(
        _FROM,
        "FROM (SELECT id FROM tasks WHERE container = ? ORDER BY id) AS i "
        "CROSS JOIN tasks AS t ON t.id = i.id ",
    )
    for query in (TASKS, FULL_TASKS)
)
#: Tasks by their ids, in the order of these.
TASKS_OF_IDS = TASKS.replace(
    _FROM + _OF_CONTAINER,
    "FROM json_each(?2) AS i CROSS JOIN tasks AS t ON t.id = i.value "
    "WHERE t.container = ?1 ORDER BY i.key",
)
OF_NAMES = " AND t.name IN (SELECT value FROM json_each(?))"
OF_NAME = " AND t.name = ?"
RUNNING = " AND t.status = 'running'"
OPEN = " AND t.is_open"
#: The tasks of steps that are not complete; the index of open tasks leaves them out.
UNFINISHED = " AND t.step != '' AND t.status IN ('pending', 'running', 'waiting')"
UNLEASED = " AND (t.leased_till IS NULL OR t.leased_till <= ?)"
FIRST = " ORDER BY t.position, t.name LIMIT 1"

#: For a task that exists. Of a row that SELECT yields SQLite would keep a journal, as if
#: there were many.
PUT_PAYLOAD = (
    "INSERT INTO payloads (id, text) VALUES "
    "((SELECT id * 4 + ? FROM tasks WHERE container = ? AND name = ?), ?) "
    "ON CONFLICT (id) DO UPDATE SET text = excluded.text"
)
DROP_PAYLOAD = (
    "DELETE FROM payloads WHERE id = "
    "(SELECT id * 4 + ? FROM tasks WHERE container = ? AND name = ?)"
)
#: One row without an attempt for a task that has none.
ATTEMPTS = (
    "SELECT t.ledger_length, t.id, number, CAST(entry AS BLOB), a.checksum "
    "FROM tasks AS t LEFT JOIN attempts AS a ON a.task = t.id "
    "WHERE t.container = ? AND t.name = ? ORDER BY number"
)
#: The ledgers of several tasks, in the same way.
LEDGERS = (
    "SELECT t.name, t.ledger_length, t.id, number, CAST(entry AS BLOB), a.checksum "
    "FROM tasks AS t LEFT JOIN attempts AS a ON a.task = t.id "
    "WHERE t.container = ? AND t.name IN (SELECT value FROM json_each(?)) "
    "ORDER BY t.name, number"
)
LEDGER = (
    "SELECT id, ledger_length, (SELECT count(*) FROM attempts WHERE task = t.id) "
    "FROM tasks AS t WHERE container = ? AND name = ?"
)
PUT_ATTEMPT = (
    "INSERT INTO attempts (task, number, entry, checksum) VALUES (?, ?, ?, ?) "
    "ON CONFLICT (task, number) DO UPDATE "
    "SET entry = excluded.entry, checksum = excluded.checksum"
)
KEEP_LENGTH = (
    "UPDATE tasks SET ledger_length = "
    "(SELECT count(*) FROM attempts WHERE task = ?1) WHERE id = ?1"
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

TASK_COUNTS = (
    "SELECT uid, task_count FROM containers "
    "WHERE uid IN (SELECT value FROM json_each(?))"
)
#: Of a container: the tasks that the index of names has; those of them that are open; and
#: the open ones that the index of open tasks has. Entries of an index count if they are
#: as the row that they lead to, and if they are found by its name. `NOT INDEXED` rows are
#: read of the table. With `=` in place of BETWEEN, SQLite would take the container of an
#: entry for granted.
INDEXED = (
    "SELECT count(DISTINCT r.id), coalesce(sum(r.is_open), 0), ("
    "SELECT count(DISTINCT q.id) FROM tasks AS o INDEXED BY open_tasks "
    "CROSS JOIN tasks AS q NOT INDEXED ON q.id = o.id "
    "WHERE o.container BETWEEN ?1 AND ?1 AND o.is_open "
    "AND q.container = o.container AND q.position = o.position AND q.name = o.name "
    "AND q.is_open) "
    "FROM tasks AS i INDEXED BY tasks_by_name "
    "CROSS JOIN tasks AS r NOT INDEXED ON r.id = i.id "
    "WHERE i.container BETWEEN ?1 AND ?1 "
    "AND r.container = i.container AND r.name = i.name "
    "AND EXISTS (SELECT 1 FROM tasks AS t INDEXED BY tasks_by_name "
    "WHERE t.container = ?1 AND t.name = r.name)"
)
