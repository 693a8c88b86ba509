"""The rest of a run, played in virtual time: against sums and longest paths."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any, ClassVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from ptsflow import Workflow, step
from ptsflow.core import virtual_run
from ptsflow.core.durations import Durations
from ptsflow.core.history import Profile, profile
from ptsflow.core.insight import RunRecord, StepStats
from ptsflow.core.longest_path import paths_to_end
from ptsflow.core.model import Status, TaskRecord
from ptsflow.core.plan import Plan
from ptsflow.core.run_progress import RunProgress
from ptsflow.core.virtual_run import OpenTasks, VirtualRun
from ptsflow.workflow.compile import plan_of

DONE, FAILED, RUNNING, WAITING = (
    Status.DONE,
    Status.FAILED,
    Status.RUNNING,
    Status.WAITING,
)
FANS = ("load", "store")


class Import(Workflow):
    limits: ClassVar = {"disk": 3}

    @step
    def check(self) -> None: ...

    @step(each=check, tolerate=1, uses={"disk": 2})
    def load(self, item: object) -> None: ...

    @step(each=load, priority=1, uses={"disk": 1})
    def store(self, load: object) -> None: ...

    @step(after=check, optional=True)
    def look(self) -> None: ...

    @step
    def publish(self) -> None: ...

    @step(always=True)
    def clean(self) -> None: ...


PLAN = plan_of(Import)
STEPS = tuple(step.name for step in PLAN.steps)
TIMES = st.integers(1, 500)


class Freely(Import):
    """The same without limits."""

    limits: ClassVar = {"disk": 1_000}


def learned(
    means: dict[str, int], count: int, keys: dict[str, int], lost: int = 0
) -> Profile:
    """Return what one run teaches, some of whose loads are known by their keys."""
    stats = []
    for name, ms in means.items():
        number = count if name in FANS else 1
        known = dict(list(keys.items())[:number]) if name == "load" else {}
        busy = ms * (number - len(known)) + sum(known.values())
        lost_ms = busy * lost // 100 if name == "load" else 0
        stats.append(
            StepStats(
                name=name,
                count=number,
                busy_ms=busy,
                wall_ms=busy,
                keys=known,
                lost_ms=lost_ms,
            )
        )
    row = RunRecord(
        uid="u",
        fence=1,
        container="c",
        began_at=0,
        ended_at=1,
        steps=tuple(s for s in stats if s.count),
    )
    return profile([row])


USUAL = learned(dict.fromkeys(STEPS, 10), 4, {})


class Run:
    """What became of the tasks of a run that began at zero and goes at the usual pace."""

    def __init__(self, usual: Profile = USUAL, plan: Plan = PLAN) -> None:
        self.plan = plan
        self.durations = Durations(plan, usual)
        self.progress = RunProgress(plan, self.durations, began_at=0)

    def listed(self, count: int) -> None:
        self.progress.expand("load", [str(place) for place in range(count)])

    def are(self, status: Status, *names: str, **fields: Any) -> None:
        for name in names:
            step_name, _, key = name.partition("[")
            task = TaskRecord(
                name=name,
                step=step_name,
                key=key[:-1] or None,
                status=status,
                last_invoked_at=0,
                **fields,
            )
            place = int(task.key or 0)
            self.progress.take_in(task, place, by_this_run=False)

    def left(
        self, jobs: int, only: Iterable[str] | None = None, *, in_usual: bool = False
    ) -> float:
        chosen = None if only is None else frozenset(only)
        rest = OpenTasks(self.plan, self.progress, now=0, only=chosen)
        paces = {step.name: 1.0 for step in self.plan.steps}
        return VirtualRun(rest, jobs, paces, in_usual=in_usual).play()


MEANS = st.fixed_dictionaries(dict.fromkeys(STEPS, TIMES))
KEYS = st.dictionaries(st.integers(0, 11).map(str), TIMES, max_size=6)


@settings(deadline=None)
@given(
    MEANS,
    KEYS,
    st.integers(0, 100),
    st.lists(st.integers(0, 2), max_size=12),
    st.sampled_from([2, 7, 1_000]),
)
def test_one_place_to_run_in_takes_the_sum_of_what_is_open(
    means: dict[str, int], keys: dict[str, int], lost: int, items: list[int], most: int
) -> None:
    """However the items are grouped, which of them are done, and by what keys known."""
    usual = learned(means, 12, keys, lost)
    run = Run(usual)
    run.are(DONE, "check")
    run.listed(len(items))
    taken = dict.fromkeys(FANS, 0.0)
    for place, done in enumerate(items):
        run.are(DONE, *[f"{step}[{place}]" for step in FANS[:done]])
        for name in FANS[done:]:
            known = usual.steps[name].keys.get(str(place))
            taken[name] += usual.steps[name].other_ms if known is None else known
    expected = means["look"] + means["publish"] + means["clean"] + taken["store"]
    expected += taken["load"] * (1 + usual.steps["load"].loss)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(virtual_run, "_MOST_TASKS", most)
        assert run.left(1) == pytest.approx(expected)


@settings(deadline=None)
@given(MEANS, KEYS, st.integers(0, 12))
def test_with_room_for_all_it_takes_the_longest_path(
    means: dict[str, int], keys: dict[str, int], count: int
) -> None:
    usual = learned(means, 12, keys)
    run = Run(usual, plan_of(Freely))
    run.listed(count)
    chains = [
        usual.steps["load"].keys.get(str(place), usual.steps["load"].other_ms)
        + means["store"]
        for place in range(count)
    ]
    longest = max(0, *chains, means["look"]) if chains else means["look"]
    expected = means["check"] + longest + means["publish"] + means["clean"]

    assert run.left(1_000) == pytest.approx(expected)


@settings(deadline=None)
@given(MEANS, st.integers(0, 12), st.integers(1, 9))
def test_it_takes_no_less_than_there_is_and_no_more_than_one_after_the_other(
    means: dict[str, int], count: int, jobs: int
) -> None:
    run = Run(learned(means, 4, {}))
    run.listed(count)
    sums = {s: ms * (count if s in FANS else 1) for s, ms in means.items()}
    path = dict(means) if count else {**means, "load": 0, "store": 0}
    # Two of three disks are used by each load, so that they run one at a time.
    by_disk = sums["check"] + sums["load"] + sums["publish"] + sums["clean"]
    least = max(sum(sums.values()) / jobs, by_disk, *paths_to_end(PLAN, path).values())

    left = run.left(jobs)

    assert left >= least or left == pytest.approx(least)
    assert left <= sum(sums.values()) + 1e-6


@settings(deadline=None)
@given(MEANS, st.integers(1, 12))
def test_a_list_that_is_not_known_is_as_long_as_usual(
    means: dict[str, int], count: int
) -> None:
    keys = {str(place): 7 * place + 1 for place in range(min(count, 5))}
    unknown, known = [Run(learned(means, count, keys)) for _ in range(2)]
    known.listed(count)

    assert unknown.left(3) == pytest.approx(known.left(3))


def test_of_the_keys_of_several_lists_as_many_count_as_there_usually_are() -> None:
    usual = learned(dict.fromkeys(STEPS, 10), 2, {"a": 100, "b": 50})
    known = usual.steps["load"]
    keys = {"a": 100.0, "b": 50.0, "of another list": 1_000.0}
    steps = {**usual.steps, "load": replace(known, keys=keys)}
    usual = replace(usual, steps=steps)

    assert Run(usual).left(1) == 10 + 150 + 20 + 10 + 10 + 10


def test_the_longest_path_is_played_first() -> None:
    class Three(Workflow):
        @step(parallel=True)
        def first(self) -> None: ...

        @step(parallel=True)
        def second(self) -> None: ...

        @step(parallel=True)
        def long(self) -> None: ...

    run = Run(learned({"first": 10, "second": 10, "long": 20}, 1, {}), plan_of(Three))

    assert run.left(2) == 20


def test_a_slow_run_takes_longer_but_not_of_the_usual_time() -> None:
    run = Run()
    run.listed(1)
    run.are(DONE, "check", "look")
    run.are(RUNNING, "load[0]")
    rest = OpenTasks(PLAN, run.progress, now=0)
    paces = dict.fromkeys(STEPS, 2.0) | {"publish": 5.0}

    assert VirtualRun(rest, 1, paces).play() == 20 + 20 + 50 + 20
    assert VirtualRun(rest, 1, paces, in_usual=True).play() == 40


def test_steps_that_nobody_knows_take_the_mean_of_the_others() -> None:
    means = {"check": 10, "publish": 50}

    assert Run(learned(means, 4, {})).left(1) == 10 + 50 + 4 * 30


def test_an_empty_list_takes_no_time() -> None:
    run = Run()
    run.listed(0)

    assert run.left(1) == 10 + 10 + 10 + 10


# -- what runs and waits --------------------------------------------------------------


@settings(deadline=None)
@given(st.data())
def test_any_tasks_may_run(data: st.DataObject) -> None:
    """Also one whose step always runs, or is not open in virtual time."""
    run = Run()
    run.listed(3)
    tasks = ["check", "look", "publish", "clean"]
    tasks += [f"{step}[{place}]" for step in FANS for place in range(3)]
    for task in tasks:
        status = data.draw(st.sampled_from([Status.PENDING, DONE, FAILED, RUNNING]))
        run.are(status, task)
    run.progress.is_finished = data.draw(st.booleans())
    runs = 10.0 if run.progress.running else 0.0

    assert runs <= run.left(2) <= 100
    assert 0 <= run.left(2, in_usual=True) <= 100


def test_a_step_that_always_runs_is_waited_for_while_it_does() -> None:
    run = Run()
    run.listed(1)
    run.are(DONE, "check", "load[0]", "store[0]", "look", "publish")
    run.are(RUNNING, "clean")

    assert run.left(1) == 10


def test_when_a_step_said_that_the_rest_is_not_needed_only_what_runs_is_waited_for() -> (
    None
):
    run = Run()
    run.listed(4)
    run.are(DONE, "check")
    run.are(RUNNING, "load[2]")
    run.progress.is_finished = True

    assert run.left(1) == 10 + 10
    run.are(DONE, "load[2]")
    assert run.left(1) == 10


def test_what_runs_uses_its_limits_and_its_place() -> None:
    run = Run()
    run.listed(2)
    run.are(DONE, "check", "look")
    run.are(RUNNING, "load[1]")

    # One load at a time; the last store behind the second one.
    assert run.left(9) == 10 + 10 + 10 + 10 + 10
    assert run.left(1) == 4 * 10 + 10 + 10


def test_many_that_wait_hold_nothing_until_they_are_due() -> None:
    run = Run(learned(dict.fromkeys(STEPS, 10), 4, {}, lost=50), plan_of(Freely))
    run.listed(4)
    run.are(DONE, "check", "look")
    run.are(WAITING, "load[0]", "load[1]", due=1_000)
    run.are(DONE, "load[2]", "load[3]", "store[2]", "store[3]")

    # What waits failed already: no failed attempt is expected of it.
    assert run.left(2) == 1_000 + 10 + 10 + 10 + 10
    assert run.left(1) == 1_000 + 40 + 10 + 10


def test_what_runs_may_fail_as_often_as_what_has_not_begun() -> None:
    run = Run(learned(dict.fromkeys(STEPS, 10), 4, {}, lost=50))
    run.listed(2)
    run.are(DONE, "check", "look")
    before = run.left(1)
    run.are(RUNNING, "load[0]")

    assert before == run.left(1) == 2 * 15 + 2 * 10 + 10 + 10


def test_an_item_that_runs_takes_what_its_key_does() -> None:
    run = Run(learned(dict.fromkeys(STEPS, 10), 4, {"0": 30, "1": 50}))
    run.listed(2)
    run.are(DONE, "check", "look", "load[0]", "store[0]")
    run.are(RUNNING, "load[1]")

    assert run.left(1) == 50 + 10 + 10 + 10


def test_the_work_of_a_step_is_that_of_its_open_tasks() -> None:
    run = Run(learned(dict.fromkeys(STEPS, 10), 4, {"0": 30, "3": 50}))
    run.listed(4)
    run.are(DONE, "check", "load[0]", "load[1]", "store[1]")
    rest = OpenTasks(PLAN, run.progress, now=0)

    assert rest.work == {
        "check": 0,
        "load": 10 + 50,
        "store": 30,
        "look": 10,
        "publish": 10,
        "clean": 10,
    }


# -- what failed ----------------------------------------------------------------------


def test_no_more_failed_items_than_are_tolerated_hold_nothing_up() -> None:
    run = Run()
    run.listed(4)
    run.are(DONE, "check", "look")
    run.are(FAILED, "load[1]")
    assert run.left(1) == 3 * 20 + 10 + 10

    run.are(FAILED, "load[2]")
    # The items that can still run do, and what always runs.
    assert run.left(1) == 2 * 20 + 10
    assert run.left(1, in_usual=True) == 2 * 20 + 10 + 10


def test_a_list_that_was_refused_holds_up_what_waits_for_it() -> None:
    run = Run()
    run.are(DONE, "check", "look")
    run.are(FAILED, "load")

    assert run.left(1) == 10
    assert run.left(1, in_usual=True) == 8 * 10 + 10 + 10


def test_a_failed_item_that_is_tried_again_is_open_with_all_behind_it() -> None:
    run = Run()
    run.listed(3)
    run.are(DONE, "check", "look", "load[0]", "store[0]")
    run.are(FAILED, "load[1]", "load[2]")
    run.are(Status.PENDING, "load[1]")
    run.are(RUNNING, "load[2]")
    assert run.left(1) == 4 * 10 + 10 + 10

    run.are(DONE, "load[1]", "load[2]")
    assert run.left(1) == 2 * 10 + 10 + 10


def test_a_failed_item_that_is_marked_done_is_not_failed() -> None:
    run = Run()
    run.listed(3)
    run.are(DONE, "check", "look", "load[0]", "store[0]")
    run.are(FAILED, "load[1]", "load[2]")
    run.are(DONE, "load[1]", "load[2]")

    assert run.left(1) == 2 * 10 + 10 + 10


def test_a_done_item_that_is_open_again_leaves_what_is_behind_it_done() -> None:
    run = Run()
    run.listed(1)
    run.are(DONE, "check", "look", "load[0]", "store[0]")
    run.are(Status.PENDING, "load[0]")

    assert run.left(1) == 10 + 10 + 10


# -- large fan-outs ---------------------------------------------------------------------


@pytest.mark.parametrize("done", [0, 17, 50_000])
def test_groups_take_as_long_as_their_items(done: int) -> None:
    class Wide(Workflow):
        @step
        def check(self) -> None: ...

        @step(each=check)
        def load(self, item: object) -> None: ...

    plan = plan_of(Wide)
    run = Run(learned({"check": 10, "load": 10}, 100, {}), plan)
    run.are(DONE, "check")
    run.listed(100_000)
    run.are(DONE, *[f"load[{place}]" for place in range(done)])
    run.are(RUNNING, *[f"load[{place}]" for place in range(done, done + 6)])

    expected = 10 * math.ceil((100_000 - done) / 6)
    assert run.left(6) == pytest.approx(expected, rel=0.01)
