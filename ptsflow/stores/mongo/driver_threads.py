"""The threads of pymongo at the end of the process.

Each client has a thread that sends what was left open, and threads that watch the
servers. After `close` they have nothing to do, but they sleep, and notice it up to half a
second later. pymongo waits for them when the process ends. They are daemons, so that the
interpreter can end without them.
"""

from __future__ import annotations

import atexit

from pymongo import periodic_executor


def end_without_those_of_closed_clients() -> None:
    """Have pymongo wait for the threads of open clients only, such as the user's own.

    A pymongo without the names that are spoken here waits for all: half a second is lost.
    """
    for found in list(getattr(periodic_executor, "_EXECUTORS", ())):
        executor = found()
        if getattr(executor, "_stopped", False):
            executor._thread = None  # noqa: SLF001 - pymongo has no public way


# What is registered last is called first, and pymongo registered its waiting on import.
atexit.register(end_without_those_of_closed_clients)
