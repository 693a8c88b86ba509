"""What shows a run while it lasts: a live screen on a terminal, else lines."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from typing import Protocol

from ptsflow.cli import streams
from ptsflow.cli.shared import (
    is_live,
)
from ptsflow.core.model import LogLine
from ptsflow.display.plain import PlainLines
from ptsflow.display.run_state import Board
from ptsflow.display.streams import Outlet
from ptsflow.events import AttemptEnded, Event, Listener
from ptsflow.host.clock import Clock

#: How many lines that arrive at once are shown; a body may print without end.
_MOST_SHOWN = 1_000


class Screen(Protocol):
    """A listener that shows a run while it lasts."""

    def __call__(self, event: Event) -> None:
        """Show one event."""

    def printed(self, task: str, lines: Sequence[LogLine]) -> None:
        """Show lines that a body of a task printed, or something else if it is ""."""

    def close(self) -> None:
        """Leave the terminal in the state in which it was found."""


@contextlib.contextmanager
def screen_of(
    board: Board, clock: Clock, *, quiet: bool, every: float | None
) -> Iterator[Screen]:
    """Show a run while it lasts, by its own clock, and what is printed meanwhile.

    Args:
        board: the state of the run.
        clock: the run's.
        quiet: show failures alone.
        every: how often plain output has a line of a running task, in seconds.
    """
    every_ms = None if every is None else round(every * 1000)
    screen = _choose(board, clock, quiet=quiet, every_ms=every_ms)
    streams.show_by(screen.printed)
    try:
        yield screen
    finally:
        streams.show_by(None)
        screen.close()


def show_printed(screen: Screen, task: str, lines: Sequence[LogLine]) -> None:
    """Show what a body printed; its log records are shown by the handlers of users."""
    shown = [line for line in lines[:_MOST_SHOWN] if line.at and not line.level]
    if shown:
        screen.printed(task, shown)
    streams.drop(len(lines) - len(lines[:_MOST_SHOWN]))


def tracebacks(screen: Screen) -> Listener:
    """Return a listener that shows where each attempt that failed was when it did."""

    def listen(event: Event) -> None:
        if isinstance(event, AttemptEnded) and event.traceback:
            rows = event.traceback.rstrip("\n").split("\n")
            lines = [LogLine(event.at, "", row) for row in rows]
            screen.printed(event.task, lines)

    return listen


def _choose(board: Board, clock: Clock, *, quiet: bool, every_ms: int | None) -> Screen:
    stream = streams.messages()
    is_plain = quiet or os.environ.get("CI") or not is_live(stream)
    if is_plain or not isinstance(stream, Outlet):
        return PlainLines(stream, quiet=quiet, every_ms=every_ms, clock=clock)
    from ptsflow.display.live import LiveScreen  # noqa: PLC0415 - rich is for terminals alone.

    return LiveScreen(board, stream, clock)
