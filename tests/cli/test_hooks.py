"""Hooks at the command line: they change neither the exit code nor what is printed."""

from __future__ import annotations

import signal
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.cli.calling import Place, appears
from tests.support.processes import ended_by_hangups

FLOW = """
import time
from ptsflow import Workflow, step

class Flow(Workflow):
    seconds: float = 0
    on_failure = 'echo "$PTSFLOW_STATUS: $PTSFLOW_SUMMARY" >> told; echo lost; exit 9'

    @step(retry=0)
    def work(self) -> None:
        time.sleep(self.seconds)
        raise OSError("it is $(touch ran) broken")
"""


@pytest.fixture
def told(place: Place) -> Path:
    (place.folder / "flow.py").write_text(FLOW)
    return place.folder / "told"


@pytest.mark.parametrize("quiet", [(), ("-q",)], ids=["loud", "quiet"])
def test_the_exit_code_is_that_of_the_run_and_a_hook_that_fails_is_said(
    place: Place, told: Path, quiet: tuple[str, ...]
) -> None:
    unheard = place.call("run", "flow.py", "--no-hooks")
    assert (unheard.returncode, told.exists()) == (1, False)
    assert "on_failure" not in unheard.stderr
    assert "--no-hooks" in unheard.stderr.splitlines()[-1], "the command to type next"

    ended = place.call("run", "flow.py", *quiet)
    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr.count("on_failure failed: exit code 9: lost\n") == 1
    once = told.read_text()
    assert once.startswith("failed: Flow:seconds=0.0 failed: work: OSError: it is $(t")
    assert place.call("resume", "flow.py", "-q").returncode == 1
    assert told.read_text() == once
    assert not (place.folder / "ran").exists()


def test_a_run_out_of_its_time_is_told(place: Place, told: Path) -> None:
    ended = place.call("run", "flow.py", "-p", "seconds=60", "--timeout", "1", "-q")

    assert ended.returncode == 124
    assert told.read_text() == "timeout: Flow:seconds=60.0 took too long\n"


SLOW = """
from ptsflow import Workflow, step

class Slow(Workflow):
    on_done = "echo begun > begun; sleep 2; echo told > told"

    @step
    def work(self) -> None:
        pass
"""


@pytest.mark.parametrize(
    ("sent", "is_told"),
    [
        pytest.param([signal.SIGTERM], True, id="SIGTERM"),
        pytest.param([signal.SIGHUP], True, id="SIGHUP"),
        pytest.param([signal.SIGTERM, signal.SIGTERM], False, id="SIGTERM twice"),
        pytest.param([signal.SIGTERM, signal.SIGHUP], False, id="then SIGHUP"),
    ],
)
def test_a_first_signal_while_somebody_is_told_takes_effect_after_that(
    place: Place, sent: Sequence[signal.Signals], *, is_told: bool
) -> None:
    (place.folder / "slow.py").write_text(SLOW)
    with ended_by_hangups():
        run = place.start("run", "slow.py")
    appears(place.folder / "begun")
    began = time.monotonic()
    for number in sent:
        run.send_signal(number)
        time.sleep(0.3)
    _, said = run.communicate(timeout=30)

    assert run.returncode in (-sent[-1], 128 + sent[-1])
    assert (place.folder / "told").exists() is is_told
    assert (time.monotonic() - began > 1.5) is is_told
    assert said.count(f"{sent[0].name}: somebody is told of the run's end") == 1
    again = place.call("run", "slow.py")
    assert (again.returncode, "done already" in again.stdout + again.stderr) == (
        0,
        True,
    )
