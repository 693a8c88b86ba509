"""The table of containers in SQLite, read and written within the caller's transaction.

A uid is the time at which its container was made, or one more than the last uid. So
another file of the same name, or a restored copy, does not use it again: lock files and
folders that are named by uid never belong to another container.
"""

from __future__ import annotations

from ptsflow.core.model import ContainerRecord
from ptsflow.stores.leasing import Decide
from ptsflow.stores.sqlite import rows
from ptsflow.stores.sqlite.database import Database


class SqliteContainers:
    """Containers by name and uid, each checked when it is read."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._execute = database.execute

    def named(self, name: str) -> ContainerRecord | None:
        """Return the container of that name, or None."""
        found = self._execute(f"{rows.CONTAINERS} WHERE name = ?", (name,)).fetchall()
        return self._checked(found[0]) if found else None

    def all(self) -> list[ContainerRecord]:
        """Return all containers, oldest first."""
        found = self._execute(f"{rows.CONTAINERS} ORDER BY uid").fetchall()
        return [self._checked(row) for row in found]

    def get(self, uid: str) -> tuple[ContainerRecord | None, int]:
        """Return the container, and the next free position in it."""
        query = f"{rows.CONTAINERS} WHERE uid = ?"
        found: list[rows.Row] = self._execute(query, (rows.number(uid),)).fetchall()
        return (self._checked(found[0]), found[0][-2]) if found else (None, 0)

    def add(self, name: str, now: int) -> ContainerRecord:
        """Make a container."""
        found: list[rows.Row] = self._execute(rows.LAST_UID).fetchall()
        last = found[0][0] if found else 0
        uid = str(max(last + 1, now * 1000))
        record = ContainerRecord(uid=uid, name=name, created_at=now)
        self._execute(rows.NEW_CONTAINER, rows.container_row(record, 0))
        return record

    def put(self, record: ContainerRecord, next_position: int) -> None:
        """Replace the row of a container."""
        row = rows.container_row(record, next_position)
        self._execute(rows.UPDATE_CONTAINER, (*row, row[0]))

    def swap(self, uid: str, decide: Decide) -> ContainerRecord | None:
        """Write the record that `decide` returns for the stored one, and return it."""
        stored, next_position = self.get(uid)
        record = decide(stored)
        if record is not None and record is not stored:
            self.put(record, next_position)
        return record

    def remove(self, uid: str) -> None:
        """Delete a container with its tasks, payloads and ledgers."""
        for statement in rows.DELETE_CONTAINER:
            self._execute(statement, (int(uid),))

    def is_asked_to_stop(self, uid: str) -> bool:
        """Return whether the container's owner was asked to stop; read no plan for it."""
        found = self._execute(rows.STOP_ASKED, (rows.number(uid),)).fetchall()
        return bool(found and found[0][0])

    def _checked(self, row: rows.Row) -> ContainerRecord:
        if not rows.is_intact(row):
            self._database.raise_damaged(f"the row of container {row[1]!r}")
        return rows.container_of(row)
