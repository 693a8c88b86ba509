"""What becomes of a process that is forked off the runner's.

A body that calls `os.fork` makes a copy of itself. Where the body ends in the copy, by
`sys.exit` or by returning, the copy ends as any Python process would. The attempt is the
original's, which alone says how the attempt ended.

An executor may fork worker processes; these are told apart from copies of bodies.
"""

from __future__ import annotations

import contextlib
import os
import re
import sys
import threading
from collections.abc import Iterator

from ptsflow.core.outcome import Outcome, Raised

_EXIT = re.compile(r"SystemExit(?:: (\d+))?(?: \(|$)")

#: The threads in which what is forked is an executor's worker.
_forking_workers = threading.local()


@contextlib.contextmanager
def forking_workers() -> Iterator[None]:
    """Declare that what this thread forks meanwhile is an executor's worker."""
    _forking_workers.is_here = True
    try:
        yield
    finally:
        _forking_workers.is_here = False


def is_forking_workers() -> bool:
    """Whether what this thread forks is an executor's worker; also asked in the fork."""
    return getattr(_forking_workers, "is_here", False)


def end_if_copy(original: int, outcome: Outcome) -> None:
    """End this process if it is a copy of the process that began the body.

    Args:
        original: the pid of the process that began the body.
        outcome: how the body ended in this process.
    """
    if os.getpid() == original:
        return
    try:
        status = 0
        if isinstance(outcome, Raised):
            found = _EXIT.match(outcome.error)
            status = int(found[1] or 0) if found else 1
            if not found:
                sys.stderr.write(outcome.traceback or f"{outcome.error}\n")
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(Exception):  # bodies may replace and close them
                stream.flush()
    finally:
        os._exit(status & 0xFF)
