"""How many items of a large step ran at each time."""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from itertools import groupby, pairwise

from ptsflow.core.insight import Spans
from ptsflow.display import format as fmt
from ptsflow.web.drawing.axis import Axis
from ptsflow.web.drawing.svg import mark, number

#: How many shades there are.
_SHADES = 5
_BUCKETS = 200


def density(
    spans: Spans, axis: Axis, place: tuple[float, float], most: int
) -> Iterator[str]:
    """Yield the marks of a strip: the darker, the more items ran.

    Args:
        spans: when the items ran; the axis reaches as far.
        axis: tells where a time is.
        place: the top and the height of the strip.
        most: yield so many marks at the most.
    """
    if not spans.began:
        return
    # An item that runs has no end yet: it ends after all others.
    never = axis.ended + 1
    begins, ends = sorted(spans.began), _ends(spans, never)
    left, right = axis.x(begins[0]), axis.x(min(ends[-1], axis.ended))
    right = min(axis.right, max(right, left + 4))
    left = min(left, right - 4)
    count = max(1, min(_BUCKETS, most, int((right - left) / 3)))
    edges = [left + (right - left) * place / count for place in range(count + 1)]
    ran = [
        _ran(begins, ends, axis.at(a), axis.at(b) if b < right else never)
        for a, b in pairwise(edges)
    ]
    peak = max(1, *ran)
    # By the square root, so that a short rush does not make all else pale.
    shades = [math.ceil(_SHADES * math.sqrt(n / peak)) for n in ran]
    y, height = place
    for shade in sorted(set(shades) - {0}):
        counts = [n for n, found in zip(ran, shades, strict=True) if found == shade]
        title = _title(min(counts), max(counts))
        line = _line(shades, shade, edges, y + height / 2)
        yield mark("path", f"shade-{shade}", title, d=line)


def union(spans: Spans, now: int) -> Iterator[tuple[int, int]]:
    """Yield when at least one item ran, in order.

    Args:
        spans: when the items ran.
        now: the time, to which an item lasts that runs.
    """
    if not spans.began:
        return
    begins, ends = sorted(spans.began), _ends(spans, now)
    # Where as many ended before a time as began, nothing runs until the next begins.
    pauses = [
        place
        for place, (ended, began) in enumerate(zip(ends, begins[1:], strict=False), 1)
        if began > ended
    ]
    for first, last in pairwise([0, *pauses, len(begins)]):
        yield begins[first], ends[last - 1]


def _ends(spans: Spans, never: int) -> list[int]:
    """Return the ends of the items in order; one that runs ends then, or as it began."""
    pairs = zip(spans.began, spans.ended, strict=True)
    return sorted([b if b > a else a if b else max(a, never) for a, b in pairs])


def _ran(begins: list[int], ends: list[int], begin: float, end: float) -> int:
    """Return how many items ran at some time from begin to end."""
    return bisect_right(begins, end) - bisect_left(ends, begin)


def _title(least: int, most: int) -> str:
    between = f"{least} to " if least < most else ""
    return f"{between}{fmt.many(most, 'item', 'items')} at about a time"


def _line(shades: list[int], shade: int, edges: list[float], y: float) -> str:
    """Return the line of all parts of a strip that have a shade."""
    parts, place = [], 0
    for found, group in groupby(shades):
        after = place + len(list(group))
        if found == shade:
            parts.append(f"M{number(edges[place])} {number(y)}H{number(edges[after])}")
        place = after
    return "".join(parts)
