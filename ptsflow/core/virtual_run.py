"""The rest of a run, played in virtual time.

A schedule of its own decides what starts when a task ends, so limits, priorities, chains
and barriers are obeyed as the run will obey them. Items of a large fan-out are played in
groups, one item of a group after the other: 100,000 of them take as long as a thousand.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from heapq import heapify, heappop, heappush

from ptsflow.core.durations import Durations
from ptsflow.core.model import Status, TaskRecord, item_name
from ptsflow.core.pace import left_of
from ptsflow.core.plan import Plan, PlanStep
from ptsflow.core.run_progress import Family, RunProgress
from ptsflow.core.scheduler import Schedule

#: About how many tasks are played, however many are open.
_MOST_TASKS = 1_000
#: How many waiting items of a family are played by themselves.
_MOST_WAITING = 100


class _Items:
    """The open items of a family as they are played: in groups.

    Args:
        family: the items.
        size: how many neighbours may be in a group.
        apart: the places of items that are groups of their own.
        durations: what is usual.
    """

    def __init__(
        self, family: Family, size: int, apart: Iterable[int], durations: Durations
    ) -> None:
        self.bits = family.bits
        self.groups = family.groups(size, apart)
        #: The place of each item apart among the groups.
        self.apart: dict[int, int] = {}
        others: dict[tuple[int, int], int] = {}
        for place, group in enumerate(self.groups):
            if group.is_apart:
                self.apart[group.place] = place
            else:
                others[group.place, group.complete] = place
        #: By step, how long the tasks of each group take, one after the other.
        self.takes: dict[str, list[float]] = {}
        for step, bit in family.bits.items():
            usual = durations.of_others(step)
            takes = [
                0.0 if group.complete & bit else group.count * usual
                for group in self.groups
            ]
            for place, known in family.known[step].items():
                bits = family.complete[place]
                if not bits & bit:
                    at = self.apart.get(place)
                    at = others[place - place % size, bits] if at is None else at
                    takes[at] += known - usual
            self.takes[step] = takes

    def complete(self) -> dict[str, Status]:
        """Return the tasks of the groups that are complete."""
        return {
            item_name(step, str(place)): Status.DONE
            for place, group in enumerate(self.groups)
            for step, bit in self.bits.items()
            if group.complete & bit
        }


class OpenTasks:
    """What a run has still to do.

    Args:
        plan: the plan of the run.
        progress: what became of its tasks so far.
        now: the time.
        only: the steps and items that the run does alone, if not all.
    """

    def __init__(
        self,
        plan: Plan,
        progress: RunProgress,
        *,
        now: int,
        only: frozenset[str] | None = None,
    ) -> None:
        self.plan = plan
        self._progress = progress
        self.durations = progress.durations
        self._now = now
        self._only = only
        #: The open items of each fan-out step.
        self.items = self._grouped()
        #: How long the open tasks of each step usually take in all.
        self.work = {step.name: self._work_of(step) for step in plan.steps}
        #: Running and waiting tasks by the names that they are played by.
        self.running = {
            self._name_of(entry.task, entry.place): entry
            for entry in progress.running.values()
        }
        self.waiting = {
            self._name_of(task, place): max(0, (task.due or now) - now)
            for task, place in progress.waiting.values()
            if task.key is None or place in self.items[task.step].apart
        }

    def left_of(self, name: str, paces: Mapping[str, float]) -> float:
        """Return how much longer a running task takes, which may fail and begin again."""
        entry = self.running[name]
        step = entry.task.step
        expected = self.durations.of(entry.task) * paces[step]
        return left_of(entry, expected, self._now) * (1 + self.durations.loss(step))

    def _grouped(self) -> dict[str, _Items]:
        families = self._progress.families
        known = {
            id(family): family if family.is_expanded else self._usual(family)
            for family in families.values()
        }
        tasks = sum(family.open_count * len(family.bits) for family in known.values())
        size = math.ceil(tasks / _MOST_TASKS) or 1
        items = {
            key: _Items(family, size, self._apart(family), self.durations)
            for key, family in known.items()
        }
        return {step: items[id(family)] for step, family in families.items()}

    def _usual(self, family: Family) -> Family:
        """Return a family with as many items as there usually are, and their keys."""
        steps = [self.plan.by_name[name] for name in family.bits]
        found, first = Family(steps), steps[0].name
        count = self.durations.count(first)
        keys = list(self.durations.by_key(first))[:count]
        found.expand(count, self.durations.known(family.bits, keys))
        return found

    def _apart(self, family: Family) -> set[int]:
        """Return the places of the items that differ from all others."""
        progress, named = self._progress, self._only or ()
        found = {
            entry.place
            for entry in progress.running.values()
            if entry.task.step in family.bits and entry.task.key is not None
        }
        found |= {
            place
            for name in named
            if (place := progress.place_of(name, family)) is not None
        }
        most = len(found) + _MOST_WAITING
        for task, place in progress.waiting.values():
            if len(found) < most and task.step in family.bits and task.key is not None:
                found.add(place)
        return found

    def _name_of(self, task: TaskRecord, place: int) -> str:
        if task.key is None:
            return task.name
        return item_name(task.step, str(self.items[task.step].apart[place]))

    def schedule(self, *, despite_failures: bool) -> Schedule:
        """Return a schedule that has begun with what is complete, runs or waits.

        Args:
            despite_failures: whether what waits for failed steps is played, too.
        """
        found = Schedule(self.plan, self._only_names(), self.durations.by_step)
        complete = dict(self._progress.complete)
        if despite_failures:
            complete = dict.fromkeys(complete, Status.DONE)
        for items in {id(items): items for items in self.items.values()}.values():
            complete |= items.complete()
        found.load(complete, dict(self.waiting), (), self.running)
        if self._progress.is_finished:
            found.finish()
        for name, family in self._progress.families.items():
            if not despite_failures and family.is_failed(self.plan.by_name[name]):
                # The items that failed are not played, but what waits for all of them
                # does not start.
                found.steps[name].failed = len(family.complete)
        return found

    def _only_names(self) -> set[str] | None:
        if self._only is None:
            return None
        found = {name for name in self._only if name in self.plan.by_name}
        for step, family in self._progress.families.items():
            for name in self._only:
                place = self._progress.place_of(name, family)
                if place is not None and name.startswith(f"{step}["):
                    found.add(item_name(step, str(self.items[step].apart[place])))
        return found

    def _work_of(self, step: PlanStep) -> float:
        if step.each is not None:
            return math.fsum(self.items[step.name].takes[step.name])
        is_open = step.name not in self._progress.complete
        return self.durations.of_plain(step.name) if is_open else 0.0


class VirtualRun:
    """Plays open tasks in virtual time, which begins now, at zero.

    Args:
        tasks: what is open.
        jobs: how many bodies run at once.
        paces: by step, how many times longer than usual its tasks take in this run.
        in_usual: whether the time that it usually takes is asked for: at no pace of its
            own, and with all that waits for failed steps.
    """

    def __init__(
        self,
        tasks: OpenTasks,
        jobs: int,
        paces: Mapping[str, float],
        *,
        in_usual: bool = False,
    ) -> None:
        self._tasks = tasks
        self._jobs = jobs
        self._paces = dict.fromkeys(paces, 1.0) if in_usual else paces
        self._schedule = tasks.schedule(despite_failures=in_usual)
        self._expand()
        #: When what runs ends.
        self._ends: list[tuple[float, str]] = []
        for name, entry in tasks.running.items():
            pace = paces[entry.task.step] if in_usual else 1.0
            self._ends.append((tasks.left_of(name, paces) / pace, name))
        heapify(self._ends)

    def play(self) -> float:
        """Return how many milliseconds it takes until all is done."""
        schedule, ends, at = self._schedule, self._ends, 0.0
        while True:
            self._expand()
            for name in schedule.take(self._jobs - len(schedule.running), int(at)):
                heappush(ends, (at + self._takes(name), name))
            due = schedule.next_due()
            if ends and (due is None or ends[0][0] < due):
                at, name = heappop(ends)
                # Its step need not be open in virtual time: one that always runs opens
                # when all others are over.
                if schedule.knows(name):
                    schedule.settle(name, Status.DONE)
            elif due is not None:
                at = due
            elif not schedule.start_always():
                return at

    def _expand(self) -> None:
        schedule = self._schedule
        while schedule.to_expand or schedule.to_skip:
            while schedule.to_skip:
                schedule.settle(schedule.to_skip.popleft(), Status.SKIPPED)
            if schedule.to_expand:
                name = schedule.to_expand.popleft()
                if schedule.complete.get(name) is Status.FAILED:
                    schedule.refuse(name)
                else:
                    groups = len(self._tasks.items[name].groups)
                    schedule.expand(name, list(map(str, range(groups))))

    def _takes(self, name: str) -> float:
        tasks, (step, place) = self._tasks, self._schedule.source_of(name)
        if step.each is None:
            usual = tasks.durations.of_plain(name)
        else:
            usual = tasks.items[step.name].takes[step.name][place]
        if name not in tasks.waiting:
            usual *= 1 + tasks.durations.loss(step.name)
        return usual * self._paces[step.name]
