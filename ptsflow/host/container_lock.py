"""Whether bodies of a container still run on this host, in processes or in a runner.

Every worker process holds a shared lock on the container's file while it lives. The
kernel releases the lock when the process ends, and not before, even if the process is
stopped. A new runner waits for an exclusive lock: then no body of an earlier runner is
left on this host.

A runner holds a second file, alone, and writes into it who it is. A body that holds the
GIL blocks lease renewal. This lock shows that the runner is alive although its lease has
expired, and others leave the container alone.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO
from zlib import crc32

from ptsflow.errors import StoreUnavailable

_PAUSE = 0.05
#: How much is read of what a runner wrote, in bytes.
_LONGEST = 4096


def file_of(store: str, uid: str) -> Path:
    """Return the container's file, in a folder that only this user can use.

    Raises:
        StoreUnavailable: the folder is another user's, or cannot be made.
    """
    file = _path(store, uid)
    check_folder()
    return file


def check_folder() -> None:
    """See that there is a folder that only this user can use, or make it.

    Raises:
        StoreUnavailable: it is another user's, or cannot be made.
    """
    folder = _folder()
    try:
        with contextlib.suppress(FileExistsError):
            folder.mkdir(mode=0o700)
        is_ours = _is_ours(folder)
    except OSError as error:
        raise StoreUnavailable(
            f"{folder}: expected a folder that can be made there, found: "
            f"{error.strerror}; set TMPDIR to one that this user can write to"
        ) from None
    if not is_ours:
        raise StoreUnavailable(
            f"{folder}: expected a folder of this user, found another's; remove it"
        )


def _folder() -> Path:
    return Path(os.environ.get("TMPDIR") or "/tmp") / f"ptsflow-{os.getuid()}"  # noqa: S108 - whose it is is checked


def _path(store: str, uid: str) -> Path:
    # Two stores of one checksum would only wait for each other's bodies.
    return _folder() / f"{crc32(store.encode()):08x}-{uid}.lock"


def _is_ours(folder: Path) -> bool:
    found = folder.lstat()
    return stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid()


def hold(file: Path) -> int:
    """Return a descriptor that holds the file, shared with others who hold it so.

    Processes that are forked hold it too, as long as they live.
    """
    while True:
        descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(descriptor, fcntl.LOCK_SH)
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(descriptor), file.stat()):
                return descriptor
        os.close(descriptor)  # removed meanwhile, by whom it belonged to alone


def wait_alone(
    file: Path,
    notice: Callable[[str], None],
    is_over: Callable[[], bool] = lambda: False,
) -> None:
    """Return when no process of an earlier runner holds the file.

    Args:
        file: the container's.
        notice: told, in one line, if there is something to wait for.
        is_over: says that there is nothing to wait for any more.
    """
    try:
        descriptor = os.open(file, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    told = False
    try:
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if not told:
                    left = ", ".join(f"pid {pid}" for pid in _holders(file))
                    notice(
                        "waiting: processes of an earlier run have not ended"
                        f"{left and ': '}{left}"
                    )
                    told = True
                if is_over():
                    return
                time.sleep(_PAUSE)
            else:
                # Left by a runner that was killed; worker processes of this run make a
                # new file.
                _unlink(file, descriptor)
                return
    finally:
        os.close(descriptor)


def _holders(file: Path) -> list[int]:
    """Return the processes of this user that have the file open, but this one."""
    wanted = file.resolve()
    found = set()
    for process in Path("/proc").iterdir():
        if not process.name.isdecimal():
            continue
        with contextlib.suppress(OSError):  # it is another user's, or just ended
            # `readlink` asks the kernel alone, and no file system that may not answer.
            if wanted in [link.readlink() for link in (process / "fd").iterdir()]:
                found.add(int(process.name))
    return sorted(found - {os.getpid()})


def remove(file: Path) -> None:
    """Forget the file, unless processes hold it: those of a runner that took over."""
    with contextlib.suppress(FileNotFoundError, BlockingIOError):
        descriptor = os.open(file, os.O_RDWR | os.O_CLOEXEC)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            _unlink(file, descriptor)
        finally:
            os.close(descriptor)


def _unlink(file: Path, descriptor: int) -> None:
    """Remove a file that is held, but none that has taken its place."""
    with contextlib.suppress(FileNotFoundError):
        if os.path.samestat(os.fstat(descriptor), file.stat()):
            file.unlink()


# -- a runner's own file --------------------------------------------------------------


class Mark:
    """Says that a runner's own threads may run bodies, until it is taken away.

    Args:
        file: the container's, of which the mark stands beside it.
        who: what others are to read.

    Raises:
        StoreUnavailable: it cannot be made.
    """

    def __init__(self, file: Path, who: bytes) -> None:
        self._file = _beside(file)
        self._pid = os.getpid()
        self._removing = threading.Lock()
        try:
            # Left by a runner that died or is stopped: who claimed the container may.
            self._file.unlink(missing_ok=True)
            self._open: BinaryIO | None = self._file.open("xb", buffering=0)
            try:
                fcntl.flock(self._open, fcntl.LOCK_EX)
                self._open.write(who)
            except OSError:
                self.remove()
                raise
        except OSError as error:
            raise StoreUnavailable(
                f"{self._file}: expected a file that can be written, found: "
                f"{error.strerror}; set TMPDIR to a folder that this user can write to"
            ) from None

    def remove(self) -> None:
        """Take it away, unless another runner's stands there by now.

        A second call does nothing, nor does one in a process that a body forked.
        """
        if os.getpid() != self._pid:
            return
        with self._removing:
            held, self._open = self._open, None
            if held is None:
                return
            _unlink(self._file, held.fileno())
            held.close()


def marked_by(store: str, uid: str) -> bytes | None:
    """Return what the runner wrote that has a mark at the container; None without one.

    Args:
        store: the store's identity.
        uid: the container's.
    """
    return _held(_beside(_path(store, uid)), fcntl.LOCK_SH)


def has_processes(store: str, uid: str) -> bool:
    """Whether processes for bodies of the container live, in a body or idle.

    Args:
        store: the store's identity.
        uid: the container's.
    """
    return _held(_path(store, uid), fcntl.LOCK_EX) is not None


def _held(file: Path, how: int) -> bytes | None:
    """Return what a file has in it if it is held so that it could not be held `how`."""
    try:
        if not _is_ours(file.parent):
            return None
        descriptor = os.open(file, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, how | fcntl.LOCK_NB)
    except BlockingIOError:
        return os.read(descriptor, _LONGEST)
    else:
        return None
    finally:
        os.close(descriptor)


def _beside(file: Path) -> Path:
    return file.with_suffix(".run")
