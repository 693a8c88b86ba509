"""A connection to a SQLite file: transactions, waiting for others, refusing forks."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import ClassVar, Never, ParamSpec, TypeVar
from weakref import WeakSet

import apsw
from msgspec import Struct

from ptsflow.errors import (
    PtsflowError,
    StoreDamaged,
    StoreError,
    StoreFull,
    StoreMoved,
)
from ptsflow.host.clock import since_boot
from ptsflow.host.opened_files import OpenedFiles
from ptsflow.stores.sqlite.log_length import LogLength

P = ParamSpec("P")
T = TypeVar("T")

_BUSY = (apsw.BusyError, apsw.LockedError)
#: Errors that no statement of ptsflow makes in a file as ptsflow writes it.
UNFIT = (
    apsw.ConstraintError,
    apsw.FormatError,
    apsw.InternalError,
    apsw.MismatchError,
    apsw.TooBigError,
)
#: Errors with causes outside of ptsflow. Any other error of apsw is a bug in ptsflow.
_OUTSIDE = (
    *_BUSY,
    *UNFIT,
    apsw.CantOpenError,
    apsw.CorruptError,
    apsw.FullError,
    apsw.IOError,
    apsw.NoMemError,
    apsw.NotADBError,
    apsw.PermissionsError,
    apsw.ProtocolError,
    apsw.ReadOnlyError,
)


#: How long `close` waits for a thread that is in the file, in seconds.
_LAST_CALL = 2.0


class Kind(Struct, frozen=True):
    """How one kind of file is made and opened, and what its errors mean."""

    #: Makes the file if it does not exist, and refuses a file that cannot be a database.
    prepare: Callable[[Path], None]
    #: Opens the file within some seconds, or raises an error of apsw.
    connect: Callable[[Path, float], apsw.Connection]
    #: Translates an error of SQLite, with the system's errno, for the user.
    refusal: Callable[[Path, apsw.Error, int], StoreError]
    #: The advice to the user of a damaged file.
    cure: Callable[[Path], str]
    #: The length of the log, in pages, from which it is written back into the file.
    longest_log: int


class Database:
    """One connection to the file, for one thread at a time.

    Args:
        path: The absolute path; the file is made if it does not exist.
        kind: The kind of file.
        patience: How many seconds to wait while other processes write.
    """

    #: The open connections of this process, or of the process that it is a fork of.
    _instances: ClassVar[WeakSet[Database]] = WeakSet()

    def __init__(self, path: Path, kind: Kind, patience: float) -> None:
        self.path = path
        self._kind = kind
        self.patience = patience
        self.pid = os.getpid()
        self._errno = 0
        for other in self._instances:
            # A fork inherits SQLite's record of its locks on the file, but not the locks.
            if other.path == path and other.pid:
                other.check_use()
        kind.prepare(path)
        # The user of a `Client` and a run that was given it may call the store at once.
        self._turn = threading.RLock()
        self.connection = self.read(kind.connect, path, patience)
        self._layout = self.read(self.connection.pragma, "user_version")
        try:
            # SQLite keeps the log while a connection is open.
            self._files = OpenedFiles(str(path), f"{path}-wal")
            self._log = LogLength(path, self.connection)
        except OSError as error:
            self.connection.close()
            if isinstance(error, FileNotFoundError):
                raise self._moved() from None
            refused = apsw.CantOpenError(error.strerror)
            raise kind.refusal(path, refused, error.errno or 0) from error
        self._data_version = self.connection.data_version
        #: The version of the data after the last transaction; -1 before the first one.
        self._known_version = -1
        self.execute = self.connection.cursor().execute
        self.execute_many = self.connection.cursor().executemany
        self.changes = self.connection.changes
        self.total_changes = self.connection.total_changes
        self._instances.add(self)

    def another(self) -> Database:
        """Return another connection to the same file."""
        self.check_use()
        self.check_place()
        other = Database(self.path, self._kind, self.patience)
        if other._files.identities != self._files.identities:
            other.close()
            self.check_place()
        return other

    def close(self) -> None:
        """Close the file; a second call does nothing.

        If another thread is held up in the file, the end of the process closes it.
        """
        if self.pid != os.getpid():
            return
        is_free = self._turn.acquire(timeout=_LAST_CALL)
        self.pid = 0
        if not is_free:
            return
        try:
            if not self._files.are_in_place() or self._log.is_cut():
                # SQLite would write a log into a file to which the log does not belong.
                self.connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
            self.connection.close()
            self._files.close()
            self._log.close()
        finally:
            self._turn.release()

    def check_use(self) -> None:
        """Raise if the connection was closed, or if this process is a fork of its own."""
        pid = os.getpid()
        if self.pid == pid:
            return
        if not self.pid:
            raise PtsflowError(f"{self.path}: the store was closed; open it again")
        raise PtsflowError(
            f"{self.path}: the store was opened by process {self.pid}, of which this "
            f"process {pid} is a fork; start processes by spawn"
        )

    def check_place(self) -> None:
        """Raise if the file or its log was removed or replaced: writes would be lost."""
        if not self.is_in_place():
            raise self._moved()

    def _moved(self) -> StoreMoved:
        return StoreMoved(
            f"{self.path}: expected the file and the -wal beside it that were opened, "
            "found one moved, removed or replaced; stop what did that, and run again"
        )

    def _check_layout(self) -> None:
        """Raise if another process upgraded the file after this one opened it."""
        found = self.execute("PRAGMA user_version").get
        if found != self._layout:
            raise StoreDamaged(
                f"{self.path}: expected layout {self._layout}, as when the file was opened, "
                f"found layout {found}; run again with the version that upgraded it"
            )

    def is_in_place(self) -> bool:
        """Return whether the path still leads to the file and log that were opened."""
        # A connection that was closed as the last one has removed its log itself.
        return not self.pid or self._files.are_in_place()

    def raise_damaged(self, what: str) -> Never:
        """Raise because the check value of `what` does not fit."""
        raise StoreDamaged(
            f"{self.path}: {what} does not fit its check value; {self._cure}"
        )

    def raise_misfit(self, expected: str, found: object) -> Never:
        """Raise because what belongs together does not fit, or cannot be read."""
        raise StoreDamaged(
            f"{self.path}: expected {expected}, found {found}; {self._cure}"
        )

    @property
    def _cure(self) -> str:
        return self._kind.cure(self.path)

    def read(self, action: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call `action`; repeat it while other processes hold the file, up to `patience`.

        With many writers SQLite's own waiting starves some; random pauses do not.
        """
        self.check_use()
        end = 0.0
        while True:
            try:
                with self._turn:
                    if not self.pid:  # Another thread has closed the file meanwhile.
                        self.check_use()
                    return action(*args, **kwargs)
            except _OUTSIDE as error:
                now = since_boot()
                end = end or now + self.patience
                if not isinstance(error, _BUSY) or now >= end:
                    raise self._kind.refusal(self.path, error, self._errno) from error
            except UnicodeDecodeError as error:
                raise StoreDamaged(
                    f"{self.path}: expected text, found a row that cannot be decoded; "
                    f"{self._cure}"
                ) from error
            # 1 to 20 ms: those who wait for the same writer do not ask at the same time.
            time.sleep(0.001 + time.perf_counter_ns() % 19_000 / 1e6)

    def has_table(self, name: str) -> bool:
        """Return whether there is a table of that name, in this transaction."""
        query = "SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = ?"
        return self.execute(query, (name,)).get is not None

    def snapshot(self, action: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call `action`, all of whose statements read the same commit.

        A file that was moved or replaced would show the same for ever: that raises.
        """
        self.check_place()
        return self.read(self._look, action, args, kwargs)

    def _look(
        self,
        action: Callable[..., T],
        args: tuple[object, ...],
        kwargs: dict[str, object],
    ) -> T:
        execute = self.execute
        execute("BEGIN")
        try:
            return action(*args, **kwargs)
        finally:
            if self.connection.in_transaction:
                execute("ROLLBACK")

    def write(self, action: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call `action` in a transaction, which is durable when this call returns."""
        try:
            return self.read(self._transact, action, args, kwargs)
        except StoreFull:
            if not self.read(self._restart_log):
                raise
            return self.read(self._transact, action, args, kwargs)

    @contextlib.contextmanager
    def unsynced(self) -> Iterator[None]:
        """Sync no commit of the block.

        The log is played up to its first frame that does not fit. So a power cut leaves a
        store with the first commits, and the next commit that is synced syncs all.
        """
        self.read(self.connection.pragma, "synchronous", "NORMAL")
        try:
            yield
        finally:
            if self.pid == os.getpid():
                self.connection.pragma("synchronous", "FULL")

    def _restart_log(self) -> bool:
        """Have the next commit written over the log, in the room that the log has.

        Return False if the log cannot be written back into the file.
        """
        if not self.is_in_place():
            return False
        try:
            pages, written = self.connection.wal_checkpoint(
                mode=apsw.SQLITE_CHECKPOINT_RESTART
            )
        except apsw.Error:
            return False
        return pages == written

    def _transact(
        self,
        action: Callable[..., T],
        args: tuple[object, ...],
        kwargs: dict[str, object],
    ) -> T:
        execute = self.execute
        if self._log.is_cut():
            raise StoreDamaged(
                f"{self.path}: expected the -wal beside it as it was written, found it "
                f"cut, and with it the last commits; stop what did that; {self._cure}"
            )
        execute("BEGIN IMMEDIATE")
        try:
            if self._data_version() != self._known_version:
                self._check_layout()
            answer = action(*args, **kwargs)
            execute("COMMIT")
        except BaseException:
            self._errno = self.connection.system_errno
            if self.connection.in_transaction:
                execute("ROLLBACK")
            raise
        # Look after the commit: what was written to a file that is gone is not
        # acknowledged, nor written from its log into another file.
        if not self._files.are_in_place_after_a_write():
            raise self._moved()
        self._known_version = self._data_version()
        if self._log.pages >= self._kind.longest_log:
            with contextlib.suppress(apsw.Error):
                self.connection.wal_checkpoint()
        return answer
