"""Small drawings: items as a strip, runs as bars, durations as a line."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from itertools import groupby, pairwise
from typing import NamedTuple

from markupsafe import Markup

from ptsflow.core.insight import RunRecord, Spans
from ptsflow.core.model import Status
from ptsflow.display import format as fmt
from ptsflow.display.format import KILLED
from ptsflow.display.history_table import WORDS, meaning_of, took_ms
from ptsflow.web.drawing.svg import drawing, fitted, linked, mark, number, text_of

#: How many cells a strip has at the most, and how wide it is.
_CELLS, _WIDTH = 400, 800
_STRIP_HEIGHT = 20
#: A bar beside its gap, in units; the height of the longest bar; how many bars there are.
_BAR, _STEP, _TALL, _BARS = 10, 14, 100, 100
#: The size of a line, and how many points it has at the most.
_LINE = (120, 28)
_POINTS = 100
#: How high the bar of a run is of which nobody knows how long it took.
_UNKNOWN = 10.0
#: Bars of runs that took more times what is usual are cut.
_TIMES_USUAL = 3
#: How much room is right of the bars.
_SAID = 90


# -- strip ------------------------------------------------------------------


class _Cell(NamedTuple):
    """What a cell of a strip shows: the most frequent status, and how many failed of ten."""

    status: Status
    failed: int


def strip(statuses: Sequence[Status], total: int) -> Markup:
    """Draw the items of a step: up to 400 cells, each of one item or of neighbours.

    Args:
        statuses: how the items stand that began, in the order of their beginnings.
        total: how many items there are; those left have not begun.
    """
    statuses = statuses[:total] if total < len(statuses) else statuses
    label = f"How {fmt.many(total, 'item', 'items')} stand"
    draw = partial(_strip, statuses, total, label)
    return fitted(draw, (_CELLS, 200, 100, 50))


def in_order(spans: Spans) -> list[Status]:
    """Return how items stand, in the order of their beginnings."""
    places = sorted(range(len(spans.began)), key=spans.began.__getitem__)
    return [spans.statuses[place] for place in places]


def _strip(statuses: Sequence[Status], total: int, label: str, most: int) -> Markup:
    count = min(most, max(1, total))
    edges = [total * place // count for place in range(count + 1)]
    found = [_cell(statuses[a:b], b - a) for a, b in pairwise(edges)]
    width = _WIDTH / count
    marks, place = [], 0
    for cell, group in groupby(found):
        size = len(list(group))
        first, last = edges[place], edges[place + size]
        title = _strip_title(statuses[first:last], first, last)
        marks += _cells(cell, place * width, size * width, title)
        place += size
    return drawing("strip", label, (_WIDTH, _STRIP_HEIGHT), marks)


def _cell(statuses: Sequence[Status], size: int) -> _Cell:
    counts = Counter(statuses)
    counts[Status.PENDING] += size - len(statuses)
    failed = counts[Status.FAILED]
    # Of equally many, what is going on is shown.
    order = (Status.RUNNING, Status.WAITING, *fmt.ORDER)
    status = max(order, key=lambda found: counts[found])
    return _Cell(status, -(-10 * failed // size) if failed else 0)


def _strip_title(statuses: Sequence[Status], first: int, last: int) -> Markup:
    counts = Counter(statuses)
    counts[Status.PENDING] += last - first - len(statuses)
    where = f"{first + 1} to {last}" if last > first + 1 else f"{last}"
    return text_of(f"{where}: {fmt.in_words(counts)}", 100)


def _cells(cell: _Cell, x: float, width: float, title: Markup) -> list[str]:
    """Return the marks of neighbouring cells that look alike."""
    tall = _STRIP_HEIGHT
    marks = [
        mark("rect", f"is-{cell.status}", title, x=x, y=0, width=width, height=tall)
    ]
    if cell.failed and cell.status is not Status.FAILED:
        # A single failed item among many is seen, too.
        part = max(6, tall * cell.failed / 10)
        marks.append(
            mark(
                "rect", "is-failed", title, x=x, y=tall - part, width=width, height=part
            )
        )
    return marks


# -- bars -------------------------------------------------------------------


def bars(
    runs: Sequence[RunRecord],
    *,
    now: int,
    usual_ms: float | None = None,
    link: Callable[[RunRecord], str | None] | None = None,
) -> Markup:
    """Draw how long runs took: a bar for each of the newest 100, the oldest at the left.

    Args:
        runs: the runs, the newest first, as stores return them.
        now: the time.
        usual_ms: how long such a run usually takes: a line across the bars.
        link: returns the address of a run.
    """
    label = f"How long the last {fmt.many(min(len(runs), _BARS), 'run', 'runs')} took"
    draw = partial(_bars, runs, now, usual_ms, link, label)
    return fitted(draw, ((_BARS, 80), (_BARS, 40), (50, 20)))


def _bars(
    runs: Sequence[RunRecord],
    now: int,
    usual_ms: float | None,
    link: Callable[[RunRecord], str | None] | None,
    label: str,
    detail: tuple[int, int],
) -> Markup:
    most, chars = detail
    shown = list(reversed(runs[:most]))
    longest = max([took_ms(run, now) or 0 for run in shown] + [usual_ms or 0, 1])
    # One that hung must not make all others flat.
    if usual_ms:
        longest = min(longest, max(1, _TIMES_USUAL * usual_ms))
    size = (max(len(shown) * _STEP, 10 * _STEP) + _SAID, _TALL + 24)
    marks = [_base(size[0])]
    for place, run in enumerate(shown):
        bar = _run_bar(run, now, longest, place * _STEP + 2, chars)
        marks.append(linked(bar, None if link is None else link(run)))
    if usual_ms is not None:
        y = _TALL + 4 - _TALL * usual_ms / longest
        title = f"usually {fmt.duration(usual_ms)}"
        marks.append(
            mark("path", "usual", title, d=f"M0 {number(y)}H{number(size[0] - _SAID)}")
        )
        marks.append(
            mark(
                "text",
                "dim",
                title,
                fmt.duration(usual_ms),
                x=size[0] - _SAID + 4,
                y=max(12.0, y + 4),
            )
        )
    return drawing("bars", label, size, marks)


def _base(width: float) -> str:
    return mark("path", "axis", "", d=f"M0 {_TALL + 4.5}H{number(width - _SAID)}")


def _run_bar(run: RunRecord, now: int, longest: float, x: float, chars: int) -> str:
    status, word = WORDS[run.status]
    took = took_ms(run, now)
    tall = (
        _UNKNOWN
        if took is None
        else min(_TALL, max(4.0, _TALL * max(0, took) / longest))
    )
    time = fmt.date_time(run.began_at)[:16]
    said = f"{time} {word}{'' if took is None else f' after {fmt.duration(took)}'}"
    title = text_of(f"{said}, {run.container}", chars + 30)
    top = _TALL + 4 - tall
    # What was stopped waits for nothing, so that it is as pale as what has not begun.
    look = KILLED if meaning_of(run) == KILLED else status
    rect = mark("rect", f"is-{look}", title, x=x, y=top, width=_BAR, height=tall)
    if took is not None and took > longest:
        # Two gaps tell that the bar is cut.
        gaps = "".join(f"M{number(x)} {top + y}h{_BAR}" for y in (7, 13))
        rect += mark("path", "struck", "", d=gaps)
    sign = fmt.SYMBOLS[status]
    return rect + mark("text", "sign", title, sign, x=x + _BAR / 2, y=_TALL + 18)


# -- sparkline --------------------------------------------------------------


def sparkline(durations: Sequence[float | None], name: str) -> Markup:
    """Draw how the duration of a step changed over the last 100 runs.

    Args:
        durations: in milliseconds, the oldest first; None for a run without one.
        name: of the step.
    """
    kept = durations[-_POINTS:]
    known = [value for value in kept if value is not None]
    width, height = _LINE
    highest, lowest = max(known, default=0), min(known, default=0)
    spread = highest - lowest or 1
    gap = (width - 8) / max(1, len(kept) - 1)
    points = [
        (4 + place * gap, 4 + (height - 8) * (highest - value) / spread)
        for place, value in enumerate(kept)
        if value is not None
    ]
    said = "no run tells"
    if known:
        between = f"{fmt.duration(lowest)} to {fmt.duration(highest)}"
        said = f"{between}, last {fmt.duration(known[-1])}"
    title = text_of(f"{name}: {said}", 120)
    line = " ".join(f"{number(x)},{number(y)}" for x, y in points)
    marks = [mark("polyline", "line", title, points=line)] if len(points) > 1 else []
    if points:
        marks.append(
            mark("circle", "last", title, cx=points[-1][0], cy=points[-1][1], r=3)
        )
    return drawing("sparkline", f"{name}: {said}", _LINE, marks)
