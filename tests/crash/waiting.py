"""Waiting for what another process does."""

from __future__ import annotations

import time
from pathlib import Path

from ptsflow.host.clock import since_boot
from tests.crash import journal as journals
from tests.support.waiting import PATIENCE


def until_it_runs(journal: Path, bodies: int, seconds: float = PATIENCE) -> None:
    """Wait until so many bodies have started."""
    end = since_boot() + seconds
    while sum(journals.starts(journals.read(journal)).values()) < bodies:
        assert since_boot() < end, journals.read(journal)
        time.sleep(0.005)


def until_it_is_stopped(pid: int, seconds: float = PATIENCE) -> None:
    """Wait until a process is stopped by SIGSTOP."""
    end = since_boot() + seconds
    while Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "T":
        assert since_boot() < end
        time.sleep(0.002)


def until_it_ended(journal: Path, task: str, seconds: float = PATIENCE) -> None:
    """Wait until a body of that task has ended."""
    end = since_boot() + seconds
    while ("end", task) not in {(x.what, x.task) for x in journals.read(journal)}:
        assert since_boot() < end, journals.read(journal)
        time.sleep(0.005)
