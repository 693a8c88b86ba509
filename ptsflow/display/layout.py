"""The lines of a container's picture: one for each step, below it active and failed items.

The live screen and `status` show the same picture. Where the height is limited, finished
steps are folded first, then steps that have not begun, then items.
"""

from __future__ import annotations

from collections.abc import Sequence

from ptsflow.core import counts
from ptsflow.core.model import ContainerRecord, Status
from ptsflow.core.plan import awaited
from ptsflow.display import as_json, expected, rows
from ptsflow.display import format as fmt
from ptsflow.display.format import SYMBOLS, Line, Piece
from ptsflow.display.run_state import Board
from ptsflow.display.step_board import StepBoard

#: The most rows of a step's items on a page, whose height is not limited.
_ROWS_OF_A_PAGE = 14
#: The longest and the shortest bar of the whole run, in columns.
_LONGEST_BAR, _SHORTEST_BAR = 40, 6
#: What Ctrl-C does in the terminal of the runner.
STOPS_GENTLY = "Ctrl-C stops gently"
_STOPS_AT_ONCE = "stopping; Ctrl-C stops at once"


def frame(  # noqa: PLR0913 - what differs between the screens of the runner and of others
    board: Board,
    now: int,
    *,
    width: int,
    height: int,
    stands: Piece | None = None,
    remark: str = "",
    hint: str = STOPS_GENTLY,
) -> list[Line]:
    """Return the live screen of a run as it is now.

    Args:
        board: the state of the run.
        now: the time in milliseconds since the epoch.
        width: columns of the terminal.
        height: the most lines to return.
        stands: how the container stands, if not by this process's own runner.
        remark: what a person should know or do, in a row of its own.
        hint: what Ctrl-C does.
    """
    with board.lock:
        if board.container is None:
            return [[Piece("starting", "dim")]]
        lines = [_header(board, board.container, width, stands)]
        said: list[Line] = (
            [[Piece(f" {fmt.clean(remark)}", "notice")]] if remark else []
        )
        room = max(1, height - len(lines) - len(said) - 1)
        lines += rows_of(board, now, width, room)
        lines += [*said, _total(board, now, width, hint)]
    return [fmt.cut_line(line, width) for line in lines[-height:]]


def page(
    board: Board,
    now: int,
    *,
    width: int,
    stands: Piece,
) -> list[Line]:
    """Return the page of a stored container, as long as it needs to be.

    Where no runner lives, no clock of a step runs.

    Args:
        board: the state of the container.
        now: the time in milliseconds since the epoch.
        width: columns of the terminal.
        stands: the container's status.
    """
    container = board.container
    if container is None:
        return []
    eta = "".join(f"   {text}" for text in sayings(board, now)[:1])
    head: Line = [
        *_status(board, stands),
        Piece(f"{eta}   "),
        Piece(fmt.clean(container.name), "name"),
        Piece(f"   {called_as(container)}", "dim"),
    ]
    return [head, *rows_of(board, now, width, None)]


def _status(board: Board, stands: Piece) -> Line:
    percentage = fmt.nearly(board.percentage, is_complete=board.is_complete)
    return [stands, Piece(f"   {fmt.percent(percentage)}")]


def _header(
    board: Board, container: ContainerRecord, width: int, stands: Piece | None
) -> Line:
    does = "stopping" if board.is_stopping else "running"
    running = Piece(f"{SYMBOLS[Status.RUNNING]} {does}", Status.RUNNING)
    line = [*_status(board, stands or running), Piece("   ")]
    room = max(1, width - fmt.cells(fmt.text_of([*line, Piece("|")])) + 1)
    line.append(Piece(rows.cut_middle(fmt.clean(container.name), room), "name"))
    if board.done_earlier:
        text = f"   resumed: {board.done_earlier} of {len(board.steps)} done earlier"
        line.append(Piece(text, "dim"))
    if container.owner is not None:
        line.append(Piece(f"   lease {fmt.clean(container.owner.process)}", "dim"))
    return [*line, Piece(f"   {called_as(container)}", "dim")]


