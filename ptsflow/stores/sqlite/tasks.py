"""The tasks of SQLite: reading and counting them, and reading their ledgers.

An index may be damaged, so that a task is not found in it. A task that is believed missing
would run again. So what a query does not find is counted.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import filterfalse, islice, pairwise
from operator import attrgetter
from typing import Never

from msgspec.json import decode as from_json
from msgspec.json import encode as to_json

from ptsflow.core.model import (
    Attempt,
    ContainerRecord,
    Tally,
    TaskRecord,
)
from ptsflow.core.pack import Pack, in_order
from ptsflow.core.packed import Tasks, tasks_of
from ptsflow.host.garbage import uncollected
from ptsflow.stores.sqlite import rows, statements
from ptsflow.stores.sqlite.containers import SqliteContainers
from ptsflow.stores.sqlite.database import Database

_POSITION, _NAME = attrgetter("position"), attrgetter("name")
_CHECKED_ROWS = 10_000
#: How many rows of a container are read, and packed, at once.
_BATCH = 4_096


class SqliteTasks:
    """The tables of tasks, payloads and attempts."""

    def __init__(self, database: Database, containers: SqliteContainers) -> None:
        self._database = database
        self._containers = containers
        self._execute = database.execute
        #: The containers whose indexes this connection has compared.
        self._indexes_checked: set[int] = set()
        #: The containers of which this connection has checked every row to count them.
        self._rows_checked: set[int] = set()

    # -- reading ------------------------------------------------------------

    def tasks(
        self,
        uid: str,
        names: Iterable[str] | None = None,
        *,
        payloads: bool = False,
    ) -> list[TaskRecord]:
        """Return all tasks, or those of `names` that exist, by position."""
        number = rows.number(uid)
        if names is None:
            query = statements.ALL_FULL_TASKS if payloads else statements.ALL_TASKS
            found = self._database.snapshot(self._fetch_all, query, number)
        else:
            listed = set(names)
            query = statements.FULL_TASKS if payloads else statements.TASKS
            args = (number, to_json(list(listed)).decode())
            found = self._read(query + statements.OF_NAMES, args)
            if {task.name for task in found} != listed:
                self._check_indexes(number)
        return _in_order(found)

    def table(self, uid: str) -> Tasks:
        """Return all tasks by name, without payloads, for a run."""
        with uncollected():
            return self._database.snapshot(self._fetch_table, rows.number(uid))

    def next_open(self, uid: str, unleased_at: int | None) -> TaskRecord | None:
        """Return the first task that is not complete, with payloads, or None."""
        number = rows.number(uid)
        self._check_indexes(number)
        args = (number,) if unleased_at is None else (number, unleased_at)
        where = statements.OPEN + (
            statements.UNLEASED if unleased_at is not None else ""
        )
        query = statements.FULL_TASKS + where + statements.FIRST
        found = self._database.snapshot(self._first_open, query, args)
        return found[0] if found else None

    def _first_open(self, query: str, args: rows.Row) -> list[TaskRecord]:
        found = self.fetch(query, args)
        container, _ = self._containers.get(str(args[0]))
        if container is not None and container.workflow is not None:
            query = query.replace(statements.OPEN, statements.UNFINISHED)
            found += self.fetch(query, args)
        return sorted(found, key=in_order)

    def _read(self, query: str, args: rows.Row) -> list[TaskRecord]:
        return self._database.read(self.fetch, query, args)

    def _fetch_all(self, query: str, number: int) -> list[TaskRecord]:
        found = self.fetch(query, (number,))
        # A damaged index leads to another row of the container a second time.
        self._check_count(number, len(set(map(_NAME, found))))
        return found

    def _fetch_table(self, number: int) -> Tasks:
        found, packs = list[TaskRecord](), list[Pack]()
        try:
            left = iter(self._execute(statements.ALL_TASKS, (number,)))
            while batch := list(islice(left, _BATCH)):
                if any(row[0] != number for row in batch):
                    self._raise_mixed(number)
                for row in filterfalse(rows.is_intact, batch):
                    self.checked(row)
                single, more = rows.packed_rows(batch)
                found += [rows.task_of(row, rows.NOT_LOADED) for row in single]
                packs += more
        except UnicodeDecodeError:
            self.blame(number)
        tasks = tasks_of(_in_order(found), packs)
        self._check_count(number, len(set(tasks)))
        return tasks

    def _check_count(self, number: int, count: int) -> None:
        container, kept = self._containers.get(str(number))
        if count != kept.task_count:
            what = f"{kept.task_count} tasks of container {_name(container)!r}"
            self._database.raise_misfit(what, count)

    def _check_indexes(self, number: int) -> None:
        """Compare the indexes of a container's tasks, once for each connection."""
        if number not in self._indexes_checked:
            self._database.snapshot(self.compare_indexes, number)
            self._indexes_checked.add(number)

    def compare_indexes(self, number: int) -> None:
        """Raise StoreDamaged if an index of a container's tasks does not fit its rows."""
        for total, is_open, in_index in self._execute(statements.INDEXED, (number,)):
            self._check_count(number, total)
            if is_open != in_index:
                container, _ = self._containers.get(str(number))
                what = f"{is_open} open tasks of container {_name(container)!r}"
                self._database.raise_misfit(what, in_index)

    def fetch(self, query: str, args: rows.Row) -> list[TaskRecord]:
        """Return the checked tasks of a query whose first argument is their container."""
        number, found = args[0], list[TaskRecord]()
        is_intact, task_of, width = rows.is_intact, rows.task_of, len(statements.TASK)
        try:
            # Many rows are not all kept beside the tasks that are made of them.
            for row in self._execute(query, args):
                if row[0] != number:
                    self._raise_mixed(number)
                if len(row) > width or not is_intact(row):
                    found.append(self.checked(row))
                else:
                    found.append(task_of(row, rows.NOT_LOADED))
        except UnicodeDecodeError:
            self.blame(number)
        return found

    def _raise_mixed(self, number: int) -> Never:
        container, _ = self._containers.get(str(number))
        what = f"tasks of container {_name(container)!r} alone"
        self._database.raise_misfit(what, "one of another container")

    def checked(self, row: rows.Row) -> TaskRecord:
        """Return the task of a row; raise StoreDamaged if a check value does not fit."""
        cells = row[len(statements.TASK) :]
        if not rows.is_intact(row[: len(statements.TASK)] if cells else row):
            self._database.raise_damaged(self._called(row[0], row[1]))
        payloads = rows.payloads_of(cells) if cells else rows.NOT_LOADED
        if payloads is None:
            self._database.raise_damaged(f"a payload of {self._called(row[0], row[1])}")
        return rows.task_of(row, payloads)

    def _called(self, number: int, task: str) -> str:
        container, _ = self._containers.get(str(number))
        return f"task {task!r} of container {_name(container)!r}"

    def blame(self, number: int) -> Never:
        """Raise StoreDamaged that names the first task that cannot be read."""
        query = "SELECT id, CAST(name AS BLOB) FROM tasks WHERE container = ?"
        task = ""
        found: list[rows.Row] = self._execute(query, (number,)).fetchall()
        for rowid, name in found:
            task = name.decode(errors="replace")
            try:
                query = f"{statements.TASKS} AND t.id = ?"
                cells: list[rows.Row] = self._execute(query, (number, rowid)).fetchall()
            except UnicodeDecodeError:
                break
            if not all(map(rows.is_intact, cells)):
                break
        self._database.raise_damaged(self._called(number, task))

    def names(self, uid: str) -> list[str]:
        """Return the names of all tasks by position, also of damaged ones."""
        query = (
            "SELECT CAST(name AS BLOB) FROM tasks WHERE container = ? ORDER BY position"
        )
        found: list[rows.Row] = self._execute(query, (rows.number(uid),)).fetchall()
        return [name.decode(errors="replace") for (name,) in found]

    def attempts(self, uid: str, name: str) -> list[Attempt]:
        """Return the last attempts in a task's ledger, oldest first."""
        number = rows.number(uid)
        self._check_indexes(number)
        return self._database.read(self._ledger, number, name)

    def _ledger(self, number: int, name: str) -> list[Attempt]:
        args = (number, name)
        found: list[rows.Row] = self._execute(statements.ATTEMPTS, args).fetchall()
        made = [row[1:] for row in found if row[2] is not None]
        is_whole = not found or len(made) == found[0][0]
        if not (is_whole and all(map(rows.is_intact, made))):
            self.raise_ledger(number, name)
        return [from_json(entry, type=Attempt) for _, _, entry, _ in made]

    def ledgers(self, uid: str, names: Iterable[str]) -> dict[str, list[Attempt]]:
        """Return the last attempts of tasks by name, of tasks that have attempts."""
        number, listed = rows.number(uid), set(names)
        found = self._database.read(self._ledgers, number, listed)
        if found.keys() != listed:
            self._check_indexes(number)
        return {name: attempts for name, attempts in found.items() if attempts}

    def _ledgers(self, number: int, names: set[str]) -> dict[str, list[Attempt]]:
        args = (number, to_json(list(names)).decode())
        found: dict[str, list[Attempt]] = {}
        lengths: dict[str, int] = {}
        for name, length, *made in self._execute(statements.LEDGERS, args):
            lengths[name], attempts = length, found.setdefault(name, [])
            if made[1] is not None:
                if not rows.is_intact(tuple(made)):
                    self.raise_ledger(number, name)
                attempts.append(from_json(made[2], type=Attempt))
        for name, length in lengths.items():
            if len(found[name]) != length:
                self.raise_ledger(number, name)
        return found

    def raise_ledger(self, number: int, name: str) -> Never:
        """Raise because a task's ledger is not whole."""
        self._database.raise_damaged(f"the ledger of {self._called(number, name)}")

    def tallies(self, uids: Iterable[str]) -> Mapping[str, list[Tally]]:
        """Return, for each container, its tasks counted by step and status.

        In a container of more than `_CHECKED_ROWS` tasks, rows are not checked one by
        one, because counting them would take ten times as long.
        """
        return self._database.snapshot(self._tallies, list(uids))

    def _tallies(self, uids: Sequence[str]) -> Mapping[str, list[Tally]]:
        found: dict[str, list[Tally]] = {uid: [] for uid in uids}
        listed = to_json([rows.number(uid) for uid in found]).decode()
        counted: list[rows.Row] = self._execute(
            statements.TALLIES, (listed,)
        ).fetchall()
        for uid, *cells in counted:
            tally, tallies = rows.tally_of(cells), found.get(str(uid))
            if tally is None or tallies is None:
                self.blame(uid)
            tallies.append(tally)
        totals: list[rows.Row] = self._execute(
            statements.TASK_COUNTS, (listed,)
        ).fetchall()
        for uid, _ in totals:
            self.check_rows(uid, sum(tally.count for tally in found[str(uid)]))
        return found

    def check_rows(self, number: int, counted: int) -> None:
        """Raise if a container has not as many tasks as were counted, or damaged ones.

        Rows are checked once for each connection, and only up to `_CHECKED_ROWS` of them.
        """
        if number in self._rows_checked:
            return
        if counted > _CHECKED_ROWS:
            self._check_count(number, counted)
            return
        try:
            found = self._execute(statements.ALL_TASKS, (number,)).fetchall()
        except UnicodeDecodeError:
            self.blame(number)
        # Records are made only to name what is damaged.
        is_whole = len(found) == counted and all(map(rows.is_intact, found))
        if is_whole and {row[0] for row in found} <= {number}:
            self._check_count(number, len({row[1] for row in found}))
        else:
            self._fetch_all(statements.ALL_TASKS, number)
            self._check_count(number, counted)
        self._rows_checked.add(number)


def _in_order(tasks: list[TaskRecord]) -> list[TaskRecord]:
    # A pair for each task would take as much memory as the tasks' names.
    tasks.sort(key=_POSITION)
    if any(a.position == b.position for a, b in pairwise(tasks)):
        tasks.sort(key=in_order)
    return tasks


def _name(container: ContainerRecord | None) -> str | None:
    return None if container is None else container.name
