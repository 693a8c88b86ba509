"""Bodies that fork: a fork of their process is neither an attempt nor a runner."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from ptsflow.executors.processes.fork_client import (
    RUNNER_SIGNALS,
    ForkClient,
    how_ended,
)
from ptsflow.executors.processes.messages import Setting
from tests.support.containers import tasks_of
from tests.support.processes import environment, left_of, python
from tests.support.waiting import awaited

FLOW = """
import os, signal, sys, time
from multiprocessing import get_context
from pathlib import Path
from ptsflow import TaskHandle, Workflow, step

def sleeps(has_begun):
    has_begun.set()
    time.sleep(5)

def mask_of(pid, name):
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(name):
            return bool(int(line.split()[1], 16) >> signal.SIGTERM - 1 & 1)

class Flow(Workflow):
"""

FORKED = [
    pytest.param("sys.exit()", 0, id="sys.exit"),
    pytest.param("sys.exit(7)", 7, id="sys.exit with a status"),
    pytest.param("return 'the fork'", 0, id="return"),
    pytest.param("1 / 0", 1, id="an exception"),
]

FORKS = """
    @step(retry=0)
    def forks(self) -> str:
        pid = os.fork()
        if pid == 0:
            %s
        return f"the fork ended by {os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])}"

    @step(retry=0)
    def after(self) -> str:
        return "after"
"""

ENDED = """
    @step
    def ended(self) -> int:
        has_begun = get_context("fork").Event()
        process = get_context("fork").Process(target=sleeps, args=[has_begun])
        process.start()
        has_begun.wait()
        process.terminate()
        process.join()
        return process.exitcode
"""

CHANGES = """
    @step
    def changes(self, task: TaskHandle) -> int:
        os.chdir(task.workdir)  # a folder that is deleted next
        os.umask(0o777)
        return os.getpid()

    @step
    def after(self) -> tuple[int, str, int]:
        return os.getpid(), os.getcwd(), os.umask(0)
"""

MASKED = """
    @step
    def masked(self) -> list[int]:
        return [int(number) for number in signal.pthread_sigmask(signal.SIG_BLOCK, [])]
"""

#: A body in a process, and a fork of the runner, which keeps open what the runner has open.
ORPHANS = """
    @step(parallel=True, executor="process")
    def works(self) -> None:
        time.sleep(60)

    @step(parallel=True)
    def forks(self) -> None:
        children = Path(f"/proc/{os.getpid()}/task")
        pids = []
        while len(pids) < 2:
            texts = [f.read_text() for f in children.glob("*/children")]
            pids = [int(pid) for text in texts for pid in text.split()]
            for pid in pids:
                below = Path(f"/proc/{pid}/task/{pid}/children").read_text()
                pids += [int(child) for child in below.split()]
        fork = os.fork()
        if fork == 0:
            time.sleep(60)
            os._exit(0)
        part = Path("part")
        part.write_text(" ".join(map(str, [fork, *pids])))
        part.rename("pids")
        time.sleep(60)
"""


def command(folder: Path, flow: str, executor: str) -> list[str]:
    (folder / "flow.py").write_text(FLOW + flow)
    url = f"sqlite:///{folder}/pts.db"
    begin = ["-m", "ptsflow", "run", "flow.py", "-c", "c", "-q"]
    return [*begin, "--store", url, "--executor", executor]


def results(folder: Path, flow: str, executor: str) -> dict[str, object]:
    """Run a workflow, and return what its steps returned."""
    done = python(*command(folder, flow, executor), cwd=folder, TMPDIR=folder)
    assert done.returncode == 0, done.stderr
    tasks = tasks_of(f"sqlite:///{folder}/pts.db", "c")
    return {name: task.result for name, task in tasks.items()}


@pytest.mark.parametrize("executor", ["process", "thread"])
@pytest.mark.parametrize(("act", "status"), FORKED)
def test_a_fork_ends_with_its_body_and_reports_nothing_to_the_runner(
    act: str, status: int, executor: str, tmp_path: Path
) -> None:
    found = results(tmp_path, FORKS % act, executor)

    assert found == {"forks": f"the fork ended by {status}", "after": "after"}


@pytest.mark.parametrize("executor", ["process", "thread"])
def test_what_a_body_forks_ends_by_sigterm(executor: str, tmp_path: Path) -> None:
    assert results(tmp_path, ENDED, executor) == {"ended": -signal.SIGTERM}


def test_the_next_body_finds_the_folder_and_the_mask_as_they_were(
    tmp_path: Path,
) -> None:
    mask = os.umask(0o22)
    os.umask(mask)
    found = results(tmp_path, CHANGES, "process")

    # The same process, else there would be nothing to undo.
    assert found["after"] == (found["changes"], f"{tmp_path}", mask)


def test_a_body_can_be_interrupted_by_all_signals(tmp_path: Path) -> None:
    assert results(tmp_path, MASKED, "process") == {"masked": []}


def test_a_fork_of_the_runner_does_not_keep_its_bodies_alive(tmp_path: Path) -> None:
    runner = subprocess.Popen(
        [sys.executable, *command(tmp_path, ORPHANS, "thread")],
        cwd=tmp_path,
        env=environment(TMPDIR=tmp_path),
    )
    try:
        fork, *pids = [int(pid) for pid in awaited(tmp_path / "pids").split()]
    finally:
        runner.kill()
        runner.wait()
    left = left_of(pids)
    for pid in [fork, *left]:
        os.kill(pid, signal.SIGKILL)

    assert len(pids) == 2
    assert left == []


def test_ctrl_c_does_not_reach_a_fork_server_that_has_only_begun() -> None:
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [])
    asks = (
        f"import signal, sys; sys.exit({set(map(int, RUNNER_SIGNALS))} <= "
        "signal.pthread_sigmask(signal.SIG_BLOCK, []))"
    )
    client = ForkClient([sys.executable, "-c", asks], Setting("c", {}))
    assert client.has_ended.wait(20)
    client.stop()

    assert client.how_it_ended() == "ended with exit status 1"  # that is, it is so
    assert signal.pthread_sigmask(signal.SIG_BLOCK, []) == before


ENGINE = """
from concurrent.futures import ProcessPoolExecutor

def pool():
    return ProcessPoolExecutor(1, mp_context=get_context("fork"))

class Pooled(Flow):
    executor = staticmethod(pool)

    @step
    def masked(self) -> bool:
        server = Path(f"/proc/{os.getppid()}/stat").read_text()
        return mask_of(server.rpartition(")")[2].split()[1], "SigCgt")

if __name__ == "__main__":
    import ptsflow
    print(ptsflow.run(Pooled(), "memory:").result("masked"))
"""


def test_sigterm_for_all_of_a_service_leaves_forked_workers_to_their_runner(
    tmp_path: Path,
) -> None:
    (tmp_path / "flow.py").write_text(f"{FLOW}    pass\n{ENGINE}")
    done = python("flow.py", cwd=tmp_path, TMPDIR=tmp_path)

    assert (done.stdout, done.stderr) == ("True\n", "")


@pytest.mark.parametrize(
    ("status", "text"),
    [
        pytest.param(-9, "was killed by SIGKILL", id="a signal"),
        pytest.param(-40, "was killed by signal 40", id="a signal without a name"),
        pytest.param(3, "ended with exit status 3", id="an exit"),
    ],
)
def test_how_a_process_ended_is_said_in_words(status: int, text: str) -> None:
    assert how_ended(status) == text
