"""What a body leaves in its worker process is not found by the next body."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.containers import tasks_of
from tests.support.processes import python

FLOW = """
import gc, os, resource, signal, sys, time
import ptsflow
from ptsflow import TaskHandle, Workflow, step

KEPT = []

def seen():
    return [os.environ.get("LEFT"), os.nice(0), resource.getrlimit(resource.RLIMIT_CPU)[0],
            signal.getitimer(signal.ITIMER_REAL)[0] > 0, signal.getsignal(signal.SIGUSR1) != 0,
            signal.getsignal(signal.SIGINT) != signal.default_int_handler,
            len(signal.pthread_sigmask(signal.SIG_BLOCK, [])), sys.getrecursionlimit(),
            "/left" in sys.path, len(os.sched_getaffinity(0)), gc.isenabled()]

class Leaves(Workflow):
    executor = "process"

    @step
    def before(self) -> list:
        return [seen(), os.getpid()]

    @step(retry=0)
    def leaves(self) -> int:
        __ACT__
        return os.getpid()

    @step(retry=0)
    def after(self) -> list:
        return [seen(), os.getpid()]

class Wide(Workflow):
    executor = "process"

    @step
    def items(self) -> list[int]:
        return list(range(8))

    @step(retry=0, each=items, memory="200MB")
    def load(self, item: int) -> int:
        KEPT.append(bytearray(24_000_000))  # what is left in the process
        return len(bytearray(140_000_000)) and os.getpid()

if __name__ == "__main__":
    flow = __CLASS__
    ptsflow.run(flow(), "sqlite:///pts.db", container="c", jobs=1)
"""

LEFT = {
    "an armed timer": "signal.alarm(60)",
    "an interval timer": "signal.setitimer(signal.ITIMER_PROF, 60)",
    "the environment": "os.environ['LEFT'] = '1'",
    "a limit": "resource.setrlimit(resource.RLIMIT_CPU, (60, resource.RLIM_INFINITY))",
    "niceness": "os.nice(5)",
    "a handler": "signal.signal(signal.SIGUSR1, lambda *_: None)",
    "another handler": "signal.signal(signal.SIGINT, lambda *_: None)",
    "an ignored signal": "signal.signal(signal.SIGTERM, signal.SIG_IGN)",
    "a blocked signal": "signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])",
    "the recursion limit": "sys.setrecursionlimit(5000)",
    "the import path": "sys.path.append('/left')",
    "many open files": "KEPT.extend(os.open('/dev/null', 0) for _ in range(300))",
    "no garbage collection": "gc.disable()",
}


def run(act: str, kind: str, folder: Path) -> tuple[dict[str, object], str]:
    text = FLOW.replace("__ACT__", act).replace("__CLASS__", kind)
    (folder / "flow.py").write_text(text)
    done = python("flow.py", cwd=folder, TMPDIR=folder)
    tasks = tasks_of(f"sqlite:///{folder}/pts.db", "c")
    return {
        name: task.error or task.result for name, task in tasks.items()
    }, done.stderr


@pytest.mark.parametrize("act", LEFT.values(), ids=LEFT)
def test_a_process_in_which_something_was_left_is_not_used_again(
    act: str, tmp_path: Path
) -> None:
    found, said = run(act, "Leaves", tmp_path)

    assert isinstance(found["before"], list), said
    assert isinstance(found["after"], list), said
    assert found["after"][0] == found["before"][0]
    assert found["after"][1] != found["leaves"]


def test_a_process_in_which_nothing_was_left_is_used_again(tmp_path: Path) -> None:
    found, said = run(
        "import asyncio; asyncio.run(asyncio.sleep(0))", "Leaves", tmp_path
    )

    assert isinstance(found["after"], list), said
    assert found["after"][1] == found["leaves"]


def test_what_earlier_bodies_hold_is_not_charged_to_the_next_one(
    tmp_path: Path,
) -> None:
    found, said = run("pass", "Wide", tmp_path)

    pids = {found.pop(f"load[{item}]") for item in range(8)}
    assert all(isinstance(pid, int) for pid in pids), said
    assert 2 <= len(pids) < 8  # one is used again until it holds too much
