"""What an executor other than threads does: it makes attempts somewhere else."""

from __future__ import annotations

from typing import Protocol

from ptsflow.core.outcome import Outcome
from ptsflow.executors.attempt import Call


class Executor(Protocol):
    """Makes attempts; called from many threads at once."""

    #: How many it could make at a time when it began, where it knows that.
    room: int | None

    def run(self, call: Call) -> Outcome:
        """Make the attempt and return how it ended, however it ended; never raises."""

    def stop(self) -> None:
        """End; what still runs is ended at once."""
