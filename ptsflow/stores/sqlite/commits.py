"""Commits of tasks in SQLite: swapping them, with their payloads and ledgers.

Payloads and ledgers have tables of their own. So the start or end of a task does not
rewrite its payloads, and a task that succeeds at once needs only its own row.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from operator import itemgetter

from ptsflow.core.model import Attempt, Change, Progress, TaskRecord
from ptsflow.host.clock import Clock
from ptsflow.stores.rules import check_held, check_writer, recognise
from ptsflow.stores.sqlite import rows, statements
from ptsflow.stores.sqlite.containers import Places, SqliteContainers
from ptsflow.stores.sqlite.database import Database
from ptsflow.stores.sqlite.outlooks import SqliteOutlooks
from ptsflow.stores.sqlite.tasks import SqliteTasks

#: How many changes of a runner are one transaction; others may write between two.
_LONGEST_PART = 2_000
#: For how long other processes may take the file between two parts, in seconds.
_PAUSE = 0.005


class SqliteCommits:
    """Writes the tables of tasks, payloads and attempts."""

    def __init__(
        self,
        database: Database,
        containers: SqliteContainers,
        tasks: SqliteTasks,
        outlooks: SqliteOutlooks,
        clock: Clock,
    ) -> None:
        self._containers = containers
        self._tasks = tasks
        self._outlooks = outlooks
        self._clock = clock
        self._database = database
        self._execute = database.execute
        self._write = database.write

    def commit(self, uid: str, changes: Sequence[Change], fence: int | None) -> None:
        """Make the changes; a client's, and a runner's unless they are many, at once."""
        if fence is None or len(changes) <= _LONGEST_PART:
            self._commit_part(uid, changes, fence)
            return
        for start in range(0, len(changes), _LONGEST_PART):
            if start:
                time.sleep(_PAUSE)
            part = changes[start : start + _LONGEST_PART]
            self._commit_part(uid, part, fence)

    def _commit_part(
        self, uid: str, changes: Sequence[Change], fence: int | None
    ) -> None:
        try:
            self._write(self._commit, uid, changes, fence)
        except _Unmatched:
            # Once more, row by row, to find the task that is not as expected.
            self._write(self._commit, uid, changes, fence, row_by_row=True)

    def _commit(
        self,
        uid: str,
        changes: Sequence[Change],
        fence: int | None,
        *,
        row_by_row: bool = False,
    ) -> None:
        number = rows.number(uid)
        self._check_writer(number, fence)
        if fence is None:
            self._outlooks.forget(uid)
        batch = _Batch(self._database, Places(self._containers, uid))
        for change in changes:
            before, after = change.before, change.after
            if after is None:
                self._finish(number, batch)
                is_done = before is None or self._remove(number, before, batch.places)
            else:
                if before is None:
                    payloads = self._insert(number, after, batch)
                else:
                    payloads = self._swap(number, before, after, batch)
                is_done = not row_by_row or batch.write_last()
                if is_done and payloads:
                    batch.late.append((after.position, after.name, payloads))
            if not is_done:
                batch.places.keep()  # The number of the tasks is compared.
                self._recognise(uid, change, fence)
            elif after is not None and change.ended is not None:
                batch.write()
                self._put_attempt(number, after.name, change.ended)
        self._finish(number, batch)
        batch.places.keep()

    def _check_writer(self, number: int, fence: int | None) -> None:
        for row in self._execute(statements.WRITER, (number,)):
            if row == (fence, 0) or (fence is None and row[1]):
                return
        uid = str(number)
        check_writer(self._containers.get(uid)[0], uid, fence, self._clock())

    def _insert(
        self, number: int, after: TaskRecord, batch: _Batch
    ) -> Mapping[int, str | None]:
        """Add the row of a new task; return the payloads that belong to it."""
        row = rows.task_row(number, after, batch.places.give(after.position))
        payloads = rows.changed_payloads(_NOTHING, after)
        statement = statements.INSERT
        if payloads:
            statement = statements.insert(tuple(payloads))
            row += rows.checks_of(payloads, after)
        if statement is not batch.statement:
            batch.begin(statement)
        batch.rows.append(row)
        batch.inserted += 1
        return payloads

    def _swap(
        self, number: int, before: TaskRecord, after: TaskRecord, batch: _Batch
    ) -> Mapping[int, str | None]:
        """Add the row of a changed task; return the payloads that changed."""
        position, first = after.position, statements.STATUS
        if after.name != before.name or not 0 <= position == before.position:
            position, first = batch.places.give(position), statements.KEYS
            self._finish(number, batch)
        elif (before.step and after.step) or (
            before.step == after.step and after.is_complete is before.is_complete
        ):
            first = statements.UNINDEXED
        row = rows.task_row(number, after, position)
        payloads = rows.changed_payloads(before, after)
        written = row[first:]
        statement = statements.UPDATE[first]
        if payloads:
            statement = statements.update(first, tuple(payloads))
            written += rows.checks_of(payloads, after)
        if statement is not batch.statement:
            batch.begin(statement)
        match = (number, before.name, before.version, before.fence, before.position)
        batch.rows.append(written + match + row[statements.STATUS : first])
        return payloads

    def _remove(self, number: int, before: TaskRecord, places: Places) -> bool:
        match = (number, before.name, before.version, before.fence, before.position)
        for (rowid,) in self._execute(statements.DELETE, match).fetchall():
            for statement in statements.DELETE_PARTS:
                self._execute(statement, (rowid,))
            places.count(-1)
            return True
        return False

    def _finish(self, number: int, batch: _Batch) -> None:
        """Write all that the batch has: what follows may give a name to another task."""
        batch.write()
        if batch.late:
            self._put_payloads(number, batch.late)

    def _put_payloads(self, number: int, late: Payloads) -> None:
        """Write what was left for the end, to tasks that still have the same names.

        While large texts are written, SQLite moves changed pages from memory to its log.
        If such a page changed again, SQLite would read the log once more. So texts are
        written when nothing else changes any more, and in the order of their ids.
        """
        late.sort(key=_POSITION)
        for _, name, payloads in late:
            for field, text in payloads.items():
                if text is None:
                    self._execute(statements.DROP_PAYLOAD, (field, number, name))
                else:
                    self._execute(statements.PUT_PAYLOAD, (field, number, name, text))
        late.clear()

    def _put_attempt(self, number: int, name: str, attempt: Attempt) -> None:
        found: list[rows.Row] = self._execute(
            statements.LEDGER, (number, name)
        ).fetchall()
        for task, length, count in found:
            if count != length:
                self._tasks.raise_ledger(number, name)
            self._execute(statements.PUT_ATTEMPT, rows.attempt_row(task, attempt))
            self._execute(statements.DROP_ATTEMPTS, (task,))
            self._execute(statements.KEEP_LENGTH, (task,))

    def _recognise(self, uid: str, change: Change, fence: int | None) -> None:
        container, _ = self._containers.get(uid)
        before, after = (
            self._tasks.fetch(
                statements.TASKS + statements.OF_NAME, (rows.number(uid), task.name)
            )
            if task
            else []
            for task in (change.before, change.after)
        )
        if not before:
            # An index that lacks a task looks like a task that somebody deleted.
            self._tasks.compare_indexes(rows.number(uid))
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
            query = statements.TASKS + statements.OF_NAME + statements.RUNNING
            for row in self._execute(query, args).fetchall():
                self._tasks.checked(row)
                moved = rows.progressed(row, each.percentage, each.text)
                self._execute(statements.TOUCH, (*moved, *args))


#: Positions and names of tasks, with their texts by their places in `PAYLOADS`.
Payloads = list[tuple[int, str, Mapping[int, str | None]]]
_POSITION = itemgetter(0)
_NOTHING = TaskRecord(name="", task_data=None, processing_data=None, result=None)


class _Unmatched(Exception):
    """A statement wrote fewer rows than it was given: a task is not as expected."""


class _Batch:
    """What a transaction has not written yet: rows of one statement, and texts.

    One call of the driver for many rows takes less time than a call for each of them.
    """

    __slots__ = ("_database", "inserted", "late", "places", "rows", "statement")

    def __init__(self, database: Database, places: Places) -> None:
        self._database = database
        self.places = places
        self.statement = ""
        self.rows: list[rows.Row] = []
        #: How many of the rows are new tasks.
        self.inserted = 0
        self.late: Payloads = []

    def begin(self, statement: str) -> None:
        """Write the rows; those that follow are of another statement."""
        self.write()
        self.statement = statement

    def write(self) -> None:
        """Write the rows.

        Raises:
            _Unmatched: not all of them could be written.
        """
        if self.rows and self._write() != len(self.rows):
            raise _Unmatched
        if self.inserted:
            self.places.count(self.inserted)
            self.inserted = 0
        self.rows = []

    def write_last(self) -> bool:
        """Write the one row; return False, and forget it, if it could not be written."""
        is_done = self._write() == 1
        if is_done and self.inserted:
            self.places.count(1)
        self.inserted, self.rows = 0, []
        return is_done

    def _write(self) -> int:
        database = self._database
        if len(self.rows) == 1:
            database.execute(self.statement, self.rows[0])
            return database.changes()
        before = database.total_changes()
        database.execute_many(self.statement, self.rows)
        return database.total_changes() - before