def called_as(container: ContainerRecord) -> str:
    """Return `Hello(name='x')`, or nothing for a container without a workflow."""
    if container.workflow is None:
        return ""
    params = as_json.params(container).items()
    given = ", ".join(f"{name}={fmt.plain_value(value)}" for name, value in params)
    return fmt.clean(f"{container.workflow}({given})")


# -- the last row -----------------------------------------------------------


def _total(board: Board, now: int, width: int, hint: str) -> Line:
    percentage = fmt.nearly(board.percentage, is_complete=board.is_complete)
    name = Piece(" total  ", "name")
    begin = [
        Piece(f"{fmt.percent(percentage):>4}"),
        Piece(f"   elapsed {fmt.duration(now - board.started_at)}", "dim"),
    ]
    end = Piece(f"   {_STOPS_AT_ONCE if board.is_stopping else hint}", "dim")
    used = sum(fmt.cells(piece.text) for piece in (name, *begin, end))
    room = width - used - 1
    said = [] if board.is_stopping else sayings(board, now)
    wishes = [f"   {text}" for text in said]
    # Beside the end, a bar comes first, then the range.
    left = [(wish, room - fmt.cells(wish)) for wish in wishes]
    fitting = [wish for wish, rest in left if rest >= _SHORTEST_BAR]
    eta = next(iter(fitting or [wish for wish, rest in left if rest >= -1]), "")
    room = min(room - fmt.cells(eta), _LONGEST_BAR)
    bar = [*fmt.bar(percentage, room), Piece(" ")] if room >= _SHORTEST_BAR else []
    return [name, *bar, *begin, Piece(eta), end]


def sayings(board: Board, now: int) -> list[str]:
    """Return what is said of the run's end, the longest text first."""
    return expected.sayings(
        board.outlook,
        now,
        began_at=board.started_at,
        by_status=board.counts,
    )


# -- steps ------------------------------------------------------------------


def rows_of(board: Board, now: int, width: int, room: int | None) -> list[Line]:
    """Return the rows of the steps and their items, at most `room` if that is given."""
    steps = list(board.steps.values())
    chosen = list[StepBoard | str](steps) if room is None else _fitting(steps, room)
    shown = [step for step in chosen if isinstance(step, StepBoard)]
    wanted = [rows.rows_wanted(step) for step in shown]
    if room is None:
        given = [min(rows_, _ROWS_OF_A_PAGE) for rows_ in wanted]
    else:
        given = rows.shares(wanted, max(0, room - len(chosen)))
    columns = rows.columns_of(shown, width, max(given, default=0))
    of_items = iter(given)
    waits = Waits(steps)
    lines: list[Line] = []
    for step in chosen:
        if not isinstance(step, StepBoard):
            lines.append([Piece(f" {step}", "dim")])
            continue
        lines += rows.step_rows(step, now, columns, waits.say(step), board.since)
        lines += rows.item_rows(step, now, columns, next(of_items))
    return lines if room is None else lines[:room]


def _fitting(steps: Sequence[StepBoard], room: int) -> list[StepBoard | str]:
    """Choose which steps are shown, so that up to half of the rows are left to items."""
    wanted = sum(rows.rows_wanted(step) for step in steps)
    return _window(steps, max(1, room - min(wanted, room // 2)))


def _window(steps: Sequence[StepBoard], room: int) -> list[StepBoard | str]:
    """Choose which steps are shown; a note stands for each run of hidden ones.

    Active and failed steps are chosen first, then those next to the first incomplete one.
    """
    if len(steps) <= room:
        return list(steps)
    first = next((i for i, s in enumerate(steps) if not s.is_settled), len(steps) - 1)
    near = sorted(
        range(len(steps)),
        key=lambda i: (
            not steps[i].is_active,
            steps[i].status is not Status.FAILED,
            abs(i - first),
            i,
        ),
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


class Waits:
    """Says what a step waits for.

    Args:
        steps: all steps of a plan.
    """

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
