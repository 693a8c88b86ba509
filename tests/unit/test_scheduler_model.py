"""The schedule against a naive oracle that looks at everything, every time.

Random plans and outcomes: at every moment the schedule has started just what may run,
no more and no less, in order and under the limits; and what is cut off anywhere and
resumed ends the same.
"""

# ruff: noqa: S311 - nothing here is secret.

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ptsflow import Workflow, step
from ptsflow.core.model import Status, item_name
from ptsflow.core.plan import Plan, PlanStep
from ptsflow.core.scheduler import Schedule
from ptsflow.workflow.compile import plan_of
from ptsflow.workflow.step import Step

DONE, FAILED, SKIPPED = Status.DONE, Status.FAILED, Status.SKIPPED


def random_plan(chance: random.Random) -> Plan:
    """Return a plan in which steps wait for each other in all the ways there are."""
    steps: dict[str, Step[..., Any]] = {}
    for number in range(chance.randrange(1, 9)):
        name = f"s{number}"
        earlier = list(steps.values())
        options: dict[str, Any] = {"optional": chance.random() < 0.2}
        options["priority"] = chance.choice([0, 0, 0, 1, -1])
        options["uses"] = chance.choice([None, None, "db"])
        kind = chance.choice(["plain", "parallel", "after", "each", "each"])
        if kind == "parallel":
            options["parallel"] = True
        if kind == "after":
            options["after"] = tuple(chance.sample(earlier, min(len(earlier), 2)))
        if kind == "each" and earlier:
            options["each"] = chance.choice(earlier)
            options["limit"] = chance.choice([None, 1, 2])
            options["tolerate"] = chance.choice([0, 1, "50%"])
            if chance.random() < 0.2:
                options["after"] = chance.choice(earlier)
        steps[name] = step(**options)(_body(name, fans_out="each" in options))
    for number in range(chance.randrange(3)):
        name = f"z{number}"
        parallel = chance.random() < 0.5
        uses = chance.choice([None, "db"])
        steps[name] = step(always=True, parallel=parallel, uses=uses)(
            _body(name, fans_out=False)
        )
    members = steps | {"limits": {"db": chance.randrange(1, 4)}}
    return plan_of(type("Random", (Workflow,), members))


def random_crowd(chance: random.Random) -> Plan:
    """Return a plan in which many want the same few things at the same time."""
    limits = {"db": chance.randrange(1, 5), "net": chance.randrange(1, 5)}
    most_used = chance.choice([1, 1, 2])
    first = step(_body("first", fans_out=False))
    steps: dict[str, Step[..., Any]] = {"first": first}
    for number in range(chance.randrange(2, 7)):
        name = f"s{number}"
        used = chance.sample(sorted(limits), chance.randrange(most_used + 1))
        steps[name] = step(
            each=first,
            limit=chance.choice([None, None, 1, 2]),
            priority=chance.choice([0, 0, 0, 1, -1]),
            uses={name: chance.randint(1, limits[name]) for name in used},
        )(_body(name, fans_out=True))
    return plan_of(type("Crowd", (Workflow,), steps | {"limits": limits}))


def _body(name: str, *, fans_out: bool) -> Any:
    def plain(self: Workflow) -> None: ...
    def each(self: Workflow, item: object) -> None: ...

    body: Any = each if fans_out else plain
    body.__name__ = body.__qualname__ = name
    return body


class World:
    """What the bodies of a plan do: always the same."""

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def _chance(self, what: str) -> random.Random:
        return random.Random(f"{self.seed} {what}")

    def outcome(self, task: str) -> Status:
        return self._chance(task).choice([DONE, DONE, DONE, DONE, SKIPPED, FAILED])

    def keys(self, source: str) -> list[str]:
        return list("uvwxyz")[: self._chance(f"keys of {source}").randrange(7)]

    def refuses(self, name: str) -> bool:
        return self._chance(f"list for {name}").random() < 0.1

    def retries(self, task: str) -> bool:
        return self._chance(f"first attempt of {task}").random() < 0.2


