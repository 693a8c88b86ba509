"""Whether paths still lead to the files that were opened."""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path

#: Where Linux has a link for each file that this process opened. A link that is asked for
#: by a handle of this folder is found in two thirds of the time.
_LINKS = "/proc/self/fd"
#: CLOCK_REALTIME_COARSE of clock_gettime(2), from which Linux takes the times of files.
_FILES_CLOCK = 5
#: For how long that clock stands still between two ticks at most, in nanoseconds. A name
#: in a folder may change twice meanwhile, and the folder's time once.
_TICK = 10_000_000
#: A file system that counts smaller parts of a second than this has ticks that short.
_COARSE = 1_000


class OpenedFiles:
    """The files in one folder that absolute paths lead to now, to be compared later.

    Raises:
        OSError: A path leads to no file.
    """

    def __init__(self, *paths: str) -> None:
        self._paths = list(paths)
        self._folder = str(Path(paths[0]).parent)
        #: Device, inode and time of change of the folder when each file was in place, and
        #: no name may have changed since; None where that cannot be known. Unlike the time
        #: of the last write, no program can set that of the change back.
        self._quiet: tuple[int, int, int] | None = None
        #: Device and inode of each file.
        self.identities = self._found()
        #: The names of links in a folder of Linux that tell the path of each file; none
        #: where there are no such links.
        self._links: list[str] = []
        self._handles: list[int] = []
        with contextlib.suppress(AttributeError, OSError):
            for path in paths:
                # To close a handle of this kind takes no lock on the file from SQLite.
                self._handles.append(os.open(path, os.O_PATH | os.O_CLOEXEC))
            if [_identity(os.fstat(each)) for each in self._handles] == self.identities:
                links = [str(each) for each in self._handles]
                self._handles.append(os.open(_LINKS, os.O_DIRECTORY | os.O_CLOEXEC))
                self._links = links

    def are_in_place(self) -> bool:
        """Return whether each path still leads to its file."""
        try:
            return self._found() == self.identities
        except OSError:
            return False

    def are_in_place_after_a_write(self) -> bool:
        """Return the same, without making the next durable write dearer.

        Whoever asks Linux 6.13 or later for the times of a file, as each `stat` does,
        has the next write note a time of its own, which took a third of a small durable
        write on ext4. So their folder is asked whether a name in it changed; if one may
        have, the files are asked for their paths, and only if those differ for all else.
        That misses a file system that was mounted over a file.
        """
        if self._links:
            try:
                found = os.stat(self._folder)  # noqa: PTH116 - twice as fast
                folder = found.st_dev, found.st_ino, found.st_ctime_ns
                if folder == self._quiet:
                    return True
                if self._have_their_paths():
                    self._quiet = folder if _is_settled(found.st_ctime_ns) else None
                    return True
            except OSError:
                pass  # The paths tell more.
        return self.are_in_place()

    def _have_their_paths(self) -> bool:
        folder = self._handles[-1]
        return [os.readlink(each, dir_fd=folder) for each in self._links] == self._paths

    def close(self) -> None:
        """Let the system forget the files; the paths can still be looked at."""
        self._links = []
        while self._handles:
            os.close(self._handles.pop())

    def _found(self) -> list[tuple[int, int]]:
        return [_identity(found) for found in map(os.stat, self._paths)]


def _identity(found: os.stat_result) -> tuple[int, int]:
    return found.st_dev, found.st_ino


def _is_settled(changed_at: int) -> bool:
    """Whether any later change of a name gives the folder another time."""
    now = time.clock_gettime_ns(_FILES_CLOCK)
    return changed_at % _COARSE != 0 and now - changed_at > _TICK
