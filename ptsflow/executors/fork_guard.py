"""What becomes of a copy of this process that a body makes with `os.fork`.

Where the body ends in the copy, by `sys.exit` or by returning, the copy ends as any
Python process would. The attempt is the original's, which alone says how it ended.
"""

from __future__ import annotations

import contextlib
import os
import re
import sys

from ptsflow.core.outcome import Outcome, Raised

_EXIT = re.compile(r"SystemExit(?:: (\d+))?(?: \(|$)")


def end_if_copy(original: int, outcome: Outcome) -> None:
    """End this process if it is a copy of the one that began the body.

    Args:
        original: the pid of that one.
        outcome: how the body ended here.
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
