"""Every way in which a body can end: what becomes of its task, its siblings and the run."""

from __future__ import annotations

import re
import resource
import signal
from pathlib import Path

import pytest

import ptsflow
from ptsflow.client.task import Task
from ptsflow.core.plan import Executor
from tests.executors.flows import LimitedOne, One, StalledOne, TimedOne
from tests.support.containers import tasks_of
from tests.support.processes import python

MEMORY = r"; peak memory \d+ MB"
LINE = r"\(flows.py:\d+ in \w+\)"
STORABLE = "the result of step tested: "

BOTH = [
    pytest.param("raises", rf"RuntimeError: no such feed {LINE}", id="exception"),
    pytest.param(
        "raises_unpicklable",
        rf"RuntimeError: not for pickle {LINE}",
        id="an exception that cannot be pickled",
    ),
    pytest.param(
        "raises_surrogate",
        rf"RuntimeError: bad .* name {LINE}",
        id="a message that is not unicode",
    ),
    pytest.param("exit", rf"SystemExit {LINE}", id="SystemExit"),
    pytest.param("runs_out_of_memory", rf"MemoryError {LINE}", id="MemoryError"),
    pytest.param("returns_an_object", rf"NotStorable: {STORABLE}.*", id="not storable"),
    pytest.param(
        "returns_9_mib",
        rf"TooLarge: {STORABLE}9.1 MiB of JSON text is over the limit of 8 MiB; "
        r"write it to a file and return the file's path.*",
        id="a result of 9 MiB",
    ),
]

DEATHS = [
    pytest.param(
        "exits",
        rf"the process ended with exit status 3{MEMORY}; it printed last: last words",
        id="os._exit",
    ),
    pytest.param(
        "kills_itself", rf"the process was killed by SIGKILL{MEMORY}", id="SIGKILL"
    ),
    pytest.param("crashes", rf"the process was killed by SIGSEGV{MEMORY}", id="crash"),
]

#: What a thread lets end by itself, and a process does not.
LONG = [
    pytest.param(TimedOne, "timed out after 0.5 s", id="timeout"),
    pytest.param(StalledOne, "stalled: no progress was reported for 0.5 s", id="stall"),
]
HELD = [
    pytest.param("sleeps", id="asleep"),
    pytest.param("holds_the_interpreter", id="in C, holding the interpreter"),
]


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))


def outcome(
    flow: One | TimedOne | StalledOne | LimitedOne, url: str, executor: Executor
) -> dict[str, Task]:
    """Run it, and return its tasks."""
    report = ptsflow.run(flow, url, executor=executor, container="tested")
    tasks = tasks_of(url, "tested")
    assert report.container == "tested"
    is_accepted = isinstance(flow, LimitedOne)  # its failure is optional
    assert report.ok == (is_accepted or tasks["tested"].status.value == "done")
    assert tasks["sibling"].result == "done"
    assert tasks["after"].result == "still here"
    return tasks


#: What does not get better by waiting is not tried again.
ONCE = ("exit", "returns_an_object", "returns_9_mib")


def check_failed(task: Task, text: str, attempts: int = 2) -> None:
    assert task.status.value == "failed"
    assert task.error is not None
    assert re.fullmatch(text, task.error, re.DOTALL), task.error
    assert task.invoke_count == attempts


@pytest.mark.parametrize("executor", ["thread", "process"])
@pytest.mark.parametrize(("act", "text"), BOTH)
def test_an_error_fails_its_attempt_alone(
    act: str, text: str, executor: str, url: str
) -> None:
    tasks = outcome(One(act=act), url, executor)

    check_failed(tasks["tested"], text, 1 if act in ONCE else 2)


@pytest.mark.parametrize(("act", "text"), DEATHS)
def test_a_process_that_dies_fails_its_attempt_alone(
    act: str, text: str, url: str
) -> None:
    tasks = outcome(One(act=act), url, "process")

    check_failed(tasks["tested"], text)


@pytest.mark.parametrize("executor", ["thread", "process"])
@pytest.mark.parametrize("act", HELD)
@pytest.mark.parametrize(("kind", "text"), LONG)
def test_what_takes_too_long_has_failed(
    kind: type[TimedOne | StalledOne], text: str, act: str, executor: str, url: str
) -> None:
    tasks = outcome(kind(act=act), url, executor)

    check_failed(tasks["tested"], text + (MEMORY if executor == "process" else ""))


def test_a_body_that_prints_for_ever_times_out(url: str) -> None:
    tasks = outcome(TimedOne(act="prints_for_ever"), url, "process")

    check_failed(
        tasks["tested"],
        rf"timed out after 0.5 s{MEMORY}; it printed last: [x\n]{{499,500}}",
    )


def test_a_memory_limit_is_of_one_attempt(url: str) -> None:
    tasks = outcome(LimitedOne(act="asks_too_much"), url, "process")

    check_failed(tasks["tested"], rf"MemoryError {LINE}")


@pytest.mark.parametrize("executor", ["thread", "process"])
def test_closed_output_disturbs_nobody(executor: str, url: str) -> None:
    if executor == "thread":
        pytest.skip("in a thread it would be the runner's own")
    tasks = outcome(One(act="closes_its_output"), url, executor)

    assert tasks["tested"].result == "silent"


def test_what_a_body_prints_does_not_pile_up_in_the_runner(url: str) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    tasks = outcome(One(act="prints_100_mb"), url, "process")
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before

    assert tasks["tested"].result == "printed"
    assert grown < 20_000, f"the runner grew by {grown} KB"


@pytest.mark.parametrize(
    ("act", "code"),
    [("exits", 3), ("kills_itself", -signal.SIGKILL), ("crashes", -signal.SIGSEGV)],
)
def test_a_thread_that_kills_its_process_costs_a_run_and_cannot_loop_for_ever(
    act: str, code: int, tmp_path: Path
) -> None:
    command = ["-m", "ptsflow", "run", "tests.executors.flows:One", "-q"]
    store = f"sqlite:///{tmp_path}/pts.db"
    command += ["-p", f"act={act}", "-c", "tested", "--store", store]
    codes = [python(*command).returncode for _ in range(3)]
    tasks = tasks_of(store, "tested")

    assert codes == [code, code, 1]
    check_failed(tasks["tested"], r"the runner died while it ran \(attempt 2\)")
    assert tasks["sibling"].result == "done"
    assert tasks["after"].result == "still here"
