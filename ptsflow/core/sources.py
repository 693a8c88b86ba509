"""What tasks are made from: hashes of results, which tell without any clock what is current.

A task keeps the hash of its own result, and one hash of the results that it was given: of
its item, and of the steps named by its parameters. If a person resets a source, the tasks
made from it are in doubt (`made_from` below zero). When their sources have results again, a task
in doubt whose hash is the same is current, and any other one is made again.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from zlib import crc32

from msgspec.msgpack import encode
from msgspec.structs import replace

from ptsflow.core.model import Cause, Status, StepSummary, Tally, TaskRecord
from ptsflow.core.names import listed
from ptsflow.core.pack import in_order
from ptsflow.core.packed import parts_of

#: What is said of a task that is outdated.
OUTDATED = "made from other results than its sources have now"
#: The cure.
RESET = "reset it to run it again"
#: What a task in doubt was made from that has no hash: it was made before hashes were kept.
_UNKNOWN = -1
#: The hash of one source without a result.
_NO_RESULT = 2


def say_outdated(tasks: Collection[str]) -> str:
    """Name tasks that are outdated, and the cure; "" where there are none."""
    return f"{OUTDATED}: {listed(tasks)}; {RESET}" if tasks else ""


_MISFIT = "the stored result of {source} does not fit"
_MISFIT_OF = re.escape(_MISFIT).replace(re.escape("{source}"), "(.+?)")


def misfit(source: str, why: str) -> str:
    """Say that what a step or an item has as its result does not fit what reads it."""
    return f"{_MISFIT.format(source=source)}: {why}"


def misfit_source(error: str | None) -> str:
    """Return the step or item of which a task's error says so; "" if it does not."""
    found = re.search(_MISFIT_OF, error or "")
    return "" if found is None else found[1]


def combined(hashes: Sequence[int]) -> int:
    """Return one hash of the results of some sources, never 0."""
    if len(hashes) == 1:
        return hashes[0] or _NO_RESULT
    data = encode(hashes)
    return len(data) << 32 | crc32(data)


def given_by(task: TaskRecord | None) -> int:
    """Return the hash of what a task hands on: of its result, if it is done."""
    done = task is not None and task.status is Status.DONE
    return task.result_hash if done and task is not None else 0


def is_finished(task: TaskRecord) -> bool:
    """Whether the body of the task ended well, so that it was made from its sources."""
    return task.status is Status.DONE or task.cause is Cause.BODY


def doubted(task: TaskRecord, *, fence: int) -> TaskRecord:
    """A person reset something that the task was made from."""
    made_from = -abs(task.made_from) or _UNKNOWN
    return replace(task, version=task.version + 1, fence=fence, made_from=made_from)


def confirmed(task: TaskRecord, *, fence: int) -> TaskRecord:
    """What the task was made from came out the same: it is current."""
    made_from = 0 if task.made_from == _UNKNOWN else abs(task.made_from)
    return replace(task, version=task.version + 1, fence=fence, made_from=made_from)


def is_current(task: TaskRecord, made_from: int) -> bool:
    """Whether a task was made from the results that it would be made from now."""
    return abs(task.made_from) == made_from or made_from == 0


def behind(
    plan: Sequence[StepSummary], step: str, key: str | None
) -> dict[str, str | None]:
    """Return the steps that wait for a step or for one item of it, however indirectly.

    Args:
        plan: the steps in order.
        step: the step.
        key: the item's key; None for the whole step.

    Returns:
        By step None, or the key of the one item that waits: items chained behind an item
        do not wait for its neighbours.
    """
    found: dict[str, str | None] = {step: key}
    first = len(plan)
    for place, entry in enumerate(plan):
        if entry.name == step:
            # A step that always runs holds up no barrier.
            first = len(plan) if entry.always else place
            continue
        as_whole = (entry.above or 0) > first or any(n in found for n in entry.needs)
        if as_whole:
            found[entry.name] = None
        elif entry.each in found:
            found[entry.name] = found[entry.each]
    del found[step]
    return found


def is_behind(task: TaskRecord, found: dict[str, str | None]) -> bool:
    """Whether a task is one of those that `behind` returned."""
    return task.step in found and found[task.step] in (None, task.key)


