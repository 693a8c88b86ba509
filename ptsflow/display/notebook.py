"""A run in a notebook of Jupyter: one cell that is drawn anew while the run lasts."""

from __future__ import annotations

import contextlib
import html
import sys
import threading
from collections.abc import Callable, Sequence
from typing import Any

from ptsflow.core.model import LogLine
from ptsflow.display import format as fmt
from ptsflow.display import layout, plain
from ptsflow.display.format import Line, Piece
from ptsflow.display.run_state import Board
from ptsflow.display.summary import summary
from ptsflow.events import Event, Notice, RunEnded
from ptsflow.host.clock import Clock

#: How large the picture is, in characters, and how often a second it is drawn.
_WIDTH, _HEIGHT, _RATE = 100, 30, 2
#: The most notices below the picture.
_MOST_NOTICES = 5
_COLOURS = {
    "done": "green",
    "running": "darkcyan",
    "waiting": "darkorange",
    "failed": "crimson",
    "killed": "darkorange",
    "bar": "darkcyan",
    "notice": "darkorange",
    **dict.fromkeys(("skipped", "pending", "title", "rest", "dim"), "gray"),
}
_BOLD = {"name"}


class Picture:
    """Lines as IPython shows them: in colour, or as plain text."""

    def __init__(self, lines: Sequence[Line]) -> None:
        self._lines = lines

    def __repr__(self) -> str:
        return "\n".join(map(fmt.text_of, self._lines))

    def _repr_html_(self) -> str:
        rows = "\n".join("".join(map(_as_html, line)) for line in self._lines)
        return f'<pre style="line-height:1.25;white-space:pre">{rows}</pre>'


def _as_html(piece: Piece) -> str:
    text = html.escape(piece.text)
    colour = _COLOURS.get(piece.meaning)
    if piece.meaning in _BOLD:
        return f"<b>{text}</b>"
    return f'<span style="color:{colour}">{text}</span>' if colour else text


class Cell:
    """Listens to a run and draws it in a cell of a notebook.

    What bodies print is written to standard output, which the notebook shows below.

    Args:
        board: the state of the run; the board must hear each event before this cell.
        clock: tells the time.
        display: shows an object; returns a handle whose `update` shows another one.
    """

    def __init__(
        self, board: Board, clock: Clock, display: Callable[[Picture], Any]
    ) -> None:
        self._board = board
        self._clock = clock
        # While bodies run, `sys.stdout` hands what they print to this cell.
        self._stream = sys.stdout
        self._notices: list[Line] = []
        self._is_closed = threading.Event()
        self._handle = display(self._picture())
        self._painter = threading.Thread(
            target=self._paint, name="ptsflow-screen", daemon=True
        )
        with contextlib.suppress(RuntimeError):  # the system grants no thread
            self._painter.start()

    def __call__(self, event: Event) -> None:
        """Keep a notice; draw the run for the last time when it has ended."""
        if isinstance(event, Notice):
            text = f"{fmt.clock_time(event.at)}  {fmt.clean(event.text)}"
            self._notices = [*self._notices, [Piece(text, "notice")]][-_MOST_NOTICES:]
        elif isinstance(event, RunEnded):
            self.close()

    def printed(self, task: str, lines: Sequence[LogLine]) -> None:
        """Write lines that a body printed, with its task."""
        for line in lines:
            text = plain.printed_text(task, line) if task else line.text
            plain.write(self._stream, f"{text}\n")

    def close(self) -> None:
        """Draw the run for the last time; a second call does nothing."""
        if self._is_closed.is_set():
            return
        self._is_closed.set()
        if self._painter.is_alive():
            self._painter.join()
        self._handle.update(self._picture())

    def _paint(self) -> None:
        shown = ""
        while not self._is_closed.wait(1 / _RATE):
            picture = self._picture()
            if repr(picture) != shown:
                shown = repr(picture)
                self._handle.update(picture)

    def _picture(self) -> Picture:
        board, now = self._board, self._clock()
        if board.ended_at is None:
            lines = layout.frame(
                board,
                now,
                width=_WIDTH,
                height=_HEIGHT,
                hint="interrupt the kernel to stop gently",
            )
        else:
            with board.lock:
                rows = layout.rows_of(board, board.ended_at, _WIDTH, _HEIGHT)
            lines = [fmt.cut_line(line, _WIDTH) for line in rows]
            lines += summary(board, now)
        return Picture([*lines, *self._notices])
