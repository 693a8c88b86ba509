"""Whether processes of a container's bodies still live on this host.

Each child holds a shared lock on the container's file as long as it lives; the kernel
takes the lock away when it ends, and not before, not even while it is stopped. A new
runner waits until it can have the file for itself alone: then no body of an earlier
runner is left here.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat
import time
from collections.abc import Callable
from pathlib import Path
from zlib import crc32

from ptsflow.errors import StoreUnavailable

_PAUSE = 0.05


def file_of(store: str, uid: str) -> Path:
    """Return the container's file, in a folder that only this user can use.

    Raises:
        StoreUnavailable: the folder is another user's, or cannot be made.
    """
    folder = Path(os.environ.get("TMPDIR") or "/tmp") / f"ptsflow-{os.getuid()}"  # noqa: S108 - checked below
    try:
        with contextlib.suppress(FileExistsError):
            folder.mkdir(mode=0o700)
        found = folder.lstat()
    except OSError as error:
        raise StoreUnavailable(
            f"{folder}: expected a folder that can be made there, found: "
            f"{error.strerror}; set TMPDIR to one that this user can write to"
        ) from None
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
        raise StoreUnavailable(
            f"{folder}: expected a folder of this user, found another's; remove it"
        )
    # Two stores of one value here would only wait for each other's bodies.
    return folder / f"{crc32(store.encode()):08x}-{uid}.lock"


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


def wait_alone(file: Path, notice: Callable[[str], None]) -> None:
    """Return when no process of an earlier runner holds the file.

    Args:
        file: the container's.
        notice: told, in one line, if there is something to wait for.
    """
    if not file.exists():
        return
    descriptor = os.open(file, os.O_RDWR | os.O_CLOEXEC)
    told = False
    try:
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if not told:
                    notice("waiting: bodies of the runner that died are still ending")
                    told = True
                time.sleep(_PAUSE)
            else:
                # Left by a runner that was killed; this run's children make their own.
                file.unlink(missing_ok=True)
                return
    finally:
        os.close(descriptor)


def remove(file: Path) -> None:
    """Forget the file, unless processes hold it: those of a runner that took over."""
    with contextlib.suppress(FileNotFoundError, BlockingIOError):
        descriptor = os.open(file, os.O_RDWR | os.O_CLOEXEC)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            file.unlink()
        finally:
            os.close(descriptor)
