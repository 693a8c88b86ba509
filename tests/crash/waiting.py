"""Waiting for what another process does."""

from __future__ import annotations

from pathlib import Path

from tests.crash import journal as journals
from tests.support.processes import state_of
from tests.support.waiting import until


def until_it_runs(journal: Path, bodies: int) -> None:
    """Wait until so many bodies have started."""
    until(
        lambda: sum(journals.starts(journals.read(journal)).values()) >= bodies,
        seen=lambda: journals.read(journal),
    )


def until_it_is_stopped(pid: int) -> None:
    """Wait until a process is stopped by SIGSTOP."""
    until(lambda: state_of(pid) == "T")


def until_it_ended(journal: Path, task: str) -> None:
    """Wait until a body of that task has ended."""
    until(
        lambda: ("end", task) in {(x.what, x.task) for x in journals.read(journal)},
        seen=lambda: journals.read(journal),
    )
