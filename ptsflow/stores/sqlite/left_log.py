"""The write-ahead log that a process left beside a SQLite file when it died."""

from __future__ import annotations

from pathlib import Path

import apsw

from ptsflow.errors import StoreDamaged
from ptsflow.host.file_locks import is_locked
from ptsflow.host.paths import size_of
from ptsflow.stores.sqlite.layout import cure
from ptsflow.stores.sqlite.log_length import HEADER, PAGE_HEADER, pages_of

#: Where the header of a page in the log has the length of the file, in pages.
_LENGTH_AT = 4


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
    if found == "ok":
        found = compare_lengths(path, connection)
    if found != "ok":
        raise StoreDamaged(
            f"{path}: expected a ptsflow store and the log {path.name}-wal that belongs to it, found "
            f"that they do not fit ({' '.join(found.split())}); {cure(path)}"
        )


def compare_lengths(path: Path, connection: apsw.Connection) -> str:
    """Return "ok" if the file is as long as it was after the last commit in the log.

    Of another file's log SQLite may play in pages behind the end of this one alone.
    """
    pages = pages_of(connection)
    if pages < 1:
        return "ok"
    length, size = connection.pragma("page_count"), connection.pragma("page_size")
    with path.with_name(path.name + "-wal").open("rb") as log:
        log.seek(HEADER + (pages - 1) * (PAGE_HEADER + size) + _LENGTH_AT)
        committed = int.from_bytes(log.read(4), "big")
    # Who has opened the file meanwhile, and writes, has checked it too.
    if committed == length or pages != pages_of(connection):
        return "ok"
    return f"the log is of a file of {committed} pages, this one has {length}"
