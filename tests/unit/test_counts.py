"""Counting tasks: how far a container is, and what became of it."""

from __future__ import annotations

import pytest

from ptsflow.core import counts
from ptsflow.core.model import ContainerRecord, Status, StepSummary, Tally, TaskRecord

PENDING, RUNNING, WAITING = Status.PENDING, Status.RUNNING, Status.WAITING
DONE, FAILED, SKIPPED = Status.DONE, Status.FAILED, Status.SKIPPED


def test_tasks_are_counted_by_step_and_status() -> None:
    tasks = [
        TaskRecord(name="a", step="a", status=DONE, percentage_complete=100),
        TaskRecord(name="b[1]", step="b", status=RUNNING, percentage_complete=30),
        TaskRecord(name="b[2]", step="b", status=RUNNING, percentage_complete=20),
        TaskRecord(name="b[3]", step="b"),
        TaskRecord(name="mine"),
    ]

    assert counts.tallies_of(tasks) == [
        Tally("a", DONE, 1, 100),
        Tally("b", RUNNING, 2, 50),
        Tally("b", PENDING, 1, 0),
        Tally("", PENDING, 1, 0),
    ]


def test_every_status_is_counted() -> None:
    found = counts.count_by_status([Tally("a", DONE, 2, 200), Tally("b", DONE, 1, 100)])

    assert found == {status: 3 if status is DONE else 0 for status in Status}


A, B = StepSummary(name="a"), StepSummary(name="b", weight=3)


@pytest.mark.parametrize(
    ("plan", "tallies", "expected"),
    [
        pytest.param([], [], 100, id="nothing at all"),
        pytest.param([A, B], [], 0, id="nothing began"),
        pytest.param([A, B], [Tally("a", DONE, 1, 100)], 25, id="by weight"),
        pytest.param([A, B], [Tally("b", DONE, 1, 100)], 75, id="by the other weight"),
        pytest.param(
            [A, B],
            [Tally("a", DONE, 1, 100), Tally("b", RUNNING, 2, 80)],
            55,
            id="a step's share is the mean of its tasks'",
        ),
        pytest.param(
            [A],
            [Tally("a", DONE, 1, 100), Tally("a", PENDING, 3, 0)],
            25,
            id="over all statuses",
        ),
        pytest.param([], [Tally("", PENDING, 1, 40), Tally("", DONE, 1, 100)], 70, id="a client's"),
        pytest.param(
            [A], [Tally("a", DONE, 1, 100), Tally("", PENDING, 1, 0)], 50, id="both"
        ),
        pytest.param(
            [A],
            [Tally("a", PENDING, 1, 0), Tally("gone", DONE, 1_000, 100_000)],
            0,
            id="steps that were removed do not count",
        ),
        pytest.param([A], [Tally("a", DONE, 3, 300.0000001)], 100, id="never over 100"),
    ],
)  # fmt: skip
def test_the_percentage_of_a_container(
    plan: list[StepSummary], tallies: list[Tally], expected: float
) -> None:
    assert counts.percentage(plan, tallies) == pytest.approx(expected)
    assert 0 <= counts.percentage(plan, tallies) <= 100


@pytest.mark.parametrize(
    ("workflow", "stored", "statuses", "expected"),
    [
        pytest.param(None, PENDING, [], DONE, id="empty"),
        pytest.param(None, PENDING, [DONE, SKIPPED], DONE, id="all complete"),
        pytest.param(None, PENDING, [DONE, PENDING], PENDING, id="one open"),
        pytest.param(None, PENDING, [WAITING], PENDING, id="one waiting"),
        pytest.param(None, PENDING, [PENDING, RUNNING], RUNNING, id="one running"),
        pytest.param(None, PENDING, [DONE, FAILED], FAILED, id="one failed"),
        pytest.param(None, PENDING, [FAILED, PENDING], PENDING, id="failed, one open"),
        pytest.param("W", RUNNING, [DONE], RUNNING, id="what its runner said"),
        pytest.param("W", FAILED, [PENDING], FAILED, id="failed, its runner said"),
        pytest.param("W", DONE, [DONE, FAILED], DONE, id="failures were accepted"),
        pytest.param("W", DONE, [DONE, PENDING], PENDING, id="opened again since"),
    ],
)
def test_what_became_of_a_container(
    workflow: str | None, stored: Status, statuses: list[Status], expected: Status
) -> None:
    container = ContainerRecord(uid="1", name="c", workflow=workflow, status=stored)
    tallies = [Tally("", status, 1, 0) for status in statuses]

    assert counts.status_of(container, tallies) is expected


@pytest.mark.parametrize(
    ("tolerate", "total", "expected"),
    [
        (0, 10, 0),
        (3, 10, 3),
        ("2%", 99, 1),
        ("2%", 100, 2),
        ("0%", 100, 0),
        ("100%", 7, 7),
        ("50%", 3, 1),
        pytest.param("0.57%", 10_000, 57, id="exact where floats are not"),
        (" 1.5e1 %", 100, 15),
    ],
)
def test_how_many_may_fail(tolerate: int | str, total: int, expected: int) -> None:
    assert counts.allowed_failures(tolerate, total) == expected


EACH = StepSummary(name="b", each="a", tolerate="10%")


@pytest.mark.parametrize(
    ("step", "failed", "total", "expected"),
    [
        pytest.param(A, 0, 5, True, id="none failed"),
        pytest.param(A, 1, 1, False, id="a plain step"),
        pytest.param(StepSummary(name="a", optional=True), 1, 1, True, id="optional"),
        pytest.param(EACH, 1, 10, True, id="tolerated"),
        pytest.param(EACH, 2, 10, False, id="too many"),
    ],
)
def test_which_failures_are_accepted(
    step: StepSummary, failed: int, total: int, *, expected: bool
) -> None:
    assert counts.is_accepted(step, failed, total) is expected