class Oracle:
    """What may run now, found by looking at all of it."""

    def __init__(self, plan: Plan, world: World) -> None:
        self.plan = plan
        self.world = world
        self.complete: dict[str, Status] = {}
        self.always = False

    def items(self, planned: PlanStep) -> list[str] | None:
        """Return the step's tasks; None where they are not known yet."""
        keys = self.keys(planned)
        if planned.each is None:
            return [planned.name]
        if self.complete.get(planned.name) is FAILED:
            return [planned.name]  # Its list was refused.
        return None if keys is None else [item_name(planned.name, k) for k in keys]

    def keys(self, planned: PlanStep) -> list[str] | None:
        if planned.each is None:
            return None
        source = self.plan.by_name[planned.each]
        if source.each is not None:
            if self.complete.get(source.name) is FAILED:
                return [] if source.optional else None
            return self.keys(source)
        if not self.may_begin(planned):
            return None
        done = self.complete[source.name] is DONE
        return self.world.keys(source.name) if done else []

    def is_settled(self, planned: PlanStep) -> bool:
        items = self.items(planned)
        return items is not None and all(item in self.complete for item in items)

    def is_satisfied(self, planned: PlanStep) -> bool:
        items = self.items(planned)
        if items is None or not self.is_settled(planned):
            return False
        failed = sum(self.complete[item] is FAILED for item in items)
        if not failed or planned.optional:
            return True
        if planned.each is None or items == [planned.name]:
            return False
        tolerate = planned.tolerate
        if isinstance(tolerate, str):
            return failed <= len(items) * float(tolerate[:-1]) / 100
        return failed <= tolerate

    def may_begin(self, planned: PlanStep) -> bool:
        """Whether all that the step as a whole waits for is there."""
        above = self.plan.steps[: planned.above or 0]
        if planned.always:
            rest = [other for other in above if other.always]
            return self.always and all(map(self.is_settled, rest))
        needs = [self.plan.by_name[name] for name in planned.needs]
        return all(map(self.is_satisfied, [*above, *needs]))

    def lists(self) -> set[str]:
        """Return the steps whose list is to be looked at now."""
        return {
            planned.name
            for planned in self.plan.steps
            if planned.each is not None
            and self.plan.by_name[planned.each].each is None
            and self.may_begin(planned)
        }

    def ready(self) -> tuple[set[str], set[str]]:
        """Return what may run, or runs, and what is to be skipped."""
        run: set[str] = set()
        skip: set[str] = set()
        for planned in self.plan.steps:
            items = self.items(planned)
            if items is None or not self.may_begin(planned):
                continue
            for index, item in enumerate(items):
                if item not in self.complete:
                    fate = self._fate(planned, index)
                    (run if fate else skip if fate is False else set()).add(item)
        return run, skip

    def _fate(self, planned: PlanStep, index: int) -> bool | None:
        """Return whether an item runs, or is skipped; None where it waits."""
        source = self.plan.by_name[planned.each] if planned.each else None
        if source is None or source.each is None:
            return True
        before = self.complete.get((self.items(source) or [])[index])
        if before is None or before is DONE:
            return None if before is None else True
        accepted = source.optional or self.is_satisfied(source)
        return False if before is SKIPPED or accepted else None

    def succeeded(self) -> bool:
        return all(map(self.is_satisfied, self.plan.steps))


