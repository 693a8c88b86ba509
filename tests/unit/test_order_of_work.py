"""Item-wise chains are finished before others begin: runs played in virtual time."""

# ruff: noqa: S311 - nothing here is secret.

from __future__ import annotations

import heapq
import random
import statistics
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ptsflow import Workflow, connect, step
from ptsflow.core.model import Status
from ptsflow.core.plan import Plan, PlanStep
from ptsflow.core.scheduler import Schedule
from ptsflow.testing import run_inline
from ptsflow.workflow.compile import plan_of
from ptsflow.workflow.step import Step

DONE = Status.DONE
Options = Mapping[str, Any]


def _body(name: str, *, fans_out: bool) -> Any:
    def plain(self: Workflow) -> None: ...
    def each(self: Workflow, item: object) -> None: ...

    body: Any = each if fans_out else plain
    body.__name__ = body.__qualname__ = name
    return body


def planned(limits: Mapping[str, int] | None = None, /, **steps: Options) -> Plan:
    """Return a plan of these steps; `each` and `after` name earlier ones."""
    made: dict[str, Step[..., Any]] = {}
    for name, given_ in steps.items():
        options = dict(given_)
        if "each" in options:
            options["each"] = made[options["each"]]
        if "after" in options:
            options["after"] = [made[other] for other in options["after"].split()]
        made[name] = step(**options)(_body(name, fans_out="each" in options))
    members: dict[str, Any] = {"limits": limits or {}, **made}
    return plan_of(type("W", (Workflow,), members))


class World:
    """How many items there are, how long bodies take, and which are tried twice."""

    def __init__(self, seed: int = 0, *, items: int | None = None) -> None:
        self._seed = seed
        self._items = items

    def _chance(self, what: str) -> random.Random:
        return random.Random(f"{self._seed} {what}")

    def keys(self, name: str) -> list[str]:
        count = self._chance(f"items of {name}").randrange(1, 12)
        return [str(key) for key in range(self._items or count)]

    def takes(self, task: str) -> int:
        return 10 if self._items else self._chance(task).randrange(1, 40)

    def is_tried_twice(self, task: str) -> bool:
        return not self._items and self._chance(f"retry {task}").random() < 0.1


class Run:
    """A run in virtual time.

    Args:
        plan: what is run.
        world: what its bodies do.
        slots: how many may run at a time.
        is_fair: whether the items of chains stand in the order of all other tasks.
    """

    def __init__(
        self, plan: Plan, world: World, slots: int, *, is_fair: bool = False
    ) -> None:
        self.plan = plan
        self.world = world
        self.slots = slots
        self.now = 0
        self.is_fair = is_fair
        self.schedule = Schedule(plan)
        if is_fair:
            for state in self.schedule.steps.values():
                state.root = None
        #: Every start, in order.
        self.started: list[str] = []
        #: The chains of which an item was started, now or in an earlier run.
        self.begun: set[tuple[str, int]] = set()
        self._ends: list[tuple[int, str]] = []
        self._waits: set[str] = set()

    def go(
        self,
        complete: Mapping[str, Status] | None = None,
        begun: frozenset[str] = frozenset(),
        most: int = 10**6,
    ) -> Run:
        """Run to the end, or until so many bodies have ended."""
        self.schedule.load(dict(complete or {}), {}, begun)
        for _ in range(most):
            self._launch()
            due = self.schedule.next_due()
            if not self._ends and due is None:
                assert self.schedule.is_idle()
                return self
            if due is not None and (not self._ends or due < self._ends[0][0]):
                self.now = due
                continue
            self.now, task = heapq.heappop(self._ends)
            if self.world.is_tried_twice(task) and task not in self._waits:
                self._waits.add(task)
                self.schedule.wait(task, self.now + 25)
            else:
                self._waits.discard(task)
                self.schedule.settle(task, DONE)
        return self

    def _launch(self) -> None:
        schedule = self.schedule
        while schedule.to_expand:
            name = schedule.to_expand.popleft()
            schedule.expand(name, self.world.keys(name))
        for task in schedule.take(self.slots - len(schedule.running), self.now):
            heapq.heappush(self._ends, (self.now + self.world.takes(task), task))
            self.started.append(task)
            if not self.is_fair:
                self.look(task)

    def look(self, task: str) -> None:
        """No chain begins while an item of one that has begun could go on."""
        chain = self.chain_of(task)
        if chain is None or chain in self.begun:
            return
        self.begun.add(chain)
        own, _ = self.schedule.source_of(task)
        stuck = [other for other in self.begun if not self._is_excused(other, own)]
        assert len(stuck) <= self.slots

    def _is_excused(self, chain: tuple[str, int], other: PlanStep) -> bool:
        """Whether a chain is finished, or something else than a slot is missing to it."""
        complete = self.schedule.complete
        items = [(own, self.schedule.items(own.name)) for own in self.steps_of(chain)]
        left = [
            (own, names[chain[1]])
            for own, names in items
            if names and names[chain[1]] not in complete
        ]
        return not left or any(
            task in self._waits
            or own.limit
            or own.uses
            or own.priority < other.priority
            for own, task in left
        )

    def chain_of(self, task: str) -> tuple[str, int] | None:
        """Return the first step and the place of the chain that a task is in."""
        own, place = self.schedule.source_of(task)
        first = own
        while first.each and self.plan.by_name[first.each].each:
            first = self.plan.by_name[first.each]
        is_followed = any(other.each == own.name for other in self.plan.steps)
        is_in_chain = own.each and (first is not own or is_followed)
        return (first.name, place) if is_in_chain else None

    def steps_of(self, chain: tuple[str, int]) -> list[PlanStep]:
        """Return the steps of a chain."""
        found = [self.plan.by_name[chain[0]]]
        names = {chain[0]}
        for other in self.plan.steps:
            if other.each in names:
                names.add(other.name)
                found.append(other)
        return found


