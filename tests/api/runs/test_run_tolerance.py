"""So many items may fail, and what becomes of the items behind them."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

import ptsflow
from ptsflow import Skip, Status, Workflow, step


def tolerant(
    tolerate: int | str, bad: Sequence[int], count: int = 10
) -> type[Workflow]:
    class Tolerant(Workflow):
        @step
        def numbers(self) -> list[int]:
            return list(range(count))

        @step(each=numbers, tolerate=tolerate, retry=0)
        def use(self, number: int) -> int:
            if number in bad:
                raise OSError(f"no {number}")
            return number

        @step(each=use)
        def chained(self, before: int) -> int:
            return -before

        @step
        def join(self, use: list[int], chained: list[int]) -> list[list[int]]:
            return [use, chained]

    return Tolerant


@pytest.mark.parametrize(
    ("tolerate", "bad", "ok"),
    [
        pytest.param(2, [1, 5], True, id="two of two"),
        pytest.param(1, [1, 5], False, id="two of one"),
        pytest.param("20%", [1, 5], True, id="a share"),
        pytest.param("19%", [1, 5], False, id="over a share"),
        pytest.param("100%", list(range(10)), True, id="all of all"),
    ],
)
def test_so_many_items_may_fail(
    url: str, tolerate: int | str, bad: list[int], *, ok: bool
) -> None:
    report = ptsflow.run(tolerant(tolerate, bad)(), url, jobs=3)
    good = [number for number in range(10) if number not in bad]
    statuses = {task.name: task.status for task in report.tasks}

    assert report.ok is ok
    assert report.failed == [f"use[{number}]" for number in bad]
    assert report.result("use") == good
    assert report.result("chained") == [-number for number in good]
    assert report.result("join") == ([good, [-n for n in good]] if ok else None)
    assert {statuses[f"chained[{number}]"] for number in bad} == (
        {Status.SKIPPED} if ok else {Status.PENDING}
    )


def test_items_behind_a_skipped_one_are_skipped(url: str) -> None:
    class Skipping(Workflow):
        @step
        def numbers(self) -> list[int]:
            return [1, 2, 3]

        @step(each=numbers)
        def use(self, number: int) -> int:
            if number == 2:
                raise Skip("two is not needed")
            return number

        @step(each=use)
        def chained(self, before: int) -> int:
            return -before

        @step
        def join(self, use: list[int], chained: list[int]) -> list[list[int]]:
            return [use, chained]

    report = ptsflow.run(Skipping(), url)
    tasks = {task.name: task for task in report.tasks}

    assert report.result("join") == [[1, 3], [-1, -3]]
    assert (tasks["use[2]"].status, tasks["use[2]"].status_text) == (
        "skipped",
        "two is not needed",
    )
    assert (tasks["chained[2]"].status, tasks["chained[2]"].status_text) == (
        "skipped",
        "use[2] has no result",
    )


def test_a_failed_item_stops_neither_the_other_items_nor_their_chains(url: str) -> None:
    report = ptsflow.run(tolerant(0, [3])(), url)
    statuses = {task.name: task.status for task in report.tasks}

    assert not report.ok
    assert statuses["use[3]"] == "failed"
    assert statuses["chained[3]"] == statuses["join"] == "pending"
    assert all(statuses[f"chained[{n}]"] == "done" for n in range(10) if n != 3)
