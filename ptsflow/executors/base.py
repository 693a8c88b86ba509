"""The interface of executors that make attempts outside the runner's own threads."""

from __future__ import annotations

from typing import Protocol

from ptsflow.core.outcome import Outcome
from ptsflow.executors.attempt import Call


class Executor(Protocol):
    """Makes attempts; its methods are called from many threads at once."""

    #: How many attempts it can make at a time, as known when it began; None if unknown.
    room: int | None

    def run(self, call: Call) -> Outcome:
        """Make the attempt and return how it ended; never raises."""

    def stop(self) -> None:
        """End the executor; bodies that still run are killed."""
