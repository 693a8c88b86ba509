"""How screens write tasks and containers: symbols, words and figures. Pure.

A `Line` is a list of pieces of text. Each piece names its meaning (`done`, `dim`, ...).
The live screen, plain output and tables show the same lines; each of them chooses how a
meaning looks.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, time, timedelta
from functools import lru_cache
from typing import NamedTuple

from ptsflow.core.model import Status, TaskRecord
from ptsflow.host.clock import to_datetime

SYMBOLS: Mapping[Status, str] = {
    Status.PENDING: "·",
    Status.RUNNING: "▶",
    Status.WAITING: "↻",
    Status.DONE: "✔",
    Status.FAILED: "✘",
    Status.SKIPPED: "»",
}
#: Symbols for terminals that can show ASCII alone.
ASCII = str.maketrans("·▶↻✔✘»━╸─…│├└", ".>~+x-==-.||`")

#: The meaning of what ended because its runner was killed.
KILLED = "killed"

#: The order in which the counts of a fan-out are shown.
ORDER = (
    Status.DONE,
    Status.RUNNING,
    Status.WAITING,
    Status.FAILED,
    Status.SKIPPED,
    Status.PENDING,
)

_MINUTE, _HOUR, _DAY = 60, 3600, 86400


class Piece(NamedTuple):
    """A piece of text and the name of its meaning."""

    text: str
    meaning: str = ""


Line = list[Piece]


def text_of(line: Iterable[Piece]) -> str:
    """Return a line as plain text."""
    return "".join([piece.text for piece in line]).rstrip()


# Control characters, halves of surrogate pairs, and characters that reverse or hide text.
# A text, as `re` compiles it when it is first used.
_UNSAFE = (
    "[\x00-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff"
    "\ud800-\udfff\ufff9-\ufffb\U000e0000-\U000e007f]"
)


def clean(text: str) -> str:
    """Return text from data, safe to show on one line: control characters are escaped."""
    # What can be printed has none of these; looking for them takes longer.
    return text if text.isprintable() else re.sub(_UNSAFE, _escaped, text)


def _escaped(match: re.Match[str]) -> str:
    return ascii(match[0])[1:-1]


def cells(text: str) -> int:
    """Return how many columns of a terminal a text takes."""
    return len(text) if text.isascii() else sum(map(_cells_of, text))


@lru_cache(maxsize=4_096)
def _cells_of(character: str) -> int:
    if unicodedata.combining(character):
        return 0
    return 1 + (unicodedata.east_asian_width(character) in "WF")


def cut(text: str, width: int) -> str:
    """Return the text in at most `width` columns; an ellipsis stands for the rest."""
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
    sizes = [[cells(cell.text) for cell in row] for row in rows]
    widths: dict[int, int] = {}
    for found in sizes:
        for index, size in enumerate(found[:-1]):
            if size > widths.get(index, -1):
                widths[index] = size
    # A Piece takes as long to make as all else of a cell.
    pads: dict[int, Piece] = {}
    lines: list[Line] = []
    for row, found in zip(rows, sizes, strict=True):
        line: Line = []
        for index, cell in enumerate(row[:-1]):
            room = widths[index] - found[index]
            pad = pads.get(room)
            if pad is None:
                pad = pads[room] = Piece(" " * room + gap)
            line += (cell, pad)
        lines.append([*line, *row[-1:]])
    return lines


def percent(value: float) -> str:
    """Return a percentage, rounded down, so that only a complete task shows 100%."""
    # A sum of floats may be a little below the whole number that it stands for.
    return f"{int(value + 1e-6)}%"


def nearly(value: float, *, is_complete: bool) -> float:
    """Return the percentage to show: below 100 for a task that is not complete.

    A task may report all its work and then fail; its work is still to be done.
    """
    return value if is_complete else min(value, 99.0)


def duration(ms: float | None) -> str:
    """Return a duration in at most two units, such as `2m01s`."""
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


def size(count: int) -> str:
    """Return a number of bytes such as `7.0 MiB`."""
    return (
        f"{count / 1024:.0f} KiB" if count < 1024**2 else f"{count / 1024**2:.1f} MiB"
    )


def countdown(due: int | None, now: int) -> str:
    """Return how long it is until a due time, such as `in 12s`."""
    left = 0 if due is None else due - now
    if left <= 0:
        return "now"
    seconds = -(-left // 1000)
    if seconds < 2 * _MINUTE:
        return f"in {seconds} s"
    return f"in {duration(seconds * 1000)}"


def clock_time(ms: int | None) -> str:
    """Return the time of day in the local time zone."""
    moment = to_datetime(ms)
    return "" if moment is None else moment.astimezone().strftime("%H:%M:%S")


def date_time(ms: int | None) -> str:
    """Return date and time in the local time zone."""
    moment = to_datetime(ms)
    if moment is None:
        return ""
    # The first 19 characters are without the offset; strftime takes five times as long.
    return moment.astimezone().isoformat(" ", "seconds")[:19]


def moment(ms: int | None, now: int) -> str:
    """Return the local time of day, with the date unless that is today's."""
    text = date_time(ms)
    day, _, time_of_day = text.partition(" ")
    return time_of_day if day == date_time(now).partition(" ")[0] else text


class DayTimes:
    """Writes times of one run: with the date from its first midnight on."""

    def __init__(self) -> None:
        self._midnight: float | None = None

    def of(self, ms: int) -> str:
        """Return the local time of day, or date and time on a later day than the first."""
        if self._midnight is None:
            self._midnight = _next_midnight(ms)
        return clock_time(ms) if ms < self._midnight else date_time(ms)


def _next_midnight(ms: int) -> float:
    day = to_datetime(ms).astimezone().date() + timedelta(days=1)
    return datetime.combine(day, time()).astimezone().timestamp() * 1000


def stamp(ms: int) -> str:
    """Return date and time to the millisecond in the local time zone."""
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


def what(task: TaskRecord, now: int, between: str = "  ") -> str:
    """Return the remark on a task beside its status: attempts, countdown, text, error."""
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
    return between.join(part for part in parts if part)


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


def plain_value(value: object) -> str:
    """Return a rendered value on one line; a text without quotes."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return clean(text)


def many(count: int, one: str, more: str) -> str:
    """Return `1 task`, `2 tasks`."""
    return f"{count} {one if count == 1 else more}"
