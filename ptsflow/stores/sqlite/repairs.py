"""The repair of a SQLite file: indexes are made anew, and orphans are removed.

Nothing that a container has is removed. What is damaged stays as it is.
"""

from __future__ import annotations

import apsw

from ptsflow.stores.sqlite import layout, statements
from ptsflow.stores.sqlite.row_faults import ORPHANS, tables_of
from ptsflow.stores.sqlite.rows import Row

__all__ = ["ORPHANS", "make_indexes", "remove"]

#: How many rows are removed in a transaction.
_AT_ONCE = 5_000


def make_indexes(connection: apsw.Connection) -> list[str]:
    """Make all indexes anew; return the names of those that were missing or otherwise."""
    with connection:
        lacking = layout.lacking_indexes(connection)
        for name, statement in lacking.items():
            connection.execute(f"DROP INDEX IF EXISTS {name.split()[1]}")
            connection.execute(statement)
        connection.execute("REINDEX")
    return list(lacking)


def remove(connection: apsw.Connection, kind: str) -> int:
    """Remove all orphans of a kind, in parts; return how many there were."""
    source = ORPHANS[kind]
    table = source.split()[0]
    if table not in tables_of(connection):
        return 0
    if table == "tasks":
        return _remove_tasks(connection, source)
    key = {
        "attempts": "(task, number)",
        "outlooks": "container",
        "queue": "container",
    }.get(table, "id")
    query = (
        f"DELETE FROM {table} WHERE {key} IN "  # noqa: S608 - constants
        f"(SELECT {key.strip('()')} FROM {source} LIMIT {_AT_ONCE})"
    )
    removed = 0
    while True:
        connection.execute(query)
        if not connection.changes():
            return removed
        removed += connection.changes()


def _remove_tasks(connection: apsw.Connection, source: str) -> int:
    """Have the tasks of containers that are gone removed as those of a deletion are."""
    query = f"SELECT count(*) FROM {source}"  # noqa: S608 - constants
    count: int = connection.execute(query).get
    connection.execute(
        f"INSERT OR IGNORE INTO deleted SELECT DISTINCT container FROM {source}"  # noqa: S608
    )
    left: list[Row] = connection.execute(statements.LEFT).fetchall()
    for (number,) in left:
        while _some_tasks(connection, number):
            pass
        connection.execute(statements.NOTHING_LEFT, (number,))
    return count


def _some_tasks(connection: apsw.Connection, number: int) -> int:
    with connection:
        found = connection.execute(statements.SOME_TASKS, (number,)).fetchall()
        ids = f"[{', '.join(str(task) for (task,) in found)}]"
        for statement in statements.DELETE_TASKS:
            connection.execute(statement, (ids,))
    return len(found)
