"""What may be wrong with the rows of a SQLite store.

A fault of a row is damage: it is not what was written. A row that belongs to nothing is
an orphan, and can be removed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from zlib import crc32

import apsw
from msgspec import MsgspecError, Struct
from msgspec.json import decode as from_json

from ptsflow.core.insight import Outlook, RunRecord
from ptsflow.core.model import PAYLOADS, Attempt, TaskRecord
from ptsflow.core.work_queue import QueueEntry
from ptsflow.stores.care import Fault, Grade
from ptsflow.stores.sqlite import queue, rows, runs, statements

Row = rows.Row
_OF_GONE = (
    "NOT IN (SELECT uid FROM containers) AND {0} NOT IN (SELECT container FROM deleted)"
)

#: What belongs to nothing: its kind, and the FROM clause that finds it.
ORPHANS = {
    "task without container": f"tasks WHERE container {_OF_GONE.format('container')}",
    "payload without task": "payloads WHERE id / 4 NOT IN (SELECT id FROM tasks)",
    "attempt without task": "attempts WHERE task NOT IN (SELECT id FROM tasks)",
    "outlook without container": (
        "outlooks WHERE container NOT IN (SELECT uid FROM containers)"
    ),
    "queue without container": (
        "queue WHERE container NOT IN (SELECT uid FROM containers)"
    ),
}


def tables_of(connection: apsw.Connection) -> set[str]:
    """Return the names of all tables."""
    query = "SELECT name FROM sqlite_schema WHERE type = 'table'"
    return {name for (name,) in connection.execute(query)}


def orphans(connection: apsw.Connection) -> Iterator[Fault]:
    """Yield rows that belong to nothing, by their kinds."""
    there = tables_of(connection)
    for kind, source in ORPHANS.items():
        if source.split()[0] not in there:
            continue
        count = connection.execute(f"SELECT count(*) FROM {source}").get  # noqa: S608
        if count:
            yield Fault(kind, f"there are {count} of these", is_repairable=True)
    for (number,) in connection.execute(statements.LEFT).fetchall():
        text = f"the deletion of container {number} was cut short; the next one goes on"
        yield Fault("deletion", text, Grade.NOTE, is_repairable=True)


def containers(connection: apsw.Connection) -> Iterator[Fault]:
    """Yield containers that are damaged, or do not fit their tasks."""
    last: int = connection.execute(statements.LAST_UID).get or 0
    for row in connection.execute(statements.CONTAINERS):
        name = row[statements.CONTAINER.index("name")]
        if not _is_readable(row, rows.container_of):
            yield _damaged(f"the row of container {name!r}")
            continue
        kept = rows.kept_of(row)
        found: list[Row] = connection.execute(_EXTENT, (row[0],)).fetchall()
        count, position = found[0]
        if count != kept.task_count:
            text = (
                f"container {name!r}: expected {kept.task_count} tasks, found {count}"
            )
            yield Fault("task count", text, Grade.DAMAGE)
        if position >= kept.next_position:
            text = (
                f"container {name!r}: its next position {kept.next_position} is taken"
            )
            yield Fault("next position", text)
        if int(row[0]) > last:
            text = f"container {name!r}: its uid {row[0]} could be given again"
            yield Fault("uid", text, Grade.DAMAGE)


_EXTENT = "SELECT count(*), coalesce(max(position), -1) FROM tasks WHERE container = ?"


def tasks(connection: apsw.Connection, *, deep: bool) -> Iterator[Fault]:
    """Yield tasks that are damaged, or do not fit their payloads and ledgers."""
    width = len(statements.TASK)
    for whole in connection.execute(_tasks_query(deep=deep)):
        row, (length, count), cells = (
            whole[:width],
            whole[width : width + 2],
            whole[width + 2 :],
        )
        where = f"task {row[1]!r} of container {_name(connection, row[0])!r}"
        if not _is_readable(row, _task_of):
            yield _damaged(f"the row of {where}")
            continue
        task = _task_of(row)
        if row[3] != (0 if task.step or task.is_complete else 1):
            yield _damaged(f"the mark of {where} that says whether it is open")
        if length != count:
            text = f"{where}: expected {length} attempts in its ledger, found {count}"
            yield Fault("ledger", text, Grade.DAMAGE)
        yield from _payloads(where, cells, deep=deep)


def _task_of(row: Row) -> TaskRecord:
    return rows.task_of(row, rows.NOT_LOADED)


def _tasks_query(*, deep: bool) -> str:
    text = "CAST(text AS BLOB)" if deep else "1"
    payloads = [
        f"t.{check}, (SELECT {text} FROM payloads WHERE id = t.id * 4 + {place})"  # noqa: S608
        for place, check in enumerate(statements.CHECKS)
    ]
    columns = [f"t.{column}" for column in statements.TASK]
    ledger = "t.ledger_length, (SELECT count(*) FROM attempts WHERE task = t.id)"
    wanted = ", ".join([*columns, ledger, *payloads])
    return (
        f"SELECT {wanted} FROM tasks AS t "  # noqa: S608 - constants
        "WHERE container IN (SELECT uid FROM containers)"
    )


def _payloads(where: str, cells: Row, *, deep: bool) -> Iterator[Fault]:
    for name, check, text in zip(PAYLOADS, cells[::2], cells[1::2], strict=True):
        if check is not None and text is None:
            yield Fault("lost payload", f"{where}: its {name} is lost", Grade.DAMAGE)
        elif check is None and text is not None:
            said = f"{where}: its {name} is not bound to it"
            yield Fault("unbound payload", said, Grade.DAMAGE)
        elif deep and check is not None and crc32(text) != check:
            yield _damaged(f"the {name} of {where}")


def attempts(connection: apsw.Connection) -> Iterator[Fault]:
    """Yield attempts that are damaged."""
    query = "SELECT task, number, CAST(entry AS BLOB), checksum FROM attempts"
    for row in connection.execute(query):
        if not _is_readable(row, lambda row: from_json(row[2], type=Attempt)):
            query = "SELECT container, name FROM tasks WHERE id = ?"
            of_task: list[Row] = connection.execute(query, (row[0],)).fetchall()
            for number, name in of_task:
                container = _name(connection, number)
                yield _damaged(
                    f"attempt {row[1]} of task {name!r} of container {container!r}"
                )


def told(connection: apsw.Connection) -> Iterator[Fault]:
    """Yield runs, outlooks and places in the queue that are damaged."""
    there = tables_of(connection)
    if "runs" in there:
        for row in connection.execute(runs.SELECT):
            name = row[1].decode(errors="replace")
            where = f"the run under fence {row[5]} of container {name!r}"
            if not _is_readable(row, runs.run_of):
                yield _damaged(where)
            elif not _fits(row, runs.run_of(row)):
                yield _damaged(f"{where}, whose columns are of another one,")
    for table, query, place, kind in _OF_CONTAINERS:
        if table not in there:
            continue
        # What is of no container is an orphan, whatever is in it.
        known = f"{query} WHERE container IN (SELECT uid FROM containers)"  # noqa: S608
        for row in connection.execute(known):
            if not _is_readable(row, partial(_entry, place, kind)):
                name = _name(connection, row[0])
                yield _damaged(f"the row of container {name!r} in {table}")


#: Tables with a row of a container: the query, the place of the entry, and its class.
_OF_CONTAINERS = (
    (
        "outlooks",
        "SELECT container, fence, CAST(entry AS BLOB), checksum FROM outlooks",
        2,
        Outlook,
    ),
    ("queue", queue.SELECT, 5, QueueEntry),
)


def _entry(place: int, kind: type[Struct], row: Row) -> Struct:
    return from_json(row[place], type=kind)


def _fits(row: Row, run: RunRecord) -> bool:
    return runs.run_row(run)[:-1] == row[:-1]


def _is_readable(row: Row, read: Callable[[Row], object]) -> bool:
    if not rows.is_intact(row):
        return False
    try:
        read(row)
    except (KeyError, MsgspecError, TypeError, ValueError):
        return False
    return True


def _name(connection: apsw.Connection, number: int) -> str:
    query = "SELECT name FROM containers WHERE uid = ?"
    return str(connection.execute(query, (number,)).get)


def _damaged(what: str) -> Fault:
    return Fault("check value", f"{what} does not fit its check value", Grade.DAMAGE)
