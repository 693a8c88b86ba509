"""What screens read of a SQLite container, within the caller's transaction.

A look at 100,000 tasks goes through the rows a few times, and makes records only of the
tasks that it returns. Statements first find the ids of these: to sort whole rows, or to
go through them in the order of an index, takes twice as long.
"""

from __future__ import annotations

from array import array
from collections.abc import Collection, Mapping, Sequence
from operator import attrgetter
from typing import NamedTuple

from msgspec import ValidationError
from msgspec.json import decode as from_json
from msgspec.json import encode as to_json

from ptsflow.core.insight import Glance, Spans
from ptsflow.core.model import Status, Tally, TaskRecord
from ptsflow.core.packed import ORIGIN, origins_of
from ptsflow.stores.looks import OWN_TASKS, Order, PageWindow
from ptsflow.stores.rules import Times, widened
from ptsflow.stores.sqlite import rows, statements
from ptsflow.stores.sqlite.database import Database
from ptsflow.stores.sqlite.tasks import SqliteTasks

_PLACE = attrgetter("position", "name")
_EXTENT = "SELECT min(id), max(id), count(*) FROM tasks WHERE container = ?"
#: The tasks by step and status, with their times, and the ids of those that are no items
#: or are running.
_GROUPS = (
    "SELECT step, status, count(*), sum(percentage_complete), "
    "min(last_invoked_at), max(task_ended_at), json_group_array(DISTINCT code_hash) "
    "FILTER (WHERE status = 'done' OR cause = 'body'), "
    "group_concat(CASE WHEN key IS NULL AND step != '' THEN id END), "
    "group_concat(CASE WHEN key IS NOT NULL AND status = 'running' THEN id END) "
    "FROM {tasks} GROUP BY step, status ORDER BY min(position), status"
)
_OWN = "SELECT id FROM {tasks} AND step = '' ORDER BY position LIMIT ?"
_LAST_ENDED = (
    "SELECT id FROM {tasks} AND status = ? AND key IS NOT NULL "
    "ORDER BY task_ended_at, position LIMIT ?"
)
_COUNT = "SELECT count(*), coalesce(sum({matches}), 0) FROM {tasks}"
_PAGE = "SELECT id FROM {tasks} AND {matches} ORDER BY {order}, id LIMIT ? OFFSET ?"
_ORDERS: Mapping[Order, str] = {
    "position": "position",
    "duration": "task_duration_ms DESC, position",
}
_ORIGINS = (
    "SELECT {fields} FROM {tasks} AND step IN (SELECT value FROM json_each(?))"
).replace("{fields}", ", ".join(ORIGIN))
# Three texts take a third of the time that 100,000 rows take.
_SPANS = (
    "SELECT json_group_array(last_invoked_at), json_group_array(CASE WHEN status "
    "IN ({over}) THEN coalesce(task_ended_at, 0) ELSE 0 END), json_group_array(status) "
    "FROM {tasks} AND step = ? AND last_invoked_at IS NOT NULL"
).replace("{over}", ", ".join(repr(s.value) for s in Status if s.is_complete))


class _Extent(NamedTuple):
    """Where the tasks of a container are: what stands for {tasks}, and its values."""

    tasks: str
    args: tuple[int, ...]
    #: How many there are.
    size: int


