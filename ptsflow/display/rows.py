"""The rows of a step: its own, below it those of its items. Pure."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from ptsflow.core import texts
from ptsflow.core.model import Status, TaskRecord
from ptsflow.display import format as fmt
from ptsflow.display.format import SYMBOLS, Line, Piece
from ptsflow.display.step_board import StepBoard

#: How many columns items are indented below their step.
_DEEPER = 4
#: The longest and the shortest bar of a task, in columns.
_LONGEST_BAR, _SHORTEST_BAR = 24, 6
#: Columns of a row beside name and bar: symbol, percentage, time and a short text.
_BESIDE = 33
_SHORTEST_NAME = 12


class Columns(NamedTuple):
    """How wide the columns of all rows are."""

    name: int
    #: Of bars; 0 where there is no room for bars.
    bar: int


def columns_of(steps: Sequence[StepBoard], width: int, most: int) -> Columns:
    """Return the columns: bars first, then names as wide as they are and there is room.

    Args:
        steps: the steps that are shown.
        width: columns of the terminal.
        most: the most items of a step that are shown.
    """
    bar = max(0, min(_LONGEST_BAR, (width - 52) // 2))
    bar = bar if bar >= _SHORTEST_BAR else 0
    longest = max((_indented(step, most) for step in steps), default=0)
    return Columns(min(longest, max(_SHORTEST_NAME, width - bar - _BESIDE)), bar)


def _indented(step: StepBoard, most: int) -> int:
    own = fmt.cells(fmt.clean(step.summary.name))
    if step.summary.each is None:
        return own
    tasks = [
        *_first(step.running, most),
        *_first(step.waiting, most),
        *_first(step.failed, most),
    ]
    longest = max((fmt.cells(fmt.clean(task.name)) for task in tasks), default=0)
    return max(own, longest + _DEEPER if longest else 0)


def _first(tasks: Mapping[str, TaskRecord], most: int) -> list[TaskRecord]:
    return list(itertools.islice(tasks.values(), max(0, most)))


def shares(wants: Sequence[int], room: int) -> list[int]:
    """Share out rows: nobody gets more than wanted, and small wishes are met first."""
    given = [0] * len(wants)
    order = sorted(range(len(wants)), key=lambda i: wants[i])
    for place, index in enumerate(order):
        given[index] = min(wants[index], room // (len(order) - place))
        room -= given[index]
    return given


# -- a step -----------------------------------------------------------------


def step_rows(
    step: StepBoard, now: int, columns: Columns, blocked: str, since: int | None
) -> list[Line]:
    """Return the row of a step, and one more where its body is over its limits.

    Args:
        step: the step.
        now: the time in milliseconds since the epoch.
        columns: how wide the columns are.
        blocked: what the step waits for; "" if for nothing.
        since: when the runner claimed the container; None where no runner lives.
    """
    name = cut_middle(fmt.clean(step.summary.name), columns.name)
    line = [
        Piece(f" {SYMBOLS[step.status]} ", step.status),
        Piece(name + " " * (columns.name - fmt.cells(name)), "step"),
    ]
    if step.summary.each is not None and step.single is None:
        return [line + _fan_out(step, now, columns, blocked, since)]
    task = step.single
    if task is None:
        return [[*line, Piece(f"  {blocked}", "dim")]]
    return [line + _task_cells(task, now, columns, blocked), *_late(task, "   └ ")]


def _fan_out(
    step: StepBoard, now: int, columns: Columns, blocked: str, since: int | None
) -> Line:
    if step.total == 0:
        return [Piece(f"  {blocked or 'no items'}", "dim")]
    percentage = fmt.nearly(step.percentage, is_complete=step.is_settled)
    line: Line = [Piece("  ")]
    if not step.is_settled:
        line += _bar(percentage, columns)
    line.append(Piece(f"{fmt.percent(percentage):>4}  "))
    line += fmt.counted(step.counts)
    took = _time_of(step, now, since)
    if took is not None:
        line.append(Piece(f"  {fmt.duration(took)}", "dim"))
    return line


def _time_of(step: StepBoard, now: int, since: int | None) -> int | None:
    """Return how long a step has been going on, in milliseconds, as far as is known."""
    if step.begun is None:
        return None
    if step.is_settled or since is None:
        return step.took_ms
    return now - max(step.begun, since)


def _bar(percentage: float, columns: Columns) -> Line:
    return [*fmt.bar(percentage, columns.bar), Piece(" ")] if columns.bar else []


def _task_cells(task: TaskRecord, now: int, columns: Columns, blocked: str) -> Line:
    line: Line = [Piece("  ")]
    if task.status is Status.RUNNING:
        line += _bar(task.percentage_complete, columns)
        line.append(Piece(f"{fmt.percent(task.percentage_complete):>4}  "))
    took = _took(task, now)
    if took:
        line.append(Piece(f"{took:>6}  "))
    text, _ = texts.split_late(fmt.what(task, now))
    if task.status is Status.PENDING and not text and blocked:
        text = blocked
    meaning = task.status if task.status in (Status.FAILED, Status.WAITING) else "dim"
    return [*line, Piece(text, meaning)]


def _took(task: TaskRecord, now: int) -> str:
    if task.status is Status.RUNNING:
        begun = task.last_invoked_at
        return "" if begun is None else fmt.duration(now - begun)
    if task.status in (Status.DONE, Status.FAILED):
        return fmt.duration(task.task_duration_ms)
    return ""


def _late(task: TaskRecord, indent: str) -> list[Line]:
    """Return a row that says what can be done about an attempt over its limits."""
    if task.status is not Status.RUNNING:
        return []
    _, late = texts.split_late(fmt.clean(task.status_text))
    return [[Piece(indent, "dim"), Piece(late, "notice")]] if late else []


# -- items ------------------------------------------------------------------


def rows_wanted(step: StepBoard) -> int:
    """Return how many rows show all there is to say of a step's items."""
    if step.summary.each is None or step.total == 0:
        return 0
    shown = len(step.running) + len(step.waiting) + len(step.failed)
    late = sum(bool(_late(task, "")) for task in _first(step.running, 50))
    return shown + late + (_left(step, shown) > 0) if shown else 0


