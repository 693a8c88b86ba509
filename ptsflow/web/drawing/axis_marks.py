"""What a timeline draws of its axis: times, folds, and the end that is expected."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ptsflow.display import format as fmt
from ptsflow.web.drawing.attempt_bars import AttemptBar
from ptsflow.web.drawing.axis import Axis, Stretch
from ptsflow.web.drawing.svg import mark, number, text_of

#: Where rows begin, below the times.
TOP = 22


def ticks(axis: Axis, bottom: float) -> Iterator[str]:
    """Yield the lines of times, each with its time."""
    for x, text in axis.ticks():
        line = f"M{number(x)} {TOP - 4}V{number(bottom)}"
        yield mark("path", "axis", "", d=line)
        yield mark("text", "dim", "", text_of(text, 12), x=x, y=14)


def folds(axis: Axis, bottom: float, vague: Sequence[AttemptBar]) -> Iterator[str]:
    """Yield what stands for long stretches in which nothing ran, or nobody knows."""
    for piece in axis.folds:
        length = fmt.duration(piece.ended - piece.began)
        is_known = all(
            bar.ended <= piece.began or bar.began >= piece.ended for bar in vague
        )
        title = f"{'nothing ran' if is_known else 'nothing is known'} for {length}"
        yield _fold(piece, bottom, title)
        middle = min((piece.left + piece.right) / 2, axis.right - 28)
        yield mark("text", "dim middle", title, f"⋯{length}⋯", x=middle, y=14)


def _fold(piece: Stretch, bottom: float, title: str) -> str:
    return mark(
        "rect",
        "fold",
        title,
        x=piece.left,
        y=TOP - 4,
        width=piece.right - piece.left,
        height=bottom - TOP + 4,
    )


def expected_end(
    axis: Axis, bottom: float, times: tuple[int, int | None]
) -> Iterator[str]:
    """Yield lines at the time it is, and at that at which all is expected to be over."""
    now, until = times
    if until is None:
        return
    title = f"expected at {fmt.date_time(until)}"
    line = f"M{number(axis.x(now))} {TOP - 4}V{number(bottom)}"
    yield mark("path", "now", f"now, {fmt.date_time(now)}", d=line)
    line = f"M{number(axis.x(until))} {TOP - 4}V{number(bottom)}"
    yield mark("path", "until", title, d=line)
