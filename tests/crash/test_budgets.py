"""What attempts and patience are left after `kill -9`, and in each executor."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from pathlib import Path

import pytest

import ptsflow
from ptsflow import Retry, RetryLater, Status, TaskHandle, Workflow, step
from tests.support.processes import python


class Download(Workflow):
    """Each attempt saves that it got further, until there is no more, and ends badly."""

    act: str
    parts: int = 3

    @step(retry=Retry(0, delay=0, renew_on_checkpoint=True))
    def load(self, task: TaskHandle) -> int:
        offset = task.processing_data or 0
        assert isinstance(offset, int)
        if offset == self.parts:
            return offset
        task.checkpoint(offset + 1)
        if self.act == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        raise OSError("cut")


def one_worker() -> Executor:
    return ThreadPoolExecutor(1)


@pytest.mark.parametrize(
    ("executor", "act"),
    [
        ("thread", "raise"),
        ("process", "raise"),
        ("process", "die"),
        (one_worker, "raise"),
        (one_worker, "die"),
    ],
)
def test_an_attempt_that_got_further_is_tried_again_in_every_executor(
    executor: str | Callable[[], Executor], act: str
) -> None:
    report = ptsflow.run(Download(act=act), "memory:", executor=executor)

    assert report.ok
    assert report.tasks[0].invoke_count == 4


RUN = """
import sys, ptsflow
from tests.crash import test_budgets as flows
kind, url, act = sys.argv[1:]
ptsflow.run(getattr(flows, kind)(act=act), url)
"""


def test_a_runner_that_dies_again_and_again_as_it_gets_further_is_no_failure(
    tmp_path: Path,
) -> None:
    url = f"sqlite:///{tmp_path}/x.db"
    for _ in range(3):
        assert python("-c", RUN, "Download", url, "die").returncode == -signal.SIGKILL

    done = python("-c", RUN, "Download", url, "die")

    assert done.returncode == 0, done.stderr


class PutOff(Workflow):
    """It is put off for ever; its second attempt kills the runner."""

    act: str

    @step(timeout=2)
    def check(self, task: TaskHandle) -> None:
        if task.processing_data == "put off":
            task.checkpoint("killed")
            os.kill(os.getpid(), signal.SIGKILL)
        if task.processing_data is None:
            task.checkpoint("put off")
        raise RetryLater(0.1, "not posted yet")


def test_a_run_that_goes_on_has_no_new_patience(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/x.db"
    assert python("-c", RUN, "PutOff", url, "die").returncode == -signal.SIGKILL
    time.sleep(2)

    report = ptsflow.run(PutOff(act="die"), url)

    (task,) = report.tasks
    assert task.status is Status.FAILED
    assert (task.error or "").startswith("put off for longer than timeout=2")
    assert task.invoke_count == 3
