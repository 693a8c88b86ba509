"""What happens to a run when its fork server fails, dies or is stopped."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
from pathlib import Path

import pytest

import ptsflow
from ptsflow.client.task import Task
from ptsflow.executors.processes.fork_client import ForkClient
from tests.executors.flows import Orphaned
from tests.support.containers import tasks_of
from tests.support.processes import PTSFLOW, environment, left_of, python
from tests.support.waiting import awaited

SCRIPT = """
import os
import ptsflow
from ptsflow import Workflow, step

with open("imports", "a") as journal:
    journal.write(f"{__name__}\\n")
"""

FLOW = """
class Flow(Workflow):
    executor = "process"

    @step(parallel=True, retry=ptsflow.Retry(1, delay=0))
    def one(self) -> str:
        return "done"

    @step(parallel=True, retry=0)
    def other(self) -> str:
        return "done"

"""

RUN = 'ptsflow.run(Flow(), "sqlite:///pts.db", container="c")\n'


def run_script(folder: Path, text: str) -> dict[str, Task]:
    """Run a script, and return the tasks that it left."""
    (folder / "script.py").write_text(text)
    done = python("script.py", cwd=folder, TMPDIR=folder)
    assert (done.returncode, done.stderr) == (0, "")
    return tasks_of(f"sqlite:///{folder}/pts.db", "c")


def test_a_fork_server_that_died_is_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    url = f"sqlite:///{tmp_path}/pts.db"
    report = ptsflow.run(Orphaned(), url)
    tasks = tasks_of(url, report.container)

    assert report.ok
    assert tasks["kills"].invoke_count == 2
    assert tasks["bystands"].invoke_count == 2
    assert tasks["after"].invoke_count == 1


def test_a_death_with_the_fork_server_says_how_that_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    url = f"sqlite:///{tmp_path}/pts.db"
    report = ptsflow.run(Orphaned(times=2), url)

    assert tasks_of(url, report.container)["kills"].error == (
        "the process ended with the fork server that began it, which was killed by SIGKILL"
    )


def test_what_the_import_failed_with_is_in_the_text_of_the_attempt(
    tmp_path: Path,
) -> None:
    fails = 'if __name__ != "__main__":\n    raise OSError("no licence\\nhere")\n'
    guarded = f'if __name__ == "__main__":\n    {RUN}'
    tasks = run_script(tmp_path, SCRIPT + fails + FLOW + guarded)
    imports = (tmp_path / "imports").read_text().split()
    expected = (
        "no process could be started for it: "
        f"{tmp_path}/script.py: importing it failed: OSError: no licence (script.py:9)"
    )

    assert {task.error for task in tasks.values()} == {expected}
    assert tasks["one"].invoke_count == 1
    assert imports == ["__main__", "script"]


def test_the_last_message_of_a_fork_server_that_ended_is_read() -> None:
    client = object.__new__(ForkClient)
    client._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    client._socket.send(b"never read")
    theirs.send(b"why")
    theirs.close()
    heard = client._receive()
    client._socket.close()

    assert heard == b"why"


def test_a_script_that_would_run_once_more_in_the_fork_server_is_told_so(
    tmp_path: Path,
) -> None:
    tasks = run_script(tmp_path, SCRIPT + FLOW + RUN)
    expected = (
        "no process could be started for it: run: this script is being imported by a "
        'process for its bodies; put the call under if __name__ == "__main__":'
    )

    assert {task.error for task in tasks.values()} == {expected}


def test_the_time_that_the_import_takes_is_not_the_bodys(tmp_path: Path) -> None:
    slow = 'import time\nif __name__ != "__main__":\n    time.sleep(2)\n'
    flow = FLOW.replace("parallel=True", "parallel=True, timeout=1.5, stall=1.5")
    guarded = f'if __name__ == "__main__":\n    {RUN}'
    tasks = run_script(tmp_path, SCRIPT + slow + flow + guarded)

    assert {(task.error, task.result) for task in tasks.values()} == {(None, "done")}
    assert {task.invoke_count for task in tasks.values()} == {1}


SLOW = """
import os, time
from pathlib import Path
from ptsflow import Workflow, step

class Slow(Workflow):
    executor = "process"

    @step
    def work(self) -> None:
        part = Path(__file__).with_name("part")
        part.write_text(f"{os.getppid()} {os.getpid()}")
        part.rename(part.with_name("pids"))
        time.sleep(60)
"""


def test_a_fork_server_that_was_stopped_does_not_outlive_its_runner(
    tmp_path: Path,
) -> None:
    (tmp_path / "flow.py").write_text(SLOW)
    env = environment(TMPDIR=tmp_path)
    url = f"sqlite:///{tmp_path}/pts.db"
    command = [*PTSFLOW, "run", "flow.py", "--store", url, "-q"]
    runner = subprocess.Popen(command, cwd=tmp_path, env=env, stderr=subprocess.DEVNULL)
    try:
        pids = [int(pid) for pid in awaited(tmp_path / "pids").split()]
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
    finally:
        runner.kill()
        runner.wait()
    left = left_of(pids)
    for pid in left:
        os.kill(pid, signal.SIGKILL)

    assert left == []
