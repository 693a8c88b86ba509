"""A frame drawn in place, on a terminal that is emulated."""

from __future__ import annotations

import pyte
import pytest

from ptsflow.display.region import Region


class Emulated:
    """A terminal, and a region of it."""

    def __init__(self, columns: int = 40, lines: int = 12) -> None:
        self.screen = pyte.HistoryScreen(columns, lines, history=100)
        self._stream = pyte.Stream(self.screen)
        self.region = Region()

    def feed(self, text: str) -> None:
        self._stream.feed(text)

    def draw(self, *frame: str, above: tuple[str, ...] = (), typed: int = 0) -> None:
        text = self.region.draw(
            frame, frame, self.screen.columns, above=above, typed=typed
        )
        self.feed(text)

    @property
    def text(self) -> list[str]:
        return "\n".join(line.rstrip() for line in self.screen.display).split("\n")[
            : self.screen.cursor.y + 1
        ]


def test_a_frame_replaces_the_one_before_whatever_their_heights() -> None:
    terminal = Emulated()
    terminal.feed("$ run\r\n")
    for frame in (["a", "b", "c"], ["d"], ["e", "f"]):
        terminal.draw(*frame)

        assert terminal.text == ["$ run", *frame, ""]
    assert terminal.screen.cursor.hidden


def test_lines_stand_above_the_frame() -> None:
    terminal = Emulated()
    terminal.draw("frame")
    terminal.draw("frame", above=("one", "two" * 20))
    terminal.draw("frame")

    assert terminal.text == ["one", ("two" * 20)[:40], ("two" * 20)[40:], "frame", ""]


def test_a_frame_at_the_bottom_stays_there() -> None:
    terminal = Emulated(lines=5)
    terminal.feed("\r\n" * 10)
    for index in range(5):
        terminal.draw(f"a{index}", f"b{index}", above=(f"line {index}",))

    assert terminal.text == ["line 3", "line 4", "a4", "b4", ""]


def test_a_line_that_is_too_long_is_no_second_row() -> None:
    terminal = Emulated()
    for _ in range(3):
        terminal.draw("x" * 60, "y")

    assert [line[:3] for line in terminal.text] == ["xxx", "y", ""]
    terminal.feed("z" * 50)
    assert terminal.text[-1] == "z" * 10, "lines are wrapped again"


@pytest.mark.parametrize("wraps", [True, False])
def test_nothing_of_a_wider_frame_is_left(*, wraps: bool) -> None:
    terminal = Emulated(40)
    terminal.feed("\r\n" * 6)
    terminal.draw("wide " * 8, "short", "wide " * 7)
    if wraps:  # as a terminal does that shows all of a line in several rows
        terminal = _narrowed(terminal)
    else:
        terminal.screen.resize(12, 20)
    terminal.draw("new", "frame")

    assert [line for line in terminal.text if line] == ["new", "frame"]
    below = terminal.screen.display[terminal.screen.cursor.y + 1 :]
    assert not "".join(below).strip()


def _narrowed(wide: Emulated) -> Emulated:
    narrow = Emulated(20)
    narrow.region = wide.region
    narrow.feed("\r\n".join(line.ljust(0) for line in wide.text))
    return narrow


@pytest.mark.parametrize("typed", [1, 2])
def test_enter_leaves_no_half_of_a_frame(typed: int) -> None:
    terminal = Emulated(lines=4)
    terminal.draw("head", "foot")
    terminal.feed("\r\n" * typed)
    terminal.draw("head", "foot", typed=typed)

    shown = [*(line for row in terminal.screen.history.top for line in [row])]
    assert terminal.text.count("head") == 1
    assert len(shown) <= typed


def test_erased_it_leaves_the_cursor_shown_where_the_frame_began() -> None:
    terminal = Emulated()
    terminal.feed("$ run\r\n")
    terminal.draw("a", "b")
    terminal.feed(terminal.region.erase(40, above=("said",)))

    assert terminal.text == ["$ run", "said", ""]
    assert not terminal.screen.cursor.hidden
    terminal.draw("c")
    assert terminal.text == ["$ run", "said", "c", ""]
