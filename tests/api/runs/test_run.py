"""What runs when: in sequence, in parallel, behind what, and at the end."""

from __future__ import annotations

import threading

import pytest

import ptsflow
from ptsflow import Status, Workflow, step
from tests.api.conftest import main_stores
from tests.api.runs.flows import PATIENCE


@main_stores
def test_steps_run_in_the_order_they_are_declared(url: str, name: str) -> None:
    ran: list[str] = []

    class Three(Workflow):
        @step
        def first(self) -> None:
            ran.append("first")

        @step
        def second(self) -> None:
            ran.append("second")

        @step
        def third(self) -> None:
            ran.append("third")

    report = ptsflow.run(Three(), url, name)

    assert ran == ["first", "second", "third"]
    assert report.ok
    assert report.container == name
    assert [(task.name, task.status) for task in report.tasks] == [
        (each, Status.DONE) for each in ran
    ]
    assert report.failed == []


@main_stores
def test_parallel_steps_run_at_the_same_time(url: str, name: str) -> None:
    both = threading.Barrier(2, timeout=PATIENCE)
    seen: list[str] = []

    class Pair(Workflow):
        @step
        def before(self) -> None:
            seen.append("before")

        @step(parallel=True)
        def left(self) -> None:
            both.wait()

        @step(parallel=True)
        def right(self) -> None:
            both.wait()

        @step
        def after(self) -> None:
            seen.append("after")

    assert ptsflow.run(Pair(), url, name, jobs=2).ok
    assert seen == ["before", "after"]


def test_a_plain_step_waits_for_the_whole_group_above_it(url: str) -> None:
    quick_is_done = threading.Event()
    ran: list[str] = []

    class Group(Workflow):
        @step(parallel=True)
        def slow(self) -> None:
            assert quick_is_done.wait(PATIENCE)
            ran.append("slow")

        @step(parallel=True)
        def quick(self) -> None:
            ran.append("quick")

        @step(after=quick)
        def behind_quick(self) -> None:
            ran.append("behind quick")
            quick_is_done.set()

        @step
        def last(self) -> None:
            ran.append("last")

    assert ptsflow.run(Group(), url, jobs=3).ok
    assert ran == ["quick", "behind quick", "slow", "last"]


def test_two_groups_of_parallel_steps_are_told_apart_by_a_plain_step(url: str) -> None:
    running: set[str] = set()
    together: set[frozenset[str]] = set()
    pairs = {name: threading.Barrier(2, timeout=PATIENCE) for name in ("one", "two")}

    def meet(group: str, name: str) -> None:
        running.add(name)
        pairs[group].wait()
        together.add(frozenset(running))
        pairs[group].wait()
        running.discard(name)

    class Groups(Workflow):
        @step(parallel=True)
        def a(self) -> None:
            meet("one", "a")

        @step(parallel=True)
        def b(self) -> None:
            meet("one", "b")

        @step
        def between(self) -> None:
            together.add(frozenset(running))

        @step(parallel=True)
        def c(self) -> None:
            meet("two", "c")

        @step(parallel=True)
        def d(self) -> None:
            meet("two", "d")

    assert ptsflow.run(Groups(), url, jobs=8).ok
    assert together == {frozenset("ab"), frozenset(), frozenset("cd")}


def test_after_nothing_starts_at_once(url: str) -> None:
    other_ran = threading.Event()

    class AtOnce(Workflow):
        @step
        def first(self) -> None:
            assert other_ran.wait(PATIENCE)

        @step(after=())
        def at_once(self) -> None:
            other_ran.set()

    assert ptsflow.run(AtOnce(), url).ok


def test_a_parameter_named_like_a_step_waits_for_it(url: str) -> None:
    ran: list[str] = []

    class Named(Workflow):
        @step(parallel=True)
        def value(self) -> int:
            ran.append("value")
            return 5

        @step(after=())
        def uses(self, value: int) -> int:
            ran.append("uses")
            return value + 1

    assert ptsflow.run(Named(), url).result("uses") == 6
    assert ran == ["value", "uses"]


@pytest.mark.parametrize("fails", [False, True])
def test_a_step_that_always_runs_is_last_whatever_happened(
    url: str, *, fails: bool
) -> None:
    ran: list[object] = []

    class Tidy(Workflow):
        @step(always=True)
        def clean_up(self, work: int | None) -> None:
            ran.append(("clean up", work))

        @step(retry=0)
        def work(self) -> int:
            ran.append("work")
            if fails:
                raise OSError("no")
            return 1

        @step
        def more(self) -> None:
            ran.append("more")

    # Declared above what it takes: only steps above a step can be named.
    assert ptsflow.run(Tidy(), url).ok is not fails
    assert ran == (
        ["work", ("clean up", None)] if fails else ["work", "more", ("clean up", 1)]
    )


def test_jobs_says_how_many_bodies_run_at_once(url: str) -> None:
    running = 0
    most = 0
    lock = threading.Lock()

    def body() -> None:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        threading.Event().wait(0.002)
        with lock:
            running -= 1

    class Wide(Workflow):
        @step
        def numbers(self) -> list[int]:
            return list(range(30))

        @step(each=numbers)
        def use(self, _number: int) -> None:
            body()

    assert ptsflow.run(Wide(), url, jobs=3).ok
    assert most == 3


def test_one_job_runs_parallel_steps_one_after_the_other(url: str) -> None:
    threads: list[threading.Thread] = []

    class Pair(Workflow):
        @step(parallel=True)
        def left(self) -> None:
            threads.append(threading.current_thread())

        @step(parallel=True)
        def right(self) -> None:
            threads.append(threading.current_thread())

    assert ptsflow.run(Pair(), url, jobs=1).ok
    assert threads[0] is threads[1]
