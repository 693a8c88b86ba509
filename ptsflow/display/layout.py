"""The lines of a container's picture: one for each step, below it active and failed items.

The live screen and `status` show the same picture. Where the height is limited, finished
steps are folded first, then steps that have not begun, then items.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence

from ptsflow.core import counts
from ptsflow.core.model import ContainerRecord, Status, TaskRecord
from ptsflow.core.plan import awaited
from ptsflow.display import as_json
from ptsflow.display import format as fmt
from ptsflow.display.format import SYMBOLS, Line, Piece
from ptsflow.display.run_state import Board
from ptsflow.display.step_board import StepBoard

#: The most active items, and the most failed ones, that are shown of a step.
ACTIVE_SHOWN = 8
FAILED_SHOWN = 5
#: The longest name in columns; a longer one is cut.
_NAME = 40
#: The least width of a terminal in which bars are drawn.
_WIDE = 90
#: The longest and the shortest bar of the whole run, in columns.
_LONGEST_BAR, _SHORTEST_BAR = 40, 10
#: How many columns items are indented below their step.
_DEEPER = 4


def frame(board: Board, now: int, *, width: int, height: int) -> list[Line]:
    """Return the live screen of a run as it is now.

    Args:
        board: the state of the run.
        now: the time in milliseconds since the epoch.
        width: columns of the terminal.
        height: the most lines to return.
    """
    with board.lock:
        if board.container is None:
            return [[Piece("starting", "dim")]]
        lines = [_header(board, board.container)]
        lines += _steps(board, now, width, max(1, height - 2))
        lines.append(_total(board, now, width))
    return [fmt.cut_line(line, width) for line in lines[-height:]]


def page(
    board: Board,
    now: int,
    *,
    width: int,
    eta_ms: int | None,
    stands: Piece,
) -> list[Line]:
    """Return the page of a stored container, as long as it needs to be.

    Where no runner lives, no clock of a step runs.

    Args:
        board: the state of the container.
        now: the time in milliseconds since the epoch.
        width: columns of the terminal.
        eta_ms: milliseconds until the end, if known.
        stands: the container's status.
    """
    container = board.container
    if container is None:
        return []
    eta = "" if eta_ms is None else f"   ETA {fmt.duration(eta_ms)}"
    head: Line = [
        *_status(board, stands),
        Piece(f"{eta}   "),
        Piece(fmt.clean(container.name), "name"),
        Piece(f"   {called_as(container)}", "dim"),
    ]
    return [head, *_steps(board, now, width, None)]


def _status(board: Board, stands: Piece) -> Line:
    percentage = fmt.nearly(board.percentage, is_complete=board.is_complete)
    return [stands, Piece(f"   {fmt.percent(percentage)}")]


def _header(board: Board, container: ContainerRecord) -> Line:
    does = "stopping" if board.is_stopping else "running"
    stands = Piece(f"{SYMBOLS[Status.RUNNING]} {does}", Status.RUNNING)
    line = [*_status(board, stands), Piece("   ")]
    line.append(Piece(fmt.clean(container.name), "name"))
    if board.done_earlier:
        text = f"   resumed: {board.done_earlier} of {len(board.steps)} done earlier"
        line.append(Piece(text, "dim"))
    if container.owner is not None:
        owner = f"{container.owner.host}:{container.owner.pid}"
        line.append(Piece(f"   lease {fmt.clean(owner)}", "dim"))
    return [*line, Piece(f"   {called_as(container)}", "dim")]


def called_as(container: ContainerRecord) -> str:
    """Return `Hello(name='x')`, or nothing for a container without a workflow."""
    if container.workflow is None:
        return ""
    params = as_json.params(container).items()
    given = ", ".join(f"{name}={fmt.plain_value(value)}" for name, value in params)
    return fmt.clean(f"{container.workflow}({given})")


def _total(board: Board, now: int, width: int) -> Line:
    percentage = fmt.nearly(board.percentage, is_complete=board.is_complete)
    line = [Piece(f"{fmt.percent(percentage):>4}")]
    line.append(Piece(f"   elapsed {fmt.duration(now - board.started_at)}", "dim"))
    eta = board.eta_ms(now)
    if eta is not None:
        line.append(Piece(f"   ETA {fmt.duration(eta)}"))
    does = (
        "stopping; Ctrl-C stops at once" if board.is_stopping else "Ctrl-C stops gently"
    )
    line.append(Piece(f"   {does}", "dim"))
    name = Piece(" total  ", "name")
    # A terminal echoes ^C behind the line, which must not become a second one.
    used = fmt.cells(name.text) + fmt.cells(fmt.text_of(line)) + len(" ^C")
    room = width - used
    bar = [*fmt.bar(percentage, min(room, _LONGEST_BAR)), Piece(" ")]
    return [name, *(bar if room >= _SHORTEST_BAR else []), *line]


# -- steps ------------------------------------------------------------------


def _steps(board: Board, now: int, width: int, room: int | None) -> list[Line]:
    steps = list(board.steps.values())
    chosen = steps if room is None else _window(steps, room)
    left = None if room is None else room - len(chosen)
    shown = [step for step in chosen if isinstance(step, StepBoard)]
    name_width = min(_NAME, max((_indented(step) for step in shown), default=0))
    waits = _Waits(steps)
    lines: list[Line] = []
    for step in chosen:
        if not isinstance(step, StepBoard):
            lines.append([Piece(f" {step}", "dim")])
            continue
        blocked = waits.say(step)
        line = _step_line(step, now, name_width, width, blocked, since=board.since)
        lines.append(line)
        items = list(_items(step, now, name_width, width, left))
        left = None if left is None else left - len(items)
        lines += items
    return lines


def _indented(step: StepBoard) -> int:
    own = fmt.cells(fmt.clean(step.summary.name))
    if step.summary.each is None:
        return own
    names = [*_first(step.active, ACTIVE_SHOWN), *_first(step.failed, FAILED_SHOWN)]
    longest = max((fmt.cells(fmt.clean(task.name)) for task in names), default=0)
    return max(own, longest + _DEEPER if longest else 0)


def _first(tasks: Mapping[str, TaskRecord], most: int) -> list[TaskRecord]:
    return list(itertools.islice(tasks.values(), max(0, most)))


def _window(steps: Sequence[StepBoard], room: int) -> list[StepBoard | str]:
    """Choose which steps are shown; a note stands for each run of hidden ones.

    Active steps are chosen first, then those next to the first incomplete step.
    """
    if len(steps) <= room:
        return list(steps)
    first = next((i for i, s in enumerate(steps) if not s.is_settled), len(steps) - 1)
    near = sorted(
        range(len(steps)), key=lambda i: (not steps[i].active, abs(i - first), i)
    )
    kept = set(near[: max(1, room - 2)])
    chosen: list[StepBoard | str] = [steps[i] for i in sorted(kept)]
    hidden = [step for i, step in enumerate(steps) if i not in kept]
    complete = sum(step.is_settled for step in hidden)
    if complete and room > 1:
        chosen.insert(0, f"{SYMBOLS[Status.DONE]} {complete} more complete")
    if len(hidden) > complete and room > 2:  # noqa: PLR2004 - a line each, and a step
        chosen.append(f"{SYMBOLS[Status.PENDING]} {len(hidden) - complete} more to do")
    return chosen


class _Waits:
    """Says what a step waits for."""

    def __init__(self, steps: Sequence[StepBoard]) -> None:
        self._steps = {step.summary.name: step for step in steps}
        self._open = {
            step.summary.name: place
            for place, step in enumerate(steps)
            if not counts.is_satisfied(step.summary, step.counts)
        }

    def say(self, step: StepBoard) -> str:
        """Return `waiting for load`, or `blocked by load` where it failed, or nothing."""
        found = awaited(step.summary, self._open)
        if found is None:
            return ""
        failed = self._steps[found].status is Status.FAILED
        return f"{'blocked by' if failed else 'waiting for'} {fmt.clean(found)}"


def _step_line(
    step: StepBoard,
    now: int,
    name_width: int,
    width: int,
    blocked: str,
    *,
    since: int | None,
) -> Line:
    status = step.status
    name = fmt.cut(step.summary.name, name_width)
    line = [
        Piece(f" {SYMBOLS[status]} ", status),
        Piece(fmt.clean(name) + " " * (name_width - fmt.cells(name)), "step"),
    ]
    if step.summary.each is not None and step.single is None:
        return line + _fan_out(step, now, width, blocked, since=since)
    task = step.single
    if task is None:
        return [*line, Piece(f"  {blocked}", "dim")]
    return line + _task_cells(task, now, width, blocked)


def _task_cells(task: TaskRecord, now: int, width: int, blocked: str = "") -> Line:
    line: Line = [Piece("  ")]
    if task.status is Status.RUNNING:
        if width >= _WIDE:
            line += [*fmt.bar(task.percentage_complete), Piece(" ")]
        line.append(Piece(f"{fmt.percent(task.percentage_complete):>4}  "))
    took = _took(task, now)
    if took:
        line.append(Piece(f"{took:>6}  "))
    text = fmt.what(task, now)
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


def _fan_out(
    step: StepBoard, now: int, width: int, blocked: str, *, since: int | None
) -> Line:
    total = step.total
    if total == 0:
        return [Piece(f"  {blocked or 'no items'}", "dim")]
    line: Line = [Piece("  ")]
    percentage = fmt.nearly(step.percentage, is_complete=step.is_settled)
    if width >= _WIDE and not step.is_settled:
        line += [*fmt.bar(percentage), Piece(" ")]
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
        return max(0, step.ended - step.begun) if step.ended else None
    return now - max(step.begun, since)


# -- items ------------------------------------------------------------------


def _items(
    step: StepBoard, now: int, name_width: int, width: int, room: int | None
) -> Iterator[Line]:
    """Yield a line for each active or failed item, and one that counts the others."""
    if step.summary.each is None or step.total == 0:
        return
    active, failed = ACTIVE_SHOWN, FAILED_SHOWN
    if room is not None:
        room = max(0, room - 1)
        active = min(active, room)
        failed = min(failed, room - min(active, len(step.active)))
    tasks = [*_first(step.active, active), *_first(step.failed, failed)]
    if not tasks:
        return
    for task in tasks:
        yield _item(task, now, name_width, width)
    open_or_failed = step.total - step.counts[Status.DONE] - step.counts[Status.SKIPPED]
    rest = open_or_failed - len(tasks)
    if rest > 0:
        yield [Piece(f"   └ … {rest} more", "dim")]


def _item(task: TaskRecord, now: int, name_width: int, width: int) -> Line:
    room = max(1, name_width - _DEEPER)
    name = fmt.cut(fmt.clean(task.name), room)
    return [
        Piece("   ├ ", "dim"),
        Piece(f"{SYMBOLS[task.status]} ", task.status),
        Piece(name + " " * (room - fmt.cells(name))),
        *_task_cells(task, now, width),
    ]
