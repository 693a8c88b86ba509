"""Who starts next of all that is ready: order, priorities, and limits that are shared."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from types import FrameType
from typing import Any

import pytest

from ptsflow import Workflow, step
from ptsflow.core.longest_path import ranks
from ptsflow.core.model import Status
from ptsflow.core.plan import Plan
from ptsflow.core.ready_queue import ReadyQueue
from ptsflow.core.scheduler import Schedule
from ptsflow.workflow.compile import plan_of

Options = Mapping[str, Any]


def planned(limits: Mapping[str, int], **steps: Options) -> Plan:
    """Return a plan of `source`, and of these steps that fan out over it."""

    def source(self: object) -> list[object]:
        return [self]

    members: dict[str, Any] = {"limits": limits, "source": step(source)}
    for name, options in steps.items():

        def body(self: object, item: object) -> object:
            return self, item

        body.__name__ = body.__qualname__ = name
        members[name] = step(each=members["source"], **options)(body)
    return plan_of(type("W", (Workflow,), members))


class Turn:
    """What ends, what becomes ready, for how many there is room; and what starts."""

    def __init__(self, ends: str, ready: str, free: int, starts: str) -> None:
        self.ends = ends.split()
        self.ready = ready.split()
        self.free = free
        self.starts = starts


def play(plan: Plan, turns: list[Turn]) -> list[str]:
    """Return what starts in each turn; `a2` is the item 2 of step a."""
    ready = ReadyQueue(plan.limits, ranks(plan, {}))
    lines = {planned.name: ready.lane_of(planned) for planned in plan.steps}
    found: list[str] = []
    for turn in turns:
        for task in turn.ends:
            ready.give_back(lines[task[0]])
        for task in turn.ready:
            ready.add(task, lines[task[0]], plan.by_name[task[0]].index, int(task[1:]))
        found.append(" ".join(ready.take(turn.free)))
    return found


ONE = {"uses": "db"}
TWO = {"uses": {"db": 2}}
ALL = 99


@pytest.mark.parametrize(
    ("plan", "turns"),
    [
        pytest.param(planned({}, a={}), [Turn("", "", ALL, "")], id="nothing"),
        pytest.param(
            planned({}, a={}, b={}),
            [Turn("", "b1 a2 b0 a10 a0", ALL, "a0 a2 a10 b0 b1")],
            id="of one age: as declared",
        ),
        pytest.param(
            planned({}, a={}, b={}),
            [Turn("", "b0 b1", 1, "b0"), Turn("", "a0", ALL, "b1 a0")],
            id="the oldest first",
        ),
        pytest.param(
            planned({}, a={}, b={"priority": 1}, c={"priority": -1}),
            [Turn("", "c0 a0", 0, ""), Turn("", "b0 a1 c1", ALL, "b0 a0 a1 c0 c1")],
            id="the higher priority first, however young",
        ),
        pytest.param(
            planned({}, a={}, b={"limit": 1, "priority": 1}),
            [
                Turn("", "a0 a1 b0 b1", 2, "b0 a0"),
                Turn("b0", "", 1, "b1"),
                Turn("b1", "", 1, "a1"),
            ],
            id="a priority comes back when its limit has room",
        ),
        pytest.param(
            planned({}, a={"limit": 2}, b={}),
            [
                Turn("", "a0 a1 a2 b0 b1", 3, "a0 a1 b0"),
                Turn("a1", "", 1, "a2"),
                Turn("a0", "", 9, "b1"),
            ],
            id="a limit leaves the rest to others, and is first where it has room",
        ),
        pytest.param(
            planned({"db": 2}, a=ONE, b=ONE, c={}),
            [
                Turn("", "a0 a1 b0 b1 c0", ALL, "a0 a1 c0"),
                Turn("a0", "", ALL, "b0"),
                Turn("a1 b0", "", ALL, "b1"),
            ],
            id="two steps share a limit",
        ),
        pytest.param(
            planned({"db": 3}, a=ONE, b={"uses": {"db": 3}}),
            [
                Turn("", "a0 a1 b0", ALL, "a0 a1"),
                Turn("a0", "a2 a3 a4", ALL, ""),
                Turn("a1", "", ALL, "b0"),
                Turn("b0", "", ALL, "a2 a3 a4"),
            ],
            id="who wants much is not overtaken for ever by who wants little",
        ),
        pytest.param(
            planned({"db": 3}, a=ONE, b=TWO, c={"uses": "db", "priority": 1}),
            [
                Turn("", "a0 a1", ALL, "a0 a1"),
                Turn("", "b0", ALL, ""),
                Turn("", "c0", ALL, "c0"),
                Turn("a0", "", ALL, ""),
                Turn("a1", "", ALL, "b0"),
            ],
            id="but by a higher priority",
        ),
        pytest.param(
            planned({"db": 2}, a=ONE, b=TWO),
            [
                Turn("", "a0 a1", 1, "a0"),
                Turn("", "b0", ALL, "a1"),
                Turn("a0 a1", "", ALL, "b0"),
            ],
            id="room that comes back piece by piece adds up",
        ),
        pytest.param(
            planned({"db": 4}, a={"uses": {"db": 4}}, b=ONE, c=ONE),
            [Turn("", "a0 b0 c0", ALL, "a0"), Turn("a0", "", ALL, "b0 c0")],
            id="much room wakes all that fit",
        ),
        pytest.param(
            planned({"db": 3}, a={"uses": {"db": 2}, "limit": 1}, b=ONE),
            [Turn("", "a0 a1 b0 b1", ALL, "a0 b0"), Turn("b0", "", ALL, "b1")],
            id="who waits for its own limit is not in the way of others",
        ),
        pytest.param(
            planned(
                {"x": 1, "y": 1},
                a={"uses": "x"},
                b={"uses": "y"},
                c={"uses": {"x": 1, "y": 1}},
                d={"uses": "x"},
            ),
            [
                Turn("", "a0 b0", ALL, "a0 b0"),
                Turn("", "c0 d0", ALL, ""),
                Turn("a0", "", ALL, "d0"),
                Turn("b0", "", ALL, ""),
                Turn("d0", "", ALL, "c0"),
            ],
            id="what it leaves at one limit to wait at another goes to the next",
        ),
        pytest.param(
            planned({"db": 1}, a=ONE),
            [Turn("", "a0 a1", 0, ""), Turn("", "", 1, "a0"), Turn("a0", "", 0, "")],
            id="no slots",
        ),
    ],
)
def test_what_starts(plan: Plan, turns: list[Turn]) -> None:
    assert play(plan, turns) == [turn.starts for turn in turns]


def test_it_counts_what_is_ready_held_or_not_and_can_forget_it() -> None:
    plan = planned({"db": 1}, a=ONE, b=ONE)
    ready = ReadyQueue(plan.limits, ranks(plan, {}))
    first, second = (ready.lane_of(plan.by_name[name]) for name in "ab")
    for item in range(3):
        ready.add(f"a{item}", first, 1, item)
    assert (ready.take(9), ready.count) == (["a0"], 2)

    ready.clear()
    ready.add("b0", second, 2, 0)

    assert (ready.take(9), ready.count) == ([], 1)
    ready.give_back(first)
    assert (ready.take(9), ready.count) == (["b0"], 0)


# -- units of a task, from its start to its end ----------------------------------------


def fan(count: int, **options: Any) -> Schedule:
    """Return a schedule that has `count` items of one step ready."""
    schedule = Schedule(planned({"db": 4}, a=options))
    schedule.load({}, {})
    schedule.take(1, 0)
    schedule.settle("source", Status.DONE)
    schedule.to_expand.clear()
    schedule.expand("a", [str(number) for number in range(count)])
    return schedule


@pytest.mark.parametrize(
    "leave",
    [
        pytest.param(lambda s: s.settle("a[0]", Status.DONE), id="done"),
        pytest.param(lambda s: s.settle("a[0]", Status.FAILED), id="failed"),
        pytest.param(lambda s: s.wait("a[0]", 999), id="waiting"),
        pytest.param(lambda s: s.interrupted("a[0]"), id="interrupted"),
    ],
)
def test_a_task_holds_what_it_uses_until_it_ends_in_whatever_way(leave: Any) -> None:
    schedule = fan(3, uses={"db": 4})
    assert schedule.take(9, 0) == ["a[0]"]
    assert schedule.take(9, 0) == []

    leave(schedule)

    assert schedule.take(9, 0) == ["a[1]"]


def test_a_task_that_is_due_again_stands_behind_those_that_were_ready_before() -> None:
    schedule = fan(3, uses={"db": 4})
    schedule.take(9, 0)
    schedule.wait("a[0]", 50)
    assert schedule.take(9, 50) == ["a[1]"]

    schedule.settle("a[1]", Status.DONE)

    assert schedule.take(9, 50) == ["a[2]"]
    schedule.settle("a[2]", Status.DONE)
    assert schedule.take(9, 50) == ["a[0]"]


def test_what_is_held_is_not_idle() -> None:
    schedule = fan(2, uses={"db": 4})
    schedule.take(9, 0)

    schedule.interrupted("a[0]")

    assert not schedule.running
    assert not schedule.is_idle()


# -- what it costs -----------------------------------------------------------------------


def calls_of_a_turn(schedule: Schedule) -> int:
    """Return how many calls, of Python and of C, a turn needs in which an `a` ends."""
    calls = 0

    def count(_: FrameType, event: str, __: object) -> None:
        nonlocal calls
        calls += event in ("call", "c_call")

    found: list[int] = []
    for _ in range(10):
        task = min(task for task in schedule.running if task.startswith("a["))
        calls = 0
        sys.setprofile(count)
        schedule.settle(task, Status.DONE)
        schedule.take(64 - len(schedule.running), 0)
        sys.setprofile(None)
        found.append(calls)
    return max(found)


@pytest.mark.parametrize(
    "options",
    [
        pytest.param({"limit": 4}, id="its own limit"),
        pytest.param({"uses": "db"}, id="a shared limit"),
        pytest.param({"uses": {"db": 2}, "limit": 3}, id="both"),
        pytest.param({}, id="the number of jobs"),
    ],
)
def test_50000_items_that_are_held_cost_a_turn_no_more_than_100(
    options: Options,
) -> None:
    few, many = fan(100, **options), fan(50_000, **options)
    few.take(64, 0)
    many.take(64, 0)

    assert calls_of_a_turn(many) == calls_of_a_turn(few)


def test_steps_that_cannot_start_are_left_alone() -> None:
    steps: dict[str, Options] = {
        f"s{number}": {"uses": {"db": 4}, "limit": 1} for number in range(300)
    }
    plan = planned({"db": 4}, a={"limit": 4}, **steps)
    schedule = Schedule(plan)
    schedule.load({}, {})
    schedule.take(1, 0)
    schedule.settle("source", Status.DONE)
    schedule.to_expand.clear()
    for name in steps:
        schedule.expand(name, ["1", "2"])
    schedule.expand("a", [str(number) for number in range(100)])
    schedule.take(64, 0)
    assert len(schedule.running) == 5

    assert calls_of_a_turn(schedule) < 40
