"""What the errors of SQLite and of the system mean to whoever uses a file."""

from __future__ import annotations

import errno
from pathlib import Path

import apsw

from ptsflow.errors import StoreDamaged, StoreError, StoreFull, StoreUnavailable
from ptsflow.stores.sqlite.database import UNFIT

_NO_FILES = frozenset({errno.EMFILE, errno.ENFILE})
_NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


def refusal(
    path: Path,
    error: apsw.Error,
    system: int = 0,
    *,
    what: str,
    cure: str,
) -> StoreError:
    """Return what an error of SQLite means to whoever uses the file."""
    if isinstance(error, apsw.FullError) or (
        isinstance(error, apsw.IOError) and system in _NO_ROOM
    ):
        return StoreFull(
            f"{path}: the disk is full and nothing of the last write was kept; "
            "make room and run it again"
        )
    if isinstance(error, (apsw.BusyError, apsw.LockedError)):
        return StoreUnavailable(
            f"{path}: another process holds it; try again, or find it with `fuser`",
            may_pass=True,
        )
    if isinstance(error, apsw.NotADBError):
        return StoreDamaged(f"{path}: expected {what}, found no database; {cure}")
    if isinstance(error, apsw.CorruptError):
        return StoreDamaged(
            f"{path}: expected {what}, found a damaged one ({error}); {cure}"
        )
    if isinstance(error, UNFIT):
        return StoreDamaged(
            f"{path}: expected {what}, found rows that cannot be so ({error}); {cure}"
        )
    cause = (
        "let more be open (ulimit -n)"
        if system in _NO_FILES
        else "check the disk and permissions"
    )
    return StoreUnavailable(f"{path}: cannot be read and written ({error}); {cause}")


def unmade(path: Path, error: OSError) -> StoreError:
    """Return what an error of the system means where a file was to be made."""
    if error.errno in _NO_ROOM:
        return StoreFull(
            f"{path}: the disk is full and the file cannot be made; make room"
        )
    return StoreUnavailable(
        f"{path}: cannot be made or opened ({error.strerror}); "
        "check the folder and its permissions, or choose another file"
    )
