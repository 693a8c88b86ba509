"""The last lines of a run: how it ended, what failed and why, what was slowest."""

from __future__ import annotations

from collections.abc import Callable

from ptsflow.core.changed_code import say_changed
from ptsflow.core.model import ContainerRecord, Status, TaskRecord
from ptsflow.display import format as fmt
from ptsflow.display.format import SYMBOLS, Line, Piece
from ptsflow.display.run_state import Board
from ptsflow.events import RunEnding

_STOPPED = (RunEnding.STOPPED, RunEnding.TIMEOUT)
_STOPPED_BY = {"SIGINT": "stopped", "its timeout": "stopped by --timeout"}


def summary(
    board: Board, now: int, why: Callable[[TaskRecord], str] | None = None
) -> list[Line]:
    """Return the summary of a run that has ended or was stopped.

    Args:
        board: the state of the run.
        now: the time.
        why: returns the command that shows where a task failed, for the first failed
            task of each step.
    """
    container = board.container
    if container is None:
        return []
    with board.lock:
        status = container.status
        meaning = Status.PENDING if status is Status.RUNNING else status
        counts = fmt.in_words(board.counts)
        took = fmt.duration((board.ended_at or now) - board.started_at)
        retries = (
            f" · {fmt.many(board.retries, 'retry', 'retries')}" if board.retries else ""
        )
        lines: list[Line] = [
            [
                Piece(f"{SYMBOLS[meaning]} ", meaning),
                Piece(fmt.clean(container.name), "name"),
                Piece(f"  {_verdict(board, container)} in {took}   ", meaning),
                Piece(f"{counts}{retries}"),
            ]
        ]
        lines += _failures(board, why)
        if board.changed and board.starts == 0:
            text = fmt.clean(say_changed(board.changed))
            lines.append([Piece(f"  {text}", Status.WAITING)])
        if board.slowest and board.starts > 1:
            slow = sorted(board.slowest, reverse=True)
            text = " · ".join(f"{fmt.clean(n)} {fmt.duration(ms)}" for ms, n in slow)
            lines.append([Piece(f"  slowest: {text}", "dim")])
    return lines


def _verdict(board: Board, container: ContainerRecord) -> str:
    if container.status is Status.DONE and board.starts == 0:
        return "done already, nothing was left to do,"
    if container.status is Status.DONE and container.finish_reason is not None:
        return f"finished early ({fmt.clean(container.finish_reason)})"
    if container.status in (Status.DONE, Status.FAILED):
        return str(container.status)
    if board.ending is RunEnding.DONE:
        return "done as asked, the rest is left,"
    if board.ending in _STOPPED:
        by = board.ended_by.removeprefix("stopped by ")
        return _STOPPED_BY.get(by, f"stopped by {by}")
    return "ended"


def _failures(board: Board, why: Callable[[TaskRecord], str] | None) -> list[Line]:
    failed = board.failed()
    rows = [
        [
            Piece(f"  {SYMBOLS[Status.FAILED]} {fmt.clean(task.name)}", Status.FAILED),
            Piece(fmt.what(task, 0)),
        ]
        for task in failed
    ]
    rest = board.counts[Status.FAILED] - len(failed)
    more: list[Line] = (
        [[Piece(f"  … and {rest} more failed", "dim")]] if rest > 0 else []
    )
    lines: list[Line] = []
    told = set[str]()
    for task, row in zip(failed, fmt.columns(rows), strict=True):
        lines.append(row)
        if why is not None and task.step not in told:
            told.add(task.step)
            lines.append([Piece(f"    why: {why(task)}", "dim")])
    return lines + more
