"""What runs tell of the steps of a workflow."""

from __future__ import annotations

from ptsflow.core.insight import FailedTask, RunRecord, RunStatus, StepStats
from ptsflow.core.trends import trends


def run(number: int, *steps: StepStats, failed: str = "") -> RunRecord:
    return RunRecord(
        uid="u",
        fence=number,
        container=f"c{number}",
        began_at=number,
        ended_at=number + 1,
        status=RunStatus.FAILED if failed else RunStatus.DONE,
        failed=(FailedTask(failed, "OSError", "no"),) if failed else (),
        steps=steps,
    )


def took(ms: int, name: str = "load", count: int = 1, lost: int = 0) -> StepStats:
    return StepStats(name=name, count=count, busy_ms=ms * count, failed_attempts=lost)


def test_durations_are_those_of_a_task_and_the_newest_five_are_compared() -> None:
    rows = [run(n, took(150 if n > 15 else 100, count=8)) for n in range(20, 0, -1)]

    (load,) = trends(rows)

    assert (load.count, load.runs, load.ended) == (8, 20, 20)
    assert (load.median_ms, load.p90_ms) == (100, 150)
    assert load.change == 0.5


def test_nine_of_ten_runs_stay_below_the_p90() -> None:
    (load,) = trends([run(n, took(n)) for n in range(20, 0, -1)])

    assert (load.median_ms, load.p90_ms) == (10.5, 18)


def test_five_runs_are_too_few_to_compare() -> None:
    assert trends([run(n, took(1)) for n in range(5)])[0].change is None
    assert trends([run(n, took(1)) for n in range(6)])[0].change == 0.0


def test_only_the_newest_twenty_are_told_of() -> None:
    rows = [run(n, took(1, lost=n < 30)) for n in range(50, 0, -1)]

    assert (trends(rows)[0].runs, trends(rows)[0].retried) == (20, 0)


def test_steps_that_failed_are_counted_over_all_runs_that_ended() -> None:
    going = RunRecord(uid="u", fence=9, container="c", began_at=9)
    rows = [
        going,
        run(8, failed="load[songs]"),
        run(7, took(5), took(3, "fetch", lost=2)),
        run(6, failed="check"),
        run(5, took(5)),
    ]

    found = {trend.name: trend for trend in trends(rows)}

    assert list(found) == ["load", "fetch", "check"]
    assert (found["load"].failed, found["load"].ended, found["load"].runs) == (1, 4, 2)
    assert (found["fetch"].retried, found["fetch"].runs) == (1, 1)
    assert (found["check"].failed, found["check"].runs) == (1, 0)


def test_a_step_without_tasks_tells_nothing() -> None:
    assert trends([run(1, took(0, count=0))]) == []
    assert trends([]) == []
