"""SIGINT, SIGTERM and SIGHUP, once and twice, while bodies run side by side."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from ptsflow.core.insight import RunStatus
from ptsflow.core.model import Status
from tests.crash import journal as journals
from tests.crash.checks import errors, look, run_again
from tests.crash.nest import Nest, Spec
from tests.crash.waiting import until_it_ended, until_it_runs

SIGNALS = [
    pytest.param(signal.SIGINT, 130, id="interrupt"),
    pytest.param(signal.SIGTERM, 143, id="terminate"),
    pytest.param(signal.SIGHUP, 129, id="hang up"),
]


@pytest.mark.parametrize(("number", "expected"), SIGNALS)
def test_a_signal_lets_bodies_end_and_starts_no_more(
    number: signal.Signals, expected: int, url: str, nest: Nest, journal: Path
) -> None:
    spec = Spec(workflow="Gated", url=url, journal=str(journal))
    pid = nest.start(spec)
    until_it_runs(journal, 3)
    os.kill(pid, number)
    until_it_ended(journal, "obedient")
    gate = Path(f"{journal}.gate")
    gate.touch()
    code = nest.wait(pid)
    stopped = look(url)

    assert code == expected, errors(spec)
    assert stopped.container is not None
    assert stopped.container.status is Status.PENDING
    assert stopped.container.owner is None
    assert {name: task.status.value for name, task in stopped.tasks.items()} == {
        "begin": "done",
        "patient": "done",
        "obedient": "pending",
        "end": "pending",
    }
    run_again(nest, spec, RunStatus.STOPPED)


@pytest.mark.parametrize(("number", "expected"), SIGNALS)
def test_a_second_signal_ends_the_run_at_once(
    number: signal.Signals, expected: int, url: str, nest: Nest, journal: Path
) -> None:
    spec = Spec(workflow="Gated", url=url, journal=str(journal))
    pid = nest.start(spec)
    until_it_runs(journal, 3)
    os.kill(pid, number)
    until_it_ended(journal, "obedient")
    os.kill(pid, number)
    code = nest.wait(pid)
    stopped = look(url)
    Path(f"{journal}.gate").touch()

    assert code == expected, errors(spec)
    assert stopped.container is not None
    assert stopped.container.status is Status.PENDING
    assert stopped.container.owner is None
    assert stopped.tasks["patient"].status is Status.PENDING
    assert stopped.tasks["patient"].status_text == "stopped"
    assert stopped.tasks["patient"].attempt == 0
    run_again(nest, spec, RunStatus.STOPPED)
    assert journals.starts(journals.read(journal)) == {
        "begin": 1,
        "patient": 2,
        "obedient": 2,
        "end": 1,
    }


def test_two_signals_in_the_same_moment_leave_nothing_running(
    url: str, nest: Nest, journal: Path
) -> None:
    spec = Spec(workflow="Gated", url=url, journal=str(journal))
    pid = nest.start(spec)
    until_it_runs(journal, 3)
    os.kill(pid, signal.SIGINT)
    os.kill(pid, signal.SIGTERM)
    code = nest.wait(pid)
    stopped = look(url)
    Path(f"{journal}.gate").touch()

    assert code in (130, 143), errors(spec)
    assert stopped.names(Status.RUNNING) == set()
    run_again(nest, spec, RunStatus.STOPPED)