DOWNLOADS: Mapping[str, Options] = {
    "files": {},
    "download": {"each": "files"},
    "load": {"each": "download"},
}


@pytest.mark.parametrize("slots", [1, 3, 16])
def test_a_first_load_begins_when_no_more_than_the_slots_were_downloaded(
    slots: int,
) -> None:
    started = Run(planned(None, **DOWNLOADS), World(items=40), slots).go().started
    kinds = [task.partition("[")[0] for task in started[1:]]

    assert kinds.index("load") == slots
    behind = [
        kinds[:at].count("download") - kinds[:at].count("load") for at in range(80)
    ]
    assert max(behind) <= slots
    assert len(kinds) == 80


def random_graph(chance: random.Random) -> Plan:
    """Return a plan with chains, with fan-outs of fan-outs, limits and priorities."""
    steps: dict[str, Options] = {"s0": {}}
    for number in range(1, chance.randrange(3, 9)):
        options: dict[str, Any] = {"priority": chance.choice([0, 0, 0, 1, -1])}
        if chance.random() < 0.3:
            options["uses"] = "db"
        if chance.random() < 0.7:
            options["each"] = chance.choice(list(steps)[-3:])
            options["limit"] = chance.choice([None, None, 1, 2, 4])
        else:
            options["parallel"] = chance.random() < 0.5
        steps[f"s{number}"] = options
    return planned({"db": chance.randrange(1, 5)}, **steps)


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 2**40))
def test_no_chain_begins_while_one_that_has_begun_could_go_on(seed: int) -> None:
    chance = random.Random(seed)
    plan, slots = random_graph(chance), chance.choice([1, 2, 4, 16])

    run = Run(plan, World(seed), slots).go()

    assert run.schedule.succeeded()
    assert set(run.started) == run.schedule.complete.keys()


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 2**40))
def test_a_resumed_run_goes_on_with_the_chains_that_had_begun(seed: int) -> None:
    chance = random.Random(seed)
    plan, slots = random_graph(chance), chance.choice([1, 2, 4, 16])
    first = Run(plan, World(seed), slots).go(most=chance.randrange(60))
    complete = first.schedule.complete

    second = Run(plan, World(seed), slots)
    second.begun = set(first.begun)
    second.go(complete, frozenset(first.started) - complete.keys())

    assert second.schedule.succeeded()


def test_a_whole_run_takes_no_longer_than_in_the_order_of_all_other_tasks() -> None:
    ratios: list[float] = []
    for seed in range(400):
        chance = random.Random(seed)
        plan, slots = random_graph(chance), chance.choice([1, 2, 4, 16])
        took = Run(plan, World(seed), slots).go().now
        ratios.append(took / Run(plan, World(seed), slots, is_fair=True).go().now)

    assert statistics.mean(ratios) < 1.02
    assert max(ratios) < 1.5


class Turns:
    """A schedule that a test plays by hand."""

    def __init__(self, plan: Plan, items: int, **load: Any) -> None:
        self.items = [str(number) for number in range(items)]
        self.schedule = Schedule(plan)
        self.schedule.load(**({"complete": {}, "waiting": {}} | load))
        self.now = 0

    def take(self, free: int) -> str:
        """Return what starts now, with blanks between."""
        while self.schedule.to_expand:
            self.schedule.expand(self.schedule.to_expand.popleft(), self.items)
        return " ".join(self.schedule.take(free, self.now))

    def end(self, *tasks: str) -> Turns:
        for task in tasks:
            self.schedule.settle(task, DONE)
        return self


