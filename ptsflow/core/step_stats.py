"""How long the tasks of each step of a container took: statistics for the history.

A task takes from the start that was committed to the commit of its end: so long it held
one of the places in which bodies run. 100,000 tasks take a tenth of a second: they are
looked at once, and each step is a few lists of whole numbers from then on.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain, islice
from operator import le, sub
from typing import Any

import msgspec
from msgspec.structs import replace

from ptsflow.core.attempt_ledger import with_entries
from ptsflow.core.insight import StepStats
from ptsflow.core.model import Attempt, Ending, Status, TaskRecord
from ptsflow.core.pack import Pack

#: Of how many items of a step the durations are kept by key.
MOST_KEYS = 64
#: What a key takes in JSON besides its name: quotes, colon, comma, and the duration.
_PER_KEY = 12
#: What the entry of a step takes in JSON at the least; and at the most, that without a name.
_LEAST_SIZE = 20
_UNNAMED_SIZE = 300

#: A beginning and an end.
Span = tuple[int, int]


class _Work:
    """What the tasks of one step did: lists of one length, for each task that is done."""

    __slots__ = ("began", "ended", "failed_attempts", "keys", "lost")

    def __init__(self) -> None:
        self.began: list[int] = []
        self.ended: list[int] = []
        self.keys: list[str | None] = []
        #: When attempts failed that are not the last ones.
        self.lost: list[Span] = []
        self.failed_attempts = 0

    def lose(self, ledger: Iterable[Attempt]) -> None:
        """Take in the attempts of a task that ended otherwise than well."""
        for attempt in ledger:
            if attempt.ending is Ending.FAILED:
                self.lost.append((attempt.began_at, attempt.began_at + attempt.took_ms))
            # When a crashed attempt ended is not known.
            self.failed_attempts += attempt.ending in (Ending.FAILED, Ending.CRASHED)

    def spans(self) -> list[Span]:
        """Return when it worked: spans that do not touch each other."""
        worked = zip(self.began, self.ended, strict=True)
        is_in_order = not self.lost and all(map(le, self.began, self.began[1:]))
        return merged(worked if is_in_order else sorted(chain(worked, self.lost)))

    def durations(self) -> list[int]:
        """Return how long each task took."""
        found = list(map(sub, self.ended, self.began))
        return [max(0, took) for took in found] if min(found, default=0) < 0 else found


def stats_of(
    records: Iterable[TaskRecord],
    packs: Sequence[Pack],
    ledgers: Mapping[str, Sequence[Attempt]],
    room: int,
) -> tuple[StepStats, ...]:
    """Return how long the tasks of each step took.

    Args:
        records: the tasks of a container that are not packed.
        packs: the others.
        ledgers: the attempts that ended otherwise than well, by the task's name.
        room: how many bytes of JSON the result may take. Keys are left out first; then
            the steps that worked least, for which one entry named "" stands with the
            mean of what is left out.
    """
    works = _gather(records, packs, ledgers)
    shares = shared_time({name: work.spans() for name, work in works.items()})
    stats, left = _fitting(works, shares, room)
    fans = [
        step.name
        for step in stats
        if step.name in works and any(key is not None for key in works[step.name].keys)
    ]
    for place, step in enumerate(stats):
        if step.name in fans:
            keys = _longest(works[step.name], left // len(fans))
            stats[place] = replace(step, keys=keys)
    return tuple(stats)


def merged(spans: Iterable[Span]) -> list[Span]:
    """Return the same time as spans that do not touch each other.

    Args:
        spans: in the order of their beginnings.
    """
    found: list[Span] = []
    first = last = -1
    for began, ended in spans:
        if began > last:
            if last > first:
                found.append((first, last))
            first, last = began, ended
        elif ended > last:
            last = ended
    if last > first:
        found.append((first, last))
    return found


def shared_time(spans: Mapping[str, Sequence[Span]]) -> dict[str, int]:
    """Return each step's share of the time: each instant is shared equally.

    Args:
        spans: for each step, when it worked: spans that do not touch each other.
    """
    events: list[tuple[int, bool, str]] = []
    for name, worked in spans.items():
        for began, ended in worked:
            events += ((began, True, name), (ended, False, name))
    events.sort()
    shares = dict.fromkeys(spans, 0.0)
    # What a step would have been given by now if it had always worked.
    given = 0.0
    working = before = 0
    for at, begins, name in events:
        if working:
            given += (at - before) / working
        before = at
        shares[name] += -given if begins else given
        working += 1 if begins else -1
    return {name: round(share) for name, share in shares.items()}


def _gather(
    records: Iterable[TaskRecord],
    packs: Sequence[Pack],
    ledgers: Mapping[str, Sequence[Attempt]],
) -> dict[str, _Work]:
    works: dict[str, _Work] = defaultdict(_Work)
    step, work, done = "", _Work(), Status.DONE
    for task in records:
        if task.step != step:
            step, work = task.step, works[task.step]
        began, ended = task.last_invoked_at, task.task_ended_at
        if task.status is done and began is not None and ended is not None:
            work.began.append(began)
            work.ended.append(ended)
            work.keys.append(task.key)
        if ledgers and task.name in ledgers:
            work.lose(ledgers[task.name])
    for pack in packs:
        work = works[pack.step]
        every_began, every_ended = map(pack.each, ("last_invoked_at", "task_ended_at"))
        for key, began, ended in zip(pack.keys, every_began, every_ended, strict=True):
            if began is not None and ended is not None:
                work.began.append(began)
                work.ended.append(ended)
                work.keys.append(key)
        for task in with_entries((), (pack,)):
            work.lose(ledgers.get(task.name, ()))
    works.pop("", None)  # A client's own tasks are no step's.
    return dict(works)


#: The fields of `StepStats` that are numbers, in their order.
_FIELDS = StepStats.__struct_fields__[1:-1]


def _stats(name: str, work: _Work, wall_ms: int) -> StepStats:
    return _of_numbers(name, _numbers(work, wall_ms))


def _of_numbers(name: str, numbers: Iterable[int]) -> StepStats:
    fields: dict[str, Any] = dict(zip(_FIELDS, numbers, strict=True))
    return StepStats(name=name, **fields)


def _numbers(work: _Work, wall_ms: int) -> tuple[int, ...]:
    """Return the values of `_FIELDS`."""
    durations = work.durations()
    if len(durations) == 1 and not work.failed_attempts:
        took = durations[0]
        return 1, took, took, took, took, took, wall_ms, 0, 0
    count, busy = len(durations), sum(durations)
    durations = sorted(durations) or [0]
    return (
        count,
        round(busy / max(1, count)),
        durations[len(durations) // 2],
        durations[math.ceil(len(durations) * 0.9) - 1],
        durations[-1],
        busy,
        wall_ms,
        work.failed_attempts,
        sum(ended - began for began, ended in work.lost),
    )


def _fitting(
    works: Mapping[str, _Work], shares: Mapping[str, int], room: int
) -> tuple[list[StepStats], int]:
    """Return the steps that find room, those that worked most; and what room is left."""
    if len(works) * _LEAST_SIZE <= room:
        stats = [_stats(name, work, shares[name]) for name, work in works.items()]
        left = room - sum(map(_size, stats))
        if left >= 0:
            return stats, left
    left = room - _UNNAMED_SIZE
    kept: dict[str, StepStats] = {}
    for name in sorted(works, key=shares.__getitem__, reverse=True):
        step = _stats(name, works[name], shares[name])
        size = _size(step)
        if size > left:
            break
        kept[name] = step
        left -= size
    stats = [kept[name] for name in works if name in kept]
    rest = [_numbers(works[name], shares[name]) for name in works if name not in kept]
    means = [round(sum(column) / len(rest)) for column in zip(*rest, strict=True)]
    return [*stats, _of_numbers("", means)], left


def _size(step: StepStats) -> int:
    return len(msgspec.json.encode(step)) + 1


def _longest(work: _Work, room: int) -> dict[str, int]:
    """Return the durations of the longest items by their keys, in the items' order."""
    durations = work.durations()
    least = sorted(durations)[-MOST_KEYS:][0]
    longest = [place for place, took in enumerate(durations) if took > least]
    longest.sort(key=durations.__getitem__, reverse=True)
    others = (place for place, took in enumerate(durations) if took == least)
    longest += islice(others, MOST_KEYS - len(longest))
    kept: list[int] = []
    for place in longest:
        room -= len(msgspec.json.encode(work.keys[place])) + _PER_KEY
        if room < 0:
            break
        kept.append(place)
    return {str(work.keys[place]): durations[place] for place in sorted(kept)}
