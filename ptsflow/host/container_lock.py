"""Whether bodies of a container still run on this host, in processes or in a runner.

Every worker process holds a shared lock on the container's file while it lives, even if it
is stopped. When it has ended, the fork server releases its lock, which a daemon that its
body forked would hold on to: a daemon is no body. A new runner waits for an exclusive lock.
Then no body of an earlier runner is left on this host.

A runner holds an exclusive lock on a second file, and writes its identity into that
file. A body that holds the GIL blocks lease renewal. This lock shows that the runner is
alive although its lease has expired, and other runners do not claim the container.
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
#: How many bytes of a runner's identity are read at most.
_LONGEST = 4096


def file_of(container: str) -> Path:
    """Return the path of the container's lock file; its folder is this user's alone.

    Args:
        container: what names it on this host: `Store.key_of`.

    Raises:
        StoreUnavailable: the folder belongs to another user, or cannot be made.
    """
    file = _path(container)
    check_folder()
    return file


def check_folder() -> None:
    """Make the folder of the lock files, for this user alone, if it does not exist.

    Raises:
        StoreUnavailable: the folder belongs to another user, can be written by others,
            or cannot be made.
    """
    folder = _folder()
    try:
        with contextlib.suppress(FileExistsError):
            folder.mkdir(mode=0o700)
        found = folder.lstat()
    except OSError as error:
        raise StoreUnavailable(
            f"{folder}: expected a folder that can be made there, found: "
            f"{error.strerror}; set TMPDIR to one that this user can write to"
        ) from None
    if not _is_of_user(found):
        raise StoreUnavailable(
            f"{folder}: expected a folder of this user, found another's; remove it"
        )
    if _is_open_to_others(found):
        raise StoreUnavailable(
            f"{folder}: expected a folder that this user alone can write to, found mode "
            f"{stat.S_IMODE(found.st_mode):04o}; look who did that, then chmod 700 {folder}"
        )


def _folder() -> Path:
    return Path(os.environ.get("TMPDIR") or "/tmp") / f"ptsflow-{os.getuid()}"  # noqa: S108 - its owner is checked.


def _path(container: str) -> Path:
    # If two containers had the same checksums, their runners would only wait for each other.
    key = container.encode()
    return _folder() / f"{crc32(key):08x}{crc32(key[::-1]):08x}.lock"


def _is_of_user(found: os.stat_result) -> bool:
    return stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid()


def _is_open_to_others(found: os.stat_result) -> bool:
    return bool(found.st_mode & (stat.S_IWGRP | stat.S_IWOTH))


def hold(file: Path) -> int:
    """Return a descriptor with a shared lock on the file.

    Forked processes inherit the lock and hold it while they live.
    """
    while True:
        descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(descriptor, fcntl.LOCK_SH)
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(descriptor), file.stat()):
                return descriptor
        # The holder of an exclusive lock has removed the file meanwhile.
        os.close(descriptor)


def release(descriptor: int) -> None:
    """Release a lock that `hold` took, for all processes that inherited the lock."""
    fcntl.flock(descriptor, fcntl.LOCK_UN)
    os.close(descriptor)


def wait_alone(
    file: Path,
    notice: Callable[[str], None],
    is_over: Callable[[], bool] = lambda: False,
) -> None:
    """Return when no process of an earlier runner holds the file.

    Args:
        file: the container's lock file.
        notice: receives one line if there are processes to wait for.
        is_over: returns True if the wait is to be given up.
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
                # A killed runner left the file. Worker processes of this run make a new
                # one.
                _unlink(file, descriptor)
                return
    finally:
        os.close(descriptor)


def _holders(file: Path) -> list[int]:
    """Return the pids of this user's other processes that have the file open."""
    wanted = file.resolve()
    found = set()
    for process in Path("/proc").iterdir():
        if not process.name.isdecimal():
            continue
        # The process may be another user's, or have just ended.
        with contextlib.suppress(OSError):
            # `readlink` asks the kernel only. `stat` could hang in a dead file system.
            if wanted in [link.readlink() for link in (process / "fd").iterdir()]:
                found.add(int(process.name))
    return sorted(found - {os.getpid()})


def remove(file: Path) -> None:
    """Remove the file, unless processes of a runner that took over hold it.

    A file that cannot be removed stays; nothing holds it.
    """
    with contextlib.suppress(OSError):
        descriptor = os.open(file, os.O_RDWR | os.O_CLOEXEC)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            _unlink(file, descriptor)
        finally:
            os.close(descriptor)


def _unlink(file: Path, descriptor: int) -> None:
    """Remove the locked file, if it can be, but not another that has replaced it."""
    with contextlib.suppress(OSError):
        if os.path.samestat(os.fstat(descriptor), file.stat()):
            file.unlink()


# -- a runner's own file --------------------------------------------------------------


class Mark:
    """A locked file that shows that threads of this runner may run bodies.

    Args:
        file: the container's lock file; the mark lies beside it.
        who: the runner's identity, for other runners to read.

    Raises:
        StoreUnavailable: the mark cannot be made.
    """

    def __init__(self, file: Path, who: bytes) -> None:
        self._file = _beside(file)
        self._pid = os.getpid()
        self._removing = threading.Lock()
        try:
            # A runner that died or is stopped left this mark. The caller holds the lease,
            # and so may remove the mark.
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
        """Remove the mark, but not the mark of another runner that has replaced it.

        A second call does nothing. A call in a process that a body forked does nothing.
        """
        if os.getpid() != self._pid:
            return
        with self._removing:
            held, self._open = self._open, None
            if held is None:
                return
            _unlink(self._file, held.fileno())
            held.close()


def marked_by(container: str) -> bytes | None:
    """Return the identity in the container's mark, or None if no runner holds a mark."""
    return _held(_beside(_path(container)), fcntl.LOCK_SH)


def has_processes(container: str) -> bool:
    """Return whether worker processes of the container live, busy or idle."""
    return _held(_path(container), fcntl.LOCK_EX) is not None


def _held(file: Path, how: int) -> bytes | None:
    """Return a file's content if a lock on it rules the lock `how` out, else None."""
    try:
        folder = file.parent.lstat()
        if not _is_of_user(folder) or _is_open_to_others(folder):
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
