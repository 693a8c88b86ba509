"""The terminal, through rich: the live screen of a run, lines in colour, Markdown.

Only this module imports rich, and it is imported only where output is a terminal.
"""

from __future__ import annotations

import contextlib
import os
import re
import threading
from array import array
from collections.abc import Iterable, Sequence
from fcntl import ioctl
from functools import partial
from termios import FIONREAD
from typing import Protocol, TextIO, cast

from rich.console import Console
from rich.text import Text

from ptsflow.core.model import LogLine
from ptsflow.display import format as fmt
from ptsflow.display import job_control
from ptsflow.display.diversion import Diversion
from ptsflow.display.format import Line, Piece
from ptsflow.display.job_control import StopKey
from ptsflow.display.layout import frame
from ptsflow.display.region import Region
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
_FEW_BYTES = 2

_STYLES = {
    "done": "green",
    "running": "cyan",
    "waiting": "yellow",
    "failed": "red",
    "killed": "yellow",
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


class Drawn(Protocol):
    """Returns the lines of a frame."""

    def __call__(self, now: int, *, width: int, height: int) -> list[Line]:
        """Return at most `height` lines of `width` columns, as of a time."""


class LiveScreen:
    """Listens to a run and draws it in place, a few times a second.

    What programs write to the terminal meanwhile stands above the frame.

    Args:
        board: the state of the run; the board must hear each event before this screen.
        stream: the terminal.
        clock: tells the time.
        drawn: returns the frame to draw; without it that of the board.
    """

    def __init__(
        self,
        board: Board,
        stream: Outlet,
        clock: Clock = system_clock,
        drawn: Drawn | None = None,
    ) -> None:
        self._board = board
        self._drawn = drawn or partial(frame, board)
        self._clock = clock
        self._stream = stream
        self._console = console_on(stream)
        self._is_ascii = is_ascii(self._console)
        self._times = fmt.DayTimes()
        #: Lines to be shown above the screen.
        self._above: list[Text] = []
        self._lock = threading.RLock()
        self._is_closed = False
        self._is_asked_to_leave = False
        self._wakes = threading.Event()
        self._region = Region()
        self._typed = _typed_bytes()
        self._diversion = Diversion.begin(stream.fileno())
        self._painter = threading.Thread(
            target=self._paint, name="ptsflow-screen", daemon=True
        )
        self._stop_key = StopKey(self._ask_to_leave)
        try:
            self._draw()
            with contextlib.suppress(RuntimeError):  # the system grants no thread
                self._painter.start()
        except BaseException:  # Ctrl-C, where nobody handles it
            self.close()
            raise

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
        self._add([_printed(task, line.text) for line in lines])

    def close(self) -> None:
        """Remove the screen; a second call does nothing."""
        with self._lock:
            is_first, self._is_closed = not self._is_closed, True
        if is_first:
            self._wakes.set()
            if self._painter.is_alive():
                self._painter.join()
            if self._diversion is not None:
                self._take_in(self._diversion.end())
            self._leave()
        self._stop_key.end()

    def _add(self, lines: list[Text]) -> None:
        with self._lock:
            room = max(0, _MOST_WAITING - len(self._above))
            self._above += lines[:room]
        self._stream.drop(max(0, len(lines) - room))

    def _take_in(self, lines: list[str]) -> None:
        """Show what programs printed, with the task if only one can have called them."""
        with self._board.lock:
            task = self._board.ran_alone()
        if lines:
            self._add([_printed(task, line) for line in lines])

    def _ask_to_leave(self) -> bool:
        """Have the painter leave the terminal and stop the process; see `StopKey`."""
        if self._is_closed or not self._painter.is_alive():
            return False
        self._is_asked_to_leave = True
        self._wakes.set()
        return True

    def _paint(self) -> None:
        while not self._is_closed:
            self._wakes.wait(1 / RATE)
            self._wakes.clear()
            if self._is_closed:
                return
            if self._is_asked_to_leave:
                self._is_asked_to_leave = False
                self._leave()
                self._stream.finish()
                self._stop_key.stop()
            # A frame that stays in the stream would be old when it is read.
            elif not self._stream.is_behind and not self._stop_key.is_stopping:
                self._draw()

    def _draw(self) -> None:
        """Draw a frame; while a shell uses the terminal only lines that were printed."""
        if self._diversion is not None:
            self._take_in(self._diversion.take())
        if not job_control.is_in_foreground(self._stream.fileno()):
            self._region.forget()
            for line in self._rendered(self._taken_above()):
                self._stream.write(f"{line}\r\n")
            return
        width, height = self._size()
        lines = self._drawn(self._clock(), width=width, height=max(2, height - 1))
        drawn = self._rendered([to_text(x, ascii_only=self._is_ascii) for x in lines])
        above = self._rendered(self._taken_above())
        plain = [fmt.text_of(line) for line in lines]
        typed = self._newly_typed()
        self._stream.write(
            self._region.draw(drawn, plain, width, above=above, typed=typed)
        )

    def _leave(self) -> None:
        """Remove the frame and show the cursor."""
        above = self._rendered(self._taken_above())
        typed = self._newly_typed()
        width, _ = self._size()
        self._stream.write(self._region.erase(width, above=above, typed=typed))

    def _size(self) -> tuple[int, int]:
        """Return columns and lines of the terminal."""
        # Not the console's: it looks at the standard streams, which may be diverted.
        with contextlib.suppress(OSError):
            columns, lines = os.get_terminal_size(self._stream.fileno())
            if columns and lines:
                return columns, lines
        return 80, 25

    def _taken_above(self) -> list[Text]:
        with self._lock:
            above, self._above = self._above, []
        return above

    def _rendered(self, texts: list[Text]) -> list[str]:
        """Return lines with their colours as escape sequences."""
        if not texts:
            return []
        with self._console.capture() as captured:
            self._console.print(Text("\n").join(texts), soft_wrap=True, end="")
        return captured.get().split("\n")

    def _newly_typed(self) -> int:
        """Return how many lines somebody typed since the last call, about.

        A terminal gives away a line when it is ended: few bytes are Enter alone.
        """
        before, self._typed = self._typed, _typed_bytes()
        count = max(0, self._typed - before)
        return count if count <= _FEW_BYTES else 1


def _typed_bytes() -> int:
    """Return how many bytes of whole lines wait to be read from the terminal."""
    waiting = array("i", [0])
    with contextlib.suppress(OSError):
        if os.isatty(0):
            ioctl(0, FIONREAD, waiting)
    return waiting[0]


def _printed(task: str, text: str) -> Text:
    """Return a printed line as the terminal shows it, with the name of its task."""
    shown = Text.from_ansi(text.expandtabs())
    if not shown.plain.isprintable():
        shown = Text(fmt.clean(text.expandtabs()))
    return Text(f"{fmt.clean(task)} | ") + shown if task else shown
