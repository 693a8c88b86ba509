"""The ledger of runs in SQLite, within the caller's transaction.

Its table is made by the first who writes to it: a file without it has no runs. A row that
cannot be read is told to those who read it; it keeps no run from beginning.
"""

from __future__ import annotations

from collections.abc import Iterable
from zlib import crc32

from msgspec.json import decode as from_json
from msgspec.json import encode as to_json
from msgspec.msgpack import encode
from msgspec.structs import replace

from ptsflow.core.insight import RunRecord, RunStatus
from ptsflow.stores.rules import (
    RUNS_KEPT,
    RUNS_PRUNED,
    STEPS_KEPT,
    back_to_good,
    lost,
    with_free_ordinal,
    without_steps,
)
from ptsflow.stores.sqlite import rows
from ptsflow.stores.sqlite.database import Database
from ptsflow.stores.sqlite.layout import RUNS, RUNS_INDEX, if_missing

_MAKE = (if_missing(RUNS), if_missing(RUNS_INDEX))
_TEXTS = ("container", "name", "workflow", "status", "entry")
#: The columns in the order in which they are written and read.
COLUMNS = (*_TEXTS, "fence", "began_at", "checksum")
_PUT = (
    f"INSERT OR REPLACE INTO runs ({', '.join(COLUMNS)}) "  # noqa: S608 - constants
    f"VALUES ({', '.join('CAST(? AS TEXT)' for _ in _TEXTS)}, ?, ?, ?)"
)
#: Texts are read as bytes, so that a damaged one is found by the check value.
SELECT = (
    f"SELECT {', '.join(f'CAST({text} AS BLOB)' for text in _TEXTS)}, "  # noqa: S608
    "fence, began_at, checksum FROM runs"
)
_WITHOUT_END = f"{SELECT} WHERE container = ? AND fence < ? AND status = 'running'"
_ONE = f"{SELECT} WHERE container = ? AND fence = ?"
#: A text that an error has in it is no ordinal: its quotes are escaped.
_NUMBERED = f"{SELECT} WHERE workflow = ? AND instr(entry, '\"ordinal\":')"
_COUNT = "SELECT count(*) FROM runs WHERE workflow = ?"
_PRUNE = (
    "DELETE FROM runs WHERE (container, fence) IN (SELECT container, fence FROM runs "
    "WHERE workflow = ? ORDER BY began_at, container, fence LIMIT ?)"
)
_OLDER = (
    f"{SELECT} WHERE workflow = ? AND status = 'done' "
    "ORDER BY began_at DESC LIMIT ? OFFSET ?"
)
_NEWEST = " ORDER BY began_at DESC, container DESC, fence DESC LIMIT ?"


class SqliteRuns:
    """The table of runs."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._execute = database.execute

    def put(self, run: RunRecord) -> None:
        """Write a run; mark earlier ones of its container without an end as lost."""
        for statement in _MAKE:
            self._execute(statement)
        self._lose(run.uid, run.fence)
        if run.ordinal is not None:
            run = with_free_ordinal(run, self._having_ordinal(run.workflow))
        self._execute(_PUT, run_row(run))
        if run.ended_at is not None:
            count = self._execute(_COUNT, (run.workflow,)).get
            surplus = min(count - RUNS_KEPT, RUNS_PRUNED)
            if surplus > 0:
                self._execute(_PRUNE, (run.workflow, surplus))
            if count > STEPS_KEPT:
                self._drop_steps(run.workflow)

    def _drop_steps(self, workflow: str) -> None:
        args = (workflow, RUNS_PRUNED, STEPS_KEPT)
        for row in self._execute(_OLDER, args).fetchall():
            if rows.is_intact(row) and (run := run_of(row)).steps:
                self._execute(_PUT, run_row(without_steps(run)))

    def lose(self, uid: str, before: int) -> None:
        """Mark the runs of a container under earlier fences that have no end as lost."""
        if self._database.has_table("runs"):
            self._lose(uid, before)

    def _lose(self, uid: str, before: int) -> None:
        for row in self._execute(_WITHOUT_END, (uid, before)).fetchall():
            if rows.is_intact(row):
                self._execute(_PUT, run_row(lost(run_of(row))))

    def find(
        self,
        workflow: str | None,
        name: str | None,
        limit: int,
        before: RunRecord | None,
        status: RunStatus | None,
    ) -> list[RunRecord]:
        """Return runs, those that began last first."""
        if not self._database.has_table("runs"):
            return []
        wanted = {"workflow": workflow, "name": name, "status": status}
        given = {column: value for column, value in wanted.items() if value is not None}
        conditions = [f"{column} = ?" for column in given]
        args: list[object] = list(given.values())
        if before is not None:
            conditions.append("(began_at, container, fence) < (?, ?, ?)")
            args += [before.began_at, before.uid, before.fence]
        where = f" WHERE {' AND '.join(conditions)}" if conditions else ""
        found = self._execute(SELECT + where + _NEWEST, (*args, limit))
        return self._checked(found)

    def numbered(self, workflow: str) -> list[RunRecord]:
        """Return the runs of a workflow that have an ordinal, back to a good one."""
        if not self._database.has_table("runs"):
            return []
        return back_to_good(self._having_ordinal(workflow))

    def number(self, uid: str, fence: int, ordinal: int, told_at: int | None) -> bool:
        """Keep the ordinal of a run, unless another run of its workflow has it."""
        if not self._database.has_table("runs"):
            return False
        for run in self._checked(self._execute(_ONE, (uid, fence)).fetchall()):
            numbered = replace(run, ordinal=ordinal, told_at=told_at)
            others = self._having_ordinal(run.workflow)
            if with_free_ordinal(numbered, others) == numbered:
                self._execute(_PUT, run_row(numbered))
                return True
        return False

    def _having_ordinal(self, workflow: str) -> list[RunRecord]:
        found = self._checked(self._execute(_NUMBERED, (workflow,)))
        return [run for run in found if run.ordinal is not None]

    def _checked(self, found: Iterable[rows.Row]) -> list[RunRecord]:
        runs = []
        for row in found:
            if not rows.is_intact(row):
                name = row[1].decode(errors="replace")
                what = f"the run under fence {row[5]} of container {name!r}"
                self._database.raise_damaged(what)
            runs.append(run_of(row))
        return runs


def run_row(run: RunRecord) -> rows.Row:
    """Return the columns of a run, with texts as bytes, the check value last."""
    texts = (run.uid, run.container, run.workflow, run.status.value)
    row = (*(t.encode() for t in texts), to_json(run), run.fence, run.began_at)
    return (*row, crc32(encode(row)))


def run_of(row: rows.Row) -> RunRecord:
    """Return the run of an intact row."""
    return from_json(row[len(_TEXTS) - 1], type=RunRecord)
