"""What bodies hand in to the loop."""

from __future__ import annotations

import threading

from msgspec import Struct

from ptsflow.core.outcome import Outcome


class Ended(Struct, frozen=True):
    """An attempt ended."""

    task: str
    outcome: Outcome
    #: `host:pid` of the process that made it, where that was not the runner.
    ran_by: str = ""


class Saving:
    """A body wants its processing data saved, and waits for it."""

    __slots__ = ("kept", "settled", "task", "text")

    def __init__(self, task: str, text: str) -> None:
        self.task = task
        self.text = text
        self.kept = False
        self.settled = threading.Event()
