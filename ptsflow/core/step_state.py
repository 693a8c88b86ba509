"""How far one step of a run is: what the schedule knows of it."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from ptsflow.core.plan import PlanStep
from ptsflow.core.ready_queue import Lane

_UNASKED: Mapping[str, int] = MappingProxyType({})


class StepState:
    """How far one step is."""

    __slots__ = (
        "failed",
        "followers",
        "index",
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
        self.index = _UNASKED
        self.is_open = False
        self.unsettled = 0 if step.each else 1
        self.failed = 0
        self.satisfied = False
