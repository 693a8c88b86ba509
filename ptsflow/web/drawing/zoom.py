"""Parts of the time of a timeline: each leads to a drawing of that part alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise

from msgspec import Struct

from ptsflow.display import format as fmt
from ptsflow.web.drawing.axis import Axis
from ptsflow.web.drawing.svg import Link, mark, opened, text_of

#: How many parts lead further, and the shortest time that has parts, in milliseconds.
_PARTS, _SHORTEST = 8, 80


class TimelineView(Struct, frozen=True, kw_only=True):
    """What is shown of a timeline, and where its marks lead."""

    #: Returns the address of a task.
    link: Link | None = None
    #: From when to when, in milliseconds since the epoch; None for all.
    window: tuple[int, int] | None = None
    #: Returns the address of a part of the time.
    zoom: Callable[[int, int], str] | None = None


def parts_of(axis: Axis, view: TimelineView, height: float) -> Iterator[str]:
    """Yield marks over the times of an axis, each of which leads to that part."""
    if view.zoom is None or axis.ended - axis.began < _SHORTEST:
        return
    width = (axis.right - axis.left) / _PARTS
    edges = [axis.left + width * place for place in range(_PARTS + 1)]
    for left, right in pairwise(edges):
        since, till = int(axis.at(left)), int(axis.at(right))
        if till <= since:
            continue
        said = f"zoom in: {fmt.date_time(since)} to {fmt.date_time(till)[11:]}"
        part = mark(
            "rect",
            "part-of-time",
            text_of(said, 60),
            x=left,
            y=0,
            width=width,
            height=height,
        )
        yield opened(part, view.zoom(since, till))


def beside(window: tuple[int, int]) -> dict[str, tuple[int, int]]:
    """Return the parts of the time beside a part, and the longer one around it."""
    since, till = window
    length = max(1, till - since)
    return {
        "earlier": (since - length // 2, till - length // 2),
        "later": (since + length // 2, till + length // 2),
        "zoom out": (since - length // 2, till + length // 2),
    }
