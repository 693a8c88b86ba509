"""What runners expect of their containers, in SQLite, within the caller's transaction.

Outlooks have a table of their own, so that a container's row with its plan is not written
each time. The table is made by the first who writes to it.
"""

from __future__ import annotations

from collections.abc import Iterable
from zlib import crc32

from msgspec.json import decode as from_json
from msgspec.json import encode as to_json
from msgspec.msgpack import encode

from ptsflow.core.insight import Outlook
from ptsflow.stores.sqlite import rows, statements
from ptsflow.stores.sqlite.database import Database
from ptsflow.stores.sqlite.layout import OUTLOOKS, if_missing

_MAKE = if_missing(OUTLOOKS)
_PUT = (
    "INSERT OR REPLACE INTO outlooks (container, fence, entry, checksum) "
    "VALUES (?, ?, CAST(? AS TEXT), ?)"
)
_FORGET = "DELETE FROM outlooks WHERE container = ?"
_FIND = (
    "SELECT o.container, o.fence, CAST(o.entry AS BLOB), o.checksum, c.fence, c.name "
    "FROM outlooks AS o JOIN containers AS c ON c.uid = o.container "
    "WHERE o.container IN (SELECT value FROM json_each(?))"
)


class SqliteOutlooks:
    """The table of outlooks."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._execute = database.execute

    def tell(self, uid: str, fence: int, outlook: Outlook | None) -> bool:
        """Keep an outlook; False if the lease of that fence was lost."""
        number = rows.number(uid)
        if (fence, 0) not in self._execute(statements.WRITER, (number,)).fetchall():
            return False
        self._execute(_MAKE)
        if outlook is None:
            self._execute(_FORGET, (number,))
        else:
            self._execute(_PUT, outlook_row(number, fence, outlook))
        return True

    def forget(self, uid: str) -> None:
        """Forget the outlook of a container."""
        if self._database.has_table("outlooks"):
            self._execute(_FORGET, (rows.number(uid),))

    def find(self, uids: Iterable[str], *, of_earlier_runs: bool) -> dict[str, Outlook]:
        """Return the outlooks of containers by uid."""
        if not self._database.has_table("outlooks"):
            return {}
        listed = to_json([rows.number(uid) for uid in uids]).decode()
        found: dict[str, Outlook] = {}
        told: list[rows.Row] = self._execute(_FIND, (listed,)).fetchall()
        for *row, fence, name in told:
            container, told_under, entry, _ = row
            if not rows.is_intact(tuple(row)):
                self._database.raise_damaged(f"the outlook of container {name!r}")
            if of_earlier_runs or told_under == fence:
                found[str(container)] = from_json(entry, type=Outlook)
        return found


def outlook_row(container: int, fence: int, outlook: Outlook) -> rows.Row:
    """Return the columns of an outlook, with text as bytes, the check value last."""
    row = (container, fence, to_json(outlook))
    return (*row, crc32(encode(row)))
