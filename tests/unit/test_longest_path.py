"""What is ready starts by the longest path to the end, where durations are known."""

# ruff: noqa: S311 - nothing here is secret.

from __future__ import annotations

import random
from heapq import heappop, heappush
from statistics import fmean
from typing import Any

import pytest

from ptsflow import Workflow, step
from ptsflow.core.longest_path import paths_to_end, ranks
from ptsflow.core.model import Status
from ptsflow.core.plan import Plan
from ptsflow.core.scheduler import Schedule
from ptsflow.errors import DeclarationError
from ptsflow.workflow.compile import plan_of


class Mixed(Workflow):
    @step
    def first(self) -> None: ...

    @step(after=first)
    def short(self) -> None: ...

    @step(after=first)
    def long(self) -> None: ...

    @step(each=first)
    def load(self, item: object) -> None: ...

    @step(each=load)
    def store(self, load: object) -> None: ...

    @step
    def last(self) -> None: ...


TOOK = {
    "first": 1.0,
    "short": 2.0,
    "long": 30.0,
    "load": 4.0,
    "store": 5.0,
    "last": 6.0,
}


def test_a_path_goes_on_through_names_chains_and_barriers() -> None:
    assert paths_to_end(plan_of(Mixed), TOOK) == {
        "last": 6,
        "store": 11,
        "load": 15,
        "long": 36,
        "short": 8,
        "first": 37,
    }


def first_taken(plan: Plan, durations: dict[str, float] | None) -> list[str]:
    schedule = Schedule(plan, None, durations)
    schedule.load({"first": Status.DONE}, {})
    schedule.expand("load", ["a"])
    return schedule.take(9, 0)


def test_the_longest_path_starts_first() -> None:
    assert first_taken(plan_of(Mixed), TOOK) == ["long", "load[a]", "short"]


def test_as_declared_without_durations_or_if_the_class_says_so() -> None:
    plan = plan_of(type("AsDeclared", (Mixed,), {"order": "plan"}))

    assert first_taken(plan_of(Mixed), None) == ["short", "long", "load[a]"]
    assert first_taken(plan, TOOK) == ["short", "long", "load[a]"]


def test_the_priority_comes_first() -> None:
    def urgent(self: Workflow) -> None: ...

    urgent.__qualname__ = urgent.__name__ = "short"
    after = Mixed.declared_steps["first"]
    made = type("Urgent", (Mixed,), {"short": step(after=after, priority=1)(urgent)})

    assert first_taken(plan_of(made), TOOK)[0] == "short"


def test_a_chain_that_has_begun_goes_on_before_longer_paths() -> None:
    schedule = Schedule(plan_of(Mixed), None, TOOK)
    schedule.load({"first": Status.DONE, "load[a]": Status.DONE}, {})
    schedule.expand("load", ["a", "b"])

    assert schedule.take(2, 0) == ["store[a]", "long"]


def random_graph(chance: random.Random) -> tuple[Plan, dict[str, float]]:
    steps: dict[str, Any] = {}
    for number in range(chance.randrange(30, 90)):
        name = f"s{number}"
        near = list(steps.values())[-20:]
        after = chance.sample(near, min(len(near), chance.randrange(4)))

        def body(self: Workflow) -> None: ...

        body.__name__ = body.__qualname__ = name
        steps[name] = step(after=tuple(after))(body)
    took = {name: chance.lognormvariate(0, 1.2) for name in steps}
    return plan_of(type("Graph", (Workflow,), steps)), took


def played(
    plan: Plan, took: dict[str, float], durations: dict[str, float] | None
) -> float:
    """Return how long a plan takes in four places to run in."""
    schedule = Schedule(plan, None, durations)
    schedule.load({}, {})
    ends: list[tuple[float, str]] = []
    now = 0.0
    while True:
        for name in schedule.take(4 - len(schedule.running), 0):
            heappush(ends, (now + took[name], name))
        if not ends:
            return now
        now, name = heappop(ends)
        schedule.settle(name, Status.DONE)


def test_known_durations_bring_runs_near_the_least_time_there_is() -> None:
    chance = random.Random(7)
    fair: list[float] = []
    learned: list[float] = []
    for _ in range(40):
        plan, took = random_graph(chance)
        least = max(*paths_to_end(plan, took).values(), sum(took.values()) / 4)
        fair.append(played(plan, took, None) / least)
        learned.append(played(plan, took, took) / least)

    assert min(learned) >= 1 - 1e-9
    assert fmean(learned) <= 1.10
    assert fmean(learned) < fmean(fair)


def test_the_steps_of_a_chain_have_the_rank_of_the_first_one() -> None:
    found = ranks(plan_of(Mixed), TOOK)

    assert found["store"] == found["load"]
    assert found["long"].own < found["load"].own < found["short"].own


def test_ranks_are_the_same_for_equal_paths() -> None:
    found = ranks(plan_of(Mixed), {"first": 1.0})

    assert found["short"] == found["long"]


# -- the name -------------------------------------------------------------------------


def test_another_order_is_refused() -> None:
    with pytest.raises(DeclarationError) as raised:
        type("Odd", (Mixed,), {"order": "random"})

    assert str(raised.value) == (
        'Odd.order: expected "learned" or "plan", found \'random\'; to make it a '
        "parameter, annotate it"
    )


def test_an_annotated_order_is_a_parameter() -> None:
    class Shop(Mixed):
        order: str = "A-1"

    assert Shop(order="B-2").parameters == {"order": "B-2"}
    assert plan_of(Shop).order == "learned"


def test_a_step_of_that_name_is_refused() -> None:
    with pytest.raises(DeclarationError, match="'order' has a meaning of its own"):

        class Shop(Workflow):
            @step
            def order(self) -> None: ...
