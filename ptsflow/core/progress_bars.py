"""The progress bars that libraries and programs draw with carriage returns."""

from __future__ import annotations

import re

from msgspec import Struct

from ptsflow.core import texts

_UP = "\x1b[A"
# Texts, as `re` compiles them when they are first used: most runs meet no bar.
_MOVES = r"(\r|\n|\x1b\[A)"
_COLOURS = r"\x1b\[[0-?]*[ -/]*[@-~]"
#: A bar as tqdm draws it: `rows:  45%|####      | 45/100 [00:04<00:05, 10.0it/s]`.
_TQDM = r"^(.*?) *(\d{1,3})%\|.*?\| *(.*)$"
_PERCENT = r"(?<![\d.])(\d{1,3}(?:\.\d+)?) ?%"
#: The longest text that is kept of a bar, in characters.
_TEXT_LIMIT = 200
_FULL = 100.0


class Bar(Struct, frozen=True):
    """What a progress bar says."""

    #: None if it has no percentage.
    percentage: float | None
    text: str

    @property
    def is_full(self) -> bool:
        """Whether it is at its end, as far as is known."""
        return self.percentage is None or self.percentage >= _FULL


def bar_of(text: str) -> Bar | None:
    """Return what a line says that is drawn anew and anew; None for a blank one."""
    plain = re.sub(_COLOURS, "", text).strip()
    if not plain:
        return None
    tqdm = re.match(_TQDM, plain)
    if tqdm is not None:
        said = " ".join(filter(None, (tqdm[1].rstrip(": "), tqdm[3])))
        return Bar(min(_FULL, float(tqdm[2])), texts.cut(said, _TEXT_LIMIT))
    percent = re.search(_PERCENT, plain)
    share = None if percent is None else min(_FULL, float(percent[1]))
    return Bar(share, texts.cut(plain, _TEXT_LIMIT))


def is_redrawn(line: str, *, is_within_a_bar: bool = False) -> bool:
    """Whether a printed line is a state of a bar that goes on in another line.

    Of several bars, one below the other, each state is a line: the one below is drawn
    after newlines, and then the cursor goes up again.
    """
    if is_within_a_bar and not line:
        return True
    _, returned, last = line.rstrip("\r").rpartition("\r")
    if _UP in last or not returned:
        return _UP in last
    bar = bar_of(last)
    return bar is None or not bar.is_full


class BarReader:
    """Finds the state of the topmost bar in text that comes in parts."""

    def __init__(self) -> None:
        #: The rows that are drawn anew, and in which of them the cursor is. Rows of other
        #: tasks are blank here: tqdm puts all bars of a process below one another.
        self._rows = [""]
        self._row = 0
        #: Whether the text in this row follows a carriage return.
        self._is_drawn_anew = False

    @property
    def is_within_a_bar(self) -> bool:
        """Whether the next part may go on with a bar, though it has no carriage return."""
        return self._is_drawn_anew or any(self._rows)

    def feed(self, part: str) -> Bar | None:
        """Return the last state of the topmost bar in this part, if there is one."""
        found: Bar | None = None
        for piece in re.split(_MOVES, part):
            if piece == "\r":
                self._rows[self._row], self._is_drawn_anew = "", True
            elif piece == "\n":
                self._go_down()
            elif piece == _UP:
                self._go_up()
            elif piece and self._is_drawn_anew:
                text = (self._rows[self._row] + piece)[-2 * _TEXT_LIMIT :]
                self._rows[self._row] = text
                if not any(self._rows[: self._row]):
                    found = bar_of(text) or found
        return found

    def _go_up(self) -> None:
        if self._row == 0:
            self._rows.insert(0, "")
        else:
            self._row -= 1
        self._is_drawn_anew = False

    def _go_down(self) -> None:
        bar = bar_of(self._rows[self._row])
        is_last = self._row == len(self._rows) - 1
        is_over = is_last if bar is None else bar.is_full
        if is_over:
            self._rows, self._row = [""], 0  # It stays as it is.
        else:
            self._row += 1
            self._rows += [""] * is_last
        self._is_drawn_anew = False