class SqliteLooks:
    """Reads of one container for screens."""

    def __init__(self, database: Database, tasks: SqliteTasks) -> None:
        self._database = database
        self._tasks = tasks
        self._execute = database.execute

    def glance(self, uid: str, active: int, failed: int) -> Glance:
        """Return what a screen shows of a container."""
        number = rows.number(uid)
        extent = self._extent(number)
        tallies: list[Tally] = []
        times: dict[str, Times] = {}
        plain, running = list[int](), list[int]()
        groups: list[rows.Row] = self._run(_GROUPS, extent)
        code: dict[str, set[str]] = {}
        for step, *cells, began, ended, ran, no_items, are_running in groups:
            tally = rows.tally_of((step, *cells))
            if tally is None:
                self._tasks.blame(number)
            tallies.append(tally)
            times[step] = widened(times.get(step, (None, None)), (began, ended))
            code.setdefault(step, set()).update(from_json(ran))
            plain += _numbers(no_items)
            running += _numbers(are_running)
        self._tasks.check_rows(number, sum(tally.count for tally in tallies))
        if "" in times:
            plain += self._ids(_OWN, extent, OWN_TASKS)
        statuses = {tally.status for tally in tallies}

        def items(status: Status, limit: int) -> list[TaskRecord]:
            if status not in statuses or limit <= 0:
                return []
            return self._of(number, self._ids(_LAST_ENDED, extent, status.value, limit))

        run = sorted(self._of(number, running), key=_begun)[: max(0, active)]
        return Glance(
            tallies=tallies,
            plain=sorted(self._of(number, plain), key=_PLACE),
            active=run + items(Status.WAITING, active - len(run)),
            failed=items(Status.FAILED, failed),
            times=times,
            code={step: ran for step, ran in code.items() if ran},
        )

    def page(
        self,
        uid: str,
        wanted: Mapping[str, str | None],
        part: str | None,
        window: PageWindow,
    ) -> tuple[list[TaskRecord], int]:
        """Return some tasks, and how many there are in all.

        Args:
            uid: the container's uid.
            wanted: the values of columns of the tasks, None for any.
            part: what their names have within them, or None.
            window: which of them are returned.
        """
        number = rows.number(uid)
        extent = self._extent(number)
        given = {name: value for name, value in wanted.items() if value is not None}
        tests = [f"{name} = ?" for name in given]
        args: list[object] = list(given.values())
        if part is not None:
            tests.append("instr(name, ?) > 0")
            args.append(part)
        matches = " AND ".join(tests) or "1"
        if window.total is not None:
            total, matching = extent.size, window.total
        else:
            # The values of the count come before those of the extent.
            query = _COUNT.replace("{matches}", matches)
            query = query.replace("{tasks}", extent.tasks)
            found: list[rows.Row] = self._execute(
                query, (*args, *extent.args)
            ).fetchall()
            total, matching = found[0]
        self._tasks.check_rows(number, total)
        query = _PAGE.replace("{matches}", matches)
        query = query.replace("{order}", _ORDERS[window.order])
        ids = self._ids(query, extent, *args, window.limit, window.offset)
        return self._of(number, ids), matching

    def origins(self, uid: str, steps: Collection[str]) -> Sequence[TaskRecord]:
        """Return the tasks of steps by position, with the fields of `ORIGIN` alone."""
        number = rows.number(uid)
        wanted = to_json(list(steps)).decode()
        try:
            return origins_of([self._run(_ORIGINS, self._extent(number), wanted)])
        except ValueError:
            self._tasks.blame(number)

    def spans(self, uid: str, step: str) -> Spans:
        """Return when the last attempts of a step's tasks ran, as far as they began."""
        number = rows.number(uid)
        began, ended, words = self._run(_SPANS, self._extent(number), step)[0]
        try:
            return Spans(
                began=array("q", from_json(began, type=list[int])),
                ended=array("q", from_json(ended, type=list[int])),
                statuses=from_json(words, type=list[Status]),
            )
        except (ValidationError, OverflowError):
            self._tasks.blame(number)

    def _extent(self, number: int) -> _Extent:
        """Return where the tasks of a container are.

        Mostly they are almost alone between the first and the last of them.
        """
        found: list[rows.Row] = self._execute(_EXTENT, (number,)).fetchall()
        first, last, count = found[0]
        if count and last - first < 2 * count:
            between = "tasks NOT INDEXED WHERE id BETWEEN ? AND ? AND container = ?"
            return _Extent(between, (first, last, number), count)
        return _Extent("tasks WHERE container = ?", (number,), count)

    def _run(self, query: str, extent: _Extent, *args: object) -> list[rows.Row]:
        statement = query.replace("{tasks}", extent.tasks)
        return self._execute(statement, (*extent.args, *args)).fetchall()

    def _ids(self, query: str, extent: _Extent, *args: object) -> list[int]:
        return [task for (task,) in self._run(query, extent, *args)]

    def _of(self, number: int, ids: list[int]) -> list[TaskRecord]:
        """Return the checked tasks of these ids, in their order."""
        args = number, to_json(ids).decode()
        found = self._tasks.fetch(statements.TASKS_OF_IDS, args)
        if len(found) != len(ids):
            what = f"{len(ids)} tasks of the container with the uid {number}"
            self._database.raise_misfit(what, len(found))
        return found


def _numbers(text: str | None) -> list[int]:
    return [int(number) for number in text.split(",")] if text else []


def _begun(task: TaskRecord) -> tuple[int, int]:
    return task.last_invoked_at or 0, task.position
