"""kill -9 of a runner whose bodies are in processes: they go with it."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.support.databases import new_database_url
from tests.support.processes import PTSFLOW, environment, left_of
from tests.support.waiting import until

FLOW = """
import os, time
from pathlib import Path
from ptsflow import Workflow, step

JOURNAL = Path(__file__).with_name("journal")

def note(what, number):
    line = f"{what} {number} {os.getpid()} {time.monotonic_ns()}\\n"
    handle = os.open(JOURNAL, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(handle, line.encode())
    os.close(handle)

class Heavy(Workflow):
    executor = "process"

    @step
    def numbers(self) -> list[int]:
        return list(range(24))

    @step(each=numbers, retry=20)
    def work(self, number: int) -> int:
        note("start", number)
        time.sleep(0.15)
        note("end", number)
        return number

    @step
    def total(self, work: list[int]) -> int:
        return sum(work)
"""


def start(folder: Path, store: str | None = None) -> subprocess.Popen[bytes]:
    command = [*PTSFLOW, "run", "flow.py", "-j", "4", "-q"]
    url = store or f"sqlite:///{folder}/pts.db"
    env = environment(TMPDIR=folder, PTSFLOW_STORE=url)
    return subprocess.Popen(command, cwd=folder, env=env, stderr=subprocess.DEVNULL)


def entries(folder: Path) -> list[tuple[str, int, int, int]]:
    path = folder / "journal"
    lines = path.read_text().splitlines() if path.exists() else []
    split = [line.split() for line in lines]
    return [(what, int(n), int(pid), int(at)) for what, n, pid, at in split]


def bodies(folder: Path) -> set[int]:
    return {pid for _, _, pid, _ in entries(folder)}


#: How often it is killed at the most before it is let end.
KILLS = 8


def under_way(folder: Path) -> set[int]:
    """Return the processes whose last body began and did not end."""
    last = {pid: what for what, _, pid, _ in entries(folder)}
    return {pid for pid, what in last.items() if what == "start"}


def await_bodies(folder: Path) -> None:
    until(lambda: under_way(folder))


def run_and_kill(folder: Path, seed: int, store: str | None) -> int:
    """Kill runners at random moments, the first amid its bodies; return how one ended."""
    rng = random.Random(seed)  # noqa: S311 - moments, no secrets
    first = start(folder, store)
    await_bodies(folder)
    time.sleep(rng.uniform(0, 0.3))
    first.kill()
    first.wait()
    for _ in range(KILLS):
        runner = start(folder, store)
        try:
            return runner.wait(timeout=rng.uniform(0.3, 1.1))
        except subprocess.TimeoutExpired:
            runner.kill()
            runner.wait()
    return start(folder, store).wait(timeout=60)


def check_killed_at_random(folder: Path, seed: int, store: str | None = None) -> None:
    """See that nothing overlaps and nothing is left, however often runners are killed."""
    (folder / "flow.py").write_text(FLOW)
    code = run_and_kill(folder, seed, store)

    assert code == 0
    assert left_of(bodies(folder)) == []
    assert not list(folder.glob("ptsflow-*/*"))
    assert not list(folder.glob("*.work"))
    for number in range(24):
        mine = [entry for entry in entries(folder) if entry[1] == number]
        running: set[int] = set()
        for what, _, pid, _ in mine:
            if what == "start":
                assert not alive_then(running, mine, pid), "two bodies at once"
                running.add(pid)
            else:
                running.discard(pid)
        assert mine[-1][0] == "end"


@pytest.mark.parametrize("seed", range(2))
def test_no_body_outlives_it_and_none_overlaps_its_repetition(
    tmp_path: Path, seed: int
) -> None:
    check_killed_at_random(tmp_path, seed)


@pytest.mark.parametrize("seed", range(1))
def test_nor_on_mongodb(tmp_path: Path, seed: int, mongod_rs_url: str) -> None:
    check_killed_at_random(tmp_path, seed, new_database_url(mongod_rs_url))


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(100, 150))
def test_nor_in_fifty_more_rounds(tmp_path: Path, seed: int) -> None:
    check_killed_at_random(tmp_path, seed)


def alive_then(
    running: set[int], mine: list[tuple[str, int, int, int]], pid: int
) -> bool:
    """Whether a body that had begun ended by itself after another one began."""
    began = next(i for i, entry in enumerate(mine) if entry[:3:2] == ("start", pid))
    later = {entry[2] for entry in mine[began:] if entry[0] == "end"}
    return bool(running & later)


def test_a_stopped_worker_process_dies_with_its_runner(tmp_path: Path) -> None:
    (tmp_path / "flow.py").write_text(
        FLOW.replace("time.sleep(0.15)", "time.sleep(60)")
    )
    runner = start(tmp_path)
    until(lambda: len(bodies(tmp_path)) == 4)
    pids = bodies(tmp_path)
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    runner.send_signal(signal.SIGKILL)
    runner.wait()

    assert left_of(pids) == []
