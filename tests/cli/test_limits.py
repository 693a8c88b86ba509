"""`run --timeout` and `--executor`, and `mark`."""

from __future__ import annotations

import re

import pytest

from tests.cli.calling import Place, flow

ONLY = "only a task that failed can be marked"
SLEEPY = """
import time
from ptsflow import Workflow, step

class Sleepy(Workflow):
    @step
    def numbers(self) -> list[int]:
        return list(range(1000))

    @step(each=numbers)
    def sleep(self, number: int) -> None:
        time.sleep(0.1)
"""


def test_a_run_that_took_too_long_is_stopped_and_says_how_to_go_on(
    place: Place,
) -> None:
    (place.folder / "sleepy.py").write_text(SLEEPY)
    ended = place.call(
        *("run", "sleepy.py", "-j", "2", "--timeout", "3s", "--executor", "process")
    )

    assert ended.returncode == 124
    target = f"{place.folder}/sleepy.py"
    options = ["-j", "2", "--executor", "process", "--timeout", "3s"]
    rerun = place.typed("run", target, "-c", "Sleepy", "--stored", *options)
    assert ended.stderr.splitlines()[-1] == f"next: {rerun}"
    assert "· Sleepy  stopped by --timeout in" in ended.stderr
    assert re.search(r"waiting for \d running, 10 s at the most\n", ended.stderr)
    assert "once more" not in ended.stderr
    assert place.json("status")["counts"]["running"] == 0


@pytest.mark.parametrize("text", ["soon", "-1", "0", "2 hours"])
def test_a_timeout_that_is_no_time_is_refused(place: Place, text: str) -> None:
    ended = place.call("run", flow("Steady"), "--timeout", text)

    assert (ended.returncode, ended.stderr) == (
        2,
        f"ptsflow: --timeout: expected a time such as 90, 30m or 2h, found {text!r}\n",
    )


def test_a_failed_task_can_be_marked_done(place: Place) -> None:
    place.call("run", flow("Broken"), "-p", "flag=no", "-c", "one")

    ended = place.call("mark", "one", "fragile", "done")

    assert ended.returncode == 0
    assert ended.stderr.splitlines()[0] == "one: fragile is done now"
    assert place.json("status")["counts"]["failed"] == 0


def test_what_has_not_failed_cannot_be_marked(place: Place) -> None:
    place.call("run", flow("Steady"), "-c", "one")

    ended = place.call("mark", "one", "total", "pending")

    assert (ended.returncode, ended.stderr) == (
        2,
        f"ptsflow: container 'one': total is done; {ONLY}\n",
    )


PAY = """
import os, signal
from ptsflow import Workflow, step

class Pay(Workflow):
    @step(at_most_once=True)
    def pay(self) -> None:
        os.kill(os.getpid(), signal.SIGKILL)
"""


def test_status_says_how_to_settle_what_nobody_knows(place: Place) -> None:
    (place.folder / "pay.py").write_text(PAY)
    place.call("run", "pay.py", "-c", "to settle")
    again = place.call("run", "pay.py", "-c", "to settle")
    shown = place.call("status", "to settle").stdout.splitlines()
    place.call("mark", "to settle", "pay", "done")
    settled = place.call("run", "pay.py", "-c", "to settle")

    assert again.returncode == 1
    assert shown[-1] == (
        " nobody knows what pay did: mark it done, or pending to run it again"
    )
    assert settled.returncode == 0
