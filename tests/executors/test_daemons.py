"""Daemons that bodies fork: they are no bodies, and no run waits for them."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.support.processes import PTSFLOW, environment, is_alive, python
from tests.support.waiting import until

FLOW = """
import os, signal, time
from pathlib import Path
from ptsflow import Workflow, step

class Starts(Workflow):
    executor = "__EXECUTOR__"

    @step(retry=0)
    def starts(self) -> None:
        first = not Path("pid").exists()
        if first and os.fork() == 0:
            os.setsid()
            if os.fork():
                os._exit(0)
            Path("part").write_text(str(os.getpid()))
            os.rename("part", "pid")
            time.sleep(60)
            os._exit(0)
        while first and not Path("pid").exists():
            time.sleep(0.01)
        __END__ if first else None
"""

ENDS = {
    "done": "None",
    "failed": "1 / 0",
    "killed": "os.kill(os.getpid(), signal.SIGKILL)",
}


def command(folder: Path, executor: str, end: str) -> list[str]:
    text = FLOW.replace("__EXECUTOR__", executor).replace("__END__", end)
    (folder / "flow.py").write_text(text)
    return ["-m", "ptsflow", "run", "flow.py", "--fresh", "--store", "sqlite:///pts.db"]


@pytest.mark.parametrize("end", ENDS.values(), ids=ENDS)
def test_no_run_waits_for_a_daemon_of_a_body_that_has_ended(
    end: str, tmp_path: Path
) -> None:
    words = command(tmp_path, "process", end)
    python(*words, cwd=tmp_path, TMPDIR=tmp_path)
    daemon = int((tmp_path / "pid").read_text())
    try:
        again = python(*words, cwd=tmp_path, TMPDIR=tmp_path, seconds=20)

        assert is_alive(daemon)
        assert again.returncode == 0, again.stderr
        assert "waiting" not in again.stderr
    finally:
        os.kill(daemon, signal.SIGKILL)


@pytest.mark.parametrize("executor", ["process", "thread"])
def test_no_run_waits_for_a_daemon_of_a_runner_that_was_killed(
    executor: str, tmp_path: Path
) -> None:
    words = command(tmp_path, executor, "time.sleep(60)")
    runner = subprocess.Popen(
        [*PTSFLOW, *words[2:]], cwd=tmp_path, env=environment(TMPDIR=tmp_path)
    )
    pid = tmp_path / "pid"
    until(pid.exists)
    runner.kill()
    runner.wait()
    daemon = int(pid.read_text())
    try:
        began = time.monotonic()
        again = python(*words, cwd=tmp_path, TMPDIR=tmp_path, seconds=100)

        assert is_alive(daemon)
        assert again.returncode == 0, again.stderr
        assert time.monotonic() - began < 60
    finally:
        os.kill(daemon, signal.SIGKILL)
