"""What screens say of tasks and containers: symbols, words, figures, all of them pure.

A `Line` is a list of pieces of text, each with the name of what it means (`done`,
`dim`, ...). Live screen, plain output and tables all show the same lines; only how a
meaning looks is theirs.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from ptsflow.core import counts
from ptsflow.core.model import ContainerRecord, Status, Tally, TaskRecord
from ptsflow.host.clock import to_datetime

SYMBOLS: Mapping[Status, str] = {
    Status.PENDING: "·",
    Status.RUNNING: "▶",
    Status.WAITING: "↻",
    Status.DONE: "✔",
    Status.FAILED: "✘",
    Status.SKIPPED: "»",
}
#: For terminals that have no others.
ASCII = str.maketrans("·▶↻✔✘»━╸─…│├└", ".>~+x-==-.||`")

#: In which order the counts of a fan-out are shown.
ORDER = (
    Status.DONE,
    Status.RUNNING,
    Status.WAITING,
    Status.FAILED,
    Status.SKIPPED,
    Status.PENDING,
)

#: An estimate is shown after so many seconds and so many percent.
ETA_AFTER_MS = 5_000
ETA_AFTER_PERCENT = 3.0

_MINUTE, _HOUR, _DAY = 60, 3600, 86400


class Piece(NamedTuple):
    """Some text, and what it means."""

    text: str
    meaning: str = ""


Line = list[Piece]


def text_of(line: Iterable[Piece]) -> str:
    """Return a line as plain text."""
    return "".join(piece.text for piece in line).rstrip()


# Controls, halves of surrogate pairs, and what turns or hides the text around it.
_UNSAFE = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff"
    "\ud800-\udfff\ufff9-\ufffb\U000e0000-\U000e007f]"
)


def clean(text: str) -> str:
    """Return text from data fit to be shown on one line: controls are escaped."""
    return _UNSAFE.sub(_escaped, text)


def _escaped(match: re.Match[str]) -> str:
    return ascii(match[0])[1:-1]


def cells(text: str) -> int:
    """Return how many columns of a terminal a text takes."""
    if text.isascii():
        return len(text)
    return sum(
        0 if unicodedata.combining(c) else 1 + (unicodedata.east_asian_width(c) in "WF")
        for c in text
    )


def cut(text: str, width: int) -> str:
    """Return the text in at most `width` columns, an ellipsis for what is left out."""
    if cells(text) <= width:
        return text
    kept, room = [], width - 1
    for character in text:
        room -= cells(character)
        if room < 0:
            break
        kept.append(character)
    return f"{''.join(kept)}…"


def cut_line(line: Line, width: int) -> Line:
    """Return the line in at most `width` columns."""
    kept: Line = []
    for index, piece in enumerate(line):
        size = cells(piece.text)
        if size > width or (
            size == width and any(rest.text for rest in line[index + 1 :])
        ):
            return [*kept, Piece(cut(f"{piece.text} ", width), piece.meaning)]
        kept.append(piece)
        width -= size
    return kept


def columns(rows: Sequence[Sequence[Piece]], gap: str = "  ") -> list[Line]:
    """Return rows as lines, each column as wide as its widest cell."""
    widths: dict[int, int] = {}
    for row in rows:
        for index, cell in enumerate(row[:-1]):
            widths[index] = max(widths.get(index, 0), cells(cell.text))
    lines: list[Line] = []
    for row in rows:
        line: Line = []
        for index, cell in enumerate(row):
            line.append(cell)
            if index < len(row) - 1:
                line.append(Piece(" " * (widths[index] - cells(cell.text)) + gap))
        lines.append(line)
    return lines


def percent(value: float) -> str:
    """Return a percentage, rounded down: 100% is said of what is complete alone."""
    # What sums of floats lack to a whole number is no lack of work.
    return f"{int(value + 1e-6)}%"


def nearly(value: float, *, is_complete: bool) -> float:
    """Return what is shown of a percentage: below 100 for what is not complete.

    A task that reported all its work and then failed is one that is left to do.
    """
    return value if is_complete else min(value, 99.0)


def duration(ms: float | None) -> str:
    """Return a span of time in at most two units."""
    if ms is None:
        return ""
    seconds = max(0.0, ms / 1000)
    if seconds < 0.1:  # noqa: PLR2004 - milliseconds are shown below a tenth
        return f"{seconds * 1000:.0f}ms"
    if seconds < 9.95:  # noqa: PLR2004 - tenths are shown below ten seconds
        return f"{seconds:.1f}s"
    whole = round(seconds)
    if whole < _MINUTE:
        return f"{whole}s"
    if whole < _HOUR:
        return f"{whole // _MINUTE}m{whole % _MINUTE:02}s"
    if whole < _DAY:
        return f"{whole // _HOUR}h{whole % _HOUR // _MINUTE:02}m"
    return f"{whole // _DAY}d{whole % _DAY // _HOUR:02}h"


def countdown(due: int | None, now: int) -> str:
    """Say when something is due."""
    left = 0 if due is None else due - now
    if left <= 0:
        return "now"
    seconds = -(-left // 1000)
    if seconds < 2 * _MINUTE:
        return f"in {seconds} s"
    return f"in {duration(seconds * 1000)}"


def clock_time(ms: int | None) -> str:
    """Return the time of day, in the time zone of whoever looks."""
    moment = to_datetime(ms)
    return "" if moment is None else moment.astimezone().strftime("%H:%M:%S")


def date_time(ms: int | None) -> str:
    """Return date and time, in the time zone of whoever looks."""
    moment = to_datetime(ms)
    return "" if moment is None else moment.astimezone().strftime("%Y-%m-%d %H:%M:%S")


def stamp(ms: int) -> str:
    """Return date and time to the millisecond, where whoever looks is."""
    return f"{date_time(ms)}.{ms % 1000:03}"


def tries(task: TaskRecord) -> str:
    """Return `try 2/4`, or nothing for a first attempt that is under way."""
    last = max(task.max_retries + 1, task.attempt)
    if task.status is Status.WAITING:
        return f"try {task.attempt + 1}/{max(last, task.attempt + 1)}"
    if task.status is Status.RUNNING and task.attempt > 1:
        return f"try {task.attempt}/{last}"
    return ""


def error_of(task: TaskRecord) -> str:
    """Return a task's error on one line."""
    return clean(task.error or "")


