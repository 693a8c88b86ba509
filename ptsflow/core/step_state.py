"""How far one step of a run is: what the schedule knows of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from ptsflow.core.counts import is_accepted
from ptsflow.core.plan import Plan, PlanStep
from ptsflow.core.ready_queue import Lane

_UNASKED: Mapping[str, int] = MappingProxyType({})


class StepState:
    """How far one step is."""

    __slots__ = (
        "_places",
        "failed",
        "followers",
        "is_open",
        "items",
        "lane",
        "root",
        "satisfied",
        "since",
        "step",
        "unsettled",
    )

    def __init__(self, step: PlanStep, lane: Lane) -> None:
        self.step = step
        #: Where its tasks stand when they are ready.
        self.lane = lane
        #: The steps that fan out over it.
        self.followers: tuple[StepState, ...] = ()
        #: The first step of the item-wise chain that it is in, if it is in one.
        self.root: StepState | None = None
        #: The turn in which the step opened.
        self.since = 0
        #: Names of its tasks; None until a fan-out's list is known.
        self.items: list[str] | None = None if step.each else [step.name]
        #: The place of each item among the step's, made when first asked for.
        self._places = _UNASKED
        self.is_open = False
        self.unsettled = 0 if step.each else 1
        self.failed = 0
        self.satisfied = False

    def place_of(self, task: str) -> int:
        """Return the place of a task among the step's."""
        if self.step.each is None:
            return 0
        if not self._places:
            self._places = {item: place for place, item in enumerate(self.items or ())}
        return self._places[task]

    def accepts_failures(self) -> bool:
        """Whether the tasks that failed do not fail the step."""
        step, items = self.step, self.items or ()
        if items == [step.name]:  # A plain step, or a fan-out whose list was refused.
            return not self.failed or step.optional
        return is_accepted(step, self.failed, len(items))


def states_of(plan: Plan, lane_of: Callable[[PlanStep], Lane]) -> dict[str, StepState]:
    """Return the states of a plan's steps before anything has begun.

    Args:
        plan: the plan.
        lane_of: returns where the tasks of a step stand when they are ready.
    """
    states = {step.name: StepState(step, lane_of(step)) for step in plan.steps}
    for state in states.values():
        if state.step.each is not None:
            before = states[state.step.each]
            before.followers += (state,)
            if before.step.each is not None:
                before.root = state.root = before.root or before
    return states
