"""What a body leaves in its worker process is not found by the next body."""

# ruff: noqa: S311 - nothing here is secret.

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest

from tests.support.containers import tasks_of
from tests.support.processes import python

FLOW = """
import gc, locale, os, resource, signal, sys, threading, time
import ptsflow
from ptsflow import TaskHandle, Workflow, step

KEPT = []

def seen():
    return [os.environ.get("LEFT"), os.nice(0), resource.getrlimit(resource.RLIMIT_CPU)[0],
            signal.getitimer(signal.ITIMER_REAL)[0] > 0, signal.getsignal(signal.SIGUSR1) != 0,
            signal.getsignal(signal.SIGINT) != signal.default_int_handler,
            len(signal.pthread_sigmask(signal.SIG_BLOCK, [])), sys.getrecursionlimit(),
            "/left" in sys.path, len(os.sched_getaffinity(0)), gc.isenabled(),
            threading.active_count(), locale.setlocale(locale.LC_NUMERIC)]

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
        __THEN__

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
    "a thread": "threading.Thread(target=time.sleep, args=[60], daemon=True).start()",
    "the locale": "locale.setlocale(locale.LC_NUMERIC, 'C.UTF-8')",
}

#: What else may be left, looked for in a fork of one process.
ALSO_LEFT = {
    "a warning that is an error": "warnings.simplefilter('error', UserWarning)",
    "the root logger's level": "logging.root.setLevel('DEBUG')",
    "a handler of the root logger": "logging.basicConfig()",
    "logging that is off": "logging.disable()",
    "the score of the memory killer": "open('/proc/self/oom_score_adj', 'w').write('900')",
    "fewer processors": "os.sched_setaffinity(0, [min(os.sched_getaffinity(0))])",
    "a policy of the scheduler": "os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))",
    "digits of numbers": "sys.set_int_max_str_digits(0)",
    "the words of the command": "sys.argv.append('--left')",
    "standard output": "sys.stdout = io.StringIO()",
    "a handler of faults": "faulthandler.enable(file=open('/dev/null', 'w'))",
    "the switch interval": "sys.setswitchinterval(0.5)",
    "a function that traces": "sys.settrace(lambda *_: None)",
    "a function that profiles": "sys.setprofile(lambda *_: None)",
    "a collector that seldom runs": "gc.set_threshold(10**6)",
    "a timeout of all sockets": "socket.setdefaulttimeout(3)",
    "how processes start": "multiprocessing.set_start_method('spawn')",
    "the mask of new files": "os.umask(0o7)",
}
NOTHING_LEFT = {
    "nothing": "pass",
    "modules that were not loaded": "import logging, socket, random",
    "a warning that is not shown": "warnings.simplefilter('ignore')",
    "random numbers": "import random; random.random()",
}
LOOKS = """
import gc, multiprocessing, os, sys, warnings
from ptsflow.executors.processes.leftovers import Leftovers

for module in ("logging", "socket", "random"):
    sys.modules.pop(module, None)
acts = __ACTS__
leftovers = Leftovers()
for name, act in acts.items():
    if not os.fork():
        leftovers = Leftovers()
        if __ONCE__:
            import faulthandler, io, logging, socket
        exec(act)
        os._exit(leftovers.look()[0])
    print(os.waitstatus_to_exitcode(os.wait()[1]), name)
"""


def clean_after(acts: dict[str, str], *, loaded: bool) -> list[str]:
    """Return after which of these acts a process counts as new."""
    text = LOOKS.replace("__ACTS__", repr(acts)).replace("__ONCE__", str(loaded))
    done = python("-c", text)
    assert done.stdout.count("\n") == len(acts), done.stderr
    lines = [line.partition(" ") for line in done.stdout.splitlines()]
    assert {code for code, _, _ in lines} <= {"0", "1"}, done.stdout
    return [name for code, _, name in lines if code == "1"]


def test_whatever_else_is_left_is_seen() -> None:
    if len(os.sched_getaffinity(0)) == 1:
        del ALSO_LEFT["fewer processors"]

    assert clean_after(ALSO_LEFT, loaded=True) == []
    assert clean_after(NOTHING_LEFT, loaded=False) == list(NOTHING_LEFT)


def test_what_nobody_can_see_is_undone(tmp_path: Path) -> None:
    """The process is used again: its seed is a new one, and nothing will end it."""
    found, said = run(
        "import faulthandler, random; random.seed(1); "
        "faulthandler.dump_traceback_later(0.3, exit=True)",
        "Leaves",
        tmp_path,
        then="import random; time.sleep(0.6); return [random.random(), os.getpid()]",
    )

    assert isinstance(found["after"], list), said
    assert found["after"][1] == found["leaves"]
    assert found["after"][0] != random.Random(1).random()


def run(
    act: str, kind: str, folder: Path, then: str = "return [seen(), os.getpid()]"
) -> tuple[dict[str, object], str]:
    text = FLOW.replace("__ACT__", act).replace("__CLASS__", kind)
    text = text.replace("__THEN__", then)
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
