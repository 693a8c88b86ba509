"""Reading a SQLite file of an earlier layout without upgrading it.

A runner of the version before may be at work in the file. So reads go to a private copy
of the file, which is carried over to this version's layout and renewed after each commit
to the file. Requests to stop and the queue are written in the file itself.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Never, ParamSpec, TypeVar
from zlib import crc32

import apsw
from msgspec.msgpack import encode
from msgspec.structs import replace

from ptsflow.core.model import Stop
from ptsflow.errors import PtsflowError, StoreDamaged
from ptsflow.host.clock import Clock
from ptsflow.stores.sqlite import migrations, rows
from ptsflow.stores.sqlite.database import Database
from ptsflow.stores.sqlite.file import kind, path_of
from ptsflow.stores.sqlite.layout import check_layout
from ptsflow.stores.sqlite.queue import SqliteQueue
from ptsflow.stores.sqlite.store import SqliteStore

P = ParamSpec("P")
T = TypeVar("T")


class EarlierLayout(StoreDamaged):
    """The file has an earlier layout, and may not be upgraded now."""


def open_as_is(url: str, clock: Clock) -> SqliteStore:
    """Open a file in the layout that it has."""
    try:
        return SqliteStore(url, clock=clock, upgrade=_refuse)
    except EarlierLayout:
        return EarlierStore(url, clock=clock)


def _refuse(path: Path, _: apsw.Connection) -> None:
    raise EarlierLayout(f"{path}: expected this version's layout; open the file anew")


def _leave(_path: Path, _connection: apsw.Connection) -> None:
    """Leave a file as it is."""


class EarlierStore(SqliteStore):
    """Containers and tasks in a file of an earlier layout, for reading."""

    def __init__(self, url: str, *, clock: Clock, patience: float = 10.0) -> None:
        self._copy = FileCopy(path_of(url), patience)
        self._use(url, clock, self._copy)
        # Its table belongs to no layout.
        self.queue = SqliteQueue(self._copy.file)

    def sibling(self) -> EarlierStore:
        """Return another copy of the same file."""
        return EarlierStore(self.url, clock=self._clock)

    def ask_to_stop(self, uid: str, fence: int, how: Stop) -> bool:
        """Leave word for the owner of the lease of that fence, in the file itself."""
        return self._copy.ask_to_stop(uid, fence, how)


class FileCopy(Database):
    """A private copy of a file in this version's layout, renewed before each read."""

    def __init__(self, path: Path, patience: float) -> None:
        self.file = Database(path, kind(_leave), patience)
        #: SQLite's number of the file's last commit that the copy has.
        self._version: int | None = None
        self._is_made = False
        how = replace(
            kind(_leave), prepare=lambda _: None, connect=lambda *_: apsw.Connection("")
        )
        super().__init__(path, how, patience)
        self._is_made = True

    def close(self) -> None:
        """Close the file and its copy; a second call does nothing."""
        super().close()
        self.file.close()

    def read(self, action: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Do it on a copy that has all commits."""
        if self._is_made:
            self.file.read(self._renew)
        return super().read(action, *args, **kwargs)

    def _renew(self) -> None:
        file = self.file.connection
        version = file.pragma("data_version")
        if version != self._version:
            migrations.copy_into(self.connection, file)
            check_layout(self.path, self.connection)
            migrations.carry_over(self.connection)
            self._version = version

    def write(self, *_args: object, **_kwargs: object) -> Never:
        """Raise: a write to the copy would be lost."""
        raise PtsflowError(
            f"{self.path}: the store was opened for reading and has an earlier layout; "
            "open it with ptsflow.connect, which upgrades it"
        )

    def ask_to_stop(self, uid: str, fence: int, how: Stop) -> bool:
        """Leave word for the owner of the lease of that fence, in the file itself."""
        return self.file.write(self._ask_to_stop, rows.number(uid), fence, how)

    def _ask_to_stop(self, uid: int, fence: int, how: Stop) -> bool:
        execute = self.file.execute
        layout = self.file.connection.pragma("user_version")
        columns = migrations.steps_from(layout)[0].container
        query = f"SELECT {', '.join(columns)} FROM containers WHERE uid = ?"  # noqa: S608 - constants
        found: list[rows.Row] = execute(query, (uid,)).fetchall()
        stored = dict(zip(columns, found[0], strict=True)) if found else {}
        if stored.get("fence") != fence or stored["owner"] is None:
            return False
        if how is Stop.GENTLY and stored["stop_asked"] is not None:
            return True
        if not rows.is_intact(found[0]):
            self.raise_damaged(f"container {stored['name']!r}")
        *values, _ = (stored | {"stop_asked": how.value}).values()
        execute(
            "UPDATE containers SET stop_asked = ?, checksum = ? WHERE uid = ?",
            (how.value, crc32(encode(tuple(values))), uid),
        )
        return True
