"""A run that is stopped leaves nothing running, and goes on where it was."""

from __future__ import annotations

import signal
import threading

import pytest

import ptsflow
from ptsflow import Retry, RetryLater, Status, TaskHandle, Workflow, step
from ptsflow.errors import ContainerBusy
from tests.api.runs.flows import (
    PATIENCE,
    run_until,
    send,
    task_of,
    until_cancelled,
)
from tests.stores.making import swap
from tests.support.containers import container_of

HOUR = 3600.0


def test_the_first_signal_lets_bodies_end_and_starts_nothing_more(
    url: str, name: str
) -> None:
    ran: list[str] = []

    class Stopping(Workflow):
        @step(parallel=True)
        def work(self, task: TaskHandle) -> str:
            until_cancelled(task)
            return "ended"

        @step
        def more(self) -> None:
            ran.append("more")

        @step(always=True)
        def tidy(self) -> None:
            ran.append("tidy")

    run_until(Stopping(), url, name, "work", Status.RUNNING)
    with ptsflow.connect(url) as client:
        container = container_of(client, name)
        status = container.status
        tasks = {task.name: task for task in container.get_tasks()}
    meanwhile = list(ran)
    report = ptsflow.run(Stopping(), url, name)

    assert status is Status.PENDING
    assert (tasks["work"].status, tasks["work"].result) == (Status.DONE, "ended")
    assert tasks["more"].status is Status.PENDING
    assert meanwhile == []
    assert report.ok
    assert ran == ["more", "tidy"]


def test_a_stopped_run_leaves_no_handlers(url: str, name: str) -> None:
    class Waiting(Workflow):
        @step
        def work(self) -> None:
            raise RetryLater(HOUR)

    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    run_until(Waiting(), url, name, "work", Status.WAITING)

    assert [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)] == before


def test_sigterm_exits_with_143(url: str, name: str) -> None:
    class Terminated(Workflow):
        @step
        def work(self) -> None:
            send(signal.SIGTERM)
            raise RetryLater(HOUR)

    with pytest.raises(SystemExit) as stopped:
        ptsflow.run(Terminated(), url, name)

    assert stopped.value.code == 143
    assert task_of(url, name, "work").status is Status.WAITING


def test_the_second_signal_stops_at_once_and_does_not_count(
    url: str, name: str
) -> None:
    leave = threading.Event()
    attempts: list[int] = []

    class Hanging(Workflow):
        @step
        def work(self, task: TaskHandle) -> None:
            attempts.append(task.attempt)
            if len(attempts) == 1:
                send(signal.SIGINT)
                until_cancelled(task)
                send(signal.SIGINT)
                assert leave.wait(PATIENCE)
                with pytest.raises(ptsflow.PtsflowError, match="was not saved"):
                    task.checkpoint("too late")

    with pytest.raises(KeyboardInterrupt):
        ptsflow.run(Hanging(), url, name)
    stopped = task_of(url, name, "work")
    with pytest.raises(ContainerBusy, match=r"this process .* still be in a body"):
        ptsflow.run(Hanging(), url, name)
    leave.set()
    report = ptsflow.run(Hanging(), url, name, wait=PATIENCE)

    assert (stopped.status, stopped.status_text) == (Status.PENDING, "stopped")
    assert report.ok
    assert attempts == [1, 1]
    assert report.tasks[0].invoke_count == 2
    assert report.tasks[0].processing_data is None


def test_attempts_and_waits_survive_the_end_of_the_run(url: str, name: str) -> None:
    attempts: list[int] = []

    class Waiting(Workflow):
        @step(retry=Retry(2, delay=HOUR, jitter=0))
        def work(self, task: TaskHandle) -> None:
            attempts.append(task.attempt)
            raise OSError(f"no {len(attempts)}")

    run_until(Waiting(), url, name, "work", Status.WAITING)
    with ptsflow.connect(url) as client:
        record = client.store.container(name)
        assert record is not None
        (task,) = client.store.tasks(record.uid)

    assert attempts == [1]
    assert (task.status, task.attempt, task.invoke_count) == (Status.WAITING, 1, 1)
    assert task.due == (task.task_ended_at or 0) + 3_600_000
    assert str(task.error).startswith("OSError: no 1 (")


def test_a_wait_that_is_over_by_the_next_run_is_not_waited_again(
    url: str, name: str
) -> None:
    attempts: list[int] = []

    class Waiting(Workflow):
        @step(retry=Retry(2, delay=HOUR, jitter=0))
        def work(self, task: TaskHandle) -> None:
            attempts.append(task.attempt)
            if len(attempts) == 1:
                raise OSError("no")

    run_until(Waiting(), url, name, "work", Status.WAITING)
    with ptsflow.connect(url) as client:
        record = client.store.container(name)
        assert record is not None
        (task,) = client.store.tasks(record.uid)
        over = swap(task, due=client.store.now())
        client.store.commit(record.uid, [over], fence=None)

    assert ptsflow.run(Waiting(), url, name).ok
    assert attempts == [1, 2]
