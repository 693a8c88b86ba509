"""What the ledger of runs has after a run, however the run ended."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

import ptsflow
from ptsflow import Fail, Retry, TaskHandle, Workflow, step
from ptsflow.client.client import Client
from ptsflow.core.insight import FailedTask, RunRecord, RunStatus
from ptsflow.errors import ContainerMismatch, LeaseLost, StoreDamaged, StoreUnavailable
from ptsflow.events import Event, Notice
from ptsflow.runner.options import RunOptions
from ptsflow.runner.planned_run import plan_run
from ptsflow.runner.report import Stopped
from ptsflow.runner.run import run_planned
from ptsflow.stores.memory.store import MemoryStore
from tests.api.conftest import main_stores
from tests.stores.making import LEASE, owner
from tests.support.processes import ROOT, environment
from tests.support.waiting import until


class Works(Workflow):
    fails: bool = False

    @step
    def first(self) -> list[int]:
        return [1, 2]

    @step(each=first, retry=Retry(2, delay=0))
    def load(self, number: int, task: TaskHandle) -> int:
        if number == 2 and (self.fails or task.attempt == 1):
            raise OSError("no route\nto host")
        return number


class Breaks(Workflow):
    @step
    def work(self) -> None:
        if os.environ.get("PTSFLOW_TEST_FAILS"):
            raise Fail("not today")


def runs_of(url: str, name: str) -> list[RunRecord]:
    """Return the runs of a container, the oldest first."""
    with ptsflow.connect(url) as client:
        return client.store.runs(name=name)[::-1]


@main_stores
def test_a_run_that_completes_its_container_is_done(url: str, name: str) -> None:
    before = time.time_ns() // 1_000_000
    ptsflow.run(Works(), url, name, jobs=3)
    (run,) = runs_of(url, name)

    assert (run.status, run.workflow, run.container) == (RunStatus.DONE, "Works", name)
    assert (run.fence, run.jobs, run.percentage) == (1, 3, 100.0)
    assert run.counts == {"done": 3}
    assert (run.retries, run.failed) == (1, ())
    assert run.ran_by.endswith(f":{os.getpid()}")
    assert run.ended_at is not None
    assert before <= run.began_at <= run.ended_at <= time.time_ns() // 1_000_000
    assert {s.name: (s.count, s.failed_attempts) for s in run.steps} == {
        "first": (1, 0),
        "load": (2, 1),
    }


@main_stores
def test_a_run_that_fails_says_what_failed(url: str, name: str) -> None:
    ptsflow.run(Works(fails=True), url, name)
    (run,) = runs_of(url, name)

    assert (run.status, run.retries, run.steps) == (RunStatus.FAILED, 2, ())
    assert run.failed == (FailedTask("load[2]", "OSError", "OSError: no route"),)
    assert run.counts == {"done": 2, "failed": 1}


def test_what_was_repaired_is_done_by_the_run_that_did_it(
    url: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PTSFLOW_TEST_FAILS", "1")
    ptsflow.run(Breaks(), url, name)
    monkeypatch.delenv("PTSFLOW_TEST_FAILS")
    ptsflow.run(Breaks(), url, name)

    assert [(run.status, run.fence) for run in runs_of(url, name)] == [
        (RunStatus.FAILED, 1),
        (RunStatus.DONE, 2),
    ]


def test_a_run_with_nothing_to_do_is_no_entry(url: str, name: str) -> None:
    for _ in range(3):
        ptsflow.run(Works(), url, name)

    assert [run.fence for run in runs_of(url, name)] == [1]


def test_a_run_of_some_steps_stops_before_the_end(url: str, name: str) -> None:
    ptsflow.run(Works(), url, name, only=["first"])
    ptsflow.run(Works(), url, name, only=["load[1]"])
    ptsflow.run(Works(), url, name)

    assert [run.status for run in runs_of(url, name)] == [
        *(RunStatus.STOPPED, RunStatus.STOPPED, RunStatus.DONE)
    ]


def test_a_run_of_a_step_that_cannot_start_failed(url: str, name: str) -> None:
    ptsflow.run(Works(), url, name, only=["load"])

    assert [run.status for run in runs_of(url, name)] == [RunStatus.FAILED]


def test_a_fresh_run_completes_the_container_once_more(url: str, name: str) -> None:
    ptsflow.run(Works(), url, name)
    ptsflow.run(Works(), url, name, fresh=True)
    first, second = runs_of(url, name)

    assert (first.status, second.status) == (RunStatus.DONE, RunStatus.DONE)
    assert second.fence == 2
    assert [s.count for s in second.steps] == [1, 2]


@pytest.mark.parametrize(
    ("timeout", "status"), [(None, RunStatus.STOPPED), (0.3, RunStatus.TIMEOUT)]
)
def test_a_run_that_is_stopped_says_how(
    timeout: float | None, status: RunStatus
) -> None:
    store = MemoryStore()

    class Stopping(Workflow):
        @step
        def work(self, task: TaskHandle) -> None:
            if timeout is None:
                signal.raise_signal(signal.SIGTERM)
            while not task.cancelled:
                threading.Event().wait(0.01)
            raise OSError

    planned = plan_run(Stopping(), RunOptions(timeout=timeout))
    with pytest.raises(Stopped):
        run_planned(planned, Client(store), [])
    (run,) = store.runs()

    assert (run.status, run.fence) == (status, 1)
    assert run.ended_at is not None


_ENDLESS = """
import time
from pathlib import Path
from typing import Any
import ptsflow
from ptsflow import Workflow, step

