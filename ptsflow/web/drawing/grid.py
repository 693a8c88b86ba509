"""The last runs of a workflow as a grid: a column a container, a row a step."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import groupby

from markupsafe import Markup
from msgspec import Struct

from ptsflow.core.model import Status
from ptsflow.display import format as fmt
from ptsflow.display.format import KILLED, SYMBOLS
from ptsflow.web.drawing.svg import (
    columns_of,
    drawing,
    fitted,
    linked,
    mark,
    named,
    number,
    text_of,
)

#: How many columns and rows are shown at the most.
_COLUMNS, _ROWS = 48, 100
#: A cell beside its gap: `drawing.css` has the same in the dashes of runs of cells.
_CELL, _STEP = 12, 14
#: Where the cells begin at the least, the width of a column of text, and how many columns
#: of text a name of a step has.
_LEFT, _COLUMN, _NAME = 88, 7, 28
#: How high the bars are that tell how long runs took.
_HEAD, _TALL, _LOW = 30, 26, 10
#: How high the line of times is, and how far two times are apart at the least.
_TIMES, _APART = 14, 42
_DAY = 86_400_000


class GridColumn(Struct, frozen=True, kw_only=True):
    """A container as a column of a grid."""

    name: str
    #: The status to show, in a word: `Look.stands.text`, say.
    stands: str
    status: Status
    #: When it began, or was made.
    at: int | None = None
    #: By the names of steps.
    steps: Mapping[str, Status]
    #: The address of its page.
    href: str | None = None
    #: How long it took, in milliseconds; None if that is not known.
    took_ms: int | None = None
    is_killed: bool = False
    #: The steps that ran when it was killed.
    killed: Collection[str] = ()


class _Detail(Struct, frozen=True):
    rows: int
    chars: int
    #: Whether a cell that is neither done nor pending says so by itself, and has a symbol.
    apart: bool


def grid(workflow: str, steps: Sequence[str], columns: Sequence[GridColumn]) -> Markup:
    """Draw the last 48 containers of a workflow.

    Args:
        workflow: its name.
        steps: the names of the steps to show, in order.
        columns: the containers, the oldest first.
    """
    columns = columns[-_COLUMNS:]
    label = f"The last {fmt.many(len(columns), 'run', 'runs')} of {workflow}"
    details = [
        _Detail(_ROWS, 100, apart=True),
        _Detail(_ROWS, 60, apart=False),
        _Detail(40, 30, apart=False),
        _Detail(12, 16, apart=False),
    ]
    return fitted(partial(_grid, label, steps, columns), details)


def _grid(
    label: str, steps: Sequence[str], columns: Sequence[GridColumn], detail: _Detail
) -> Markup:
    shown = _shown(steps, columns, detail.rows)
    longest = max((column.took_ms or 0 for column in columns), default=0)
    names = [_row_name(name, place, detail) for place, name in enumerate(shown)]
    if longest:
        said = f"up to {fmt.duration(longest)}"
        names.append(mark("text", "dim", "", said, x=2, y=_TIMES + _HEAD - 5))
    left = max([_LEFT, *(8 + _COLUMN * min(_NAME, columns_of(name)) for name in shown)])
    more = len(steps) - len(shown)
    marks = [named(names, left), *_times(columns, left)]
    bottom = _TIMES + _HEAD + len(shown) * _STEP
    if more > 0:
        said = f"and {fmt.many(more, 'step', 'steps')} more"
        marks.append(mark("text", "dim", "", said, x=2, y=bottom + 12))
    for place, column in enumerate(columns):
        cells = _column(column, shown, (left + place * _STEP, longest), detail)
        marks.append(linked(cells, column.href))
    size = (left + max(4, len(columns)) * _STEP, bottom + (18 if more > 0 else 2))
    return drawing("grid", label, size, marks)


def _shown(
    steps: Sequence[str], columns: Sequence[GridColumn], most: int
) -> Sequence[str]:
    """Return the steps to show: of many, those that failed or run somewhere come first."""
    if len(steps) <= most:
        return steps
    quiet = {Status.DONE, Status.PENDING, Status.SKIPPED}

    def is_quiet(name: str) -> bool:
        return all(c.steps.get(name, Status.PENDING) in quiet for c in columns)

    kept = set(sorted(steps, key=is_quiet)[:most])
    return [name for name in steps if name in kept]


def _row_name(name: str, place: int, detail: _Detail) -> str:
    y = _TIMES + _HEAD + (place + 1) * _STEP - 3
    body = text_of(name, min(_NAME, detail.chars))
    return mark("text", "name", text_of(name, detail.chars), body, x=2, y=y)


def _times(columns: Sequence[GridColumn], left: float) -> Iterator[str]:
    """Yield when columns began, as far as there is room: the hour, or another day.

    Of runs that are days apart, each says its day.
    """
    ats = [column.at for column in columns if column.at is not None]
    is_daily = len(ats) > 1 and (ats[-1] - ats[0]) / (len(ats) - 1) > _DAY * 0.8
    told_day, free = "", left
    for place, column in enumerate(columns):
        x = left + place * _STEP
        if column.at is None or x < free:
            continue
        text = fmt.date_time(column.at)
        day = text[5:10]
        is_other = bool(told_day) and day != told_day
        said = day if is_daily or is_other else text[11:16]
        # What the last columns say must end within the drawing.
        right = left + len(columns) * _STEP
        if x + _APART - 6 > max(right, left + _APART):
            break
        yield mark("text", "dim", text, text_of(said, 5), x=x, y=10)
        told_day, free = day, x + _APART


def _column(
    column: GridColumn,
    steps: Sequence[str],
    where: tuple[float, int],
    detail: _Detail,
) -> str:
    """Return a column that is at a place, where the longest run took so long."""
    x, longest = where
    took = "" if column.took_ms is None else f", {fmt.duration(column.took_ms)}"
    head = text_of(f"{column.name}: {column.stands}{took}", detail.chars)
    middle = number(x + _CELL / 2)
    meaning = KILLED if column.is_killed else column.status
    marks = [_head(meaning, x, (column.took_ms or 0) / max(1, longest))]
    if meaning not in (Status.DONE, Status.PENDING, KILLED):
        sign = SYMBOLS[column.status]
        marks.append(
            mark("text", "sign", "", sign, x=x + _CELL / 2, y=_TIMES + _HEAD - 5)
        )
    lines: dict[Status, str] = {}
    found = [None if n in column.killed else column.steps.get(n) for n in steps]
    for place, (status, size) in _stretches(found):
        y = _TIMES + _HEAD + place * _STEP
        is_usual = status in (Status.DONE, Status.PENDING)
        if is_usual or not detail.apart:
            line = f"M{middle} {y}v{size * _STEP - (_STEP - _CELL)}"
            lines[status] = lines.get(status, "") + line
            continue
        for row in range(size):
            said = f"{steps[place + row]}: {status} in {column.name}"
            marks += _cell(status, (x, y + row * _STEP), text_of(said, detail.chars))
    marks += [
        mark("path", f"cells is-{status}", "", d=line) for status, line in lines.items()
    ]
    for place, name in enumerate(steps):
        if name in column.killed:
            title = text_of(f"{name}: {KILLED} in {column.name}", detail.chars)
            y = _TIMES + _HEAD + place * _STEP
            marks.append(_box(KILLED, title, (x, y), (_CELL, _CELL)))
    return f"<g><title>{head}</title>{''.join(marks)}</g>"


def _head(meaning: str, x: float, share: float) -> str:
    """Return what is above the cells of a column: how its run stands, how long it took."""
    tall = max(_LOW, _TALL * share)
    top = _TIMES + _HEAD - 4 - tall
    return _box(f"{meaning} head", "", (x, top), (_CELL, tall))


def _box(
    meaning: str,
    title: str | Markup,
    corner: tuple[float, float],
    size: tuple[float, float],
) -> str:
    (x, y), (width, height) = corner, size
    return mark("rect", f"is-{meaning}", title, x=x, y=y, width=width, height=height)


def _stretches(
    statuses: Iterable[Status | None],
) -> Iterator[tuple[int, tuple[Status, int]]]:
    """Yield where neighbours of one status begin, the status, and how many they are."""
    place = 0
    for status, group in groupby(statuses):
        size = len(list(group))
        if status is not None:
            yield place, (status, size)
        place += size


def _cell(status: Status, corner: tuple[float, float], title: str) -> list[str]:
    x, y = corner
    middle = x + _CELL / 2
    line = f"M{number(middle)} {number(y)}v{_CELL}"
    return [
        mark("path", f"cells is-{status}", title, d=line),
        mark("text", "sign", title, SYMBOLS[status], x=middle, y=y + 10),
    ]