def outdated(
    plan: Sequence[StepSummary],
    tasks: Iterable[TaskRecord],
    steps: Iterable[StepSummary] | None = None,
) -> list[str]:
    """Return the names of finished tasks made from other results than their sources have now.

    What has a source that is not complete is left out. So are the items of a stored list,
    as only the workflow's own code knows which element an item is.

    Args:
        plan: the steps in order.
        tasks: what is stored, by position.
        steps: look at the tasks of these alone; theirs and those of what these steps take
            are then all that is needed.
    """
    steps = plan if steps is None else steps
    if not any(step.takes for step in steps):
        return []
    sources = _Sources(plan, tasks)
    return [
        name
        for step in steps
        if step.takes and not step.always
        for name in sources.outdated(step)
    ]


def judged(plan: Sequence[StepSummary], tallies: Iterable[Tally]) -> list[StepSummary]:
    """Return the steps that can have tasks that are outdated, as far as counts tell.

    Args:
        plan: the steps in order.
        tallies: the tasks, counted.
    """
    fans_out = {step.name: step.each is not None for step in plan}
    begun, incomplete = set[str](), set[str]()
    for tally in tallies:
        (begun if tally.status.is_complete else incomplete).add(tally.step)

    def can_have(step: StepSummary) -> bool:
        if step.always or not step.takes or step.name not in begun:
            return False
        item_of = step.each if step.takes_item else None
        wholes = {name for name in step.takes if name != item_of}
        return (item_of is None or fans_out[item_of]) and not wholes & incomplete

    return list(filter(can_have, plan))


class _Sources:
    """The hashes of what the tasks of a container hand on, each made once."""

    def __init__(
        self, plan: Sequence[StepSummary], tasks: Iterable[TaskRecord]
    ) -> None:
        self._by_step: dict[str, list[TaskRecord]] = {}
        records, packs = parts_of(tasks)
        for task in records:
            self._by_step.setdefault(task.step, []).append(task)
        #: By step whose items are all packed, the pack.
        self._packs = {pack.step: pack for pack in packs}
        for step in self._packs.keys() & self._by_step.keys():
            mixed = [*self._by_step[step], *self._packs.pop(step).records()]
            self._by_step[step] = sorted(mixed, key=in_order)
        self._fans_out = {step.name: step.each is not None for step in plan}
        self._whole: dict[str, int | None] = {}
        self._by_key: dict[str, dict[str | None, int]] = {}

    def outdated(self, step: StepSummary) -> Iterator[str]:
        """Yield the finished tasks of a step that were made from other results."""
        item_of = step.each if step.takes_item else None
        if item_of is not None and not self._fans_out[item_of]:
            return
        hashes = [0 if name == item_of else self._step(name) for name in step.takes]
        known = [each for each in hashes if each is not None]
        if len(known) < len(hashes):
            return
        items = {} if item_of is None else self._items(item_of)
        place = 0 if item_of is None else step.takes.index(item_of)
        current = combined(known)
        for name, key, made_from in self._finished(step.name):
            if made_from in (0, _UNKNOWN):
                continue
            if item_of is not None:
                if key not in items:
                    continue
                known[place] = items[key]
                current = combined(known)
            if abs(made_from) != current:
                yield name

    def _finished(self, step: str) -> Iterable[tuple[str, str | None, int]]:
        """Return the finished tasks of a step: name, key, and what it was made from."""
        if (pack := self._packs.get(step)) is not None:
            return zip(pack.names, pack.keys, pack.each("made_from"), strict=True)
        tasks = filter(is_finished, self._by_step.get(step, ()))
        return ((task.name, task.key, task.made_from) for task in tasks)

    def _items(self, source: str) -> dict[str | None, int]:
        """Return what the complete items of a step hand on, by key."""
        if source not in self._by_key and (pack := self._packs.get(source)):
            hashes = zip(pack.keys, pack.each("result_hash"), strict=True)
            self._by_key[source] = dict(hashes)
        elif source not in self._by_key:
            tasks = self._by_step.get(source, ())
            found = {task.key: given_by(task) for task in tasks if task.is_complete}
            self._by_key[source] = found
        return self._by_key[source]

    def _step(self, source: str) -> int | None:
        """Return what a whole step hands on; None if it is not complete."""
        if source not in self._whole and (pack := self._packs.get(source)):
            self._whole[source] = combined(list(pack.each("result_hash")))
        elif source not in self._whole:
            tasks = self._by_step.get(source, [])
            found: int | None = None
            if all(task.is_complete for task in tasks):
                done = [t.result_hash for t in tasks if t.status is Status.DONE]
                if self._fans_out[source]:
                    found = combined(done)
                elif tasks:
                    found = done[0] if done else 0
            self._whole[source] = found
        return self._whole[source]
