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
from ptsflow.stores.rules import check_held, check_writer, matches, recognise
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
        self._execute = database.execute
        self._changes = database.changes
        self._write = database.write

    def commit(self, uid: str, changes: Sequence[Change], fence: int | None) -> None:
        """Make the changes; a client's, and a runner's unless they are many, at once."""
        if fence is None or len(changes) <= _LONGEST_PART:
            self._write(self._commit, uid, changes, fence)
            return
        for start in range(0, len(changes), _LONGEST_PART):
            if start:
                time.sleep(_PAUSE)
            part = changes[start : start + _LONGEST_PART]
            self._write(self._commit, uid, part, fence)

    def _commit(self, uid: str, changes: Sequence[Change], fence: int | None) -> None:
        number = rows.number(uid)
        self._check_writer(number, fence)
        if fence is None:
            self._outlooks.forget(uid)
        places = Places(self._containers, uid)
        late: Payloads = []
        for change in changes:
            before, after = change.before, change.after
            if before is None:
                is_done = after is None or self._insert(number, after, places, late)
            elif after is None:
                is_done = self._remove(number, before, places, late)
            else:
                is_done = self._swap(number, before, after, places, late)
            if not is_done:
                self._recognise(uid, change, fence)
            elif after is not None and change.ended is not None:
                self._put_attempt(number, after.name, change.ended)
        if late:
            self._put_payloads(number, late)
        places.keep()

    def _check_writer(self, number: int, fence: int | None) -> None:
        for row in self._execute(statements.WRITER, (number,)):
            if row == (fence, 0) or (fence is None and row[1]):
                return
        uid = str(number)
        check_writer(self._containers.get(uid)[0], uid, fence, self._clock())

    def _insert(
        self, number: int, after: TaskRecord, places: Places, late: Payloads
    ) -> bool:
        position = places.give(after.position)
        row = rows.task_row(number, after, position)
        payloads = rows.changed_payloads(_NOTHING, after)
        if not payloads:
            self._execute(statements.INSERT, row)
        else:
            statement = statements.insert(tuple(payloads))
            self._execute(statement, row + rows.checks_of(payloads, after))
        is_done = self._changes() == 1
        if is_done:
            places.count(1)
            if payloads:
                late.append((position, after.name, payloads))
        return is_done

    def _swap(
        self,
        number: int,
        before: TaskRecord,
        after: TaskRecord,
        places: Places,
        late: Payloads,
    ) -> bool:
        match = (number, before.name, before.version, before.fence)
        position, first = after.position, statements.STATUS
        if after.name != before.name or not 0 <= position == before.position:
            position, first = places.give(position), statements.KEYS
            self._put_payloads(number, late)
        elif (before.step and after.step) or (
            before.step == after.step and after.is_complete is before.is_complete
        ):
            first = statements.UNINDEXED
        row = rows.task_row(number, after, position)
        payloads = rows.changed_payloads(before, after)
        kept = row[statements.KEYS + 1 : first]
        if not payloads:
            self._execute(statements.UPDATE[first], row[first:] + match + kept)
        else:
            statement = statements.update(first, tuple(payloads))
            checks = rows.checks_of(payloads, after)
            self._execute(statement, row[first:] + checks + match + kept)
        is_done = self._changes() == 1
        if not is_done and first != statements.KEYS:
            return self._swap_in_place(number, before, after, late)
        if is_done and payloads:
            late.append((position, after.name, payloads))
        return is_done

    def _swap_in_place(
        self, number: int, before: TaskRecord, after: TaskRecord, late: Payloads
    ) -> bool:
        """Swap a task that was made anew since `before` was read, and has its version."""
        query = statements.TASKS + statements.OF_NAME
        for stored in self._tasks.fetch(query, (number, before.name)):
            if matches(before, stored):
                row = rows.task_row(number, after, stored.position)
                payloads = rows.changed_payloads(before, after)
                match = (number, before.name, before.version, before.fence)
                statement = statements.update(statements.KEYS, tuple(payloads))
                checks = rows.checks_of(payloads, after)
                self._execute(statement, row[statements.KEYS :] + checks + match)
                late.append((stored.position, after.name, payloads))
                return True
        return False

    def _remove(
        self, number: int, before: TaskRecord, places: Places, late: Payloads
    ) -> bool:
        self._put_payloads(number, late)
        match = (number, before.name, before.version, before.fence)
        for (rowid,) in self._execute(statements.DELETE, match).fetchall():
            for statement in statements.DELETE_PARTS:
                self._execute(statement, (rowid,))
            places.count(-1)
            return True
        return False

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
