"""When the attempts of a container ran: a row a step, a segment an attempt."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from heapq import merge

from markupsafe import Markup
from msgspec import Struct

from ptsflow.core.insight import Spans
from ptsflow.core.model import Attempt, Status, TaskRecord
from ptsflow.display import format as fmt
from ptsflow.display.format import SYMBOLS
from ptsflow.web.drawing.attempt_bars import (
    AttemptBar,
    bars_of,
    lanes_of,
    most_urgent,
)
from ptsflow.web.drawing.axis import Axis, merged
from ptsflow.web.drawing.axis_marks import TOP, expected_end, folds, ticks
from ptsflow.web.drawing.density import density, union
from ptsflow.web.drawing.svg import (
    columns_of,
    drawing,
    fitted,
    linked,
    mark,
    named,
    number,
    segment,
    text_of,
)
from ptsflow.web.drawing.zoom import TimelineView, parts_of

#: Up to so many items of a step are drawn one by one.
MOST_DRAWN = 50
#: How many of the longest items of larger steps are drawn.
LONGEST = 10

_WIDTH, _MARGIN = 1100, 8
#: How much room names may have, and a column of text. On narrow screens the page moves
#: drawings with much room to the left: ptsflow.css has the same numbers.
_LEFTS, _COLUMN = (100, 150, 190, 230, 260), 7
_ROW, _LANE = 22, 8
#: How many times as long as the longest attempt one may have run that was killed.
_LIKELY = 2
#: How many columns of text a name has.
_NAME = 33


class StepTimes(Struct, frozen=True, kw_only=True):
    """A step as a timeline shows it."""

    name: str
    status: Status
    #: How many tasks it has.
    total: int = 1
    #: Its tasks; of more than `MOST_DRAWN` items the 10 longest, and those that failed.
    tasks: Sequence[TaskRecord] = ()
    #: Of more than `MOST_DRAWN` items: when all of them ran.
    spans: Spans | None = None


class _Detail(Struct, frozen=True):
    """How much is drawn."""

    rows: int
    #: Attempts of a row, and parts of a strip of items.
    bars: int
    parts: int
    #: Columns of a title.
    chars: int


_How = tuple[TimelineView, _Detail]

_ALL = TimelineView()
_DETAILS = (
    _Detail(150, 120, 200, 200),
    _Detail(150, 60, 150, 80),
    _Detail(100, 24, 60, 40),
    _Detail(60, 6, 20, 24),
    _Detail(24, 4, 12, 20),
    _Detail(12, 3, 5, 12),
)


def timeline(
    steps: Sequence[StepTimes],
    ledgers: Mapping[str, Sequence[Attempt]],
    *,
    now: int,
    until: int | None = None,
    view: TimelineView = _ALL,
) -> Markup:
    """Draw when the attempts of a container ran, and how long they waited in between.

    Args:
        steps: the steps, in order.
        ledgers: by the names of tasks, what `Store.attempts` or `ledgers` returns.
        now: the time: attempts that run reach up to it.
        until: when a live run will be over, as its runner expects.
        view: the part of it that is shown, and where its marks lead.
    """
    bars = {
        step.name: [
            bar
            for task in step.tasks
            for bar in bars_of(task, ledgers.get(task.name, ()), now)
        ]
        for step in steps
    }
    likely = _LIKELY * _longest_known(bars.values())
    busy = [_busy(step, bars[step.name], now, likely) for step in steps]
    spans = list(merge(*busy))
    if until is not None and until > now:
        spans.append((now, until))
    if not spans:
        note = mark("text", "dim", "", "Nothing has run yet.", x=4, y=15)
        return drawing("note", "When the steps ran", (160, TOP), [note])
    if view.window is not None:
        # A part that was chosen is shown as it is: nothing is folded.
        spans = [view.window]
        bars = {name: _within(own, *view.window) for name, own in bars.items()}
    axis = Axis(spans, _left(steps), _WIDTH - _MARGIN)
    expected = until if until is not None and now < until <= axis.ended else None
    draw = partial(_timeline, steps, bars, axis, (now, expected), view)
    return fitted(draw, _DETAILS)


def _left(steps: Iterable[StepTimes]) -> float:
    """Return where times begin: beside the names."""
    columns = max((columns_of(s.name + _count(s)) for s in steps), default=0)
    needed = 26 + _COLUMN * columns
    return next((left for left in _LEFTS if left >= needed), _LEFTS[-1])


def _within(bars: Iterable[AttemptBar], since: int, till: int) -> list[AttemptBar]:
    return [bar for bar in bars if bar.ended >= since and bar.began <= till]


def _longest_known(bars: Iterable[Sequence[AttemptBar]]) -> int:
    """Return how long the longest attempt took of which that is known."""
    known = [bar for own in bars for bar in own if bar.meaning != "wait"]
    return max((b.ended - b.began for b in known if not b.is_vague), default=0)


def _busy(
    step: StepTimes, bars: Sequence[AttemptBar], now: int, likely: int
) -> Sequence[tuple[int, int]]:
    """Return when attempts of a step ran, in order.

    One that was killed ran for as long as is likely, not until a run found it.
    """
    spans = sorted(
        (bar.began, min(bar.ended, bar.began + likely) if bar.is_vague else bar.ended)
        for bar in bars
        if bar.meaning != "wait"
    )
    if step.spans is not None:
        spans = list(merge(spans, union(step.spans, now)))
    return list(merged(spans))


# -- drawing ----------------------------------------------------------------


def _timeline(
    steps: Sequence[StepTimes],
    bars: Mapping[str, Sequence[AttemptBar]],
    axis: Axis,
    times: tuple[int, int | None],
    view: TimelineView,
    detail: _Detail,
) -> Markup:
    shown = _shown(steps, detail.rows)
    rows, names = list[str](), list[str]()
    y = float(TOP)
    for step in shown:
        names.append(_label(step, y, (view, detail)))
        marks, height = _row(step, bars[step.name], axis, y, (view, detail))
        rows += marks
        y += height
    left = len(steps) - len(shown)
    if left:
        more = f"and {fmt.many(left, 'step', 'steps')} more"
        names.append(mark("text", "dim", "", more, x=4, y=y + 15))
        y += _ROW
    vague = [bar for own in bars.values() for bar in own if bar.is_vague]
    back = [*ticks(axis, y), *folds(axis, y, vague), *expected_end(axis, y, times)]
    label = f"When the steps ran: {fmt.date_time(axis.began)} to {fmt.date_time(axis.ended)}"
    front = [named(names, axis.left), *parts_of(axis, view, TOP - 4)]
    return drawing(
        f"timeline from-{axis.left:.0f}", label, (_WIDTH, y + 4), [*back, *rows, *front]
    )


def _shown(steps: Sequence[StepTimes], most: int) -> Sequence[StepTimes]:
    """Return the steps to show: of many, first those that failed, run, wait, or ran."""
    if len(steps) <= most:
        return steps
    order = (Status.FAILED, Status.RUNNING, Status.WAITING, Status.DONE)

    def urgency(step: StepTimes) -> int:
        return order.index(step.status) if step.status in order else len(order)

    kept = {step.name for step in sorted(steps, key=urgency)[:most]}
    return [step for step in steps if step.name in kept]


def _row(
    step: StepTimes,
    bars: Sequence[AttemptBar],
    axis: Axis,
    y: float,
    how: _How,
) -> tuple[list[str], float]:
    """Return the marks of a step, and how high its row is."""
    _, detail = how
    marks: list[str] = []
    if step.total <= 1 and step.spans is None:
        marks += _segments(bars, axis, (y + 5, 12), how)
        return marks, _ROW
    top = y + 4
    if step.spans is not None:
        marks += density(step.spans, axis, (top, 14), detail.parts)
        marks += _failures(bars, axis, (top, 14), how)
        top += 18
        longest = {task.name for task in _longest(step.tasks)}
        bars = [bar for bar in bars if bar.task.name in longest]
    for lane in lanes_of(most_urgent(bars, detail.bars), axis):
        marks += _segments(lane, axis, (top, _LANE - 2), how)
        top += _LANE
    return marks, max(_ROW, top - y + 4)


def _label(step: StepTimes, y: float, how: _How) -> str:
    view, detail = how
    count = _count(step)
    name = text_of(step.name, min(_NAME - len(count), detail.chars))
    title = text_of(f"{step.name}: {step.status}", detail.chars)
    sign = f'<tspan class="is-{step.status}">{SYMBOLS[step.status]}</tspan>'
    body = Markup(f"{sign} {name}{count}")  # noqa: S704 - its parts are escaped
    label = mark("text", "name", title, body, x=4, y=y + 15)
    is_task = step.spans is None and step.total <= 1
    return linked(label, view.link(step.name) if view.link and is_task else None)


def _count(step: StepTimes) -> str:
    """Return how many tasks a step has that fans out."""
    return f" ({step.total})" if step.spans is not None or step.total > 1 else ""


def _segments(
    bars: Sequence[AttemptBar],
    axis: Axis,
    place: tuple[float, float],
    how: _How,
) -> Iterator[str]:
    """Yield the bars of a row."""
    view, detail = how
    y, height = place
    for bar in most_urgent(bars, detail.bars):
        title = text_of(bar.title, detail.chars)
        x = axis.x(bar.began)
        if bar.meaning == "wait":
            line = f"M{number(x)} {number(y + height / 2)}H{number(axis.x(bar.ended))}"
            yield mark("path", f"wait tall-{height:.0f}", title, d=line)
            continue
        x, width = segment(x, axis.x(bar.ended), axis.right)
        rect = mark(
            "rect", f"is-{bar.meaning}", title, x=x, y=y, width=width, height=height
        )
        yield linked(rect, None if view.link is None else view.link(bar.task.name))
        if bar.meaning == Status.FAILED:
            yield _struck(x, width, y + height / 2)


def _struck(x: float, width: float, y: float) -> str:
    """Return the line through what failed, for those who do not see its colour."""
    return mark("path", "struck", "", d=f"M{number(x)} {number(y)}h{number(width)}")


def _longest(tasks: Sequence[TaskRecord]) -> list[TaskRecord]:
    known = [task for task in tasks if task.task_duration_ms is not None]
    return sorted(known, key=lambda task: -(task.task_duration_ms or 0))[:LONGEST]


def _failures(
    bars: Sequence[AttemptBar],
    axis: Axis,
    place: tuple[float, float],
    how: _How,
) -> Iterator[str]:
    """Yield a mark for each failed item, where it failed."""
    view, detail = how
    y, height = place
    failed = [
        bar
        for bar in bars
        if bar.task.status is Status.FAILED and bar.meaning == Status.FAILED
    ]
    for bar in failed[-detail.bars :]:
        x, width = segment(axis.x(bar.ended), 0, axis.right)
        title = text_of(bar.title, detail.chars)
        rect = mark("rect", "is-failed", title, x=x, y=y, width=width, height=height)
        yield linked(rect, None if view.link is None else view.link(bar.task.name))
        yield _struck(x, width, y + height / 2)
