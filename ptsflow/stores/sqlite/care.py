"""Care of a SQLite file: its room, its copies, and what is wrong with it.

Care opens the file as it is, also one that the store would refuse.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TypeVar

import apsw

from ptsflow.errors import StoreError, StoreUnavailable, UsageError
from ptsflow.host import atomic_files
from ptsflow.host.paths import size_of
from ptsflow.stores.care import Fault, Grade, Room, StoreFacts
from ptsflow.stores.sqlite import beside, faults, repairs, row_faults
from ptsflow.stores.sqlite.layout import cure
from ptsflow.stores.sqlite.refusals import refusal

T = TypeVar("T")

#: How long to wait for others that hold the file, in milliseconds.
_PATIENCE = 10_000
#: What lies beside the file.
_BESIDE = ("", "-wal", ".logs", ".logs-wal")
#: How many pages a backup copies at a time; others can write between two.
_PAGES = 1_000


class SqliteCare:
    """Looks after one file and the files beside it.

    Args:
        url: the store's URL.
        path: the file.
    """

    def __init__(self, url: str, path: Path) -> None:
        self.url = url
        self.path = path
        self.is_there = any(
            path.with_name(f"{path.name}{end}").exists() for end in ("", "-wal")
        )
        self.logs = path.with_name(f"{path.name}.logs")
        self._open: dict[Path, apsw.Connection] = {}

    def connection(self, path: Path) -> apsw.Connection:
        """Return the connection to the store's file, or to that of its log lines."""
        if path not in self._open:
            flags = apsw.SQLITE_OPEN_READWRITE
            self._open[path] = opened = self.act(
                path, lambda: apsw.Connection(str(path), flags=flags)
            )
            opened.set_busy_timeout(_PATIENCE)
        return self._open[path]

    def act(self, path: Path, action: Callable[[], T]) -> T:
        """Call `action`; translate the errors of SQLite.

        Raises:
            StoreError: SQLite cannot read or write the file.
        """
        try:
            return action()
        except apsw.Error as error:
            opened = self._open.get(path)
            system = 0 if opened is None else opened.system_errno
            what = "a ptsflow store" if path == self.path else "its log lines"
            raise refusal(path, error, system, what=what, cure=cure(path)) from error

    def facts(self) -> StoreFacts:
        """Return what the file is and where it lies."""
        number = self.act(
            self.path, lambda: self.connection(self.path).pragma("user_version")
        )
        files = [self.path.with_name(f"{self.path.name}{end}") for end in _BESIDE]
        sizes = [(file.name, size_of(file)) for file in files]
        found = [Room(name, size) for name, size in sizes if size is not None]
        disk = os.statvfs(self.path.parent)
        return StoreFacts(
            engine=f"SQLite {apsw.sqlite_lib_version()}",
            layout=number if isinstance(number, int) else None,
            rooms=tuple(found),
            free=disk.f_bavail * disk.f_frsize,
        )

    def faults(self, *, deep: bool) -> Iterator[Fault]:
        """Yield what is wrong with the file; after damage, only what comes before."""
        looks: list[Callable[[], Iterator[Fault]]] = [
            partial(faults.around, self.path),
            partial(self._look, partial(faults.layout_of, self.path)),
            partial(self._look, partial(faults.pages, self.path)),
        ]
        for look in looks:
            found = list(look())
            yield from found
            if any(fault.grade is Grade.DAMAGE for fault in found):
                return
        # What lies beside the file is read before the containers that it may belong to.
        folders, lines = beside.folders_of(self._work), beside.LogFile(self)
        opened = self.connection(self.path)
        opened.execute("BEGIN")
        try:
            for look_at in (
                row_faults.orphans,
                row_faults.containers,
                partial(row_faults.tasks, deep=deep),
                row_faults.attempts,
                row_faults.told,
                partial(beside.folder_faults, folders),
                partial(lines.faults, deep=deep),
            ):
                yield from self._look(look_at)
        finally:
            opened.execute("ROLLBACK")

    def _look(
        self, look: Callable[[apsw.Connection], Iterator[Fault]]
    ) -> Iterator[Fault]:
        """Yield what a look at the tables finds; what cannot be read is damage."""
        try:
            yield from look(self.connection(self.path))
        except (apsw.Error, StoreError, UnicodeDecodeError) as error:
            yield Fault("pages", f"{self.path}: {error}", Grade.DAMAGE)

    @property
    def _work(self) -> Path:
        return self.path.with_name(f"{self.path.name}.work")

    def repair(self) -> Iterator[str]:
        """Remove what belongs to nothing, and make missing indexes; yield a line of each."""
        opened = self.connection(self.path)
        for name in self.act(self.path, lambda: repairs.make_indexes(opened)):
            yield f"made {name}"
        folders, lines = beside.folders_of(self._work), beside.LogFile(self)
        for kind in repairs.ORPHANS:
            count = self.act(self.path, partial(repairs.remove, opened, kind))
            if count:
                yield f"removed {count} of: {kind}"
        strays = lines.strays(opened)
        if strays:
            self.act(self.logs, partial(lines.drop, strays))
            yield f"removed the lines of {len(strays)} containers that there are not"
        for folder in beside.without_container(folders, opened):
            atomic_files.remove(folder)
            yield f"removed {folder}"

    def vacuum(self) -> int:
        """Give unused room back to the file system; return how many bytes."""
        before = self._size()
        for path in (self.path, self.logs):
            if path.exists():
                self.act(path, partial(self._vacuum, path))
        return max(0, before - self._size())

    def _vacuum(self, path: Path) -> None:
        connection = self.connection(path)
        connection.execute("VACUUM")
        connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)

    def _size(self) -> int:
        return sum(room.size for room in self.facts().rooms)

    def backup(self, target: Path) -> None:
        """Write a copy that is whole, while others write, to a file that does not exist."""
        lines = target.with_name(f"{target.name}.logs")
        for copy in (target, target.with_name(f"{target.name}-wal"), lines):
            if copy.exists():
                raise UsageError(
                    f"{copy}: expected no file there, found one; name another, or "
                    "remove it"
                )
        if self.logs.exists():
            self._copy(self.logs, lines)
        self._copy(self.path, target)  # Once it is there, all is.

    def _copy(self, source: Path, target: Path) -> None:
        draft = target.with_name(f".{target.name}.part")
        try:
            draft.unlink(missing_ok=True)
            os.close(os.open(draft, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
            self.act(source, lambda: self._fill(source, draft))
            draft.rename(target)
            atomic_files.sync(target.parent)
        except OSError as error:
            raise StoreUnavailable(
                f"{target}: cannot be written ({error.strerror}); check the folder"
            ) from error
        finally:
            draft.unlink(missing_ok=True)

    def _fill(self, source: Path, draft: Path) -> None:
        opened = self.connection(source)
        copy = apsw.Connection(str(draft), flags=apsw.SQLITE_OPEN_READWRITE)
        # Within a transaction all pages are of one commit, however much others write.
        opened.execute("BEGIN; SELECT 1 FROM sqlite_schema")
        try:
            with copy.backup("main", opened, "main") as made:
                while not made.done:
                    made.step(_PAGES)
            # The copy is one file, without a log beside it.
            copy.pragma("journal_mode", "delete")
            copy.pragma("journal_mode", "wal")
        finally:
            opened.execute("ROLLBACK")
            copy.close()

    def close(self) -> None:
        """Close the files."""
        for connection in self._open.values():
            connection.close()
        self._open.clear()
