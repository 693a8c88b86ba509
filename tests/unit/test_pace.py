"""How fast a run is against what is usual, and what is left of a running task: exactly."""

from __future__ import annotations

import math

import pytest

from ptsflow import Workflow, step
from ptsflow.core.durations import Durations
from ptsflow.core.history import profile
from ptsflow.core.insight import RunRecord, StepStats
from ptsflow.core.model import Status, TaskRecord
from ptsflow.core.pace import left_of, paces
from ptsflow.core.run_progress import Running, RunProgress
from ptsflow.workflow.compile import plan_of


class Two(Workflow):
    @step
    def first(self) -> None: ...

    @step(each=first)
    def item(self, first: object) -> None: ...


PLAN = plan_of(Two)
STATS = (
    StepStats(name="first", count=1, busy_ms=200, wall_ms=200),
    StepStats(name="item", count=6, busy_ms=600, wall_ms=600),
)
USUAL = profile(
    [RunRecord(uid="u", fence=1, container="c", began_at=0, ended_at=9, steps=STATS)]
)


def begun() -> RunProgress:
    found = RunProgress(PLAN, Durations(PLAN, USUAL), began_at=0)
    found.expand("item", list("abcdef"))
    return found


def tell(
    progress: RunProgress,
    place: int,
    status: Status,
    ended: int = 0,
    *,
    by_this_run: bool = True,
) -> None:
    """Tell that an item, which began at zero, is now so."""
    key = "abcdef"[place]
    task = TaskRecord(
        name=f"item[{key}]",
        step="item",
        key=key,
        status=status,
        last_invoked_at=0,
        task_ended_at=ended,
    )
    progress.take_in(task, place, by_this_run=by_this_run)


def found_at(progress: RunProgress, now: int, **work: float) -> dict[str, float]:
    """Return the logarithms of the paces."""
    found = paces(progress, work, now)
    return {step: math.log(pace) for step, pace in found.items()}


def test_a_run_of_which_nothing_is_seen_is_as_usual() -> None:
    assert paces(begun(), {"first": 200, "item": 600}, 0) == {"first": 1, "item": 1}


def test_three_finished_tasks_tell_as_much_of_their_step_as_the_whole_run() -> None:
    progress = begun()
    for place in range(3):
        tell(progress, place, Status.DONE, ended=200)
    found = found_at(progress, 200, first=200, item=300)
    # 300 of 800 ms are seen; a twentieth of all would tell half of the pace.
    of_run = math.log(2) * 300 / (300 + 0.05 * 800)

    assert found["first"] == pytest.approx(of_run)
    assert found["item"] == pytest.approx((math.log(2) + of_run) / 2)


def test_the_times_of_a_step_are_added_before_they_are_compared() -> None:
    progress = begun()
    tell(progress, 0, Status.DONE, ended=390)
    tell(progress, 1, Status.DONE, ended=10)

    assert progress.finished["item"].log_ratio == pytest.approx(math.log(2))


def test_only_what_this_run_got_done_tells_of_it() -> None:
    progress = begun()
    tell(progress, 0, Status.DONE, ended=900, by_this_run=False)
    tell(progress, 1, Status.FAILED, ended=900)
    tell(progress, 2, Status.SKIPPED, ended=900)

    assert progress.finished["item"].count == 0


def test_a_running_task_tells_by_its_report_from_five_percent_on() -> None:
    progress = begun()
    tell(progress, 0, Status.RUNNING)
    progress.report("item[a]", 5, 20)
    assert found_at(progress, 20, item=600)["first"] == 0

    progress.report("item[a]", 20, 40)
    # It will take 200 ms in all, and a fifth of its usual 100 ms is seen.
    of_run = math.log(2) * 20 / (20 + 0.05 * 600)
    assert found_at(progress, 40, item=600)["first"] == pytest.approx(of_run)


def test_a_running_task_that_says_nothing_tells_once_it_is_late() -> None:
    progress = begun()
    tell(progress, 0, Status.RUNNING)

    assert found_at(progress, 100, item=600)["first"] == 0
    of_run = math.log(3) * 100 / (100 + 0.05 * 600)
    assert found_at(progress, 300, item=600)["first"] == pytest.approx(of_run)


def test_a_report_that_got_old_tells_of_no_less_than_the_time_since() -> None:
    progress = begun()
    tell(progress, 0, Status.RUNNING)
    progress.report("item[a]", 50, 50)

    of_run = math.log(4) * 100 / (100 + 0.05 * 600)
    assert found_at(progress, 400, item=600)["first"] == pytest.approx(of_run)


def running(*reports: tuple[float, int], attempts: int = 1) -> Running:
    task = TaskRecord(name="a", step="a", last_invoked_at=0, invoke_count=attempts)
    entry = Running(task, 0)
    for percentage, at in reports:
        entry.report(percentage, at)
    return entry


@pytest.mark.parametrize(
    ("percentage", "left"), [(2, 900), (4, 0.2 * 2400 + 0.8 * 960), (25, 525)]
)
def test_a_task_is_believed_by_the_root_of_what_it_says(
    percentage: float, left: float
) -> None:
    assert left_of(running((percentage, 100)), 1_000, 100) == pytest.approx(left)


def test_what_is_left_of_a_task_without_reports() -> None:
    assert left_of(running(), 100, 40) == 60
    assert left_of(running(), 100, 99) == 15
    assert left_of(running(), 100, 300) == pytest.approx(15 + 50)


def test_a_report_gets_old() -> None:
    entry = running((50, 500))

    assert left_of(entry, 1_000, 900) == pytest.approx(100)
    # Half of it was to take 500 ms from then on: of those, 7.5 % at the least.
    assert left_of(entry, 1_000, 1_000) == pytest.approx(75)
    assert left_of(entry, 1_000, 1_400) == pytest.approx(75 + 100)


def test_equal_reports_are_one() -> None:
    assert left_of(running((50, 500), (50, 900)), 1_000, 900) == pytest.approx(100)


def test_a_task_that_goes_on_in_the_middle_is_not_taken_for_a_fast_one() -> None:
    entry = running((60, 10), (62, 1_010), attempts=2)
    assert left_of(entry, 60_000, 1_010) > 15_000

    entry.report(70, 2_010)
    # Ten percent in 2,000 ms.
    by_report, trust = 20_000, math.sqrt(0.7)
    total = trust * by_report + (1 - trust) * 60_000
    assert left_of(entry, 60_000, 2_010) == pytest.approx(0.3 * total)
