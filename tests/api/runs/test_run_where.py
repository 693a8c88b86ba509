"""Runs in bodies, in threads, on clients, and beside other runs."""

from __future__ import annotations

import threading

import pytest

import ptsflow
from ptsflow import Status, Workflow, step
from ptsflow.errors import ContainerBusy
from tests.api.runs.flows import PATIENCE, Base


def test_a_body_may_run_another_workflow(url: str) -> None:
    class Inner(Workflow):
        number: int

        @step
        def double(self) -> int:
            return self.number * 2

    class Outer(Workflow):
        @step
        def numbers(self) -> list[int]:
            return [1, 2, 3]

        @step(each=numbers)
        def run_inner(self, number: int) -> int:
            report = ptsflow.run(Inner(number=number), url)
            result: int = report.result("double")
            return result

    report = ptsflow.run(Outer(), url)

    assert report.result("run_inner") == [2, 4, 6]
    with ptsflow.connect(url) as client:
        names = sorted(each.name for each in client.get_task_containers())
    assert names == ["Inner:number=1", "Inner:number=2", "Inner:number=3", "Outer"]


def test_a_body_that_runs_its_own_container_is_told_who_holds_it(url: str) -> None:
    class Again(Workflow):
        @step(retry=0)
        def work(self) -> None:
            ptsflow.run(Again(), url)

    report = ptsflow.run(Again(), url)

    assert not report.ok
    assert str(report.tasks[0].error).startswith(
        "ContainerBusy: container 'Again' is run by pid "
    )


def test_runs_may_be_in_other_threads(url: str) -> None:
    both = threading.Barrier(2, timeout=PATIENCE)
    reports: dict[int, ptsflow.Report] = {}

    class Threaded(Workflow):
        number: int

        @step
        def work(self) -> int:
            both.wait()
            return self.number

    def run(number: int) -> None:
        reports[number] = ptsflow.run(Threaded(number=number), url)

    threads = [threading.Thread(target=run, args=(number,)) for number in (1, 2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)

    assert {n: report.result("work") for n, report in reports.items()} == {1: 1, 2: 2}


def test_runs_in_memory_know_nothing_of_each_other() -> None:
    class Inner(Workflow):
        @step
        def work(self) -> int:
            return 1

    class Outer(Workflow):
        @step
        def run_inner(self) -> int:
            result: int = ptsflow.run(Inner(), "memory:").result("work")
            return result + 1

    assert ptsflow.run(Outer(), "memory:").result("run_inner") == 2


def test_a_client_can_be_given_instead_of_a_url(url: str) -> None:
    with ptsflow.connect(url) as client:
        report = ptsflow.run(Base(), client)
        container = client.get_task_container(report.container)

        assert container is not None
        assert container.is_complete
        assert (container.status, container.percentage_complete) == (Status.DONE, 100.0)
        assert container.get_tasks() == report.tasks


def test_a_container_that_another_runner_holds_is_not_run(url: str, name: str) -> None:
    inside, leave = threading.Event(), threading.Event()

    class Holding(Workflow):
        @step
        def work(self) -> None:
            inside.set()
            assert leave.wait(PATIENCE)

    thread = threading.Thread(target=ptsflow.run, args=(Holding(), url, name))
    thread.start()
    try:
        assert inside.wait(PATIENCE)
        with pytest.raises(ContainerBusy, match="is run by pid "):
            ptsflow.run(Holding(), url, name)
        with ptsflow.connect(url) as client:
            container = client.get_task_container(name)
            assert container is not None
            with pytest.raises(ContainerBusy, match="is run by pid "):
                container.add_task("more")
    finally:
        leave.set()
        thread.join(PATIENCE)

    assert ptsflow.run(Holding(), url, name).ok


def test_a_run_may_wait_for_another_one_longer_than_its_own_lease(
    url: str, name: str
) -> None:
    inside = threading.Event()

    class Holding(Workflow):
        @step
        def work(self) -> None:
            inside.set()
            threading.Event().wait(4.5)

        @step
        def longer(self) -> None:
            threading.Event().wait(1)

    thread = threading.Thread(
        target=ptsflow.run, args=(Holding(), url, name), kwargs={"only": ["work"]}
    )
    thread.start()
    assert inside.wait(PATIENCE)
    report = ptsflow.run(Holding(), url, name, lease=5, wait=PATIENCE)
    thread.join(PATIENCE)

    assert report.ok
    assert [task.invoke_count for task in report.tasks] == [1, 1]
