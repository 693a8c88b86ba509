"""Which ticks of a schedule are late."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from msgspec.structs import replace

from ptsflow.core.insight import (
    FailedTask,
    Outlook,
    RunRecord,
    RunStatus,
    ScheduleRecord,
)
from ptsflow.core.model import ContainerRecord, Owner, Status
from ptsflow.core.overdue import Lateness, looked_at_from, overdue, silent

MINUTE = 60_000
HOUR = 60 * MINUTE
NOON = 1_767_268_800_000
NOW = NOON + 3 * HOUR + 30 * MINUTE
OWNER = Owner(id="a", host="box", boot="b", pid=1, started=1, since=NOON)
TICKS = [NOON + n * HOUR for n in range(5)]


def hourly(**fields: object) -> ScheduleRecord:
    made = ScheduleRecord(
        workflow="Feed",
        cron="0 * * * *",
        catch_up_ms=24 * HOUR,
        again_ms=HOUR,
        since=NOON,
    )
    return replace(made, **fields)


def run(number: int, status: RunStatus = RunStatus.DONE, **fields: object) -> RunRecord:
    """Return a run of the container of a tick."""
    made = RunRecord(
        uid=str(number),
        fence=1,
        container=f"t{number}",
        workflow="Feed",
        tick=NOON + number * HOUR,
        began_at=NOON + number * HOUR,
        ended_at=NOON + number * HOUR + MINUTE,
        status=status,
    )
    return replace(made, **fields)


def container(number: int, status: Status, *, live: bool = False) -> ContainerRecord:
    return ContainerRecord(
        uid=str(number),
        name=f"t{number}",
        status=status,
        owner=OWNER if live else None,
        leased_till=NOW + MINUTE if live else None,
    )


def late(
    runs: Sequence[RunRecord],
    *containers: ContainerRecord,
    schedule: ScheduleRecord | None = None,
    usual: int | None = None,
    grace: int = 10 * MINUTE,
    eta: int | None = None,
) -> str:
    """Return the numbers of ticks that are late, with a letter of how."""
    told = Outlook(at=NOW, percentage=1.0, eta_at=eta)
    found = overdue(
        schedule or hourly(),
        TICKS,
        runs,
        {each.name: each for each in containers},
        now=NOW,
        usual_ms=usual,
        grace_ms=grace,
        outlooks={} if eta is None else {"t3": told},
    )
    return " ".join(
        f"{((each.tick or 0) - NOON) // HOUR}{each.lateness[0]}" for each in found
    )


@pytest.mark.parametrize(
    ("numbers", "expected"),
    [((0, 1, 2, 3), ""), ((0, 2, 3), "1l"), ((), "0l 1l 2l 3l"), ((0, 1, 2), "3l")],
)
def test_a_tick_that_is_not_done_is_late(numbers: Sequence[int], expected: str) -> None:
    assert late([run(number) for number in numbers]) == expected


def test_a_tick_has_time() -> None:
    done = [run(number) for number in range(3)]

    assert late(done, usual=20 * MINUTE) == ""
    assert late(done, usual=20 * MINUTE - 1) == "3l"
    assert late(done, grace=30 * MINUTE) == ""
    assert late(done, schedule=hourly(jitter_ms=25 * MINUTE)) == ""


def test_what_fails_and_is_done_later_is_not_late() -> None:
    done = [run(number) for number in range(3)]
    failed = run(3, RunStatus.FAILED, failed=(FailedTask("load", "OSError", "no"),))

    assert late([failed, *done], container(3, Status.FAILED)) == "3l"
    by_hand = run(3, tick=None, fence=2)
    assert late([by_hand, failed, *done], container(3, Status.DONE)) == ""
    assert late([by_hand, failed, *done]) == ""


def test_how_it_stands_is_told() -> None:
    failed = run(3, RunStatus.FAILED, failed=(FailedTask("load", "OSError", "no"),))
    (found,) = overdue(
        hourly(since=TICKS[3]),
        TICKS[3:],
        [failed],
        {"t3": container(3, Status.FAILED)},
        now=NOW,
        usual_ms=MINUTE,
        grace_ms=MINUTE,
        outlooks={},
    )

    assert found.container == "t3"
    assert (found.status, found.is_live) == (Status.FAILED, False)
    assert [task.name for task in found.failed] == ["load"]
    assert found.expected_at == TICKS[3] + MINUTE


def test_a_run_that_will_end_after_the_next_tick_is_slow() -> None:
    runs = [run(3, RunStatus.RUNNING, ended_at=None), *map(run, range(3))]
    live = container(3, Status.RUNNING, live=True)

    assert late(runs, live, usual=HOUR, eta=NOON + 4 * HOUR + 1) == "3s"
    assert late(runs, live, usual=HOUR, eta=NOON + 4 * HOUR) == ""


def test_what_is_given_up_is_told_for_a_time() -> None:
    schedule = hourly(catch_up_ms=90 * MINUTE)

    assert late([], schedule=schedule) == "0g 1g 2g 3l"
    assert looked_at_from(schedule, NOW) == NOW - 180 * MINUTE
    assert looked_at_from(hourly(), NOW) == NOON


def test_of_the_latest_alone_older_ones_are_passed_over() -> None:
    assert late([], schedule=hourly(overlap="latest")) == "3l"
    assert late([run(3)], schedule=hourly(overlap="skip")) == ""


def test_a_paused_schedule_is_never_late() -> None:
    assert late([], schedule=hourly(paused_at=NOON)) == ""


def test_a_workflow_without_a_schedule_is_silent_after_a_time() -> None:
    done = run(0, ended_at=NOW - HOUR)

    assert silent("Feed", done, now=NOW, within_ms=HOUR + 1) is None
    found = silent("Feed", done, now=NOW, within_ms=HOUR)
    never = silent("Feed", None, now=NOW, within_ms=HOUR)
    assert found is not None
    assert never is not None
    assert (found.lateness, found.tick) == (Lateness.SILENT, NOW - HOUR)
    assert never.tick is None
