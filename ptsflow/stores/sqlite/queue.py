"""The queue in SQLite. Its table is made by the first who puts a container into it."""

from __future__ import annotations

from collections.abc import Collection
from zlib import crc32

from msgspec.json import decode as from_json
from msgspec.json import encode as to_json
from msgspec.msgpack import encode

from ptsflow.core.work_queue import QueueEntry
from ptsflow.stores.sqlite import rows
from ptsflow.stores.sqlite.database import Database
from ptsflow.stores.sqlite.layout import QUEUE, if_missing

_MAKE = if_missing(QUEUE)
_PUT = (
    "INSERT OR REPLACE INTO queue "
    "(container, workflow, not_before, priority, at, entry, checksum) "
    "VALUES (?, CAST(? AS TEXT), ?, ?, ?, CAST(? AS TEXT), ?)"
)
_REMOVE = "DELETE FROM queue WHERE container = ? AND at <= coalesce(?, at)"
SELECT = (
    "SELECT container, CAST(workflow AS BLOB), not_before, priority, at, "
    "CAST(entry AS BLOB), checksum FROM queue"
)
_DUE = (
    f"{SELECT} "  # noqa: S608 - a constant
    "WHERE not_before <= ? AND workflow IN (SELECT value FROM json_each(?)) "
    "ORDER BY priority DESC, at, container LIMIT ?"
)


class SqliteQueue:
    """The table of the queue; each call is a transaction of its own."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._execute = database.execute

    def put(self, entry: QueueEntry) -> None:
        """Keep an entry, in place of an earlier one of its container."""
        self._database.write(self._put, entry)

    def _put(self, entry: QueueEntry) -> None:
        self._execute(_MAKE)
        self._execute(_PUT, queue_row(entry))

    def remove(self, uid: str, until: int | None = None) -> bool:
        """Remove the entry of a container; False if there is none; see `WorkQueue`."""
        return self._database.write(self.forget, uid, until)

    def forget(self, uid: str, until: int | None = None) -> bool:
        """Remove the entry of a container, within the caller's transaction."""
        if not self._database.has_table("queue"):
            return False
        removed = f"{_REMOVE} RETURNING container"
        return bool(self._execute(removed, (rows.number(uid), until)).fetchall())

    def due(
        self, workflows: Collection[str], now: int, limit: int = 100
    ) -> list[QueueEntry]:
        """Return entries that may be taken, those to be taken first in front."""
        return self._database.snapshot(self._due, workflows, now, limit)

    def _due(
        self, workflows: Collection[str], now: int, limit: int
    ) -> list[QueueEntry]:
        if not self._database.has_table("queue"):
            return []
        listed = to_json(sorted(workflows)).decode()
        found: list[rows.Row] = self._execute(_DUE, (now, listed, limit)).fetchall()
        for row in found:
            if not rows.is_intact(row):
                self._database.raise_damaged(f"the place of {row[0]} in the queue")
        return [from_json(row[-2], type=QueueEntry) for row in found]


def queue_row(entry: QueueEntry) -> rows.Row:
    """Return the columns of an entry, with texts as bytes, the check value last."""
    order = (entry.not_before, entry.priority, entry.at)
    row = (
        rows.number(entry.uid),
        entry.workflow.encode(),
        *order,
        to_json(entry),
    )
    return (*row, crc32(encode(row)))
