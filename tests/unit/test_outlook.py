"""When a run will be over, foretold from its history and from what became of its tasks."""

from __future__ import annotations

import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from ptsflow import Workflow, step
from ptsflow.core.durations import Durations
from ptsflow.core.history import Profile, profile
from ptsflow.core.insight import Outlook, RunRecord, StepStats
from ptsflow.core.model import Status, TaskRecord
from ptsflow.core.outlook import outlook
from ptsflow.core.plan import Plan
from ptsflow.core.run_progress import RunProgress
from ptsflow.core.scheduler import Schedule
from ptsflow.workflow.compile import plan_of

DONE, FAILED, RUNNING, WAITING = (
    Status.DONE,
    Status.FAILED,
    Status.RUNNING,
    Status.WAITING,
)


class Import(Workflow):
    @step
    def check(self) -> None: ...

    @step(each=check, limit=2)
    def load(self, item: object) -> None: ...

    @step(each=load)
    def store(self, load: object) -> None: ...

    @step
    def publish(self) -> None: ...

    @step(always=True)
    def clean(self) -> None: ...


PLAN = plan_of(Import)


def usual(count: int = 4, **means: int) -> Profile:
    """Return what five equal runs teach: how long a task of each step takes."""
    stats = tuple(
        StepStats(
            name=name,
            count=count if name in ("load", "store") else 1,
            busy_ms=ms * (count if name in ("load", "store") else 1),
            wall_ms=ms,
        )
        for name, ms in means.items()
    )
    return profile(
        RunRecord(
            uid=str(n),
            fence=1,
            container="c",
            began_at=n,
            ended_at=n + 1,
            steps=stats,
            outlook_errors=(0.1, 0.1, 0.1, 0.1),
        )
        for n in range(5)
    )


USUAL = usual(check=10, load=100, store=20, publish=50, clean=5)


class Known:
    """What became of the tasks of a run that began at zero."""

    def __init__(self, plan: Plan = PLAN, learned: Profile = USUAL) -> None:
        self.plan = plan
        self.learned = learned
        self.progress = RunProgress(plan, Durations(plan, learned), began_at=0)

    def is_now(self, name: str, status: Status, began: int, **fields: Any) -> None:
        step_name, _, key = name.partition("[")
        task = TaskRecord(
            name=name,
            step=step_name,
            key=key[:-1] or None,
            status=status,
            last_invoked_at=began,
            **fields,
        )
        place = int(task.key or 0)
        self.progress.take_in(task, place, by_this_run=True)

    def done(self, name: str, began: int, ended: int) -> None:
        self.is_now(name, DONE, began, task_ended_at=ended)

    def listed(self, count: int, took: int = 10) -> None:
        self.done("check", 0, took)
        self.progress.expand("load", list(map(str, range(count))))

    def told(self, now: int, jobs: int = 4, only: list[str] | None = None) -> Outlook:
        found = outlook(
            self.plan, self.progress, self.learned, jobs=jobs, now=now, only=only
        )
        assert found is not None
        return found


def test_before_anything_ran_it_takes_as_long_as_the_steps_with_their_limits() -> None:
    # Two loads at a time, the last store behind them, then the rest.
    assert Known().told(0).eta_at == 10 + 2 * 100 + 20 + 50 + 5


def test_one_place_to_run_in_takes_the_sum() -> None:
    assert Known().told(0, jobs=1).eta_at == 10 + 4 * 120 + 50 + 5


def test_the_items_of_this_run_count_and_not_those_of_others() -> None:
    known = Known()
    known.listed(8)

    assert known.told(10).eta_at == 10 + 4 * 100 + 20 + 50 + 5


def test_a_slow_run_is_foretold_to_stay_slow() -> None:
    usual_end, known = Known(), Known()
    for run, pace in ((usual_end, 1), (known, 2)):
        run.listed(4, took=10 * pace)
        for place in (0, 1):
            run.done(f"load[{place}]", 10 * pace, 110 * pace)
    left = usual_end.told(110).eta_at or 0
    slow = known.told(220).eta_at or 0

    assert 1.5 * (left - 110) < slow - 220 <= 2.0 * (left - 110)


def test_a_waiting_task_holds_no_place_until_it_is_due() -> None:
    known = Known()
    known.listed(1)
    known.is_now("load[0]", WAITING, 10, due=1_000)

    assert known.told(20).eta_at == 1_000 + 100 + 20 + 50 + 5


def test_only_what_the_run_does_is_foretold() -> None:
    known = Known()
    known.listed(4)

    assert known.told(10, only=["load"]).eta_at == 10 + 2 * 100
    assert known.told(10, only=["load[3]", "store[3]"]).eta_at == 10 + 100 + 20


def test_what_waits_for_a_failed_step_is_not_waited_for_but_is_not_done() -> None:
    known = Known()
    known.is_now("check", FAILED, 0, task_ended_at=10)
    told = known.told(10)

    assert told.eta_at == 10 + 5
    assert told.percentage < 10


def test_the_range_is_the_usual_error_of_this_quarter() -> None:
    told = Known().told(0)

    assert told.low_at == pytest.approx(285 * 0.9, abs=1)
    assert told.high_at == pytest.approx(285 * 1.1, abs=1)
    assert told.runs == 5


