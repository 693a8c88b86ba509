"""What shows a run while it lasts: a live screen, a cell of a notebook, or lines."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Protocol, TextIO, cast

from ptsflow.core.model import LogLine
from ptsflow.display import plain
from ptsflow.display.format import Line
from ptsflow.display.run_state import Board
from ptsflow.display.streams import Direct, Outlet, is_drawable
from ptsflow.display.summary import summary
from ptsflow.events import Event
from ptsflow.host.clock import Clock

#: How many lines that arrive at once are shown; a body may print without end.
_MOST_SHOWN = 1_000
_STDERR = 2


class Screen(Protocol):
    """A listener that shows a run while it lasts."""

    def __call__(self, event: Event) -> None:
        """Show one event."""

    def printed(self, task: str, lines: Sequence[LogLine]) -> None:
        """Show lines that a body of a task printed, or something else if it is ""."""

    def close(self) -> None:
        """Leave the terminal in the state in which it was found."""


def show_printed(screen: Screen, task: str, lines: Sequence[LogLine]) -> int:
    """Show what a body printed; return how many lines were too many.

    Its log records are shown by the handlers of users.
    """
    shown = [line for line in lines[:_MOST_SHOWN] if line.at and not line.level]
    if shown:
        screen.printed(task, shown)
    return max(0, len(lines) - _MOST_SHOWN)


def screen_on(
    board: Board, stream: Outlet, clock: Clock, *, every_ms: int | None = None
) -> Screen:
    """Return a live screen, or lines where none can be drawn or `$CI` is set."""
    if os.environ.get("CI") or not is_drawable(stream):
        return plain.PlainLines(stream, every_ms=every_ms, clock=clock)
    from ptsflow.display.live import LiveScreen  # noqa: PLC0415 - rich is for terminals alone.

    return LiveScreen(board, stream, clock)


@contextlib.contextmanager
def shown_to_caller(board: Board, clock: Clock) -> Iterator[Screen]:
    """Show a run of a program of somebody's own, and its summary when it is over.

    In a kernel of Jupyter this is one cell that is drawn anew, elsewhere standard error.
    """
    cell = _cell(board, clock)
    if cell is not None:
        with contextlib.closing(cell):
            yield cell
        return
    with contextlib.ExitStack() as stack:
        outlet = Outlet(_standard_error(stack))
        stack.callback(outlet.end)
        screen = screen_on(board, outlet, clock)
        try:
            yield screen
        finally:
            screen.close()
            _write(outlet, summary(board, clock()))


def _standard_error(stack: contextlib.ExitStack) -> TextIO:
    """Return standard error; of a terminal a copy, which a live screen needs."""
    stream = sys.stderr
    if stream is None:
        return stack.enter_context(Path(os.devnull).open("w"))
    if not stream.isatty() or stream.fileno() != _STDERR:
        return stream
    stream.flush()
    copy = os.dup(_STDERR)
    stack.callback(os.close, copy)
    return cast("TextIO", Direct(copy, stream.encoding or "utf-8"))


def _write(outlet: Outlet, lines: Sequence[Line]) -> None:
    if is_drawable(outlet):
        from ptsflow.display import live  # noqa: PLC0415 - rich is for terminals alone.

        live.write_lines(outlet, lines, whole=True)
    else:
        plain.write_lines(outlet, lines)


def _cell(board: Board, clock: Clock) -> Screen | None:
    """Return a cell of the notebook whose kernel this process is; None without one."""
    ipython: Any = sys.modules.get("IPython")
    shell = None if ipython is None else ipython.get_ipython()
    if getattr(shell, "kernel", None) is None:
        return None
    from ptsflow.display.notebook import Cell  # noqa: PLC0415 - for notebooks alone

    return Cell(board, clock, partial(ipython.display.display, display_id=True))
