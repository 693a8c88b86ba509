"""Escape sequences that draw a frame in place on a terminal. Pure.

Between two frames the cursor stands at the beginning of the line below the frame: a shell
that takes over after `kill -9` goes on there.
"""

from __future__ import annotations

from collections.abc import Sequence

from ptsflow.display import format as fmt

_HIDE_CURSOR, SHOW_CURSOR = "\x1b[?25l", "\x1b[?25h"
_CUT_LINES, _WRAP_LINES = "\x1b[?7l", "\x1b[?7h"
_ERASE_LINE, _ERASE_BELOW = "\x1b[2K", "\x1b[J"
#: Undoes what a screen that was killed left of itself.
RESTORED = _WRAP_LINES + SHOW_CURSOR


class Region:
    """The last lines of a terminal, in which a frame is drawn anew and anew."""

    def __init__(self) -> None:
        #: How wide each line of the last frame is, and how wide the terminal was.
        self._drawn: list[int] = []
        self._width = 0

    def draw(
        self,
        frame: Sequence[str],
        plain: Sequence[str],
        width: int,
        *,
        above: Sequence[str] = (),
        typed: int = 0,
    ) -> str:
        """Return what draws a frame over the last one.

        Args:
            frame: its lines, with their colours.
            plain: its lines as plain text.
            width: columns of the terminal.
            above: lines that stay above the frame from now on.
            typed: how many new lines somebody may have typed since the last frame.
        """
        text = _HIDE_CURSOR + self._to_first_line(width, typed)
        if above:
            text += _ERASE_BELOW + "".join(f"{line}\r\n" for line in above)
        lines = "".join(f"{_ERASE_LINE}{line}\r\n" for line in frame)
        self._drawn, self._width = [fmt.cells(line) for line in plain], width
        return f"{text}{_CUT_LINES}{lines}{_ERASE_BELOW}{_WRAP_LINES}"

    def erase(self, width: int, *, above: Sequence[str] = (), typed: int = 0) -> str:
        """Return what removes the frame and shows the cursor; see `draw`."""
        text = self._to_first_line(width, typed)
        self._drawn = []
        lines = "".join(f"{line}\r\n" for line in above)
        return f"{text}{_ERASE_BELOW}{lines}{RESTORED}"

    def forget(self) -> None:
        """Take the terminal as empty: somebody else has written there."""
        self._drawn = []

    def _to_first_line(self, width: int, typed: int) -> str:
        rows = sum(self._rows_of(cells, width) for cells in self._drawn)
        up = rows + typed if rows else 0
        return f"\r\x1b[{up}A" if up else "\r"

    def _rows_of(self, cells: int, width: int) -> int:
        """Return how many rows a line takes now.

        Most terminals wrap lines that are too long when they become narrower. On one
        that cuts them, some lines above the frame are removed as well.
        """
        return max(1, -(-cells // width)) if width < self._width else 1
