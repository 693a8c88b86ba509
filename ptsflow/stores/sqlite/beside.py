"""What lies beside a SQLite file and belongs to none of its containers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import apsw
from msgspec import DecodeError
from msgspec.json import decode as from_json

from ptsflow.core.model import LogLine
from ptsflow.errors import StoreError
from ptsflow.host import atomic_files, workdirs
from ptsflow.stores.care import Fault
from ptsflow.stores.sqlite import rows, statements
from ptsflow.stores.sqlite.logs import check_logs

if TYPE_CHECKING:
    from ptsflow.stores.sqlite.care import SqliteCare

_DIGITS = frozenset("0123456789abcdef")


def folders_of(root: Path) -> list[Path]:
    """Return the folders of containers that lie in a folder of the store's own."""
    length = len(atomic_files.digest())
    try:
        found = sorted(root.iterdir())
    except OSError:
        return []
    return [
        each
        for each in found
        if len(each.name) == length and _DIGITS.issuperset(each.name)
    ]


def without_container(
    folders: Sequence[Path], connection: apsw.Connection
) -> list[Path]:
    """Return those of the folders that are of no container."""
    query = f"{statements.CONTAINERS}"
    known = {
        workdirs.container_folder(rows.container_of(row))
        for row in connection.execute(query)
        if rows.is_intact(row)
    }
    return [each for each in folders if each.name not in known and each.exists()]


def folder_faults(
    folders: Sequence[Path], connection: apsw.Connection
) -> Iterator[Fault]:
    """Yield the folders that are of no container."""
    for each in without_container(folders, connection):
        text = f"{each}: is the folder of a container that there is not"
        yield Fault("folder without container", text, is_repairable=True)


class LogFile:
    """The file of the log lines.

    Its containers are read before those of the store: a new container's lines must not
    seem to be of none.

    Args:
        care: has the connections.
    """

    def __init__(self, care: SqliteCare) -> None:
        self._care = care
        self._path = care.logs
        self._fault: Fault | None = None
        self._owners: set[int] = set()
        if self._path.exists():
            try:
                self._read()
            except (apsw.Error, StoreError, UnicodeDecodeError) as error:
                self._fault = Fault("log lines", f"{self._path}: {error}")

    def _read(self) -> None:
        connection = self._care.connection(self._path)
        check_logs(self._path, connection)
        said = str(connection.execute("PRAGMA quick_check(1)").get)
        if said != "ok":
            text = f"{self._path}: {' '.join(said.split())}; move it away to start over"
            self._fault = Fault("log lines", text)
            return
        query = "SELECT DISTINCT container FROM chunks"
        self._owners = {number for (number,) in connection.execute(query)}

    def strays(self, store: apsw.Connection) -> set[int]:
        """Return the containers of lines that there are not in the store."""
        query = "SELECT uid FROM containers UNION SELECT container FROM deleted"
        return self._owners - {number for (number,) in store.execute(query)}

    def faults(self, store: apsw.Connection, *, deep: bool) -> Iterator[Fault]:
        """Yield what is wrong with the lines. They are no state, so nothing is damage."""
        if self._fault is not None:
            yield self._fault
            return
        for number in sorted(self.strays(store)):
            text = f"there are lines of container {number}, which there is not"
            yield Fault("lines without container", text, is_repairable=True)
        if deep and self._owners:
            query = "SELECT mark, CAST(lines AS BLOB) FROM chunks"
            for mark, lines in self._care.connection(self._path).execute(query):
                try:
                    from_json(lines, type=tuple[LogLine, ...])
                except DecodeError as error:
                    text = f"{self._path}: chunk {mark} cannot be read: {error}"
                    yield Fault("log lines", text)

    def drop(self, strays: set[int]) -> None:
        """Delete the lines of containers that there are not, in parts."""
        query = (
            "DELETE FROM chunks WHERE mark IN "
            "(SELECT mark FROM chunks WHERE container = ? LIMIT 1000)"
        )
        connection = self._care.connection(self._path)
        for number in sorted(strays):
            connection.execute(query, (number,))
            while connection.changes():
                connection.execute(query, (number,))