class Queue:
    """In which order what is ready starts, found by sorting all of it."""

    def __init__(self, plan: Plan, schedule: Schedule) -> None:
        self.plan = plan
        self.schedule = schedule
        self.turn = 0
        #: The turn in which each task became ready.
        self.since: dict[str, int] = {}
        #: The turn in which each step could begin.
        self.opened: dict[str, int] = {}
        #: What was started, and what is behind it.
        self.begun: set[str] = set()

    def sorted(self, ready: set[str], open_steps: set[str]) -> list[str]:
        """Return what is ready, now or longer, in the order in which it should start."""
        self.turn += 1
        self.since = {task: self.since.get(task, self.turn) for task in ready}
        self.opened = {s: self.opened.get(s, self.turn) for s in open_steps}
        return sorted(ready, key=self._rank)

    def _rank(self, task: str) -> tuple[int, bool, int, int, int, int]:
        planned, place = self.schedule.source_of(task)
        root = self._root(planned)
        if root is None or (root is planned and task not in self.begun):
            since, at = self.since[task], (planned.index, place, 0)
            return (-planned.priority, True, since, *at)
        at = (root.index, place, planned.index)
        return (-planned.priority, False, self.opened[root.name], *at)

    def _root(self, planned: PlanStep) -> PlanStep | None:
        """Return the first step of an item-wise chain; None where there is no chain."""
        root = planned
        while root.each and self.plan.by_name[root.each].each:
            root = self.plan.by_name[root.each]
        is_chain = root is not planned or planned.name in {
            other.each for other in self.plan.steps if planned.each
        }
        return root if is_chain else None

    def wants(self, task: str) -> Mapping[str, int]:
        planned, _ = self.schedule.source_of(task)
        own = {} if planned.limit is None else {f"limit of {planned.name}": 1}
        return own | dict(planned.uses)

    def room(self, running: set[str]) -> Counter[str]:
        """Return how much is left of each limit."""
        left = Counter(self.plan.limits)
        for planned in self.plan.steps:
            if planned.limit is not None:
                left[f"limit of {planned.name}"] = planned.limit
        for task in running:
            left.subtract(self.wants(task))
        return left

    def next(self, line: list[str], running: set[str], free: int) -> list[str]:
        """Return what starts: nobody takes room that one before it waits for."""
        left = self.room(running)
        waited_for: set[str] = set()
        started: list[str] = []
        for task in line:
            wants = self.wants(task)
            short = [n for n in wants if n in waited_for or wants[n] > left[n]]
            if len(started) < free and not short:
                left.subtract(wants)
                started.append(task)
            waited_for.update(short[:1])
        return started


class Drive:
    """Runs a schedule as the loop does, the oracle looking on."""

    def __init__(
        self,
        plan: Plan,
        world: World,
        jobs: int,
        complete: dict[str, Status],
        begun: Iterable[str] = (),
    ) -> None:
        self.world = world
        self.jobs = jobs
        self.now = 0
        self.oracle = Oracle(plan, world)
        self.oracle.complete.update(complete)
        self.schedule = Schedule(plan)
        self.schedule.load(dict(complete), {}, begun)
        self.queue = Queue(plan, self.schedule)
        self.queue.begun.update(begun)
        self.due: dict[str, int] = {}
        self.started: list[str] = []

    def run(self, chance: random.Random, most: int = 10**6) -> None:
        """Go on until it is over, or until so many bodies have ended."""
        schedule = self.schedule
        for _ in range(most):
            self._launch()
            while schedule.is_idle():
                if not schedule.start_always():
                    assert self.oracle.ready() == (set(), set())
                    return
                self.oracle.always = True
                self._launch()
            if schedule.running:
                # Several may end before the next turn.
                many = chance.randint(1, len(schedule.running))
                for task in chance.sample(sorted(schedule.running), many):
                    self._end(task)
            else:
                due = schedule.next_due()
                assert due is not None
                self.now = due

    def _launch(self) -> None:
        schedule, oracle = self.schedule, self.oracle
        while schedule.to_expand or schedule.to_skip:
            while schedule.to_expand:
                self._expand(schedule.to_expand.popleft())
            while schedule.to_skip:
                task = schedule.to_skip.popleft()
                if task not in oracle.complete:
                    assert task in oracle.ready()[1]
                    oracle.complete[task] = SKIPPED
                    schedule.settle(task, SKIPPED)
        before = set(schedule.running)
        taken = schedule.take(self.jobs - len(before), self.now)
        self.started += taken
        self._compare(before, taken)
        self.queue.begun.update(taken)

    def _expand(self, name: str) -> None:
        assert name in self.oracle.lists()
        if self.world.refuses(name):
            self.oracle.complete[name] = FAILED
            self.schedule.refuse(name)
            return
        keys = self.oracle.keys(self.oracle.plan.by_name[name])
        assert keys is not None
        self.schedule.expand(name, keys)

    def _compare(self, before: set[str], taken: list[str]) -> None:
        run, skip = self.oracle.ready()
        waiting = {task for task, due in self.due.items() if due > self.now}
        queue = self.queue
        open_steps = {
            p.name for p in self.oracle.plan.steps if self.oracle.may_begin(p)
        }
        line = queue.sorted(run - before - waiting, open_steps)
        left = queue.room(before | set(taken))

        assert skip == set()
        assert len(before) + len(taken) <= self.jobs
        assert min(left.values()) >= 0
        if all(len(planned.uses) < 2 for planned in queue.plan.steps):
            assert taken == queue.next(line, before, self.jobs - len(before))
            return
        # Which of two limits a task waits at depends on what came before. But there is
        # one that is short, for it or for one that it may not overtake.
        assert taken == [task for task in line if task in taken]
        short: set[str] = set()
        for task in line:
            if task not in taken and len(before) + len(taken) < self.jobs:
                wants = queue.wants(task)
                now_short = {name for name in wants if wants[name] > left[name]}
                assert now_short or not short.isdisjoint(wants)
                short |= now_short

    def _end(self, task: str) -> None:
        if self.world.retries(task) and task not in self.due:
            self.due[task] = self.now + 10
            self.schedule.wait(task, self.now + 10)
            return
        status = self.world.outcome(task)
        self.oracle.complete[task] = status
        self.schedule.settle(task, status)


