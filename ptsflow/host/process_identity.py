"""Which process an owner is, and whether it lives: what this host can know of it."""

from __future__ import annotations

import os
from pathlib import Path

from ptsflow.core.model import Owner
from ptsflow.host.clock import Clock


def this_process(clock: Clock) -> Owner:
    """Return this process as an owner, with a fresh id."""
    return Owner(
        id=os.urandom(16).hex(),
        host=_host(),
        boot=_boot(),
        pid=os.getpid(),
        started=_started(os.getpid()) or 0,
        since=clock(),
    )


def is_dead(owner: Owner) -> bool:
    """Whether the owner is known to be gone: a process of this host and boot, ended."""
    if is_elsewhere(owner):
        return False
    return _started(owner.pid) != owner.started and not _is_hidden(owner.pid)


def is_elsewhere(owner: Owner) -> bool:
    """Whether nothing can be known of the owner from here."""
    return owner.host != _host() or owner.boot != _boot() or not owner.boot


def is_stopped(pid: int) -> bool:
    """Whether a process is there but does nothing until it is continued."""
    fields = _stat(pid)
    return bool(fields) and fields[0] in "Tt"


def _host() -> str:
    return os.uname().nodename


def _boot() -> str:
    """Return what a pid is unique within: boot and pid namespace; "" if unknown."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot}/{Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        return ""


def _is_hidden(pid: int) -> bool:
    """Whether /proc shows nothing of a process that is there: another user's."""
    if Path(f"/proc/{pid}").exists():
        return False
    try:
        os.kill(pid, 0)
    except OSError as error:
        return isinstance(error, PermissionError)
    return False


def _started(pid: int) -> int | None:
    """Return when a process started, in ticks since boot; None where it is gone."""
    fields = _stat(pid)
    return None if not fields or fields[0] in "ZX" else int(fields[19])


def _stat(pid: int) -> list[str]:
    """Return what the kernel says of a process, from its state on; [] if it is gone."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return []
    # The command's name, in parentheses, may hold anything; what follows it may not.
    return text.rpartition(")")[2].split()
