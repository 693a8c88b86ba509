"""The axis of time of a timeline: long stretches in which nothing ran are folded."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import NamedTuple

from ptsflow.display import format as fmt
from ptsflow.host.clock import to_datetime

#: A stretch without any attempt is folded if it is more than this share of all.
_FOLDED = 0.2
#: Shorter ones never are, in milliseconds: they belong to a short run.
_LEAST_FOLDED = 10_000
#: How wide a fold is, in units.
_FOLD_WIDTH = 24
#: How far ticks are apart at the least, in units.
_TICK_GAP = 84
_TENTH = 100
_SECOND, _MINUTE, _HOUR, _DAY = 1_000, 60_000, 3_600_000, 86_400_000
_STEPS = (
    *(1, 2, 5, 10, 20, 50, 100, 200, 500),
    *(n * _SECOND for n in (1, 2, 5, 10, 15, 30)),
    *(n * _MINUTE for n in (1, 2, 5, 10, 15, 30)),
    *(n * _HOUR for n in (1, 2, 3, 6, 12)),
)
#: Below this length times are told from the beginning on, above by the clock.
_SHORT = 10 * _SECOND


class Stretch(NamedTuple):
    """A stretch of the axis: from when to when, and where that is."""

    began: int
    ended: int
    left: float
    right: float
    is_folded: bool


class Axis:
    """Tells where a time is drawn.

    Args:
        busy: when something ran, sorted by beginning; at least one.
        left: where the first time is.
        right: where the last one is.
    """

    def __init__(
        self, busy: Iterable[tuple[int, int]], left: float, right: float
    ) -> None:
        self.left, self.right = left, right
        self.pieces = list(_pieces(list(merged(busy)), left, right))
        self._begins = [piece.began for piece in self.pieces]

    @property
    def began(self) -> int:
        """The first time."""
        return self.pieces[0].began

    @property
    def ended(self) -> int:
        """The last time."""
        return self.pieces[-1].ended

    @property
    def folds(self) -> list[Stretch]:
        """The stretches that are folded."""
        return [piece for piece in self.pieces if piece.is_folded]

    def x(self, at: float) -> float:
        """Return where a time is; one beyond the ends is at the end."""
        piece = self.pieces[max(0, bisect_right(self._begins, at) - 1)]
        share = (at - piece.began) / max(1, piece.ended - piece.began)
        return piece.left + min(1.0, max(0.0, share)) * (piece.right - piece.left)

    def at(self, x: float) -> float:
        """Return the time that is drawn there."""
        piece = next((p for p in self.pieces if x < p.right), self.pieces[-1])
        share = (x - piece.left) / max(1e-9, piece.right - piece.left)
        return piece.began + min(1.0, max(0.0, share)) * (piece.ended - piece.began)

    def ticks(self) -> Iterator[tuple[float, str]]:
        """Yield places that are told the time, and what is told there."""
        open_ones = [piece for piece in self.pieces if not piece.is_folded]
        length = sum(piece.ended - piece.began for piece in open_ones)
        width = sum(piece.right - piece.left for piece in open_ones)
        least = length * _TICK_GAP / max(1.0, width)
        step = next((step for step in _STEPS if step >= least), None)
        if step is None:
            step = _DAY * max(1, round(least / _DAY + 0.5))
        is_short = length < _SHORT
        first = self.began if is_short else -_offset(self.began)
        last = self.left - _TICK_GAP
        # What a fold, and the end, says of itself needs room.
        limits = [piece.left for piece in self.folds] + [self.right]
        for piece in open_ones:
            limit = min(x for x in limits if x >= piece.right) - _TICK_GAP * 0.7
            if piece.left > self.left:
                last = max(last, piece.left - _TICK_GAP / 4)
            at = first - (first - piece.began) // step * step
            while at <= piece.ended:
                x = self.x(at)
                if x - last >= _TICK_GAP * 0.7 and x <= limit:
                    yield x, _told(at, step, self.began if is_short else None)
                    last = x
                at += step


def merged(spans: Iterable[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """Yield the union of spans that are sorted by beginning."""
    began: int | None = None
    ended = 0
    for start, end in spans:
        if began is None:
            began, ended = start, end
        elif start <= ended:
            ended = max(ended, end)
        else:
            yield began, ended
            began, ended = start, end
    if began is not None:
        yield began, ended


def _pieces(
    busy: list[tuple[int, int]], left: float, right: float
) -> Iterator[Stretch]:
    """Yield the pieces of an axis; open ones have room by how long they are."""
    first, last = busy[0][0], busy[-1][1]
    limit = max(_LEAST_FOLDED, _FOLDED * (last - first))
    bounds = [first]
    folded: list[tuple[int, int]] = []
    for (_, ended), (began, _) in pairwise(busy):
        if began - ended > limit:
            folded.append((ended, began))
            bounds += [ended, began]
    bounds.append(last)
    room = right - left - _FOLD_WIDTH * len(folded)
    length = max(1, last - first - sum(end - begin for begin, end in folded))
    x = left
    for place, (begin, end) in enumerate(pairwise(bounds)):
        is_folded = place % 2 == 1
        width = _FOLD_WIDTH if is_folded else room * (end - begin) / length
        is_last = place == len(bounds) - 2
        yield Stretch(begin, end, x, right if is_last else x + width, is_folded)
        x += width


def _offset(ms: int) -> int:
    """Return how far the local time zone is ahead, in milliseconds."""
    offset = to_datetime(ms).astimezone().utcoffset()
    return 0 if offset is None else int(offset.total_seconds() * 1000)


def _told(at: int, step: int, began: int | None) -> str:
    if began is not None:
        since = at - began
        # Tenths of a second would be the same at two ticks.
        told = f"{since}ms" if step < _TENTH else fmt.duration(since)
        return f"+{told}" if since > 0 else "0"
    text = fmt.date_time(at)
    if step >= _DAY:
        return text[5:10]
    return text[11:16] if step >= _MINUTE else text[11:19]
