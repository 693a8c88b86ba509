"""The write-ahead log that a process left beside a SQLite file when it died."""

from __future__ import annotations

from pathlib import Path

import apsw

from ptsflow.errors import StoreDamaged
from ptsflow.host.file_locks import is_locked
from ptsflow.host.paths import size_of
from ptsflow.stores.sqlite.layout import cure


def look_at_log(path: Path) -> tuple[bool, bool]:
    """Return whether there is a log, and whether no process is left that writes it."""
    is_logged = bool(size_of(path.with_name(path.name + "-wal")))
    # While a process has the file open, it holds a lock on the shared index of the log.
    return is_logged, is_logged and not is_locked(path.with_name(path.name + "-shm"))


def check_whole(path: Path, connection: apsw.Connection) -> None:
    """Check all of a file whose log was left by a process that died.

    The log may be another file's: SQLite plays it into whatever file lies beside it.

    Raises:
        StoreDamaged: the file and its log do not fit.
    """
    found = str(connection.execute("PRAGMA integrity_check(1)").get)
    if found != "ok":
        raise StoreDamaged(
            f"{path}: expected a ptsflow store and the log {path.name}-wal that belongs to it, found "
            f"that they do not fit ({' '.join(found.split())}); {cure(path)}"
        )