def begun(
    items: int, limits: Mapping[str, int] | None = None, **steps: Options
) -> Turns:
    """Return a schedule whose list of items is stored."""
    turns = Turns(planned(limits, **steps), items)
    turns.take(1)
    return turns.end(next(iter(steps)))


def test_an_item_that_is_due_again_goes_before_those_that_have_not_begun() -> None:
    turns = begun(5, **DOWNLOADS)
    assert turns.take(2) == "download[0] download[1]"
    turns.schedule.wait("download[0]", 50)
    assert turns.take(1) == "download[2]"
    turns.now = 50

    turns.end("download[2]")

    assert turns.take(2) == "download[0] load[2]"


def test_an_item_that_is_due_again_goes_before_younger_chains_at_a_limit() -> None:
    turns = begun(5, a={}, b={"each": "a"}, c={"each": "b", "limit": 1})
    turns.take(5)
    turns.end(*(f"b[{number}]" for number in range(5)))
    assert turns.take(9) == "c[0]"
    turns.schedule.wait("c[0]", 50)
    assert turns.take(9) == "c[1]"
    turns.now = 50

    turns.end("c[1]")

    assert turns.take(9) == "c[0]"


def test_where_a_limit_holds_the_chains_that_have_begun_others_begin() -> None:
    turns = begun(4, a={}, b={"each": "a"}, c={"each": "b", "limit": 1})
    turns.take(2)

    turns.end("b[0]", "b[1]")

    assert turns.take(3) == "c[0] b[2] b[3]"


def test_a_priority_counts_more_than_that_a_chain_has_begun() -> None:
    turns = begun(3, a={}, b={"each": "a"}, c={"each": "b", "priority": -1})
    turns.take(1)

    turns.end("b[0]")

    assert turns.take(9) == "b[1] b[2] c[0]"


def test_all_branches_of_a_chain_go_on_as_declared() -> None:
    turns = begun(3, a={}, b={"each": "a"}, d={"each": "b"}, c={"each": "b"})
    turns.take(2)

    turns.end("b[0]", "b[1]")

    assert turns.take(5) == "d[0] c[0] d[1] c[1] b[2]"


def test_a_plain_step_waits_for_no_more_than_the_chains_that_have_begun() -> None:
    turns = begun(9, a={}, p={"after": "a"}, b={"each": "a"}, c={"each": "b"})
    assert turns.take(2) == "p b[0]"
    turns = begun(9, a={}, b={"each": "a"}, p={"after": "a"}, c={"each": "b"})
    assert turns.take(1) == "b[0]"

    turns.end("b[0]")

    assert turns.take(2) == "c[0] b[1]"


def test_items_of_a_fan_out_without_a_chain_keep_the_order_in_which_they_became_ready() -> (
    None
):
    turns = begun(3, a={}, b={"each": "a"})
    turns.take(1)
    turns.schedule.wait("b[0]", 0)

    assert turns.take(9) == "b[1] b[2] b[0]"


def test_what_the_runner_died_in_goes_before_what_had_not_begun() -> None:
    done = {"files": DONE, "download[1]": DONE}
    turns = Turns(planned(**DOWNLOADS), 5, complete=done, begun=["download[3]"])

    assert turns.take(9) == "load[1] download[3] download[0] download[2] download[4]"


def test_of_the_chains_that_have_begun_the_older_goes_on_first() -> None:
    roots: dict[str, Options] = {"b": {"each": "late"}, "y": {"each": "soon"}}
    behind: dict[str, Options] = {"c": {"each": "b"}, "z": {"each": "y"}}
    turns = Turns(planned(late={}, soon={"after": ""}, **roots, **behind), 1)
    turns.take(2)
    turns.end("soon")
    assert turns.take(2) == "y[0]"
    turns.end("late")
    assert turns.take(1) == "b[0]"

    turns.end("y[0]", "b[0]")

    assert turns.take(2) == "z[0] c[0]"


class Import(Workflow):
    """Every file is loaded once it is there."""

    @step
    def files(self) -> list[int]:
        return [0, 1, 2, 3]

    @step(each=files)
    def download(self, file: int) -> int:
        ran.append(f"download {file}")
        return file

    @step(each=download)
    def load(self, file: int) -> None:
        ran.append(f"load {file}")


ran: list[str] = []


def test_a_next_run_goes_on_with_the_item_that_the_run_before_left() -> None:
    ran.clear()
    with connect("memory:") as client:
        report = run_inline(Import(), client=client, only=["files"])
        container = client.get_task_container(report.container)
        assert container is not None
        container.update_task("download[2]", invoke_count=1)

        run_inline(Import(), client=client)

    assert ran[:3] == ["download 2", "load 2", "download 0"]
