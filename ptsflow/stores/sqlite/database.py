"""A connection to a file of SQLite: transactions, patience, and no forks."""

from __future__ import annotations

import os
import random
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar, Never, ParamSpec, TypeVar
from weakref import WeakSet

import apsw
from msgspec import Struct

from ptsflow.errors import PtsflowError, StoreDamaged, StoreError

P = ParamSpec("P")
T = TypeVar("T")

_BUSY = (apsw.BusyError, apsw.LockedError)
#: What the outside did. Every other error of apsw would be our own mistake.
_OUTSIDE = (
    *_BUSY,
    apsw.CantOpenError,
    apsw.CorruptError,
    apsw.FullError,
    apsw.IOError,
    apsw.NotADBError,
    apsw.PermissionsError,
    apsw.ProtocolError,
    apsw.ReadOnlyError,
)


class Kind(Struct, frozen=True):
    """How one kind of file is made and opened, and what its errors mean."""

    #: Makes sure that there is a file that is worth opening.
    prepare: Callable[[Path], None]
    #: Opens it within some seconds, or raises what SQLite says of it.
    connect: Callable[[Path, float], apsw.Connection]
    #: Says what an error of SQLite, with the system's number, means to a user.
    refusal: Callable[[Path, apsw.Error, int], StoreError]
    #: What to do about a file that is damaged.
    cure: str


class Database:
    """One connection to the file, for one thread at a time.

    Args:
        path: Absolute; the file is made where there is none.
        kind: What is in it.
        patience: For how many seconds to wait while other processes write.
    """

    #: Those open in this process, or in the one that it is a fork of.
    _instances: ClassVar[WeakSet[Database]] = WeakSet()

    def __init__(self, path: Path, kind: Kind, patience: float) -> None:
        self.path = path
        self._kind = kind
        self.patience = patience
        self.pid = os.getpid()
        self._errno = 0
        for other in self._instances:
            # SQLite's notes of this file's locks came over the fork, the locks did not.
            if other.path == path and other.pid:
                other.check_use()
        kind.prepare(path)
        # The owner of a store and the run it was given to may call it at once.
        self._turn = threading.RLock()
        self.connection = self.read(kind.connect, path, patience)
        self._layout = self.connection.pragma("user_version")
        self._inode = path.stat().st_ino
        self.execute = self.connection.cursor().execute
        self.changes = self.connection.changes
        self._instances.add(self)

    def another(self) -> Database:
        """Return another connection to the same file."""
        self.check_use()
        return Database(self.path, self._kind, self.patience)

    def close(self) -> None:
        """Close the file; a second call does nothing."""
        if self.pid == os.getpid():
            self.connection.close()
            self.pid = 0

    def check_use(self) -> None:
        """Raise if it was closed, or came into this process by a fork."""
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
        """Raise if the file was removed or replaced: what is written would be lost."""
        if not self.is_in_place():
            raise StoreDamaged(
                f"{self.path}: expected the file that was opened, found it removed or "
                "replaced; stop what did that, and run again"
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
        """Whether the file that was opened is still the one of that name."""
        try:
            return self.path.stat().st_ino == self._inode
        except OSError:
            return False

    def raise_damaged(self, what: str) -> Never:
        """Raise for what was read and is not what was written."""
        raise StoreDamaged(
            f"{self.path}: {what} does not fit its check value; {self._kind.cure}"
        )

    def read(self, action: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Do it, again and again while others hold the file and patience lasts.

        SQLite's own waiting starves some of many writers; random pauses do not.
        """
        self.check_use()
        end = 0.0
        while True:
            try:
                with self._turn:
                    return action(*args, **kwargs)
            except _OUTSIDE as error:
                now = time.monotonic()
                end = end or now + self.patience
                if not isinstance(error, _BUSY) or now >= end:
                    raise self._kind.refusal(self.path, error, self._errno) from error
            except UnicodeDecodeError as error:
                raise StoreDamaged(
                    f"{self.path}: expected text, found a row that cannot be decoded; "
                    f"{self._kind.cure}"
                ) from error
            time.sleep(random.uniform(0.001, 0.02))  # noqa: S311 - no secret.

    def write(self, action: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Do it in a transaction of its own, durable when this returns."""
        return self.read(self._transact, action, args, kwargs)

    def _transact(
        self,
        action: Callable[..., T],
        args: tuple[object, ...],
        kwargs: dict[str, object],
    ) -> T:
        execute = self.execute
        execute("BEGIN IMMEDIATE")
        try:
            self._check_layout()
            answer = action(*args, **kwargs)
            execute("COMMIT")
        except BaseException:
            self._errno = self.connection.system_errno
            if self.connection.in_transaction:
                execute("ROLLBACK")
            raise
        return answer
