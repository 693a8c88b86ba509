"""What SIGTERM does while a run lasts, and in what its bodies fork."""

from __future__ import annotations

import signal
import threading

#: Whether a run takes SIGTERM.
_is_taken = threading.Event()


#: Whether this thread has an executor make an attempt: what it forks are workers.
_elsewhere = threading.local()


def _let_go() -> None:
    if _is_taken.is_set() and not getattr(_elsewhere, "is_here", False):
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
