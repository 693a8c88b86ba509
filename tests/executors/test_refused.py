"""The system grants fewer processes, threads or files than a run asks for."""

from __future__ import annotations

from pathlib import Path
from subprocess import CompletedProcess

import pytest

from tests.support.containers import tasks_of
from tests.support.processes import PTSFLOW, python

FLOW = """
import errno, os, threading, time
from ptsflow import Retry, Workflow, step
from ptsflow.workflow import loading

GRANTED, WHAT = __GRANTED__
fork, start = os.fork, threading.Thread.start
forks = 0

def no_thread(self):
    raise RuntimeError("can't start new thread")

def refusing():
    global forks
    forks += 1
    if forks > GRANTED and WHAT == "process":
        raise BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")
    pid = fork()
    if pid == 0 and forks > GRANTED:
        threading.Thread.start = no_thread
    return pid

if loading.is_for_bodies:  # the fork server imports it
    os.fork = refusing

class Wide(Workflow):
    executor = "process"

    @step(executor="thread")
    def items(self) -> list[int]:
        return list(range(8))

    @step(each=items, retry=Retry(1, delay=0))
    def load(self, item: int) -> int:
        time.sleep(0.05)
        return os.getpid()
"""


def run(folder: Path, granted: int, what: str) -> tuple[int, str]:
    (folder / "flow.py").write_text(FLOW.replace("__GRANTED__", f"{granted}, {what!r}"))
    done = python(
        *PTSFLOW[1:],
        *("run", "flow.py", "-c", "c", "-j", "8", "--store", "sqlite:///pts.db"),
        cwd=folder,
        TMPDIR=folder,
    )
    return done.returncode, done.stderr


@pytest.mark.parametrize("what", ["process", "thread"])
def test_a_run_makes_do_with_the_processes_that_the_system_grants(
    what: str, tmp_path: Path
) -> None:
    code, said = run(tmp_path, 2, what)

    assert code == 0, said

    tasks = tasks_of(f"sqlite:///{tmp_path}/pts.db", "c")
    loads = [task for name, task in tasks.items() if name.startswith("load")]
    assert [task.invoke_count for task in loads] == [1] * 8
    assert len({task.result for task in loads}) == 2


@pytest.mark.parametrize("what", ["process", "thread"])
def test_without_any_process_attempts_fail_and_say_why(
    what: str, tmp_path: Path
) -> None:
    code, said = run(tmp_path, 0, what)

    assert code == 1
    assert "no process could be started for it" in said
    assert "bug" not in said
    tasks = tasks_of(f"sqlite:///{tmp_path}/pts.db", "c")
    assert tasks["load[0]"].invoke_count == 2


def run_with_files(folder: Path, files: int, *options: str) -> CompletedProcess[str]:
    """Run the flow in a folder, with so many files that may be open at once."""
    text = (
        "import resource, sys; "
        f"resource.setrlimit(resource.RLIMIT_NOFILE, ({files}, {files})); "
        "from ptsflow.cli.main import main; sys.exit(main())"
    )
    return python(
        *("-c", text, "run", "flow.py", *options, "--store", "sqlite:///pts.db"),
        cwd=folder,
        TMPDIR=folder,
    )


@pytest.mark.parametrize("executor", ["thread", "process"])
@pytest.mark.parametrize("files", [9, 10, 11, 12, 14, 17, 48])
def test_a_run_makes_do_with_few_file_descriptors(
    files: int, executor: str, tmp_path: Path
) -> None:
    flow = FLOW.replace("__GRANTED__", "100, ''").replace('executor = "process"', "")
    (tmp_path / "flow.py").write_text(flow)
    done = run_with_files(
        tmp_path, files, "-c", "c", "-j", "30", "--executor", executor
    )

    # With so few, whatever is opened last finds no room: a module, the store, a process.
    codes = (0, 1, 6, 75) if files < 20 else (0,)
    assert done.returncode in codes, done.stderr
    assert "bug" not in done.stderr


LONG = """
import time
from ptsflow import Workflow, step

class Long(Workflow):
    @step
    def items(self) -> list[int]:
        return list(range(70))

    @step(each=items)
    def load(self, item: int) -> None:
        time.sleep(1)
"""


def test_a_run_whose_processes_take_all_files_keeps_its_lease(tmp_path: Path) -> None:
    (tmp_path / "flow.py").write_text(LONG)
    options = ("-j", "100", "--executor", "process", "--lease", "8")
    done = run_with_files(tmp_path, 40, *options)

    assert done.returncode == 0, done.stderr
    tasks = tasks_of(f"sqlite:///{tmp_path}/pts.db", "Long")
    assert [task.invoke_count for task in tasks.values()] == [1] * 71
