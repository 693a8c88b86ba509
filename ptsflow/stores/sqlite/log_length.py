"""Whether another program cut the log of a SQLite file, and with it the last commits."""

from __future__ import annotations

import os
from pathlib import Path

import apsw

#: The lengths of the log's header and of that of each page in it.
HEADER = 32
PAGE_HEADER = 24


def pages_of(connection: apsw.Connection) -> int:
    """Return how many pages the log has; -1 if there is none.

    To be asked outside of a transaction.
    """
    pages, _ = connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_NOOP)
    return pages


class LogLength:
    """How long the log must be after the last commit. No commit makes a checkpoint any more.

    SQLite keeps account of the log in memory that all processes share. It would go on to
    write behind the end of a log that was cut, and later write zeros into the file.

    Args:
        path: the path of the file; the log lies beside it.
        connection: a connection to the file.

    Raises:
        OSError: there is no log.
    """

    def __init__(self, path: Path, connection: apsw.Connection) -> None:
        self._connection = connection
        self._page = PAGE_HEADER + int(connection.pragma("page_size"))
        # SQLite has no locks on the log, which closing this would drop.
        self._log = os.open(f"{path}-wal", os.O_RDONLY | os.O_CLOEXEC)
        #: The length of the log in pages, as of the last commit of this connection.
        self.pages = 0
        self._length = self._found()
        connection.set_wal_hook(self._note)

    def is_cut(self) -> bool:
        """Return whether the log is shorter than what SQLite wrote into it.

        To be asked outside of a transaction.
        """
        if self._found() >= self._length:
            return False
        # Another process may have written all of the log back and begun it anew.
        return self._lacks_pages() and self._lacks_pages()

    def close(self) -> None:
        """Close the log."""
        os.close(self._log)

    def _note(self, _connection: apsw.Connection, _database: str, pages: int) -> int:
        self.pages = pages
        self._length = HEADER + pages * self._page
        return apsw.SQLITE_OK

    def _lacks_pages(self) -> bool:
        pages = pages_of(self._connection)
        return pages > 0 and self._found() < HEADER + pages * self._page

    def _found(self) -> int:
        # `stat` would make the next durable write dearer, see `OpenedFiles`.
        return os.lseek(self._log, 0, os.SEEK_END)