def what(task: TaskRecord, now: int) -> str:
    """Say how a task stands, beyond its status: attempts, countdown, text, error."""
    text = clean(task.status_text)
    match task.status:
        case Status.RUNNING:
            parts = [tries(task), text]
        case Status.WAITING if task.error:
            due = countdown(task.due, now)
            parts = [f"{tries(task)} {due}", error_of(task)]
        case Status.WAITING:
            parts = [f"again {countdown(task.due, now)}", text]
        case Status.FAILED:
            parts = [_gave_up(task), error_of(task)]
        case Status.SKIPPED:
            parts = [text]
        case Status.DONE:
            parts = [text if task.cause else ""]
        case Status.PENDING:
            parts = [error_of(task) or text]
    return "  ".join(part for part in parts if part)


def _gave_up(task: TaskRecord) -> str:
    if task.attempt == 0:
        return ""
    return "after 1 try" if task.attempt == 1 else f"after {task.attempt} tries"


def counted(counts: Mapping[Status, int]) -> Line:
    """Return `40✔ 4▶ 1↻ 1✘ 18·`."""
    return [
        Piece(f"{counts[status]}{SYMBOLS[status]} ", status)
        for status in ORDER
        if counts.get(status)
    ]


def in_words(counts: Mapping[Status, int]) -> str:
    """Return `7 done · 1 failed · 1 not run`."""
    said = {Status.PENDING: "not run", Status.RUNNING: "running"}
    return " · ".join(
        f"{counts[status]} {said.get(status, status)}"
        for status in ORDER
        if counts.get(status)
    )


def bar(value: float, width: int = 24) -> Line:
    """Return a bar that is full at 100."""
    halves = int((value + 1e-6) / 100 * width * 2)
    full, half = divmod(min(halves, width * 2), 2)
    done = "━" * full + "╸" * half
    return [Piece(done, "bar"), Piece("─" * (width - len(done)), "rest")]


def percentage_of(record: ContainerRecord, tallies: Iterable[Tally]) -> float:
    """Return how much of a container is complete, 0 to 100."""
    tallies = list(tallies)
    if counts.status_of(record, tallies) is Status.DONE:
        return 100.0
    return counts.percentage(record.plan, tallies)


def eta_ms(elapsed: float, gained: float, left: float) -> int | None:
    """Return how long the rest takes at the rate so far; None where none is known.

    Args:
        elapsed: milliseconds since the run began.
        gained: how many percent it got further in them.
        left: how many percent are left.
    """
    if elapsed < ETA_AFTER_MS or gained < ETA_AFTER_PERCENT or left <= 0:
        return None
    return round(elapsed * left / gained)


def is_held(record: ContainerRecord, now: int) -> bool:
    """Whether somebody holds a live lease."""
    return record.owner is not None and (record.leased_till or 0) > now


def plain_value(value: object) -> str:
    """Return a rendered value on one line, text as it is."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return clean(text)


def many(count: int, one: str, more: str) -> str:
    """Return `1 task`, `2 tasks`."""
    return f"{count} {one if count == 1 else more}"


def names(listed: Sequence[str], most: int = 8) -> str:
    """Return names in a row, `and 980 more` for those beyond `most`."""
    shown = ", ".join(clean(name) for name in listed[:most])
    rest = len(listed) - most
    return f"{shown} and {rest} more" if rest > 0 else shown
