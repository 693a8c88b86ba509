"""The edges of a plan: those that a person would draw, however many steps there are."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ptsflow.core.model import StepSummary
from ptsflow.core.plan import named_by
from ptsflow.display.graph import Edge, edges, tree
from tests.support.cost import IN_PROPORTION, growth


@st.composite
def plans(draw: st.DrawFn) -> list[StepSummary]:
    """Return steps that wait for any of those above them, and for any barrier."""
    plan: list[StepSummary] = []
    for place in range(draw(st.integers(0, 9))):
        above = [step.name for step in plan]
        some = st.lists(st.sampled_from(above), unique=True) if above else st.just([])
        each = st.none() | st.sampled_from(above) if above else st.none()
        step = StepSummary(
            name=f"s{place}",
            needs=tuple(draw(some)),
            above=draw(st.none() | st.integers(0, place)),
            each=draw(each),
        )
        plan.append(step)
    return plan


def drawn(plan: Sequence[StepSummary]) -> list[Edge]:
    """Return the edges, each step compared with every other."""
    found: list[Edge] = []
    for step in plan:
        named = named_by(step)
        barrier = [entry.name for entry in plan[: step.above or 0]]
        waits_for = dict.fromkeys([*named, *barrier])
        passed_on = {edge.before for edge in found if edge.after in waits_for}
        found += [
            Edge(name, step.name)
            for name in waits_for
            if name in named or name not in passed_on
        ]
    return found


@given(plans())
def test_a_barrier_is_drawn_from_the_steps_that_nothing_above_waits_for(
    plan: list[StepSummary],
) -> None:
    assert edges(plan) == drawn(plan)


def chain(size: int) -> list[StepSummary]:
    """Return plain steps, each of which waits for all above it."""
    return [StepSummary(name=f"s{place}", above=place) for place in range(size)]


def beside_each_other(size: int) -> list[StepSummary]:
    """Return parallel steps, and one that waits for all of them."""
    steps = [StepSummary(name=f"s{n}", above=0, parallel=True) for n in range(size)]
    return [*steps, StepSummary(name="last", above=size)]


@pytest.mark.parametrize("made", [chain, beside_each_other])
def test_a_tree_costs_as_much_as_its_steps_are_many(
    made: Callable[[int], list[StepSummary]],
) -> None:
    plan = {size: made(size) for size in (1_000, 4_000)}

    assert growth(lambda size: tree("Plan", plan[size]), 1_000) < IN_PROPORTION


def test_a_step_behind_thousands_is_one_line_that_is_short() -> None:
    lines = [
        "".join(p.text for p in line) for line in tree("Plan", beside_each_other(3_000))
    ]

    assert lines[-1].split("  after ")[1].strip() == "s0, s1, s2, s3, s4 and 2995 more"
