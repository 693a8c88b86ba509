"""A container that is complete is left as it is."""

from __future__ import annotations

from typing import cast

import ptsflow
from ptsflow import Finish, Skip, Workflow, step
from ptsflow.client import Client
from ptsflow.stores.base import Store
from tests.api.conftest import main_stores
from tests.api.runs.flows import Counting, again, fail, flow, statuses


@main_stores
def test_a_complete_container_is_left_as_it_is(
    url: str, name: str, ran: list[str]
) -> None:
    class Complete(Workflow):
        @step
        def numbers(self) -> list[int]:
            ran.append("numbers")
            return [1, 2]

        @step(each=numbers)
        def use(self, number: int) -> int:
            ran.append(f"use {number}")
            return number

        @step(optional=True)
        def skipped(self) -> None:
            raise Skip("no need")

        @step(always=True)
        def tidy(self) -> None:
            ran.append("tidy")

    first = ptsflow.run(Complete(), url, name)
    before = first.tasks
    ran.clear()
    second = ptsflow.run(Complete(), url, name)

    assert second.ok
    assert ran == []
    assert second.tasks == before
    assert second.result("use") == [1, 2]


def test_a_run_of_a_complete_container_writes_no_task(counting: Counting) -> None:
    workflow = flow(
        [], a=None, b=lambda: [1], c={"each": "b", "does": lambda item: item}
    )
    client = Client(cast("Store", counting))
    ptsflow.run(workflow, client)
    before = counting.writes.copy()
    ptsflow.run(workflow, client)

    assert before["commit"] > 0
    assert counting.writes == before


def test_accepted_failures_of_a_complete_container_are_not_tried_again(
    url: str, ran: list[str]
) -> None:
    workflow = flow(
        ran,
        numbers=lambda: [1, 2],
        use={"each": "numbers", "tolerate": 1, "retry": 0, "does": _no_two},
        extra={"optional": True, "does": fail},
        tidy={"always": True},
    )
    first = ptsflow.run(workflow, url)
    second = again(ran, workflow, url)

    assert (first.ok, second.ok) == (True, True)
    assert ran == []
    assert first.tasks == second.tasks


def test_a_failure_beside_a_finish_is_not_tried_again(url: str, ran: list[str]) -> None:
    def finish() -> None:
        raise Finish("nothing new")

    workflow = flow(
        ran,
        a={"parallel": True, "does": fail},
        b={"parallel": True, "does": finish},
        last=None,
    )
    first = ptsflow.run(workflow, url, jobs=1)
    second = again(ran, workflow, url)

    assert (first.ok, second.ok) == (True, True)
    assert ran == []
    assert statuses(second) == {"a": "failed", "b": "done", "last": "skipped"}
    assert first.tasks == second.tasks


def _no_two(number: int) -> int:
    if number == 2:
        raise OSError("no two")
    return number
