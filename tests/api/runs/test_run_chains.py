"""Chains go item by item, joins wait for all, limits are kept."""

from __future__ import annotations

import threading
import time

import pytest

import ptsflow
from ptsflow import Retry, TaskHandle, Workflow, step
from tests.api.runs.flows import PATIENCE

ONCE_MORE = Retry(1, delay=0)


# -- chains and joins -----------------------------------------------------------------


def test_a_chain_goes_item_by_item_without_a_barrier(url: str) -> None:
    first_is_through = threading.Event()

    class Chain(Workflow):
        @step
        def names(self) -> list[str]:
            return ["quick", "slow"]

        @step(each=names)
        def download(self, name: str) -> str:
            if name == "slow":
                assert first_is_through.wait(PATIENCE)
            return name.upper()

        @step(each=download)
        def unpack(self, archive: str) -> str:
            return f"{archive}!"

        @step(each=unpack)
        def load(self, table: str, task: TaskHandle) -> str:
            first_is_through.set()
            return f"{task.name} {table}"

        @step
        def join(self, load: list[str]) -> list[str]:
            return load

    report = ptsflow.run(Chain(), url, jobs=2)

    assert report.result("join") == ["load[quick] QUICK!", "load[slow] SLOW!"]


def test_a_join_waits_for_all_items(url: str) -> None:
    ended: list[int] = []

    class Join(Workflow):
        @step
        def numbers(self) -> list[int]:
            return list(range(20))

        @step(each=numbers)
        def square(self, number: int) -> int:
            ended.append(number)
            return number * number

        @step(after=square)
        def count(self) -> int:
            return len(ended)

        @step(after=())
        def total(self, square: list[int]) -> int:
            return sum(square) + len(ended)

    report = ptsflow.run(Join(), url, jobs=4)

    assert report.result("count") == 20
    assert report.result("total") == sum(n * n for n in range(20)) + 20


def test_an_item_may_also_take_whole_results(url: str) -> None:
    class Both(Workflow):
        @step
        def factor(self) -> int:
            return 10

        @step
        def numbers(self) -> list[int]:
            return [1, 2]

        @step(each=numbers)
        def times(self, number: int, factor: int, numbers: list[int]) -> int:
            return number * factor + len(numbers)

        @step(each=times)
        def share(self, one: int, times: list[int]) -> float:
            return one / sum(times)

    report = ptsflow.run(Both(), url)

    assert report.result("times") == [12, 22]
    assert report.result("share") == [12 / 34, 22 / 34]


def test_two_steps_fan_out_over_one_list(url: str) -> None:
    class Two(Workflow):
        @step
        def numbers(self) -> list[int]:
            return [1, 2]

        @step(each=numbers)
        def double(self, number: int) -> int:
            return number * 2

        @step(each=numbers, key=lambda number: f"n{number}")
        def negate(self, number: int) -> int:
            return -number

    report = ptsflow.run(Two(), url)

    assert [task.name for task in report.tasks][1:] == [
        "double[1]",
        "double[2]",
        "negate[n1]",
        "negate[n2]",
    ]


def test_what_one_item_does_to_its_element_no_other_attempt_sees(url: str) -> None:
    seen: list[list[int]] = []

    class Mutating(Workflow):
        @step
        def lists(self) -> list[list[int]]:
            return [[1]]

        @step(each=lists, retry=ONCE_MORE)
        def use(self, numbers: list[int]) -> None:
            seen.append(list(numbers))
            numbers.append(2)
            if len(seen) == 1:
                raise OSError("once more")

    assert ptsflow.run(Mutating(), url).ok
    assert seen == [[1], [1]]


# -- limits ---------------------------------------------------------------------------


@pytest.mark.parametrize("limit", [1, 3])
def test_never_more_items_than_the_limit_run_at_once(url: str, limit: int) -> None:
    lock = threading.Lock()
    running: list[int] = []
    most = 0
    failed: set[int] = set()
    first_ones = threading.Barrier(limit)

    class Limited(Workflow):
        @step
        def numbers(self) -> list[int]:
            return list(range(40))

        @step(each=numbers, limit=limit, retry=Retry(1, delay=0.01, jitter=0))
        def use(self, number: int) -> None:
            nonlocal most
            with lock:
                running.append(number)
                most = max(most, len(running))
            if number < limit and number not in failed:
                first_ones.wait(PATIENCE)
            time.sleep(0.001)
            with lock:
                running.remove(number)
            if number % 5 == 0 and number not in failed:
                failed.add(number)
                raise OSError("once more")

    report = ptsflow.run(Limited(), url, jobs=8)

    assert report.ok
    assert most == limit
    assert failed == set(range(0, 40, 5))


def test_a_limited_step_leaves_room_for_others(url: str) -> None:
    free_ran = threading.Event()

    class Mixed(Workflow):
        @step
        def numbers(self) -> list[int]:
            return list(range(10))

        @step(each=numbers, limit=1)
        def limited(self, _number: int) -> None:
            assert free_ran.wait(PATIENCE)

        @step(each=numbers)
        def free(self, _number: int) -> None:
            free_ran.set()

    assert ptsflow.run(Mixed(), url, jobs=2).ok