def test_without_history_the_rate_so_far_tells() -> None:
    known = Known(learned=Profile())
    found = outlook(PLAN, known.progress, Profile(), jobs=4, now=10_000)
    assert found is None

    known.progress.percentage = 25.0
    assert known.told(10_000) == Outlook(at=10_000, percentage=25.0, eta_at=40_000)


def test_a_large_fan_out_is_foretold_in_groups_like_item_by_item() -> None:
    learned = usual(50_000, check=10, load=100, store=20, publish=50, clean=5)
    known = Known(learned=learned)
    known.listed(50_000)
    told = known.told(10)
    rounds = []
    for _ in range(5):
        began = time.process_time()
        known.told(10)
        rounds.append(time.process_time() - began)

    assert told.eta_at == pytest.approx(25_000 * 100, rel=0.02)
    # 10 ms on a machine with nothing else to do.
    assert min(rounds) < 0.05


# -- the percentage --------------------------------------------------------------------


def test_the_percentage_is_of_the_time_that_it_usually_takes() -> None:
    known = Known()
    known.listed(4)
    before = known.told(10).percentage
    known.done("load[0]", 10, 110)
    known.done("load[1]", 10, 110)

    assert before == pytest.approx(100 * 10 / 285)
    assert known.told(110).percentage == pytest.approx(100 * 110 / 285)


def test_a_run_in_which_nothing_moves_gets_no_further() -> None:
    known = Known()
    known.listed(4)

    assert known.told(10).percentage == known.told(10_000).percentage


def test_declared_weights_alone_make_the_percentage() -> None:
    class Declared(Import):
        @step(weight=3)
        def more(self) -> None: ...

    plan = plan_of(Declared)
    known = Known(plan, USUAL)
    known.listed(4)
    known.progress.percentage = 0.5

    assert known.told(10).percentage == 0.5


def test_the_percentage_that_was_told_is_the_least() -> None:
    known = Known()
    known.progress.percentage = 80.0

    assert known.told(0).percentage == 80


def test_a_part_of_a_run_does_not_complete_the_percentage() -> None:
    known = Known()
    known.listed(4)

    assert known.told(10, only=["load"]).percentage == known.told(10).percentage


def test_a_list_longer_than_usual_makes_the_whole_longer() -> None:
    known = Known()
    assert known.told(0).percentage == 0
    known.listed(8)

    assert known.told(10).percentage == pytest.approx(100 * 10 / 485)


# -- the range and the rate ------------------------------------------------------------


def test_each_quarter_has_its_own_range() -> None:
    known = Known(learned=replace(USUAL, errors=(0.1, 0.2, None, 3.0)))
    known.listed(4)

    def spread(began_at: int) -> tuple[int | None, int | None]:
        known.progress.began_at = began_at
        told = known.told(10)
        left = (told.eta_at or 0) - 10
        assert left == 275
        low, high = told.low_at, told.high_at
        return (
            None if low is None else low - 10 - left,
            None if high is None else high - 10 - left,
        )

    assert spread(10 - 91) == (-28, 28)  # 24.9 % are over.
    assert spread(10 - 93) == (-55, 55)
    assert spread(10 - 276) == (None, None)
    # The end is not before the moment in which it is told.
    assert spread(10 - 826) == (-275, 825)


@pytest.mark.parametrize(
    ("first", "percentage", "now", "expected"),
    [
        pytest.param(0, 25, 4_999, None, id="too soon"),
        pytest.param(50, 52, 10_000, None, id="too little of its own"),
        pytest.param(50, 75, 10_000, 20_000, id="by what this run gained"),
        pytest.param(0, 3, 5_000, 5_000 + 97 * 5_000 // 3 + 1, id="just enough"),
    ],
)
def test_the_rate_of_a_run_is_its_own(
    first: float, percentage: float, now: int, expected: int | None
) -> None:
    known = Known(learned=Profile())
    known.progress.first_percentage = first
    known.progress.percentage = percentage
    found = outlook(PLAN, known.progress, Profile(), jobs=4, now=now)

    assert (found and found.eta_at) == expected


# -- any run ---------------------------------------------------------------------------


@settings(deadline=None)
@given(st.data())
def test_an_outlook_is_found_in_any_state(data: st.DataObject) -> None:
    known = Known()
    count = data.draw(st.integers(0, 5))
    known.listed(count)
    for place in range(count):
        fate = data.draw(st.sampled_from([None, DONE, FAILED, RUNNING, WAITING]))
        if fate is not None:
            known.is_now(f"load[{place}]", fate, 10, task_ended_at=90, due=200)
            if fate is DONE and data.draw(st.booleans()):
                known.is_now(f"store[{place}]", RUNNING, 95)
    told = known.told(100)

    assert (told.eta_at or 0) >= 100
    assert 0 <= told.percentage <= 100


# -- a schedule that begins in the middle -------------------------------------------------


def test_what_runs_already_is_taken_as_soon_as_it_is_ready_and_uses_its_limits() -> (
    None
):
    schedule = Schedule(PLAN)
    schedule.load({"check": DONE}, {}, (), ["load[1]"])
    schedule.expand("load", ["0", "1", "2"])

    assert schedule.running == {"load[1]"}
    assert schedule.take(9, 0) == ["load[0]"]
    schedule.settle("load[1]", DONE)
    assert set(schedule.take(9, 0)) == {"load[2]", "store[1]"}
