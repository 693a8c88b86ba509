"""What became of the tasks of a run so far, as far as an outlook asks for it.

`RunProgress` is told of each task that begins or ends, in the same time for each. An
outlook then costs in proportion to what is open, by groups of items that are alike: not
to what is done.

A fan-out step and those chained behind it item by item are a *family*: its items have the
same keys. What is complete of an item is one number, a bit for each step.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence

from msgspec import Struct

from ptsflow.core.counts import is_accepted
from ptsflow.core.durations import Durations
from ptsflow.core.model import Status, TaskRecord
from ptsflow.core.plan import Plan, PlanStep


class Running:
    """A task that runs.

    Args:
        task: as it began.
        place: its place among the items of its step.
    """

    def __init__(self, task: TaskRecord, place: int) -> None:
        self.task = task
        self.place = place
        self.began_at = task.last_invoked_at or 0
        #: How much is done, as the task said last; and when it said so.
        self.percentage = 0.0
        self.said_at = self.began_at
        #: The same of what it said first: another attempt may go on in the middle.
        self._first: tuple[float, int] | None = (
            None if task.invoke_count > 1 else (0.0, self.began_at)
        )

    def report(self, percentage: float, at: int) -> None:
        """The task said how much of it is done."""
        if self._first is None:
            self._first = percentage, at
        if percentage != self.percentage:
            self.percentage, self.said_at = percentage, at

    def elapsed(self, now: int) -> int:
        """Return for how long it runs."""
        return max(0, now - self.began_at)

    def total(self, least: float) -> float | None:
        """Return how long all of the task takes at the rate of its reports.

        Args:
            least: how much it has to have said, in percent, to be believed.
        """
        if self._first is None:
            return None
        percentage, at = self._first
        gained = self.percentage - percentage
        if gained <= least or self.said_at <= at:
            return None
        return 100 * (self.said_at - at) / gained


class FinishedWork(Struct):
    """What the tasks of a step took that this run finished, against what is usual."""

    count: int = 0
    taken_ms: float = 0.0
    expected_ms: float = 0.0

    @property
    def log_ratio(self) -> float:
        """The logarithm of how many times longer than usual they took."""
        return math.log(max(1.0, self.taken_ms) / max(1.0, self.expected_ms))


class ItemGroup(Struct, frozen=True):
    """Items of a family, neighbours of which the same steps are complete."""

    #: The place of the item, or the first place that the group may have items at.
    place: int
    #: A bit for each step of the family that is complete, or never will be.
    complete: int
    count: int
    is_apart: bool = False


class Family:
    """A fan-out step and the steps chained behind it, which share their items."""

    def __init__(self, steps: Sequence[PlanStep]) -> None:
        #: Each step's bit: 1 for the first one, then 2, 4, ...
        self.bits = {step.name: 1 << place for place, step in enumerate(steps)}
        self.all_bits = (1 << len(steps)) - 1
        self.is_expanded = False
        self.keys: Sequence[str] = ()
        #: What is complete of each item.
        self.complete: list[int] = []
        #: By step, how long those items take of which runs tell, by their places.
        self.known: dict[str, dict[int, float]] = {}
        #: By step and status, the places of items that are complete and not done.
        self.undone: dict[tuple[str, Status], set[int]] = defaultdict(set)
        #: By step, the bits of the step and of those chained behind it.
        self._behind = dict(self.bits)
        for step in reversed(steps[1:]):
            self._behind[step.each or ""] |= self._behind[step.name]

    def expand(self, count: int, known: dict[str, dict[int, float]]) -> None:
        """The items are known: how many there are, and how long some of them take."""
        self.is_expanded = True
        self.complete = [0] * count
        self.known = known

    def finish(self, step: str, places: Iterable[int]) -> None:
        """Items of a step are done, of which nothing else was told."""
        bit, complete = self.bits[step], self.complete
        for place in places:
            complete[place] |= bit

    def settle(self, step: str, place: int, status: Status) -> None:
        """An item of a step is complete; nothing comes behind it unless it is done."""
        self.reopen(step, place)
        if status is Status.DONE:
            self.complete[place] |= self.bits[step]
        else:
            self.undone[step, status].add(place)
            self.complete[place] |= self._behind[step]

    def reopen(self, step: str, place: int) -> None:
        """An item of a step is open; so are those behind it, if it was not done."""
        bits = self.bits[step]
        for (name, _), places in self.undone.items():
            if name == step and place in places:
                places.remove(place)
                bits = self._behind[step]
        self.complete[place] &= ~bits

    def is_failed(self, step: PlanStep) -> bool:
        """Whether so many items of a step failed that the step does."""
        failed = len(self.undone[step.name, Status.FAILED])
        return not is_accepted(step, failed, len(self.complete))

    @property
    def open_count(self) -> int:
        """How many items are not complete."""
        return len(self.complete) - self.complete.count(self.all_bits)

    def groups(self, size: int, apart: Iterable[int]) -> list[ItemGroup]:
        """Return the open items in groups of neighbours, in the order of the items.

        Args:
            size: how many neighbours may be in a group.
            apart: the places of items that are groups of their own.
        """
        items, full = self.complete, self.all_bits
        found = [ItemGroup(place, items[place], 1, is_apart=True) for place in apart]
        taken_out: dict[int, list[int]] = defaultdict(list)
        for place in apart:
            taken_out[place - place % size].append(items[place])
        for first, counts in self._blocks(size):
            counts.pop(full, None)
            for bits in taken_out.get(first, ()):
                counts[bits] -= 1
            found += [ItemGroup(first, bits, n) for bits, n in counts.items() if n > 0]
        found.sort(key=lambda group: group.place)
        return found

    def _blocks(self, size: int) -> Iterator[tuple[int, dict[int, int]]]:
        """Yield the first place of each block with open items, and how many stand how."""
        items, full = self.complete, self.all_bits
        if size == 1:
            for place, bits in enumerate(items):
                if bits != full:
                    yield place, {bits: 1}
            return
        whole, none = [full] * size, [0] * size
        for first in range(0, len(items), size):
            block = items[first : first + size]
            if block == none:
                yield first, {0: size}
            elif block != whole:
                yield first, Counter(block)


class RunProgress:
    """What became of the tasks of a run so far.

    Args:
        plan: the plan of the run.
        durations: how long its tasks usually take.
        began_at: when the run began.
        percentage: the largest percentage that was told of the container by then.
    """

    def __init__(
        self,
        plan: Plan,
        durations: Durations,
        *,
        began_at: int,
        percentage: float = 0.0,
    ) -> None:
        self.plan = plan
        self.durations = durations
        self.began_at = began_at
        #: The largest percentage that was told of the container.
        self.percentage = self.first_percentage = percentage
        #: How long all of the container usually takes, where that was found out.
        self.whole_ms: float | None = None
        self.families: dict[str, Family] = {}
        #: The status of each complete task of steps that do not fan out, and of steps
        #: whose list was refused.
        self.complete: dict[str, Status] = {}
        self.running: dict[str, Running] = {}
        #: The tasks that wait for their next attempt, each with its place.
        self.waiting: dict[str, tuple[TaskRecord, int]] = {}
        #: Whether a step said that what has not begun is not needed.
        self.is_finished = False
        #: By step, what this run finished of it.
        self.finished = {step.name: FinishedWork() for step in plan.steps}
        chains: dict[str, list[PlanStep]] = {}
        for step in plan.steps:
            if step.each is not None:
                chain = chains.setdefault(step.each, [])
                if plan.by_name[step.each].each is None:
                    chain = []
                chains[step.name] = chain
                chain.append(step)
        made = {id(chain): Family(chain) for chain in chains.values() if chain}
        for name, chain in chains.items():
            if chain and plan.by_name[name].each is not None:
                self.families[name] = made[id(chain)]

    def blank(self) -> RunProgress:
        """Return the same run before anything became of its tasks."""
        found = RunProgress(self.plan, self.durations, began_at=self.began_at)
        for step, family in self.families.items():
            if family.is_expanded:
                found.families[step].expand(len(family.complete), family.known)
        return found

    def expand(self, step: str, keys: Sequence[str]) -> None:
        """The items of a fan-out step are known, and of those chained behind it."""
        family = self.families[step]
        family.keys = keys
        family.expand(len(keys), self.durations.known(family.bits, keys))
        self.whole_ms = None

    def take_in(self, task: TaskRecord, place: int, *, by_this_run: bool) -> None:
        """A task is as told now.

        Args:
            task: the task, of one of the plan's steps.
            place: its place among the items of its step; 0 if it is no item.
            by_this_run: whether this run made the attempt that the task tells of: then
                it tells how fast this run is.
        """
        name, status = task.name, task.status
        self.running.pop(name, None)
        self.waiting.pop(name, None)
        if status is Status.RUNNING:
            self.running[name] = Running(task, place)
        elif status is Status.WAITING:
            self.waiting[name] = (task, place)
        if not status.is_complete:
            self._reopen(task, place)
        else:
            self._settle(task, place)
            if by_this_run and status is Status.DONE:
                self._learn(task)

    def place_of(self, name: str, family: Family) -> int | None:
        """Return the place of a task among the items of a family, if it is one of them."""
        step, key = self.plan.named(name) or (name, None)
        if key is None or step not in family.bits or key not in family.keys:
            return None
        return family.keys.index(key)

    def report(self, name: str, percentage: float, at: int) -> None:
        """A running task said how much of it is done."""
        if name in self.running:
            self.running[name].report(percentage, at)

    def _settle(self, task: TaskRecord, place: int) -> None:
        if task.key is None:
            self.complete[task.name] = task.status
        else:
            self.families[task.step].settle(task.step, place, task.status)

    def _reopen(self, task: TaskRecord, place: int) -> None:
        if task.key is None:
            self.complete.pop(task.name, None)
        else:
            self.families[task.step].reopen(task.step, place)

    def _learn(self, task: TaskRecord) -> None:
        finished = self.finished[task.step]
        finished.count += 1
        began, ended = task.last_invoked_at, task.task_ended_at
        if began is not None and ended is not None:
            finished.taken_ms += max(0, ended - began)
        finished.expected_ms += self.durations.of(task)