def _left(step: StepBoard, shown: int) -> int:
    """Return how many items are neither shown nor over."""
    return step.total - step.counts[Status.DONE] - step.counts[Status.SKIPPED] - shown


def item_rows(step: StepBoard, now: int, columns: Columns, room: int) -> list[Line]:
    """Return at most `room` rows: running, waiting and failed items, and the rest counted."""
    groups = (step.running, step.waiting, step.failed)
    shown = sum(map(len, groups))
    if step.summary.each is None or step.total == 0 or not shown:
        return []
    room = min(room, rows_wanted(step))
    if shown > room or _left(step, shown) > 0:
        room -= 1  # for the rest
    tasks = [
        task
        for group, most in zip(groups, shares([*map(len, groups)], room), strict=True)
        for task in _first(group, most)
    ]
    chosen: list[TaskRecord] = []
    for task in tasks:
        room -= 1 + len(_late(task, ""))
        if room >= 0:
            chosen.append(task)
    left = _left(step, len(chosen))
    lines: list[Line] = []
    for place, task in enumerate(chosen, 1):
        is_last = place == len(chosen) and left <= 0
        lines.append(_item(task, now, columns, "└" if is_last else "├"))
        lines += _late(task, "         " if is_last else "   │     ")
    if chosen and left > 0:
        lines.append([Piece(f"   └ … {left} more", "dim")])
    return lines


def _item(task: TaskRecord, now: int, columns: Columns, branch: str) -> Line:
    room = max(1, columns.name - _DEEPER)
    name = cut_middle(fmt.clean(task.name), room)
    return [
        Piece(f"   {branch} ", "dim"),
        Piece(f"{SYMBOLS[task.status]} ", task.status),
        Piece(name + " " * (room - fmt.cells(name))),
        *_task_cells(task, now, columns, ""),
    ]


def cut_middle(text: str, width: int) -> str:
    """Return the text in at most `width` columns; an ellipsis stands for its middle.

    Names of items often differ in their ends alone.
    """
    if fmt.cells(text) <= width:
        return text
    tail = fmt.cut(text[::-1], (width + 1) // 2)[-2::-1]
    return fmt.cut(text, width - fmt.cells(tail)) + tail
