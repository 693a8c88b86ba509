"""How many processors this process may use: what is there, less what limits it."""

from __future__ import annotations

import contextlib
import math
import os
from pathlib import Path

_MOUNT = Path("/sys/fs/cgroup")


def usable_cpus(groups: Path = Path("/proc/self/cgroup"), mount: Path = _MOUNT) -> int:
    """Return how many processors this process may use, at least 1.

    The affinity of the process counts, or what Python was told instead (3.13 and later:
    `-X cpu_count`, PYTHON_CPU_COUNT), and the quota of its control groups (as a container
    of Docker or Kubernetes has it), rounded up.

    Args:
        groups: the file that lists the control groups of this process.
        mount: where control groups are mounted.
    """
    there = _affinity()
    with contextlib.suppress(OSError, ValueError):
        for line in groups.read_text(encoding="utf-8").splitlines():
            _, controllers, path = line.split(":", 2)
            for folder in _folders(controllers, path, mount):
                there = min(there, _quota(folder))
    return max(1, math.ceil(there))


def _affinity() -> float:
    if told := getattr(os, "process_cpu_count", None):  # Since Python 3.13.
        return told() or 1
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # only Linux has it
        return os.cpu_count() or 1


def _folders(controllers: str, path: str, mount: Path) -> list[Path]:
    """Return the folders of a control group and of the groups around it."""
    if not controllers:
        root = mount
    elif "cpu" in controllers.split(","):
        root = mount / controllers
        root = root if root.is_dir() else mount / "cpu"
    else:
        return []
    # A container sees its own group as the root, though its path may be another one.
    own = root / path.lstrip("/")
    return [root, *(folder for folder in (own, *own.parents) if root in folder.parents)]


def _quota(folder: Path) -> float:
    """Return the processors that a group may use; infinity where it has no limit."""
    with contextlib.suppress(OSError, ValueError):
        quota, period = (folder / "cpu.max").read_text(encoding="ascii").split()
        return math.inf if quota == "max" else int(quota) / int(period)
    with contextlib.suppress(OSError, ValueError):
        quota = (folder / "cpu.cfs_quota_us").read_text(encoding="ascii")
        period = (folder / "cpu.cfs_period_us").read_text(encoding="ascii")
        return int(quota) / int(period) if int(quota) > 0 else math.inf
    return math.inf
