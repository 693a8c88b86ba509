"""The bars of a timeline: attempts, and the waits between them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from msgspec import Struct

from ptsflow.core import attempt_ledger
from ptsflow.core.model import Attempt, Ending, Status, TaskRecord
from ptsflow.display import format as fmt
from ptsflow.display.tables import ENDINGS, ending_word
from ptsflow.web.drawing.axis import Axis
from ptsflow.web.drawing.svg import LEAST


class AttemptBar(Struct, frozen=True):
    """An attempt, or a wait between two of them, of one task."""

    task: TaskRecord
    began: int
    ended: int
    meaning: str
    title: str
    #: Whether it ended at some time before its end: its runner was killed.
    is_vague: bool = False


def bars_of(
    task: TaskRecord, kept: Sequence[Attempt], now: int
) -> Iterator[AttemptBar]:
    """Yield the attempts of a task and the waits between them.

    Args:
        task: the task.
        kept: what its ledger has.
        now: the time, to which an attempt lasts that runs.
    """
    #: When the attempt before ended, if another one had to follow it.
    before: int | None = None
    made = attempt_ledger.complete(task, kept)
    for attempt in made:
        if before is not None and attempt.began_at > before:
            yield _wait(task, before, attempt.began_at, attempt.number)
        yield _over(task, attempt)
        is_good = attempt.ending in (Ending.DONE, Ending.SKIPPED)
        before = None if is_good else max(attempt.began_at, attempt.ended_at)
    began = task.last_invoked_at
    is_told = bool(made) and made[-1].number >= task.invoke_count
    if began is not None and not is_told:
        if before is not None and began > before:
            yield _wait(task, before, began, task.invoke_count)
        yield _open(task, began, now)
    elif task.status is Status.WAITING and before is not None and now > before:
        yield _wait(task, before, now, task.invoke_count + 1)


def _over(task: TaskRecord, attempt: Attempt) -> AttemptBar:
    """Return the bar of an attempt that the ledger or the record tells."""
    took = fmt.duration(attempt.took_ms)
    # When an attempt was killed, nobody knows; when a run found it, is known.
    after = "within" if attempt.ending is Ending.CRASHED else "after"
    said = f"attempt {attempt.number} {ending_word(attempt.ending)} {after} {took}"
    title = f"{task.name}: {said}, from {fmt.date_time(attempt.began_at)}"
    if attempt.error:
        title = f"{title}: {attempt.error}"
    ended = max(attempt.began_at, attempt.ended_at)
    is_vague = attempt.ending is Ending.CRASHED
    meaning = ENDINGS[attempt.ending]
    return AttemptBar(task, attempt.began_at, ended, meaning, title, is_vague)


def _open(task: TaskRecord, began: int, now: int) -> AttemptBar:
    """Return the bar of the last attempt, which runs, or whose end nobody wrote down."""
    title = f"{task.name}: attempt {task.invoke_count}"
    if task.status is Status.RUNNING:
        ended = max(began, now)
        far = fmt.percent(task.percentage_complete)
        title = f"{title} runs since {fmt.duration(ended - began)}, {far}"
        return AttemptBar(task, began, ended, Status.RUNNING, title)
    ended = max(began, task.task_ended_at or began)
    meaning = Status.FAILED if task.has_failed else fmt.KILLED
    # Of one that was killed, the end is when its runner was last heard of.
    after = f" after {fmt.duration(ended - began)} or later" if ended > began else ""
    title = f"{title} {meaning}{after}, from {fmt.date_time(began)}"
    return AttemptBar(task, began, ended, meaning, title)


def _wait(task: TaskRecord, began: int, ended: int, number: int) -> AttemptBar:
    said = f"{fmt.duration(ended - began)} until attempt {number}"
    return AttemptBar(task, began, ended, "wait", f"{task.name}: {said}")


def most_urgent(bars: Sequence[AttemptBar], most: int) -> Sequence[AttemptBar]:
    """Return so many bars at the most: those that failed, were killed or run, then the longest.

    Args:
        bars: the bars; they keep their order.
        most: how many are wanted.
    """
    if len(bars) <= most:
        return bars
    urgent = (Status.FAILED, fmt.KILLED, Status.RUNNING)
    places = sorted(
        range(len(bars)),
        key=lambda i: (bars[i].meaning not in urgent, bars[i].began - bars[i].ended),
    )
    return [bars[place] for place in sorted(places[:most])]


def lanes_of(bars: Iterable[AttemptBar], axis: Axis) -> list[list[AttemptBar]]:
    """Return the bars of several tasks in as few lanes as keep the tasks apart.

    Args:
        bars: the bars, those of a task in their order.
        axis: tells where a time is.
    """
    by_task: dict[str, list[AttemptBar]] = {}
    for bar in bars:
        by_task.setdefault(bar.task.name, []).append(bar)
    lanes: list[list[AttemptBar]] = []
    ends: list[float] = []
    for own in sorted(by_task.values(), key=lambda found: found[0].began):
        left = axis.x(own[0].began)
        right = max(left + LEAST, axis.x(own[-1].ended)) + 1
        free = (place for place, end in enumerate(ends) if end <= left)
        place = next(free, len(lanes))
        if place == len(lanes):
            lanes.append([])
            ends.append(0.0)
        lanes[place] += own
        ends[place] = right
    return lanes
