"""The steps of a container and what each waits for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import partial

from markupsafe import Markup
from msgspec import Struct

from ptsflow.core.model import Status, StepSummary
from ptsflow.core.names import listed
from ptsflow.display import format as fmt
from ptsflow.display.format import SYMBOLS
from ptsflow.display.graph import edges
from ptsflow.display.step_board import StepBoard
from ptsflow.web.drawing.layers import Layers, Node, layered
from ptsflow.web.drawing.straight import straightened
from ptsflow.web.drawing.svg import (
    LIMIT,
    Link,
    columns_of,
    drawing,
    fitted,
    linked,
    mark,
    number,
    text_of,
)

#: Plans of more steps are a table.
_MOST_STEPS = 200
#: How large the table is at the most, in bytes.
_ROOM = 100_000
#: How high a box is, and how large are the gaps beside and below it.
_HIGH, _BESIDE, _BELOW = 40, 20, 30
#: How wide a column of text is, and the room beside the text in a box.
_COLUMN, _PADDING = 7.2, 22
#: How much room lines have that pass a layer, and the margin of all.
_PASS, _MARGIN = 20, 4
#: Lines whose ends are less apart than this go straight.
_STRAIGHT = 0.5
#: How many columns of text a box has at the least and at the most.
_LEAST, _MOST = 12, 30


class _Box(Struct, frozen=True):
    x: float
    y: float
    width: float
    height: float


def graph(
    plan: Sequence[StepSummary],
    boards: Mapping[str, StepBoard],
    *,
    link: Link | None = None,
) -> Markup:
    """Draw the steps of a plan; of more than 200, or of too many lines, return a table.

    Args:
        plan: the steps, in order.
        boards: how they stand, by their names: `Look.board.steps`.
        link: returns the address of a step.
    """
    waits: dict[str, list[str]] = {step.name: [] for step in plan}
    for edge in edges(plan):
        waits[edge.after].append(edge.before)
    boards = {step.name: boards.get(step.name) or StepBoard(step) for step in plan}
    if len(plan) > _MOST_STEPS:
        return _table(plan, boards, waits, link)
    found = layered(list(waits), [(a, b) for b, names in waits.items() for a in names])
    draw = partial(_graph, found, boards, waits, link)
    drawn = fitted(draw, ((120, True), (60, True), (30, False), (16, False)))
    is_small = len(drawn.encode()) <= LIMIT
    return drawn if is_small else _table(plan, boards, waits, link)


def _graph(
    found: Layers,
    boards: Mapping[str, StepBoard],
    waits: Mapping[str, Sequence[str]],
    link: Link | None,
    detail: tuple[int, bool],
) -> Markup:
    boxes, size, is_tall = _placed(found, _wide(boards.values()))
    lines = [_line(boxes[a], boxes[b], is_tall=is_tall) for a, b in found.lines]
    lines += [
        _passed(box, is_tall=is_tall)
        for node, box in boxes.items()
        if isinstance(node, int)
    ]
    marks = [mark("path", "edge", "", d="".join(lines))] if lines else []
    for node, box in boxes.items():
        if isinstance(node, str):
            step = _step(boards[node], waits[node], box, detail)
            marks.append(linked(step, None if link is None else link(node)))
    label = f"What the {fmt.many(len(boards), 'step', 'steps')} wait for"
    return drawing("graph", label, size, marks)


def _wide(boards: Iterable[StepBoard]) -> float:
    """Return how wide boxes are: as wide as the longest text, within bounds."""
    texts = [text for b in boards for text in (b.summary.name, f"{_stands(b)} ")]
    columns = max([_LEAST, *map(columns_of, texts)])
    return _PADDING + _COLUMN * min(_MOST, columns)


def _placed(
    found: Layers, wide: float
) -> tuple[dict[Node, _Box], tuple[float, float], bool]:
    """Return where everything is, the size of the drawing, and whether layers are rows.

    They are rows or columns, so that the drawing is rather tall than wide.
    """
    widest = max((len(layer) for layer in found.layers), default=0)
    is_tall = len(found.layers) >= widest
    # Along a layer, and from one layer to the next.
    along, gap_along = (wide, _BESIDE) if is_tall else (_HIGH, _BESIDE / 2)
    across, gap_across = (_HIGH, _BELOW) if is_tall else (wide, _BELOW * 1.5)

    def room(node: Node) -> float:
        return along if isinstance(node, str) else _PASS

    middles = straightened(found, room, gap_along)
    longest = max((at + room(node) / 2 for node, at in middles.items()), default=0.0)
    boxes: dict[Node, _Box] = {}
    at = float(_MARGIN)
    for layer in found.layers:
        thick = across if any(isinstance(node, str) for node in layer) else 0.0
        for node in layer:
            size = room(node)
            place = _MARGIN + middles[node] - size / 2
            box = (
                _Box(place, at, size, thick)
                if is_tall
                else _Box(at, place, thick, size)
            )
            boxes[node] = box
        at += thick + gap_across
    end = max(2.0 * _MARGIN, at - gap_across + _MARGIN)
    side = max(2.0 * _MARGIN, longest + 2 * _MARGIN)
    return boxes, (side, end) if is_tall else (end, side), is_tall


def _line(begin: _Box, end: _Box, *, is_tall: bool) -> str:
    """Return a curve from the end of one box to the beginning of another."""
    if is_tall:
        x, y = begin.x + begin.width / 2, begin.y + begin.height
        to_x, to_y = end.x + end.width / 2, end.y
        half = (y + to_y) / 2
        points = ((x, half), (to_x, half), (to_x, to_y))
    else:
        x, y = begin.x + begin.width, begin.y + begin.height / 2
        to_x, to_y = end.x, end.y + end.height / 2
        half = (x + to_x) / 2
        points = ((half, y), (half, to_y), (to_x, to_y))
    if abs(x - to_x) < _STRAIGHT:
        return f"M{number(x)} {number(y)}V{number(to_y)}"
    if abs(y - to_y) < _STRAIGHT:
        return f"M{number(x)} {number(y)}H{number(to_x)}"
    curve = " ".join(f"{number(a)} {number(b)}" for a, b in points)
    return f"M{number(x)} {number(y)}C{curve}"


def _passed(box: _Box, *, is_tall: bool) -> str:
    """Return the line through a layer that is passed, or a junction's point."""
    x = box.x + (box.width / 2 if is_tall else 0)
    y = box.y + (0 if is_tall else box.height / 2)
    way = f"v{number(box.height)}" if is_tall else f"h{number(box.width)}"
    return f"M{number(x)} {number(y)}{way}"


