"""A runner that cannot renew its lease: its body holds the interpreter, or it is stopped."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.support.processes import PTSFLOW, environment, python
from tests.support.waiting import awaited

LEASE = 5
FLOW = f"""
import ctypes, os, time
from pathlib import Path
from ptsflow import TaskHandle, Workflow, step

JOURNAL = Path(__file__).with_name("journal")

def note(what):
    with JOURNAL.open("a") as journal:
        journal.write(f"{{what}} {{time.monotonic_ns()}}\\n")

class Held(Workflow):
    @step
    def before(self) -> str:
        return "done"

    @step
    def hold(self) -> str:
        first = not JOURNAL.exists()
        note("begin")
        if first:  # PyDLL does not let go of the interpreter
            ctypes.PyDLL(None).usleep({3 * LEASE} * 1_000_000)
        note("end")
        return "held"
"""


RUN = ["run", "flow.py", "-q", "--lease", str(LEASE), "--executor"]


def call(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    url = f"sqlite:///{folder}/pts.db"
    return python("-m", "ptsflow", *words, cwd=folder, TMPDIR=folder, PTSFLOW_STORE=url)


@pytest.mark.parametrize(("executor", "code"), [("process", 0), ("thread", 75)])
def test_a_body_that_holds_the_interpreter(
    executor: str, code: int, tmp_path: Path
) -> None:
    (tmp_path / "flow.py").write_text(FLOW)
    first = call(tmp_path, *RUN, executor)
    second = call(tmp_path, *RUN, executor)
    noted = [
        line.split()[0] for line in (tmp_path / "journal").read_text().splitlines()
    ]

    assert first.returncode == code, first.stderr
    assert ("the lease was lost" in first.stderr) == (code == 75)
    assert second.returncode == 0
    # In a thread the runner may be gone before the first body noted its end.
    twice = [["begin", "end"] * 2, ["begin", "begin", "end"]]
    assert noted in ([["begin", "end"]] if executor == "process" else twice)


STOPPED = """
import time
from pathlib import Path
from ptsflow import Workflow, step

class Stopped(Workflow):
    executor = "process"

    @step
    def work(self) -> str:
        Path(__file__).with_name("begun").touch()
        time.sleep(4)
        return "done"
"""


def test_a_stopped_runner_with_processes_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "flow.py").write_text(STOPPED)
    with subprocess.Popen(
        [*PTSFLOW, *RUN, "process"],
        cwd=tmp_path,
        env=environment(TMPDIR=tmp_path, PTSFLOW_STORE=f"sqlite:///{tmp_path}/pts.db"),
        stderr=subprocess.DEVNULL,
    ) as first:
        awaited(tmp_path / "begun")
        first.send_signal(signal.SIGSTOP)
        time.sleep(LEASE + 0.5)
        second = call(tmp_path, *RUN, "process")
        status = call(tmp_path, "status").stdout
        listed = call(tmp_path, "list").stdout
        first.send_signal(signal.SIGCONT)
        first.wait(30)
    third = call(tmp_path, *RUN, "process")

    assert second.returncode == 5
    assert second.stderr == (
        f"ptsflow: container 'Stopped': pid {first.pid} on {os.uname().nodename} is "
        "stopped, and processes of it may be in bodies, though its lease has ended; let "
        f"it go on: kill -CONT {first.pid}, or end it: kill -9 {first.pid}\n"
    )
    assert f"run by pid {first.pid} on " in status
    assert f"run by pid {first.pid} on " in listed
    assert first.returncode == 75
    assert third.returncode == 0


LASTING = """
import time
from pathlib import Path
import ptsflow

class Lasting(ptsflow.Workflow):
    @ptsflow.step
    def work(self) -> str:
        begun = Path(__file__).with_name("begun")
        if not begun.exists():
            begun.touch()
            time.sleep(60)
        return "done"

if __name__ == "__main__":
    import atexit
    atexit.register(time.sleep, 60)
    ptsflow.run(Lasting())
"""


def test_a_body_that_still_runs_as_its_process_exits_is_left_alone(
    tmp_path: Path,
) -> None:
    (tmp_path / "flow.py").write_text(LASTING)
    with subprocess.Popen(
        [sys.executable, "flow.py"],
        cwd=tmp_path,
        env=environment(TMPDIR=tmp_path, PTSFLOW_STORE=f"sqlite:///{tmp_path}/pts.db"),
        stderr=subprocess.PIPE,
    ) as first:
        awaited(tmp_path / "begun")
        first.send_signal(signal.SIGINT)
        time.sleep(0.3)
        first.send_signal(signal.SIGINT)
        assert first.stderr is not None
        while b"KeyboardInterrupt" not in first.stderr.readline():
            assert first.poll() is None
        time.sleep(0.3)
        second = call(tmp_path, *RUN, "thread")
        first.kill()
    third = call(tmp_path, *RUN, "thread")

    assert second.returncode == 5, second.stderr
    assert (
        f"pid {first.pid} on {os.uname().nodename} may still be in a body"
        in second.stderr
    )
    assert third.returncode == 0
    assert list(tmp_path.glob("ptsflow-*/*")) == []
