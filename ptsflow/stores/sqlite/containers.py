"""The table of containers in SQLite, read and written within the caller's transaction.

A uid is the time at which its container was made, or one more than the last uid. So
another file of the same name, or a restored copy, does not use it again: lock files and
folders that are named by uid never belong to another container.
"""

from __future__ import annotations

from itertools import filterfalse
from typing import Never

from msgspec.json import encode as to_json

from ptsflow.core.model import ContainerRecord, Status
from ptsflow.errors import StoreDamaged
from ptsflow.host.clock import since_boot
from ptsflow.stores.leasing import Decide
from ptsflow.stores.sqlite import rows, statements
from ptsflow.stores.sqlite.database import Database

#: Larger numbers are no uids: they have 19 digits.
_LAST_UID = 10**18 - 1
#: For how long tasks are deleted before others may write, in seconds; and for how long
#: they may then. Whoever waits looks again after some hundredths of a second.
_LONGEST_TURN = 0.02
PAUSE = 0.03
_NAME, _WORKFLOW, _STATUS, _PLAN = map(
    statements.CONTAINER.index, ("name", "workflow", "status", "plan")
)
_NOTHING_KEPT = rows.Kept(next_position=0, task_count=0)


class SqliteContainers:
    """Containers by name and uid, each checked when it is read."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._execute = database.execute
        self._is_index_checked = False

    def named(self, name: str) -> ContainerRecord | None:
        """Return the container of that name, or None."""
        query = f"{statements.CONTAINERS} WHERE name = ?"
        found: list[rows.Row] = self._execute(query, (name,)).fetchall()
        if not found:
            self._check_index()
            return None
        return self._checked(found[0])

    def all(self, *, plans: bool) -> list[ContainerRecord]:
        """Return all containers, oldest first; without `plans`, their plans are empty.

        The check value of a row is of its plan too, so SQLite reads that in any case.
        """
        found = self._execute(f"{statements.CONTAINERS} ORDER BY uid").fetchall()
        self._check_index()
        if plans:
            return [self._checked(row) for row in found]
        for row in filterfalse(rows.is_intact, found):
            self._raise_damaged(row)
        return [rows.planless(row) for row in found]

    def recent(
        self,
        limit: int,
        before: ContainerRecord | None,
        workflow: str | None,
        status: Status | None,
        part: str | None,
        damaged: list[str] | None,
    ) -> list[ContainerRecord]:
        """Return containers, those that were made last first.

        Those that are passed over are checked as well: one whose status is damaged must
        not seem to have another.
        """
        last = _LAST_UID + 1 if before is None else rows.number(before.uid)
        query = f"{statements.CONTAINERS} WHERE uid < ? ORDER BY uid DESC"
        found: list[ContainerRecord] = []
        for row in self._execute(query, (last,)):
            if len(found) >= limit:
                break
            if not rows.is_intact(row):
                try:
                    self._raise_damaged(row)
                except StoreDamaged as error:
                    if damaged is None:
                        raise
                    damaged.append(str(error))
            elif (
                workflow in (None, row[_WORKFLOW])
                and status in (None, row[_STATUS])
                and (part is None or part in row[_NAME])
            ):
                found.append(self._container(row))
        return found

    def _check_index(self) -> None:
        """Compare the index of names with the rows, once for each connection.

        A container that is not found would be made anew, and all its steps would run.
        """
        if self._is_index_checked:
            return
        for total, in_index, missing in self._execute(statements.NAMED):
            if missing or total != in_index:
                self._database.raise_misfit(f"{total} names of containers", in_index)
        self._is_index_checked = True

    def get(self, uid: str) -> tuple[ContainerRecord | None, rows.Kept]:
        """Return the container, and the store's own columns of it."""
        query = f"{statements.CONTAINERS} WHERE uid = ?"
        found: list[rows.Row] = self._execute(query, (rows.number(uid),)).fetchall()
        if not found:
            return None, _NOTHING_KEPT
        return self._checked(found[0]), rows.kept_of(found[0])

    def add(self, name: str, now: int, created_at: int | None) -> ContainerRecord:
        """Make a container; `created_at` is when it says to be made, if not now."""
        last = 0
        for (last,) in self._execute(statements.LAST_UID):
            if not (isinstance(last, int) and 0 <= last < _LAST_UID):
                self._database.raise_misfit("the uid of a container", repr(last))
        uid = str(max(last + 1, now * 1000))
        at = now if created_at is None else created_at
        record = ContainerRecord(uid=uid, name=name, created_at=at)
        self._execute(
            statements.NEW_CONTAINER, rows.container_row(record, _NOTHING_KEPT)
        )
        return record

    def put(self, record: ContainerRecord, kept: rows.Kept) -> None:
        """Replace the row of a container."""
        row = rows.container_row(record, kept)
        self._execute(statements.UPDATE_CONTAINER, (*row, row[0]))

    def swap(self, uid: str, decide: Decide) -> ContainerRecord | None:
        """Write the record that `decide` returns for the stored one, and return it."""
        stored, kept = self.get(uid)
        record = decide(stored)
        if record is not None and record is not stored:
            self.put(record, kept)
        return record

    def remove(self, uid: str) -> bool:
        """Delete a container and some tasks; return whether tasks are left."""
        number = int(uid)
        self._execute(statements.DELETE_CONTAINER, (number,))
        self._execute(statements.LEAVE_TASKS, (number,))
        return self.remove_left()

    def left(self) -> list[str]:
        """Return the uids of deleted containers of which tasks are left."""
        found: list[rows.Row] = self._execute(statements.LEFT).fetchall()
        return [str(number) for (number,) in found]

    def remove_left(self) -> bool:
        """Delete tasks of deleted containers; return whether tasks are left."""
        until = since_boot() + _LONGEST_TURN
        left: list[rows.Row] = self._execute(statements.LEFT).fetchall()
        for (number,) in left:
            if not self._remove_tasks(number, until):
                return True
            self._execute(statements.NOTHING_LEFT, (number,))
        return False

    def _remove_tasks(self, number: int, until: float) -> bool:
        """Delete tasks with payloads and ledgers; return whether all are deleted."""
        while found := self._execute(statements.SOME_TASKS, (number,)).fetchall():
            ids = to_json([task for (task,) in found]).decode()
            for statement in statements.DELETE_TASKS:
                self._execute(statement, (ids,))
            if since_boot() >= until:
                return False
        return True

    def is_asked_to_stop(self, uid: str) -> bool:
        """Return whether the container's owner was asked to stop; read no plan for it."""
        found = self._execute(statements.STOP_ASKED, (rows.number(uid),)).fetchall()
        return bool(found and found[0][0])

    def _checked(self, row: rows.Row) -> ContainerRecord:
        if not rows.is_intact(row):
            self._raise_damaged(row)
        return self._container(row)

    def _container(self, row: rows.Row) -> ContainerRecord:
        """Return the container of an intact row; whoever mended its check value erred."""
        record = rows.container_of(row)
        if (found := rows.plan_misfit(row[_PLAN])) is not None:
            expected = f"the plan of container {record.name!r} as a run writes it"
            self._database.raise_misfit(expected, found)
        return record

    def _raise_damaged(self, row: rows.Row) -> Never:
        self._database.raise_damaged(f"the row of container {row[_NAME]!r}")


class Places:
    """The next free position of a container and the number of its tasks.

    Both are read and written only if a commit needs them.
    """

    __slots__ = ("containers", "next", "stored", "total", "uid")

    def __init__(self, containers: SqliteContainers, uid: str) -> None:
        self.containers = containers
        self.uid = uid
        self.stored: ContainerRecord | None = None
        self.next = self.total = 0

    def give(self, position: int) -> int:
        """Return the position itself, or the next free one for a negative one."""
        if self.stored is None:
            self._load()
        given = self.next if position < 0 else position
        self.next = max(self.next, given + 1)
        return given

    def count(self, more: int) -> None:
        """Count tasks that were added, or removed if `more` is negative."""
        if self.stored is None:
            self._load()
        self.total += more

    def _load(self) -> None:
        self.stored, (self.next, self.total) = self.containers.get(self.uid)

    def keep(self) -> None:
        """Write both, if one of them may have changed."""
        if self.stored is not None:
            self.containers.put(self.stored, rows.Kept(self.next, self.total))
