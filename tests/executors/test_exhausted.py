"""Bodies that use up what there is: memory, file descriptors. They fail as any body does."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.containers import tasks_of
from tests.support.processes import python

FLOW = """
import os, resource, sys
import ptsflow
from ptsflow import Retry, TaskHandle, Workflow, step

MODULES = []

def opened_all():
    kept = []
    while True:
        kept.append(open("/dev/null"))

def filled():
    rows = []
    for size in (10_000_000, 1_000_000, 100_000, 10_000, 1000, 100):
        try:
            while True:
                rows.append(bytearray(size))
        except MemoryError:
            pass
    raise MemoryError("no more")

class limited:
    # Of this process alone, and not above what it has already.
    def __enter__(self):
        pages = int(open("/proc/self/statm").read().split()[0])
        self.usual = resource.getrlimit(resource.RLIMIT_AS)
        most = pages * resource.getpagesize() + 60_000_000
        resource.setrlimit(resource.RLIMIT_AS, (most, self.usual[1]))

    def __exit__(self, *_):
        resource.setrlimit(resource.RLIMIT_AS, self.usual)

class Exhausted(Workflow):
    @step(retry=Retry(1, delay=0))
    def imports(self, task: TaskHandle) -> list[str]:
        if task.attempt == 1:
            MODULES[:] = list(sys.modules)
            raise OSError("away")
        return sorted(set(sys.modules) - set(MODULES))

    @step(retry=Retry(1, delay=0))
    def files(self, task: TaskHandle) -> int:
        return task.attempt if task.attempt > 1 else opened_all()

    @step(retry=Retry(1, delay=0))
    def memory(self, task: TaskHandle) -> int:
        with limited():
            return task.attempt if task.attempt > 1 else filled()

    @step(retry=Retry(1, delay=0)OPTIONS)
    def limit(self, task: TaskHandle) -> int:
        return task.attempt if task.attempt > 1 or executor == "thread" else filled()

    @step(retry=Retry(1, delay=0)OPTIONS)
    def result(self, task: TaskHandle) -> list[str]:
        # Nothing is left to make text of it.
        texts = [f"{number:0>1000}" for number in range(6000)]
        if task.attempt > 1 or executor == "thread":
            return [str(task.attempt)]
        try:
            MODULES.append(filled())
        except MemoryError as error:
            MODULES.append(error)  # keeps what was filled
        return texts

    @step(retry=Retry(1, delay=0))
    def leaked_files(self, task: TaskHandle) -> int:
        while task.attempt == 1:
            os.open("/dev/null", os.O_RDONLY)
        return task.attempt

executor = EXECUTOR

if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
    ptsflow.run(Exhausted(), "sqlite:///pts.db", container="c", executor=executor)
"""


@pytest.mark.parametrize(("executor", "limit"), [("thread", ""), ("process", "80MB")])
def test_a_body_that_uses_up_what_there_is_is_tried_again(
    executor: str, limit: str, tmp_path: Path
) -> None:
    memory = f", memory='{limit}', executor='process'" if limit else ""
    text = FLOW.replace("OPTIONS", memory).replace("EXECUTOR", repr(executor))
    (tmp_path / "flow.py").write_text(text)
    done = python("flow.py", cwd=tmp_path, TMPDIR=tmp_path)

    assert done.returncode == 0, done.stderr
    tasks = tasks_of(f"sqlite:///{tmp_path}/pts.db", "c")
    found = {name: task.error or task.result for name, task in tasks.items()}
    attempts = 2 if executor == "process" else 1
    assert found == {
        "imports": [],
        "files": 2,
        "leaked_files": 2,
        "memory": 2,
        "limit": attempts,
        "result": [str(attempts)],
    }, done.stderr


THREADS = """
import resource, sys, threading
import ptsflow
from ptsflow import Retry, Workflow, step

MIB, TOGETHER = 1 << 20, 8
barrier = threading.Barrier(TOGETHER)

class Wide(Workflow):
    @step
    def items(self) -> list[int]:
        return list(range(TOGETHER))

    @step(each=items, retry=Retry(0))
    def load(self, item: int) -> None:
        barrier.wait(20)

if __name__ == "__main__":
    threading.stack_size(16 * MIB)
    pages = int(open("/proc/self/statm").read().split()[0])
    most = pages * resource.getpagesize() + (TOGETHER * 16 + 100) * MIB
    resource.setrlimit(resource.RLIMIT_AS, (most, most))
    report = ptsflow.run(Wide(), "memory:", jobs=TOGETHER)
    sys.exit(0 if report.ok else 1)
"""


def test_threads_that_need_little_memory_fit_a_limit_of_addresses(
    tmp_path: Path,
) -> None:
    (tmp_path / "flow.py").write_text(THREADS)
    done = python("flow.py", cwd=tmp_path, TMPDIR=tmp_path)

    assert done.returncode == 0, done.stderr
