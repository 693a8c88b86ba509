"""What tasks are made from: hashes of results, which tell without any clock what is current.

A task keeps the hash of its own result, and one hash of the results that it was given: of
its item, and of the steps named by its parameters. If a person resets a source, the tasks
made from it are in doubt (`made_from` below zero). When their sources have results again, a task
in doubt whose hash is the same is current, and any other one is made again.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from zlib import crc32

from msgspec.msgpack import encode
from msgspec.structs import replace

from ptsflow.core.model import Cause, Status, StepSummary, TaskRecord
from ptsflow.core.plan import item_name

#: What a task in doubt was made from that has no hash: it was made before hashes were kept.
_UNKNOWN = -1
#: The hash of one source without a result.
_NO_RESULT = 2


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
    plan: Sequence[StepSummary], tasks: Iterable[TaskRecord]
) -> list[TaskRecord]:
    """Return the finished tasks made from other results than their sources have now.

    What has a source that is not complete is left out. So are the items of a stored list,
    as only the workflow's own code knows which element an item is.

    Args:
        plan: the steps in order.
        tasks: what is stored, by position.
    """
    if not any(step.takes for step in plan):
        return []
    looked_up = _Sources(plan, tasks)
    return [
        task
        for step in plan
        if step.takes and not step.always
        for task in looked_up.by_step.get(step.name, ())
        if task.made_from not in (0, _UNKNOWN)
        and is_finished(task)
        and looked_up.hash_for(step, task) not in (None, abs(task.made_from))
    ]


class _Sources:
    """The hashes of what the tasks of a container hand on, each made once."""

    def __init__(
        self, plan: Sequence[StepSummary], tasks: Iterable[TaskRecord]
    ) -> None:
        self.by_step: dict[str, list[TaskRecord]] = {}
        for task in tasks:
            self.by_step.setdefault(task.step, []).append(task)
        self._plan = {step.name: step for step in plan}
        self._whole: dict[str, int | None] = {}
        self._by_name: dict[str, dict[str, TaskRecord]] = {}

    def hash_for(self, step: StepSummary, task: TaskRecord) -> int | None:
        """Return the hash of a task's sources as they are now; None if it is not known."""
        hashes = [
            self._item(source, task.key)
            if source == step.each and step.takes_item
            else self._step(source)
            for source in step.takes
        ]
        known = [value for value in hashes if value is not None]
        return combined(known) if len(known) == len(hashes) else None

    def _item(self, source: str, key: str | None) -> int | None:
        if self._plan[source].each is None:
            return None
        if source not in self._by_name:
            found = {task.name: task for task in self.by_step.get(source, ())}
            self._by_name[source] = found
        task = self._by_name[source].get(item_name(source, key or ""))
        return None if task is None or not task.is_complete else given_by(task)

    def _step(self, source: str) -> int | None:
        if source not in self._whole:
            tasks = self.by_step.get(source, [])
            if not all(task.is_complete for task in tasks):
                found = None
            elif self._plan[source].each is None:
                found = given_by(tasks[0]) if tasks else None
            else:
                done = [t.result_hash for t in tasks if t.status is Status.DONE]
                found = combined(done)
            self._whole[source] = found
        return self._whole[source]
