"""What shows a run of the command line while it lasts."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence

from ptsflow.cli import streams
from ptsflow.core.model import LogLine
from ptsflow.display import screens
from ptsflow.display.plain import PlainLines
from ptsflow.display.run_state import Board
from ptsflow.display.screens import Screen
from ptsflow.display.streams import Outlet
from ptsflow.events import AttemptEnded, Event, Listener
from ptsflow.host.clock import Clock


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
    stream = streams.messages()
    if isinstance(stream, Outlet) and not quiet:
        screen = screens.screen_on(board, stream, clock, every_ms=every_ms)
    else:
        screen = PlainLines(stream, quiet=quiet, every_ms=every_ms, clock=clock)
    streams.show_by(screen.printed)
    try:
        yield screen
    finally:
        streams.show_by(None)
        screen.close()


def show_printed(screen: Screen, task: str, lines: Sequence[LogLine]) -> None:
    """Show what a body printed, and count what is not shown."""
    streams.drop(screens.show_printed(screen, task, lines))


def tracebacks(screen: Screen) -> Listener:
    """Return a listener that shows where each attempt that failed was when it did."""

    def listen(event: Event) -> None:
        if isinstance(event, AttemptEnded) and event.traceback:
            rows = event.traceback.rstrip("\n").split("\n")
            lines = [LogLine(event.at, "", row) for row in rows]
            screen.printed(event.task, lines)

    return listen
