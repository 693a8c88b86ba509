"""What cannot be killed is told: attempts in threads that are over their limits."""

from __future__ import annotations

import re

import pytest

from tests.cli.calling import Place

FLOW = """
import json, subprocess, sys, time
from pathlib import Path
from ptsflow import TaskHandle, Workflow, step

def text_of(name):
    # Until it is told that the task is late.
    words = [sys.executable, "-m", "ptsflow", "status", "--json"]
    while True:
        done = subprocess.run(words, capture_output=True, text=True)
        tasks = json.loads(done.stdout)["tasks"]
        text = next(task["status_text"] for task in tasks if task["name"] == name)
        if " for " in text:
            return text

def wait():
    while not Path("looked").exists():
        time.sleep(0.05)

class Late(Workflow):
    @step(stall=0.5, retry=0, parallel=True)
    def silent(self, task: TaskHandle) -> None:
        task.progress(7, 100, "block 7")
        wait()

    @step(timeout=0.5, retry=0, parallel=True)
    def long(self, task: TaskHandle) -> None:
        wait()

    @step(parallel=True)
    def looks(self) -> list[str]:
        texts = [text_of("silent"), text_of("long")]
        Path("looked").touch()
        return texts
"""

ADVICE = "; a thread cannot be killed, executor='process' can"


def test_a_body_in_a_thread_that_is_overdue_is_told_while_it_runs(place: Place) -> None:
    (place.folder / "late.py").write_text(FLOW)
    ended = place.call("run", "late.py")

    assert ended.returncode == 1
    for task, what in (("silent", "stalled for"), ("long", r"over timeout=0\.5 for")):
        told = re.findall(rf"ptsflow  {task}: {what} \d+ s{ADVICE}\n", ended.stderr)
        assert len(told) == 1, ended.stderr
    silent, long = place.json("show", "Late", "looks")["result"]
    assert re.fullmatch(rf"block 7; stalled for \d+ s{ADVICE}", silent)
    assert re.fullmatch(rf"over timeout=0\.5 for \d+ s{ADVICE}", long)


@pytest.mark.parametrize("executor", ["thread", "process"])
def test_a_dry_run_says_which_limits_cannot_end_a_body(
    place: Place, executor: str
) -> None:
    (place.folder / "late.py").write_text(FLOW)
    ended = place.call("run", "-n", "late.py", "--executor", executor)

    said = (
        "a body in a thread cannot be killed, which stall= of silent, timeout= of long "
        "may ask for; executor='process' can\n"
    )
    assert (said in ended.stderr) is (executor == "thread")
