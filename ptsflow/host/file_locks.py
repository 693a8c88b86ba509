"""Whether a process has locked a file, without opening the file.

A process that closes any descriptor of a file loses its locks on that file. So a file
that another part of this process may have locked must not be opened to look.
"""

from __future__ import annotations

from pathlib import Path

_LOCKS = Path("/proc/locks")


def is_locked(path: Path) -> bool:
    """Return whether some process holds a POSIX lock on `path`, as far as can be seen.

    Locks of processes in other pid namespaces are not seen, nor any lock where there is
    no `/proc/locks`.
    """
    try:
        inode = f":{path.stat().st_ino}"
        lines = _LOCKS.read_text("ascii", "replace").splitlines()
    except OSError:
        return False
    # Such as "1: POSIX  ADVISORY  READ  1234 fd:01:5678 128 128"; see proc(5).
    fields = [line.split() for line in lines]
    return any(
        "POSIX" in each and any(field.endswith(inode) for field in each)
        for each in fields
    )
