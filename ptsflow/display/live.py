"""The terminal, through rich: the live screen of a run, lines in colour, Markdown.

Only this module imports rich, and it is imported only where output is a terminal.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable
from typing import TextIO

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from ptsflow.display import format as fmt
from ptsflow.display.format import Line, Piece
from ptsflow.display.layout import frame
from ptsflow.display.run_state import Board
from ptsflow.events import Event, Notice, RunEnded
from ptsflow.host.clock import Clock, system_clock

#: The width of Markdown on a terminal that is wider, in columns.
_LONGEST_LINE = 100
_TOPIC_LINK = re.compile(r"\[\w+\]\((\w+)\.md\)")

#: How many times a second the screen is drawn.
RATE = 4

_STYLES = {
    "done": "green",
    "running": "cyan",
    "waiting": "yellow",
    "failed": "red",
    "skipped": "dim",
    "pending": "dim",
    "name": "bold",
    "title": "dim",
    "bar": "cyan",
    "rest": "bright_black",
    "dim": "dim",
    "notice": "yellow",
}


def console_on(stream: TextIO) -> Console:
    """Return a console that shows text unchanged: no markup, emoji or highlighting."""
    return Console(file=stream, markup=False, emoji=False, highlight=False)


def to_text(line: Line, *, ascii_only: bool = False) -> Text:
    """Return a line as rich's text; the terminal wraps one that is too long."""
    text = Text(no_wrap=True, overflow="ignore")
    for piece in line:
        shown = piece.text.translate(fmt.ASCII) if ascii_only else piece.text
        text.append(shown, style=_STYLES.get(piece.meaning, ""))
    return text


def write_lines(stream: TextIO, lines: Iterable[Line], *, whole: bool = False) -> None:
    """Write lines in colour, cut to the terminal's width unless wanted whole."""
    console = console_on(stream)
    for line in lines:
        shown = line if whole else fmt.cut_line(line, console.width)
        text = to_text(shown, ascii_only=is_ascii(console))
        console.print(text, soft_wrap=whole)


def write_markdown(stream: TextIO, text: str) -> None:
    """Write Markdown in colour, in lines that are not too long to read.

    A link to another topic of the manual is shown as the command that shows the topic.
    """
    from rich.markdown import Markdown  # noqa: PLC0415 - 60 ms, for the manual alone.

    console = console_on(stream)
    console.width = min(console.width, _LONGEST_LINE)
    shown = _TOPIC_LINK.sub(r"`ptsflow help \1`", text)
    console.print(Markdown(shown, code_theme="ansi_dark", hyperlinks=False))


def is_ascii(console: Console) -> bool:
    """Whether the terminal can show ASCII alone."""
    return not console.encoding.startswith("utf")


class LiveScreen:
    """Listens to a run and draws it in place, a few times a second.

    Args:
        board: the state of the run; the board must hear each event before this screen.
        stream: the terminal.
        clock: tells the time.
    """

    def __init__(
        self, board: Board, stream: TextIO, clock: Clock = system_clock
    ) -> None:
        self._board = board
        self._clock = clock
        self._console = console_on(stream)
        self._live = Live(
            get_renderable=self._render,
            console=self._console,
            refresh_per_second=RATE,
            transient=True,
            # What bodies print is shown above the screen, where that output is this terminal.
            redirect_stdout=sys.stdout.isatty(),
            redirect_stderr=sys.stderr.isatty(),
            vertical_overflow="crop",
        )
        self._live.start()

    def __call__(self, event: Event) -> None:
        """Show notices above the screen; remove the screen when the run has ended."""
        if isinstance(event, Notice):
            line = f"{fmt.clock_time(event.at)}  {fmt.clean(event.text)}"
            self._console.print(to_text([Piece(line, "notice")]))
        elif isinstance(event, RunEnded):
            self.close()

    def close(self) -> None:
        """Remove the screen; a second call does nothing."""
        self._live.stop()

    def _render(self) -> Group:
        size = self._console.size
        lines = frame(
            self._board, self._clock(), width=size.width, height=max(2, size.height - 1)
        )
        ascii_only = is_ascii(self._console)
        return Group(*(to_text(line, ascii_only=ascii_only) for line in lines))