@settings(max_examples=400, deadline=None)
@given(st.integers(0, 2**40))
def test_the_schedule_starts_just_what_may_run(seed: int) -> None:
    chance = random.Random(seed)
    plan = chance.choice([random_plan, random_crowd])(chance)
    drive = Drive(plan, World(seed), chance.randrange(1, 5), {})
    drive.run(chance)

    assert len(drive.started) == len(set(drive.started)) + len(drive.due)
    assert drive.schedule.succeeded() == drive.oracle.succeeded()
    assert drive.schedule.complete == drive.oracle.complete


@settings(max_examples=300, deadline=None)
@given(st.integers(0, 2**40))
def test_what_was_cut_off_anywhere_and_resumed_ends_the_same(seed: int) -> None:
    chance = random.Random(seed)
    plan, world, jobs = random_plan(chance), World(seed), chance.randrange(1, 5)
    whole = Drive(plan, world, jobs, {})
    whole.run(random.Random(seed))
    first = Drive(plan, world, jobs, {})
    first.run(random.Random(seed), chance.randrange(1 + len(whole.started)))
    # Failed tasks are tried again, and what was skipped behind them may run.
    kept = {
        task: status
        for task, status in first.oracle.complete.items()
        if status is DONE or (status is SKIPPED and task in first.started)
    }
    begun = set(first.started) - kept.keys()
    second = Drive(plan, world, jobs, kept, begun)
    second.run(chance)

    assert second.oracle.complete == whole.oracle.complete
    assert second.schedule.succeeded() == whole.schedule.succeeded()
    assert not kept.keys() & set(second.started)


@pytest.mark.soak
@pytest.mark.timeout(600)
def test_many_more_plans_are_scheduled_as_the_oracle_says() -> None:
    for seed in range(30_000):
        chance = random.Random(seed)
        plan = chance.choice([random_plan, random_crowd])(chance)
        drive = Drive(plan, World(seed), chance.randrange(1, 5), {})
        drive.run(chance)

        assert drive.schedule.complete == drive.oracle.complete, seed
        assert drive.schedule.succeeded() == drive.oracle.succeeded(), seed
