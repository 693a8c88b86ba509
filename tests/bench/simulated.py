"""Runs that are made up: six shapes of workflows, played in virtual time.

What a task takes is a base of its step, times the size of the item (the same in every
run: sigma 0.8), times how slow the whole run is (sigma 0.35), times chance (sigma 0.2).
How many items there are differs from run to run, too. All from a seed.
"""

# ruff: noqa: S311 - nothing here is secret.

from __future__ import annotations

import random
from collections.abc import Iterator
from heapq import heappop, heappush
from typing import Any, Literal

import msgspec

from ptsflow import Workflow, step
from ptsflow.core.model import Status
from ptsflow.core.plan import Plan
from ptsflow.core.scheduler import Schedule
from ptsflow.workflow.compile import plan_of
from tests.bench.recordings import Moment, Recording

Reports = Literal["linear", "stepwise", "none"]
REPORTS: tuple[Reports, ...] = ("linear", "stepwise", "none")
#: What running tasks say of their progress, in percent.
SAID: dict[Reports, tuple[float, ...]] = {
    "linear": tuple(range(2, 100, 2)),
    "stepwise": (25, 50, 75),
    "none": (),
}

RUN_SIGMA, ITEM_SIGMA, CHANCE_SIGMA = 0.35, 0.8, 0.2
JOBS = 6
#: Of the shape with faults: how many attempts fail, and the first wait, in ms.
FAULTS, DELAY = 0.3, 10_000


class Shape(msgspec.Struct, frozen=True):
    """A workflow whose bodies are made up."""

    name: str
    plan: Plan
    #: What a task of each step takes, in milliseconds.
    base: dict[str, float]
    #: How many items there are, about.
    count: int = 0
    item_sigma: float = ITEM_SIGMA
    faults: float = 0.0


def _body(name: str, *, fans_out: bool) -> Any:
    def plain(self: Workflow) -> None: ...
    def each(self: Workflow, item: object) -> None: ...

    body: Any = each if fans_out else plain
    body.__name__ = body.__qualname__ = name
    return body


def _shape(
    name: str, steps: dict[str, tuple[float, dict[str, Any]]], **more: Any
) -> Shape:
    made: dict[str, Any] = {}
    for step_name, (_, options) in steps.items():
        given = dict(options)
        for option in ("each", "after"):
            if option in given:
                given[option] = made[given[option]]
        made[step_name] = step(**given)(_body(step_name, fans_out="each" in given))
    plan = plan_of(type(name, (Workflow,), made))
    return Shape(name, plan, {n: 1000 * base for n, (base, _) in steps.items()}, **more)


def _epf(name: str, **more: Any) -> Shape:
    parallel = {"parallel": True}
    loads = {f"load_{n}": (60.0 * (n + 1), parallel) for n in range(4)}
    return _shape(
        name,
        {
            "check": (3, {}),
            "download": (120, {"each": "check", "limit": 4}),
            "unpack": (40, {"each": "download"}),
            **loads,
            "verify": (60, {}),
            "publish": (5, {}),
        },
        count=12,
        **more,
    )


SHAPES = (
    _epf("epf"),
    _shape("wide", {"list": (5, {}), "item": (20, {"each": "list"})}, count=400),
    _shape("chain", {f"s{n:02}": (10.0 * (1 + n * 7 % 5), {}) for n in range(12)}),
    _shape(
        "long_pole",
        {
            "list": (5, {}),
            "pole": (600, {"after": "list"}),
            "item": (40, {"each": "list"}),
            "join": (20, {}),
        },
        count=40,
    ),
    _shape(
        "skewed",
        {"list": (5, {}), "item": (30, {"each": "list"}), "sum": (20, {})},
        count=60,
        item_sigma=1.6,
    ),
    _epf("faults", faults=FAULTS),
)


def runs(
    shape: Shape, number: int, reports: Reports, *, slower_from: int | None = None
) -> Iterator[Recording]:
    """Yield so many runs of a shape; from one of them on all is twice as slow."""
    chance = random.Random(f"{shape.name} {reports}")
    sizes = random.Random(shape.name)
    sized = [sizes.lognormvariate(0, shape.item_sigma) for _ in range(2 * shape.count)]
    for run in range(number):
        pace = chance.lognormvariate(0, RUN_SIGMA)
        if slower_from is not None and run >= slower_from:
            pace *= 2
        count = round(shape.count * chance.uniform(0.85, 1.15))
        yield _Run(shape, pace, sized[:count], reports, chance).play()


class _Run:
    """One run in virtual time."""

    def __init__(
        self,
        shape: Shape,
        pace: float,
        sizes: list[float],
        reports: Reports,
        chance: random.Random,
    ) -> None:
        self._shape = shape
        self._pace = pace
        self._sizes = sizes
        self._said = SAID[reports]
        self._chance = chance
        self._keys = [f"part-{place:03}" for place in range(len(sizes))]
        self._moments: list[Moment] = []
        self._schedule = Schedule(shape.plan, None, shape.base)
        self._attempts: dict[str, int] = {}

    def play(self) -> Recording:
        """Return the run."""
        schedule, ends, now = self._schedule, list[tuple[int, str, bool]](), 0
        schedule.load({}, {})
        while True:
            while schedule.to_expand:
                schedule.expand(schedule.to_expand.popleft(), self._keys)
            for name in schedule.take(JOBS - len(schedule.running), now):
                took, is_good = self._attempt(name, now)
                heappush(ends, (now + took, name, is_good))
            due = schedule.next_due()
            if ends and (due is None or ends[0][0] <= due):
                now, name, is_good = heappop(ends)
                self._end(name, now, is_good=is_good)
            elif due is not None:
                now = due
            elif not schedule.start_always():
                break
        self._moments.sort(key=lambda moment: moment.at)
        fans = [planned.name for planned in self._shape.plan.steps if planned.each]
        return Recording(JOBS, now, dict.fromkeys(fans, self._keys), self._moments)

    def _attempt(self, name: str, now: int) -> tuple[int, bool]:
        """Begin an attempt; return what it takes, and whether it ends well."""
        planned, place = self._schedule.source_of(name)
        takes = self._shape.base[planned.name] * self._pace
        takes *= self._sizes[place] if planned.each else 1
        takes *= self._chance.lognormvariate(0, CHANCE_SIGMA)
        is_good = self._chance.random() >= self._shape.faults
        took = takes if is_good else takes * self._chance.random()
        self._attempts[name] = self._attempts.get(name, 0) + 1
        self._moments.append(Moment(now, name, Status.RUNNING))
        for percentage in self._said:
            at = takes * percentage / 100
            if at < took:
                told = Moment(round(now + at), name, Status.RUNNING, 0, percentage)
                self._moments.append(told)
        return max(1, round(took)), is_good

    def _end(self, name: str, now: int, *, is_good: bool) -> None:
        if is_good:
            self._schedule.settle(name, Status.DONE)
            self._moments.append(Moment(now, name, Status.DONE))
        else:
            due = now + DELAY * 2 ** (self._attempts[name] - 1)
            self._schedule.wait(name, due)
            self._moments.append(Moment(now, name, Status.WAITING, 0, 0.0, due))
