"""The terminal, through rich: the live screen of a run, lines in colour, Markdown.

Only this module imports rich, and it is imported only where output is a terminal.
"""

from __future__ import annotations

import contextlib
import re
import threading
from collections.abc import Iterable, Sequence
from typing import TextIO, cast

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from ptsflow.core.model import LogLine
from ptsflow.display import format as fmt
from ptsflow.display import plain
from ptsflow.display.format import Line, Piece
from ptsflow.display.layout import frame
from ptsflow.display.run_state import Board
from ptsflow.display.streams import Outlet, is_unicode
from ptsflow.events import Event, Notice, RunEnded, RunStarted
from ptsflow.host.clock import Clock, system_clock

#: The width of Markdown on a terminal that is wider, in columns.
_LONGEST_LINE = 100
_TOPIC_LINK = re.compile(r"\[\w+\]\((\w+)\.md\)")

#: How many times a second the screen is drawn.
RATE = 4
#: How many lines may wait to be shown above the screen; more are dropped and counted.
_MOST_WAITING = 10_000

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


def console_on(stream: TextIO | Outlet) -> Console:
    """Return a console that shows text unchanged: no markup, emoji or highlighting."""
    file = cast("TextIO", stream)
    return Console(file=file, markup=False, emoji=False, highlight=False)


def to_text(line: Line, *, ascii_only: bool = False) -> Text:
    """Return a line as rich's text; the terminal wraps one that is too long."""
    text = Text(no_wrap=True, overflow="ignore")
    for piece in line:
        shown = piece.text.translate(fmt.ASCII) if ascii_only else piece.text
        text.append(shown, style=_STYLES.get(piece.meaning, ""))
    return text


def write_lines(
    stream: TextIO | Outlet, lines: Iterable[Line], *, whole: bool = False
) -> None:
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
    return not is_unicode(console.encoding)


class LiveScreen:
    """Listens to a run and draws it in place, a few times a second.

    Args:
        board: the state of the run; the board must hear each event before this screen.
        stream: the terminal.
        clock: tells the time.
    """

    def __init__(
        self, board: Board, stream: Outlet, clock: Clock = system_clock
    ) -> None:
        self._board = board
        self._clock = clock
        self._stream = stream
        self._console = console_on(stream)
        self._times = fmt.DayTimes()
        #: Lines to be shown above the screen.
        self._above: list[Text] = []
        self._lock = threading.RLock()
        self._is_closed = threading.Event()
        self._live = Live(
            get_renderable=self._render,
            console=self._console,
            auto_refresh=False,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
            vertical_overflow="crop",
        )
        self._live.start()
        self._painter = threading.Thread(
            target=self._paint, name="ptsflow-screen", daemon=True
        )
        with contextlib.suppress(RuntimeError):  # the system grants no thread
            self._painter.start()

    def __call__(self, event: Event) -> None:
        """Show notices above the screen; remove the screen when the run has ended."""
        if isinstance(event, RunStarted):
            self._times.of(event.at)
        elif isinstance(event, Notice):
            line = f"{self._times.of(event.at)}  {fmt.clean(event.text)}"
            self._add([to_text([Piece(line, "notice")])])
        elif isinstance(event, RunEnded):
            self.close()

    def printed(self, task: str, lines: Sequence[LogLine]) -> None:
        """Show lines that a body printed, with its task; others as they are."""
        self._add(
            [
                Text(plain.printed_text(task, line))
                if task
                else Text.from_ansi(line.text)
                for line in lines
            ]
        )

    def close(self) -> None:
        """Remove the screen; a second call does nothing."""
        if not self._is_closed.is_set():
            self._is_closed.set()
            if self._painter.is_alive():
                self._painter.join()
            self._draw()
            self._live.stop()

    def _add(self, lines: list[Text]) -> None:
        with self._lock:
            room = max(0, _MOST_WAITING - len(self._above))
            self._above += lines[:room]
        self._stream.drop(max(0, len(lines) - room))

    def _paint(self) -> None:
        while not self._is_closed.wait(1 / RATE):
            # A frame that stays in the stream would be old when it is read.
            if not self._stream.is_behind:
                self._draw()

    def _draw(self) -> None:
        with self._lock:
            above, self._above = self._above, []
        if above:
            self._console.print(Text("\n").join(above), soft_wrap=True)
        self._live.refresh()

    def _render(self) -> Group:
        size = self._console.size
        lines = frame(
            self._board, self._clock(), width=size.width, height=max(2, size.height - 1)
        )
        ascii_only = is_ascii(self._console)
        return Group(*(to_text(line, ascii_only=ascii_only) for line in lines))
