"""Which process owns a lease, and what this host can know of its life."""

from __future__ import annotations

import os
from pathlib import Path

from ptsflow.core.model import Owner
from ptsflow.host.clock import Clock


def this_process(clock: Clock) -> Owner:
    """Return this process as an owner, with a fresh id."""
    return Owner(
        id=os.urandom(16).hex(),
        host=host(),
        boot=boot(),
        pid=os.getpid(),
        started=_started(os.getpid()) or 0,
        since=clock(),
    )


def is_dead(owner: Owner) -> bool:
    """Return whether the owner is known to have ended: a process of this host and boot."""
    if is_elsewhere(owner):
        return False
    return _started(owner.pid) != owner.started and not _is_hidden(owner.pid)


def is_elsewhere(owner: Owner) -> bool:
    """Return whether this host cannot see the owner's process."""
    return owner.host != host() or owner.boot != boot() or not owner.boot


def is_stopped(pid: int) -> bool:
    """Return whether a process is stopped (SIGSTOP), and waits for SIGCONT."""
    fields = _stat(pid)
    return bool(fields) and fields[0] in "Tt"


def host() -> str:
    """Return the name of this host."""
    return os.uname().nodename


def boot() -> str:
    """Return boot and pid namespace, within which a pid is unique; "" if unknown."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot}/{Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        return ""


def _is_hidden(pid: int) -> bool:
    """Return whether a process of another user lives, which /proc does not show."""
    if Path(f"/proc/{pid}").exists():
        return False
    try:
        os.kill(pid, 0)
    except OSError as error:
        return isinstance(error, PermissionError)
    return False


def _started(pid: int) -> int | None:
    """Return when a process started, in clock ticks since boot; None if it has ended."""
    fields = _stat(pid)
    return None if not fields or fields[0] in "ZX" else int(fields[19])


def _stat(pid: int) -> list[str]:
    """Return the fields of /proc/PID/stat from the state on; [] if there is no process."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return []
    # The command's name, in parentheses, may contain parentheses and blanks; the fields
    # after it may not.
    return text.rpartition(")")[2].split()
