"""The tasks of SQLite: reading, swapping and counting them, and their ledgers.

Payloads and ledgers have tables of their own. So the start or end of a task does not
rewrite its payloads, and a task that succeeds at once needs only its own row.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from operator import attrgetter
from typing import Never
from zlib import crc32

from msgspec import UNSET, UnsetType
from msgspec.json import decode as from_json
from msgspec.json import encode as to_json

from ptsflow.core.model import (
    Attempt,
    Change,
    ContainerRecord,
    Progress,
    Status,
    Tally,
    TaskRecord,
)
from ptsflow.host.clock import Clock
from ptsflow.stores.rules import check_held, check_writer, recognise
from ptsflow.stores.sqlite import rows
from ptsflow.stores.sqlite.containers import SqliteContainers
from ptsflow.stores.sqlite.database import Database

_PLACE = attrgetter("position", "name")


class SqliteTasks:
    """The tables of tasks, payloads and attempts."""

    def __init__(
        self, database: Database, containers: SqliteContainers, clock: Clock
    ) -> None:
        self._database = database
        self._containers = containers
        self._clock = clock
        self._execute = database.execute
        self._changes = database.changes
        self._write = database.write

    # -- reading ------------------------------------------------------------

    def tasks(
        self,
        uid: str,
        names: Iterable[str] | None = None,
        *,
        payloads: bool = False,
    ) -> list[TaskRecord]:
        """Return all tasks, or those of `names` that exist, by position."""
        query = rows.FULL_TASKS if payloads else rows.TASKS
        if names is None:
            return self._read(query, (rows.number(uid),))
        listed = to_json(list(names)).decode()
        return self._read(query + rows.OF_NAMES, (rows.number(uid), listed))

    def next_open(self, uid: str, unleased_at: int | None) -> TaskRecord | None:
        """Return the first task that is not complete, with payloads, or None."""
        args = [rows.number(uid)] + ([] if unleased_at is None else [unleased_at])
        where = rows.OPEN + (rows.UNLEASED if unleased_at is not None else "")
        found = self._read(rows.FULL_TASKS + where + rows.FIRST, tuple(args))
        return found[0] if found else None

    def _read(self, query: str, args: rows.Row) -> list[TaskRecord]:
        found = self._database.read(self._fetch, query, args)
        if len(found) > 1:
            found.sort(key=_PLACE)
        return found

    def _fetch(self, query: str, args: rows.Row) -> list[TaskRecord]:
        try:
            return [self._task(row) for row in self._execute(query, args).fetchall()]
        except UnicodeDecodeError:
            self._blame(args[0])

    def _task(self, row: rows.Row) -> TaskRecord:
        cells = row[len(rows.TASK) :]
        if not rows.is_intact(row[: len(rows.TASK)] if cells else row):
            self._database.raise_damaged(self._called(row[0], row[1]))
        payloads = rows.payloads_of(cells) if cells else rows.NOT_LOADED
        if payloads is None:
            self._database.raise_damaged(f"a payload of {self._called(row[0], row[1])}")
        return rows.task_of(row, payloads)

    def _called(self, number: int, task: str) -> str:
        container, _ = self._containers.get(str(number))
        return f"task {task!r} of container {container and container.name!r}"

    def _blame(self, number: int) -> Never:
        """Raise StoreDamaged that names the task whose text is no valid UTF-8."""
        query = "SELECT id, CAST(name AS BLOB) FROM tasks WHERE container = ?"
        task = ""
        found: list[rows.Row] = self._execute(query, (number,)).fetchall()
        for rowid, name in found:
            task = name.decode(errors="replace")
            try:
                self._execute(f"{rows.TASKS} AND t.id = ?", (number, rowid)).fetchall()
            except UnicodeDecodeError:
                break
        self._database.raise_damaged(self._called(number, task))

    def attempts(self, uid: str, name: str) -> list[Attempt]:
        """Return the last attempts in a task's ledger, oldest first."""
        return self._database.read(self._ledger, rows.number(uid), name)

    def _ledger(self, number: int, name: str) -> list[Attempt]:
        args = (number, name)
        found: list[rows.Row] = self._execute(rows.ATTEMPTS, args).fetchall()
        if not all(map(rows.is_intact, found)):
            self._database.raise_damaged(f"the ledger of {self._called(number, name)}")
        return [from_json(entry, type=Attempt) for _, entry, _ in found]

    def tallies(self, uids: Iterable[str]) -> Mapping[str, list[Tally]]:
        """Return, for each container, its tasks counted by step and status."""
        found: dict[str, list[Tally]] = {uid: [] for uid in uids}
        listed = to_json([rows.number(uid) for uid in found]).decode()
        for uid, *counted in self._database.read(self._tally, listed):
            step, status, count, percentage = counted
            found[str(uid)].append(Tally(step, Status(status), count, percentage))
        return found

    def _tally(self, listed: str) -> list[rows.Row]:
        return self._execute(rows.TALLIES, (listed,)).fetchall()

    # -- writing ------------------------------------------------------------

    def commit(self, uid: str, changes: Sequence[Change], fence: int | None) -> None:
        """Make all changes in one transaction, or none of them."""
        self._write(self._commit, uid, changes, fence)

    def _commit(self, uid: str, changes: Sequence[Change], fence: int | None) -> None:
        number = rows.number(uid)
        self._check_writer(number, fence)
        places = _Places(self._containers, uid)
        for change in changes:
            before, after = change.before, change.after
            if before is None:
                is_done = after is None or self._insert(number, after, places)
            elif after is None:
                is_done = self._remove(number, before)
            else:
                is_done = self._swap(number, before, after, places)
            if not is_done:
                self._recognise(uid, change, fence)
            elif after is not None and change.ended is not None:
                self._put_attempt(number, after.name, change.ended)
        places.keep()

    def _check_writer(self, number: int, fence: int | None) -> None:
        for row in self._execute(rows.WRITER, (number,)):
            if row == (fence, 0) or (fence is None and row[1]):
                return
        uid = str(number)
        check_writer(self._containers.get(uid)[0], uid, fence, self._clock())

    def _insert(self, number: int, after: TaskRecord, places: _Places) -> bool:
        row = rows.task_row(number, after, places.give(after.position))
        self._execute(rows.INSERT, row)
        is_done = self._changes() == 1
        if is_done:
            self._put_payloads(number, _NOTHING, after)
        return is_done

    def _swap(
        self, number: int, before: TaskRecord, after: TaskRecord, places: _Places
    ) -> bool:
        match = (number, before.name, before.version, before.fence)
        if after.name != before.name or not 0 <= after.position == before.position:
            row = rows.task_row(number, after, places.give(after.position))
            self._execute(rows.UPDATE_KEYS, row[1:] + match)
        else:
            row = rows.task_row(number, after, after.position)
            if after.is_complete is before.is_complete:
                self._execute(rows.UPDATE_UNINDEXED, row[4:] + match)
            else:
                self._execute(rows.UPDATE_STATUS, row[3:] + match)
        is_done = self._changes() == 1
        if is_done:
            self._put_payloads(number, before, after)
        return is_done

    def _remove(self, number: int, before: TaskRecord) -> bool:
        match = (number, before.name, before.version, before.fence)
        for (rowid,) in self._execute(rows.DELETE, match).fetchall():
            for statement in rows.DELETE_PARTS:
                self._execute(statement, (rowid,))
            return True
        return False

    def _put_payloads(self, number: int, before: TaskRecord, after: TaskRecord) -> None:
        if after.task_data is not before.task_data:
            self._put_payload(number, after.name, 0, after.task_data)
        if after.processing_data is not before.processing_data:
            self._put_payload(number, after.name, 1, after.processing_data)
        if after.result is not before.result:
            self._put_payload(number, after.name, 2, after.result)

    def _put_payload(
        self, number: int, name: str, field: int, text: str | UnsetType | None
    ) -> None:
        if text is None:
            self._execute(rows.DROP_PAYLOAD, (field, number, name))
        elif text is not UNSET:
            value = crc32(text.encode())
            self._execute(rows.PUT_PAYLOAD, (field, value, text, number, name))

    def _put_attempt(self, number: int, name: str, attempt: Attempt) -> None:
        args = (*rows.attempt_row(attempt), number, name)
        for (task,) in self._execute(rows.PUT_ATTEMPT, args).fetchall():
            self._execute(rows.DROP_ATTEMPTS, (task,))

    def _recognise(self, uid: str, change: Change, fence: int | None) -> None:
        container, _ = self._containers.get(uid)
        before, after = (
            self._fetch(rows.TASKS + rows.OF_NAME, (rows.number(uid), task.name))
            if task
            else []
            for task in (change.before, change.after)
        )
        recognise(
            container.name if container else uid,
            change,
            fence,
            at_before=before[0] if before else None,
            at_after=after[0] if after else None,
        )

    def touch(self, uid: str, progress: Sequence[Progress], fence: int) -> None:
        """Write the progress of running tasks; versions stay, other tasks are skipped."""
        self._write(self._touch, uid, progress, fence)

    def _touch(self, uid: str, progress: Sequence[Progress], fence: int) -> None:
        stored, _ = self._containers.get(uid)
        check_held(stored, uid, fence)
        for each in progress:
            args = (int(uid), each.name)
            query = rows.TASKS + rows.OF_NAME + rows.RUNNING
            for row in self._execute(query, args).fetchall():
                self._task(row)
                moved = rows.progressed(row, each.percentage, each.text)
                self._execute(rows.TOUCH, (*moved, *args))


_NOTHING = TaskRecord(name="", task_data=None, processing_data=None, result=None)


class _Places:
    """The next free position of a container, read and written only if a task needs one."""

    __slots__ = ("containers", "next", "stored", "uid")

    def __init__(self, containers: SqliteContainers, uid: str) -> None:
        self.containers = containers
        self.uid = uid
        self.stored: ContainerRecord | None = None
        self.next = 0

    def give(self, position: int) -> int:
        """Return the position itself, or the next free one for a negative one."""
        if self.stored is None:
            self.stored, self.next = self.containers.get(self.uid)
        given = self.next if position < 0 else position
        self.next = max(self.next, given + 1)
        return given

    def keep(self) -> None:
        """Write the next free position, if any was given."""
        if self.stored is not None:
            self.containers.put(self.stored, self.next)