def _step(
    board: StepBoard, waits: Sequence[str], box: _Box, detail: tuple[int, bool]
) -> str:
    """Return the box of a step: its title is for all that is in it."""
    chars, is_told = detail
    name = board.summary.name
    after = f", after {listed(waits)}" if waits and is_told else ""
    title = text_of(f"{name}: {_stands(board)}{after}", chars)
    many = " many" if board.summary.each is not None else ""
    x, y = number(box.x), number(box.y)
    way = f"M{x} {y}h{number(box.width)}v{number(box.height)}h-{number(box.width)}z"
    shape = mark("path", f"box{many} is-{board.status}", title, d=way)
    sign = SYMBOLS[board.status]
    room = int((box.width - _PADDING) / _COLUMN)
    short = text_of(name, min(room, chars))
    if not is_told:
        body = Markup(f"{sign} {short}")  # noqa: S704 - its parts are escaped
        return shape + mark("text", "in", "", body, x=box.x + 9, y=box.y + 25)
    said = text_of(_stands(board), min(room, chars))
    coloured = f'<tspan class="is-{board.status}">{sign}</tspan>'
    body = Markup(f"{coloured} {said}")  # noqa: S704 - its parts are escaped
    return (
        shape
        + mark("text", "in", "", short, x=box.x + 9, y=box.y + 17)
        + mark("text", "in dim", "", body, x=box.x + 9, y=box.y + 32)
    )


def _stands(board: StepBoard) -> str:
    """Return `done, 2m01s`, or `41 of 400`."""
    done = board.counts[Status.DONE]
    word = str(board.status)
    if board.summary.each is not None and board.total:
        word = f"{done} of {board.total}"
    failed = board.counts[Status.FAILED]
    if board.summary.each is not None and failed:
        word = f"{word}, {failed} failed"
    if board.took_ms is not None and board.is_settled:
        word = f"{word}, {fmt.duration(board.took_ms)}"
    return word


def _table(
    plan: Sequence[StepSummary],
    boards: Mapping[str, StepBoard],
    waits: Mapping[str, Sequence[str]],
    link: Link | None,
) -> Markup:
    rows: list[str] = []
    room = _ROOM
    for step in plan:
        board = boards[step.name]
        name = linked(text_of(step.name, 80), None if link is None else link(step.name))
        after = text_of(listed(waits[step.name]), 200)
        row = (
            f'<tr><td class="is-{board.status}">{SYMBOLS[board.status]} '
            f'{text_of(_stands(board), 60)}</td><th scope="row">{name}</th>'
            f"<td>{after}</td></tr>"
        )
        room -= len(row.encode())
        if room < 0:
            break
        rows.append(row)
    left = len(plan) - len(rows)
    if left > 0:
        rows.append(f'<tr><td colspan="3">and {left} more</td></tr>')
    # All texts went through `text_of`.
    return Markup(  # noqa: S704
        '<table class="graph"><thead><tr><th scope="col">Status</th>'
        '<th scope="col">Step</th><th scope="col">After</th></tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table>"
    )
