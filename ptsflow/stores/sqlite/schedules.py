"""The schedules of workflows in SQLite, within the caller's transaction.

Their table is made by the first who writes to it: a file without it has none.
"""

from __future__ import annotations

from zlib import crc32

from msgspec.json import decode as from_json
from msgspec.json import encode as to_json
from msgspec.msgpack import encode

from ptsflow.core.insight import ScheduleRecord
from ptsflow.stores.sqlite import rows
from ptsflow.stores.sqlite.database import Database
from ptsflow.stores.sqlite.layout import SCHEDULES, if_missing

_MAKE = if_missing(SCHEDULES)
_PUT = (
    "INSERT OR REPLACE INTO schedules (workflow, entry, checksum) "
    "VALUES (CAST(? AS TEXT), CAST(? AS TEXT), ?)"
)
#: Texts are read as bytes, so that a damaged one is found by the check value.
_SELECT = (
    "SELECT CAST(workflow AS BLOB), CAST(entry AS BLOB), checksum FROM schedules "
    "ORDER BY workflow"
)


class SqliteSchedules:
    """The table of schedules."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._execute = database.execute

    def all(self) -> list[ScheduleRecord]:
        """Return all schedules, by the names of their workflows."""
        if not self._database.has_table("schedules"):
            return []
        found = []
        kept: list[rows.Row] = self._execute(_SELECT).fetchall()
        for row in kept:
            if not rows.is_intact(row):
                name = row[0].decode(errors="replace")
                self._database.raise_damaged(f"the schedule of workflow {name!r}")
            found.append(from_json(row[1], type=ScheduleRecord))
        return found

    def swap(self, before: ScheduleRecord | None, after: ScheduleRecord) -> bool:
        """Keep a schedule in place of the one before; False if another one is there."""
        self._execute(_MAKE)
        there = {schedule.workflow: schedule for schedule in self.all()}
        if there.get(after.workflow) not in (before, after):
            return False
        self._execute(_PUT, schedule_row(after))
        return True


def schedule_row(schedule: ScheduleRecord) -> rows.Row:
    """Return the columns of a schedule, with texts as bytes, the check value last."""
    row = (schedule.workflow.encode(), to_json(schedule))
    return (*row, crc32(encode(row)))