class Endless(Workflow):
    began: Path
    @step
    def work(self) -> None:
        if not self.began.exists():
            self.began.touch()
            time.sleep(600)
"""


@main_stores
def test_a_run_that_is_killed_is_lost_once_the_next_begins(
    url: str, name: str, tmp_path: Path
) -> None:
    began, flow = tmp_path / "began", tmp_path / "flow.py"
    flow.write_text(_ENDLESS)
    command = [sys.executable, "-m", "ptsflow", "run", str(flow), "-c", name]
    command += ["--store", url, "-p", f"began={began}", "-q"]
    with subprocess.Popen(command, cwd=ROOT, env=environment()) as runner:
        until(began.exists)
        runner.kill()
    (died,) = runs_of(url, name)
    assert (died.status, died.ended_at) == (RunStatus.RUNNING, None)
    assert died.target == str(flow)

    subprocess.run(command, cwd=ROOT, env=environment(), check=True)
    lost, done = runs_of(url, name)
    assert (lost.status, lost.fence, lost.ended_at) == (RunStatus.LOST, 1, None)
    assert (done.status, done.fence, done.retries) == (RunStatus.DONE, 2, 1)


def test_a_run_whose_lease_was_taken_is_lost() -> None:
    store = MemoryStore()

    class Overtaken(Workflow):
        @step
        def work(self) -> None:
            (record,) = store.containers()
            other = store.claim(record.uid, owner("b"), LEASE, dead=1)
            assert other is not None

    with pytest.raises(LeaseLost):
        ptsflow.run(Overtaken(), Client(store))
    assert [run.status for run in store.runs()] == [RunStatus.RUNNING]


def told(events: list[Event]) -> list[str]:
    return [event.text for event in events if isinstance(event, Notice)]


class Broken(MemoryStore):
    """A store of which some calls fail."""

    def __init__(self, error: Exception, *calls: str, times: int = 1_000) -> None:
        super().__init__()
        self._error = error
        self._left = dict.fromkeys(calls, times)

    def _fail(self, call: str) -> None:
        if self._left.get(call, 0) > 0:
            self._left[call] -= 1
            raise self._error

    def ledgers(self, *args: Any) -> Any:
        self._fail("ledgers")
        return super().ledgers(*args)

    def release(self, *args: Any) -> bool:
        self._fail("release")
        return super().release(*args)


def test_history_that_cannot_be_read_changes_no_run() -> None:
    store = Broken(StoreDamaged("a ledger"), "ledgers")
    events: list[Event] = []
    report = ptsflow.run(Works(), Client(store), listeners=[events.append])
    (run,) = store.runs()

    assert report.ok
    assert told(events) == [
        "the history lacks details of this run: StoreDamaged: a ledger"
    ]
    assert (run.status, run.steps, run.counts) == (RunStatus.DONE, (), {})
    assert run.ended_at is not None


def test_a_release_that_is_tried_again_ends_the_run_once() -> None:
    store = Broken(StoreUnavailable("away"), "release", times=2)
    assert ptsflow.run(Works(), Client(store)).ok
    (run,) = store.runs()

    assert (run.status, run.fence) == (RunStatus.DONE, 1)


def test_a_run_that_an_error_ends_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise StoreDamaged("no folder")

    monkeypatch.setattr("ptsflow.runner.prepare.Workdirs", fail)
    store = MemoryStore()
    with pytest.raises(StoreDamaged):
        ptsflow.run(Works(), Client(store))
    (run,) = store.runs()

    assert (run.status, run.fence) == (RunStatus.FAILED, 1)
    assert run.ended_at is not None


def test_a_run_that_does_not_fit_its_container_is_no_entry(url: str, name: str) -> None:
    ptsflow.run(Works(), url, name)
    with pytest.raises(ContainerMismatch):
        ptsflow.run(Works(fails=True), url, name)

    assert [run.fence for run in runs_of(url, name)] == [1]


def test_a_run_is_in_the_ledger_while_it_lasts(url: str, name: str) -> None:
    seen: list[RunRecord] = []

    class Looking(Workflow):
        @step
        def look(self) -> None:
            seen.extend(runs_of(url, name))

    ptsflow.run(Looking(), url, name, jobs=2)
    (run,) = seen
    assert (run.status, run.jobs, run.workflow) == (RunStatus.RUNNING, 2, "Looking")
