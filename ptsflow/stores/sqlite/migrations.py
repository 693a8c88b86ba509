"""Carrying a SQLite file of an earlier layout over to this version's.

All steps are one transaction: if the process is killed, the file keeps its old layout.
Before the first change the file is copied to `FILE.layoutN`, in case its users go back to
the version before.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from pathlib import Path

import apsw
from msgspec import Struct
from msgspec.json import decode as from_json

from ptsflow.core import model
from ptsflow.core.model import Owner
from ptsflow.errors import StoreFull
from ptsflow.host import atomic_files
from ptsflow.host.clock import Clock
from ptsflow.host.paths import size_of
from ptsflow.stores.layouts import Holder, refuse_held
from ptsflow.stores.sqlite import layout3
from ptsflow.stores.sqlite.layout import check_tables
from ptsflow.stores.sqlite.refusals import unmade

#: For the copy, for the log of the transaction, and for the file as it grows.
_ROOM = 3


class SqliteStep(Struct, frozen=True):
    """Carries tables and rows from one layout to the next."""

    #: The number of the layout before the step.
    before: int
    #: The columns of a container in the layout before, the check value last. With them
    #: `ptsflow cancel` writes to a file that is not upgraded yet.
    container: tuple[str, ...]
    #: Changes tables, rows and check values within the transaction.
    act: Callable[[apsw.Connection], object]


#: One for each layout from `OLDEST_SCHEMA` to the one before `SCHEMA`, in order.
STEPS: tuple[SqliteStep, ...] = (SqliteStep(2, layout3.CONTAINER, layout3.bind),)


def steps_from(layout: int) -> tuple[SqliteStep, ...]:
    """Return the steps from a layout to this version's."""
    return tuple(step for step in STEPS if step.before >= layout)


def print_notice(text: str) -> None:
    """Print a line on standard error, for programs that do not listen to notices."""
    # The stream may be closed, full, or None: the process was started without it.
    with contextlib.suppress(AttributeError, OSError, ValueError):
        sys.stderr.write(f"ptsflow: {text}\n")


def upgrade(
    path: Path,
    connection: apsw.Connection,
    *,
    clock: Clock,
    notice: Callable[[str], None],
) -> None:
    """Carry an open file of an earlier layout over to this version's.

    Args:
        path: the file.
        connection: a connection to the file, outside of a transaction.
        clock: tells the time for leases.
        notice: receives one line about the upgrade.

    Raises:
        ContainerBusy: a runner may be at work in the file.
        StoreFull: the disk has no room for three times the file.
        StoreDamaged: the steps do not lead to the tables of this layout.
    """
    _check_room(path)
    connection.execute("BEGIN IMMEDIATE")
    try:
        layout = connection.pragma("user_version")
        if layout >= model.SCHEMA:  # Another process was faster.
            connection.execute("ROLLBACK")
            return
        refuse_held(str(path), _holders(connection), clock())
        copy = _copy(path, layout)
        carry_over(connection)
        check_tables(path, connection)
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
    notice(
        f"{path}: upgraded from layout {layout} to layout {model.SCHEMA}; the file as it "
        f"was before is {copy.name}"
    )


def carry_over(connection: apsw.Connection) -> None:
    """Take all steps from a database's layout to this version's."""
    for step in steps_from(connection.pragma("user_version")):
        step.act(connection)
    connection.execute(f"PRAGMA user_version = {model.SCHEMA}")


def _check_room(path: Path) -> None:
    files = (path, path.with_name(f"{path.name}-wal"))
    size = sum(size_of(file) or 0 for file in files)
    free = shutil.disk_usage(path.parent).free
    if free < _ROOM * size:
        raise StoreFull(
            f"{path}: expected room for {_ROOM} times its {_mebibytes(size)} for the upgrade "
            f"to layout {model.SCHEMA}, found {_mebibytes(free)}; make room and try again"
        )


def _mebibytes(size: int) -> str:
    return f"{size / 2**20:.1f} MiB"


def _holders(connection: apsw.Connection) -> Iterator[Holder]:
    rows: Iterable[tuple[str, str, int | None]] = connection.execute(
        "SELECT name, owner, leased_till FROM containers WHERE owner IS NOT NULL"
    )
    for name, owner, till in rows:
        yield Holder(name, from_json(owner, type=Owner), till or 0)


def _copy(path: Path, layout: int) -> Path:
    """Copy all commits to `FILE.layoutN`; return that path.

    The copy of an upgrade that was killed is replaced: it lacks later commits.
    """
    copy = path.with_name(f"{path.name}.layout{layout}")
    part = copy.with_name(f"{copy.name}.part")
    try:
        part.unlink(missing_ok=True)
        os.close(os.open(part, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        try:
            back_up(path, part)
            atomic_files.adopt(part, path)
            atomic_files.sync(part)
            part.replace(copy)
        except BaseException:
            part.unlink(missing_ok=True)
            raise
        atomic_files.sync(path.parent)
    except OSError as error:
        raise unmade(part, error) from error
    return copy


def back_up(path: Path, target: Path) -> None:
    """Copy all commits of a database to an empty file."""
    flags = apsw.SQLITE_OPEN_READWRITE
    with (
        closing(apsw.Connection(str(path), flags=flags)) as source,
        closing(apsw.Connection(str(target), flags=flags)) as connection,
    ):
        copy_into(connection, source)


def copy_into(target: apsw.Connection, source: apsw.Connection) -> None:
    """Replace the content of one database by that of another."""
    with target.backup("main", source, "main") as backup:
        while not backup.done:
            backup.step(-1)
