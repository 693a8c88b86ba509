"""The ledger: which attempts of a task are over, and what it is told of them."""

from __future__ import annotations

from pathlib import Path

import pytest
from msgspec.structs import replace

from ptsflow import Fail, Retry, RetryLater, Skip, Workflow, connect, step
from ptsflow.client import Client
from ptsflow.core import attempt_ledger
from ptsflow.core.model import Attempt, Cause, Ending, Status, TaskRecord
from ptsflow.display import format as fmt
from ptsflow.display import tables
from ptsflow.testing import ManualClock, run_inline

NOW = 1_000_000
RUNNING = TaskRecord(
    name="load",
    step="load",
    status=Status.RUNNING,
    invoke_count=3,
    last_invoked_at=NOW - 500,
    ran_by="vm:7",
)
DONE = replace(RUNNING, status=Status.DONE, task_ended_at=NOW - 100)


def entry(ending: Ending, number: int = 3, error: str = "") -> Attempt:
    ended_at = NOW - 100 if ending in (Ending.DONE, Ending.SKIPPED) else NOW
    return Attempt(
        number=number,
        began_at=NOW - 500,
        ended_at=ended_at,
        ending=ending,
        error=error,
        ran_by="vm:7",
    )


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        pytest.param(None, RUNNING, None, id="a new task has none"),
        pytest.param(DONE, None, None, id="a task that goes takes its ledger along"),
        pytest.param(
            RUNNING,
            replace(RUNNING, status=Status.PENDING, error="the runner died"),
            entry(Ending.CRASHED, error="the runner died"),
            id="found running",
        ),
        pytest.param(
            RUNNING,
            replace(RUNNING, status=Status.FAILED, error="unknown"),
            entry(Ending.CRASHED, error="unknown"),
            id="found running, for the last time",
        ),
        pytest.param(
            DONE,
            replace(DONE, status=Status.PENDING),
            entry(Ending.DONE),
            id="done, and to run again",
        ),
        pytest.param(
            replace(DONE, status=Status.SKIPPED, cause=Cause.BODY),
            replace(DONE, status=Status.PENDING),
            entry(Ending.SKIPPED),
            id="skipped by its body, and to run again",
        ),
        pytest.param(
            replace(DONE, status=Status.SKIPPED, cause=Cause.UPSTREAM),
            replace(DONE, status=Status.PENDING),
            None,
            id="skipped without an attempt",
        ),
        pytest.param(
            replace(DONE, status=Status.FAILED),
            replace(DONE, status=Status.PENDING),
            None,
            id="failed: it is in the ledger already",
        ),
        pytest.param(DONE, replace(DONE, position=5), None, id="only moved"),
    ],
)
def test_what_a_new_run_adds(
    before: TaskRecord | None, after: TaskRecord | None, expected: Attempt | None
) -> None:
    assert attempt_ledger.between(before, after, now=NOW) == expected


def test_the_last_good_attempt_is_told_by_the_record() -> None:
    kept = [entry(Ending.FAILED, 1), entry(Ending.FAILED, 2)]

    assert attempt_ledger.complete(DONE, kept) == [*kept, entry(Ending.DONE)]


def test_what_a_person_marked_as_done_did_not_end_well_by_itself() -> None:
    kept = [entry(Ending.CRASHED)]

    assert attempt_ledger.complete(DONE, kept) == kept


class Ends(Workflow):
    """Its step ends in another way each time."""

    @step(retry=Retry(5, delay=1))
    def load(self) -> None:
        CALLS.append(1)
        match len(CALLS):
            case 1:
                raise OSError("away")
            case 2:
                raise RetryLater(5, "not posted yet")
            case 3:
                raise Fail("no such feed")
            case 4:
                raise Skip("nothing new")
            case _:
                pass


CALLS: list[int] = []


def attempts(client: Client) -> list[Attempt]:
    record = client.store.container("c")
    assert record is not None
    task = client.store.tasks(record.uid, ["load"])[0]
    return attempt_ledger.complete(task, client.store.attempts(record.uid, "load"))


def test_every_attempt_stays_with_how_it_ended() -> None:
    CALLS.clear()
    client = connect("memory:")
    clock = ManualClock()
    for _ in range(2):
        run_inline(Ends(), client=client, container="c", clock=clock)
    made = attempts(client)

    assert [(a.number, str(a.ending), a.error_type, a.error) for a in made] == [
        (1, "failed", "OSError", made[0].error),
        (2, "postponed", "", "not posted yet"),
        (3, "failed", "Fail", "no such feed"),
        (4, "skipped", "", ""),
    ]
    assert made[0].error.startswith(f"OSError: away ({Path(__file__).name}:")
    assert 'raise OSError("away")' in made[0].traceback
    assert [a.began_at for a in made] == sorted(a.began_at for a in made)
    assert all(a.ran_by.partition(":")[2].isdecimal() for a in made)


def test_what_is_run_again_is_not_forgotten() -> None:
    CALLS[:] = [1] * 10
    client = connect("memory:")
    run_inline(Ends(), client=client, container="c")
    run_inline(Ends(), client=client, container="c", from_step="load")

    assert [a.number for a in attempts(client)] == [1, 2]


def test_how_long_an_attempt_took_that_crashed_is_only_known_at_most() -> None:
    shown = tables.attempts([entry(Ending.CRASHED, 1), entry(Ending.FAILED, 2)])
    _, crashed, failed = (fmt.text_of(line) for line in shown)

    assert " ≤0.5s " in crashed
    assert " 0.5s " in failed
