"""The tables of `history`: runs, and what they tell of the steps."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from statistics import median

from ptsflow.core.insight import RunRecord, RunStatus
from ptsflow.core.model import Status
from ptsflow.core.trends import StepTrend
from ptsflow.display import as_json
from ptsflow.display import format as fmt
from ptsflow.display.format import KILLED, SYMBOLS, Line, Piece
from ptsflow.display.rows import cut_middle

#: Below so many columns bars are short.
_NARROW = 100
#: The least width of names, in columns.
_LEAST_NAME = 12
#: Where the names of failed tasks stand that have a line of their own.
_INDENT = Piece(" " * 18)


#: What is shown of how a run stands or ended: whose symbol, and a word.
WORDS = {
    RunStatus.RUNNING: (Status.RUNNING, "running"),
    RunStatus.DONE: (Status.DONE, "done"),
    RunStatus.FAILED: (Status.FAILED, "failed"),
    RunStatus.STOPPED: (Status.PENDING, "stopped"),
    RunStatus.TIMEOUT: (Status.PENDING, "timeout"),
    RunStatus.LOST: (Status.PENDING, KILLED),
}


def runs(
    rows: Iterable[RunRecord], usual: Mapping[str, int | None], now: int, width: int
) -> list[Line]:
    """Return a table of runs.

    Args:
        rows: the runs.
        usual: how long a container of each workflow usually takes, in milliseconds.
        now: the time.
        width: the width of the terminal.
    """
    titles = ("WHEN", "CONTAINER", "STATUS", "TOOK", "OF USUAL", "RETRIES", "ETA ERR")
    rows, is_narrow = list(rows), width < _NARROW
    table = [[Piece(title, "title") for title in titles]]
    table += [
        _run(row, usual.get(row.workflow), now, is_narrow=is_narrow) for row in rows
    ]
    heading, *filled = _fitted(table, width)
    lines = [heading]
    for row, line in zip(rows, filled, strict=True):
        failed = Piece(_failed(row), "dim")
        used = sum(fmt.cells(piece.text) for piece in line)
        room = max(len("ETA ERR") - fmt.cells(line[-1].text), 0) + 2
        if not failed.text:
            lines.append(line)
        elif used + room + fmt.cells(failed.text) <= width:
            lines.append([*line, Piece(" " * room), failed])
        else:
            lines += [line, [_INDENT, failed]]
    return lines


def _fitted(table: Sequence[list[Piece]], width: int) -> list[Line]:
    """Return the rows as lines; names are cut as far as the width of the terminal needs."""
    lines = fmt.columns(table)
    widest = max(sum(fmt.cells(piece.text) for piece in line) for line in lines)
    if widest <= width:
        return lines
    longest = max(fmt.cells(row[1].text) for row in table)
    room = max(_LEAST_NAME, longest - (widest - width))
    for row in table:
        row[1] = Piece(cut_middle(row[1].text, room), row[1].meaning)
    return fmt.columns(table)


def _run(
    row: RunRecord, usual: int | None, now: int, *, is_narrow: bool
) -> list[Piece]:
    took = took_ms(row, now)
    error = outlook_error(row)
    return [
        Piece(fmt.date_time(row.began_at)[:16]),
        Piece(fmt.clean(row.container), "name"),
        stands(row),
        Piece(fmt.duration(took)),
        Piece(_of_usual(took, usual, is_narrow=is_narrow), "bar"),
        Piece(str(row.retries)),
        Piece(_off(error)),
    ]


def _off(error: float | None) -> str:
    """Return how far off a time was: a percentage, or how many times as long as it is."""
    if error is None:
        return "-"
    return f"{error:.0%}" if error < 1 else f"{error:.0f}x"


def stands(row: RunRecord) -> Piece:
    """Return how a run stands, or how it ended."""
    status, word = WORDS[row.status]
    return Piece(f"{SYMBOLS[status]} {word}", meaning_of(row))


def meaning_of(row: RunRecord) -> str:
    """Return what the status of a run means, which has a colour."""
    if row.status is RunStatus.LOST:
        return KILLED
    status, _ = WORDS[row.status]
    return Status.WAITING if status is Status.PENDING else status


def took_ms(row: RunRecord, now: int) -> int | None:
    """Return how long a run took, so far if it runs; None if nobody knows when it died."""
    if row.status is RunStatus.LOST:
        return None
    return (now if row.ended_at is None else row.ended_at) - row.began_at


def outlook_error(row: RunRecord) -> float | None:
    """Return how far off the time left was that was foretold: the median of its quarters."""
    told = [error for error in row.outlook_errors if error is not None]
    return median(told) if told else None


def _of_usual(took: int | None, usual: int | None, *, is_narrow: bool) -> str:
    """Return a bar; that of a run that took as long as usual is half of the longest one."""
    if not took or not usual:
        return ""
    full = 5 if is_narrow else 8
    cells = max(1, round(full * took / usual))
    return "━" * cells if cells <= 2 * full else "━" * (2 * full - 1) + "…"


def _failed(row: RunRecord) -> str:
    """Return the first failed task, and how many more there are."""
    count = max(len(row.failed), row.counts.get(Status.FAILED, 0))
    if not row.failed:
        return f"{count} failed" if count else ""
    more = f" and {count - 1} more" if count > 1 else ""
    return f"{fmt.clean(row.failed[0].name)}{more}"


def steps(found: Sequence[StepTrend]) -> list[Line]:
    """Return a table of steps."""
    titles = ("STEP", "TASKS", "MEDIAN", "P90", "LAST 5", "RETRIED", "FAILED")
    table = [[Piece(title, "title") for title in titles]]
    for step in found:
        change = "-" if step.change is None else f"{step.change:+.0%}"
        table.append(
            [
                Piece(fmt.clean(step.name) or "(others)", "name"),
                Piece(str(step.count) if step.runs else ""),
                Piece(fmt.duration(step.median_ms) if step.runs else "-"),
                Piece(fmt.duration(step.p90_ms) if step.runs else "-"),
                Piece(change),
                Piece(f"{step.retried} of {step.runs}"),
                Piece(f"{step.failed} of {step.ended}"),
            ]
        )
    return fmt.columns(table)


def run_as_json(row: RunRecord, usual: int | None, now: int) -> as_json.Json:
    """Return a run as `history --json` prints it."""
    took = took_ms(row, now)
    error = outlook_error(row)
    return {
        "schema": as_json.SCHEMA,
        "container": row.container,
        "workflow": row.workflow or None,
        "status": WORDS[row.status][1],
        "began_at": as_json.when(row.began_at),
        "ended_at": as_json.when(row.ended_at),
        "took_seconds": None if took is None else round(took / 1000, 3),
        "usual_seconds": None if usual is None else round(usual / 1000, 3),
        "percentage_complete": row.percentage,
        "counts": row.counts,
        "retries": row.retries,
        "failed": [
            {"task": task.name, "error_type": task.error_type, "error": task.error}
            for task in row.failed
        ],
        "eta_error": None if error is None else round(error, 4),
        "ran_by": row.ran_by or None,
        "jobs": row.jobs or None,
        "target": row.target or None,
    }


def step_as_json(step: StepTrend) -> as_json.Json:
    """Return a step as `history --steps --json` prints it."""
    return {
        "name": step.name or None,
        "tasks": step.count,
        "median_seconds": round(step.median_ms / 1000, 3),
        "p90_seconds": round(step.p90_ms / 1000, 3),
        "change": None if step.change is None else round(step.change, 4),
        "retried": step.retried,
        "runs": step.runs,
        "failed": step.failed,
        "ended": step.ended,
    }
