"""Waiting for what another process does."""

from __future__ import annotations

from pathlib import Path

from tests.crash import journal as journals
from tests.support.processes import state_of
from tests.support.waiting import PATIENCE, until


def until_it_runs(journal: Path, bodies: int, seconds: float = PATIENCE) -> None:
    """Wait until so many bodies have started."""
    until(
        lambda: sum(journals.starts(journals.read(journal)).values()) >= bodies,
        seconds=seconds,
        seen=lambda: journals.read(journal),
    )


def until_it_is_stopped(pid: int, seconds: float = PATIENCE) -> None:
    """Wait until a process is stopped by SIGSTOP."""
    until(lambda: state_of(pid) == "T", seconds=seconds)


def until_it_ended(journal: Path, task: str, seconds: float = PATIENCE) -> None:
    """Wait until a body of that task has ended."""
    until(
        lambda: ("end", task) in {(x.what, x.task) for x in journals.read(journal)},
        seconds=seconds,
        seen=lambda: journals.read(journal),
    )
