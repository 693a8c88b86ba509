"""Ends the forks of this process that a body makes with `os.fork`.

If a body ends in a fork, by returning or by raising, the fork exits as any Python process
would. The attempt belongs to the original process, which alone reports how it ended.

An executor may fork worker processes; these are told apart from the forks of bodies.
"""

from __future__ import annotations

import contextlib
import os
import re
import sys
import threading
from collections.abc import Iterator

from ptsflow.core.outcome import Outcome, Raised

_EXIT = r"SystemExit(?:: (\d+))?(?: \(|$)"

#: Set in threads that fork workers of an executor; such forks are no forks of a body.
_forking_workers = threading.local()


@contextlib.contextmanager
def forking_workers() -> Iterator[None]:
    """Declare that in this context the thread forks workers of an executor."""
    _forking_workers.is_here = True
    try:
        yield
    finally:
        _forking_workers.is_here = False


def is_forking_workers() -> bool:
    """Return whether this thread forks workers of an executor; true in the worker too."""
    return getattr(_forking_workers, "is_here", False)


def exit_if_forked(original: int, outcome: Outcome) -> None:
    """Exit if this process is a fork of the one in which the body began.

    Args:
        original: the pid of the process in which the body began.
        outcome: how the body ended in this process.
    """
    if os.getpid() == original:
        return
    try:
        status = 0
        if isinstance(outcome, Raised):
            found = re.match(_EXIT, outcome.error)
            status = int(found[1] or 0) if found else 1
            if not found:
                sys.stderr.write(outcome.traceback or f"{outcome.error}\n")
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(Exception):  # bodies may replace or close it
                stream.flush()
    finally:
        os._exit(status & 0xFF)
