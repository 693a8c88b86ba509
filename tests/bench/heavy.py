"""Measure what it costs to run bodies in processes, and on a Dask cluster.

    python tests/bench/heavy.py [--rounds N] [--dask] [--json]

Every figure is the median of several rounds in this one process, and stands beside what
is measured between them on the same machine: the same work in bare forks, the same items
in threads, the same calls through Dask alone.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar

from msgspec import Struct

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

import ptsflow  # noqa: E402 - found from the repository as it stands
from ptsflow import TaskHandle, Workflow, step  # noqa: E402
from ptsflow.client.client import Client  # noqa: E402
from ptsflow.core.model import Progress  # noqa: E402
from ptsflow.stores.sqlite.store import SqliteStore  # noqa: E402

ITEMS = 64
#: What one of them takes, in seconds.
WORK = 0.05
CORES = 2


def spin(rounds: int) -> int:
    """Keep a core busy."""
    total = 0
    for number in range(rounds):
        total += number * number
    return total


def rounds_for(seconds: float) -> int:
    """Return how many rounds take so long here, just now."""
    took = []
    for _ in range(5):
        began = time.perf_counter()
        spin(100_000)
        took.append(time.perf_counter() - began)
    return round(100_000 * seconds / min(took))


class Busy(Workflow):
    """64 items of 50 ms."""

    rounds: int

    @step
    def numbers(self) -> list[int]:
        """List the items."""
        return list(range(ITEMS))

    @step(each=numbers)
    def item(self, number: int) -> int:
        """Keep a core busy."""
        return spin(self.rounds) + number


class Trivial(Workflow):
    """So many items that do nothing."""

    count: int

    @step
    def numbers(self) -> list[int]:
        """List the items."""
        return list(range(self.count))

    @step(each=numbers)
    def item(self, number: int) -> None:
        """Do nothing."""


class Talkative(Workflow):
    """So many bodies that report progress a hundred times a second each."""

    count: int
    seconds: float

    @step
    def numbers(self) -> list[int]:
        """List the items."""
        return list(range(self.count))

    @step(each=numbers)
    def item(self, number: int, task: TaskHandle) -> int:
        """Report, and sleep."""
        until = time.monotonic() + self.seconds
        calls = 0
        while time.monotonic() < until:
            calls += 1
            task.progress(calls % 100, text=f"{number}")
            time.sleep(0.01)
        return calls


def elapsed(act: Callable[[], object]) -> float:
    """Return how long something takes, in seconds."""
    began = time.perf_counter()
    act()
    return time.perf_counter() - began


def new_store(folder: Path) -> str:
    """Return the URL of a store that is not there yet."""
    return f"sqlite:///{folder}/{time.monotonic_ns()}.db"


def bare_forks(rounds: int) -> None:
    """Do the work of `Busy` in one forked process for each core, and nothing else."""
    children = []
    for core in range(CORES):
        child = os.fork()
        if child == 0:
            for _ in range(core, ITEMS, CORES):
                spin(rounds)
            os._exit(0)
        children.append(child)
    for child in children:
        os.waitpid(child, 0)


class Figure(Struct):
    """One figure with what it is measured against."""

    name: str
    value: float
    unit: str
    asked: float

    def line(self) -> str:
        """Return it as a person reads it."""
        verdict = "ok" if self.value <= self.asked else "OVER"
        return (
            f"{self.name:58} {self.value:8.3f} {self.unit:6} asked {self.asked:g} "
            f"{verdict}"
        )


def busy(folder: Path, count: int) -> Figure:
    """Compare a CPU-bound fan-out in processes with bare forks."""
    rounds = rounds_for(WORK)
    shares = []
    for _ in range(count):
        bare = elapsed(lambda: bare_forks(rounds))
        own = elapsed(
            lambda: ptsflow.run(
                Busy(rounds=rounds), new_store(folder), jobs=CORES, executor="process"
            )
        )
        shares.append(own / bare)
    name = f"{ITEMS} items of {WORK * 1000:.0f} ms on {CORES} cores, against bare forks"
    return Figure(name, statistics.median(shares), "x", 1.25)


def overhead(folder: Path, count: int) -> Figure:
    """Compare trivial items in processes with the same in threads."""
    items = 2_000
    costs = []
    for _ in range(count):
        times = {
            where: elapsed(
                lambda where=where: ptsflow.run(  # type: ignore[misc] # bound now
                    Trivial(count=items), new_store(folder), jobs=CORES, executor=where
                )
            )
            for where in ("thread", "process")
        }
        costs.append((times["process"] - times["thread"]) / items * 1000)
    return Figure(
        "an item in a process, above a thread", statistics.median(costs), "ms", 2
    )


class Counting(SqliteStore):
    """Notes when progress is written."""

    touches: ClassVar[list[float]] = []

    def touch(self, uid: str, progress: Sequence[Progress], *, fence: int) -> None:
        """Note it."""
        Counting.touches.append(time.monotonic())
        super().touch(uid, progress, fence=fence)


def progress(folder: Path) -> list[Figure]:
    """Have a hundred processes report 10,000 times a second in all."""
    seconds, count = 8.0, 100
    store = Counting(new_store(folder))
    Counting.touches.clear()
    flow = Talkative(count=count, seconds=seconds)
    before = resource.getrusage(resource.RUSAGE_SELF)
    took = elapsed(
        lambda: ptsflow.run(flow, Client(store), jobs=count, executor="process")
    )
    after = resource.getrusage(resource.RUSAGE_SELF)
    store.close()
    spent = (after.ru_utime + after.ru_stime) - (before.ru_utime + before.ru_stime)
    noted = Counting.touches
    writes = (len(noted) - 1) / (noted[-1] - noted[0])
    return [
        Figure("progress of 100 processes: writes a second", writes, "/s", 1),
        Figure(
            "progress of 100 processes: a core of the runner", spent / took, "", 0.05
        ),
    ]


def _on_dask(folder: Path, engine: Any, where: str, items: int) -> float:
    def bare() -> None:
        for future in [engine.submit(abs, number) for number in range(items)]:
            future.result()

    def own() -> None:
        ptsflow.run(Trivial(count=items), new_store(folder), jobs=items, executor=where)

    floor = elapsed(bare)
    return elapsed(own) / floor


def dask(folder: Path, count: int) -> Figure:
    """Compare trivial items on a Dask cluster with the same through Dask alone."""
    from distributed import Client as DaskClient  # noqa: PLC0415 - an extra

    items = 200
    command = [sys.executable, "-m", "distributed.cli.dask_scheduler"]
    scheduler = subprocess.Popen(
        [
            *(*command, "--host", "127.0.0.1", "--port", "0", "--no-dashboard"),
            *("--scheduler-file", str(folder / "scheduler.json")),
        ],
        stderr=subprocess.DEVNULL,
    )
    workers = []
    try:
        while not (folder / "scheduler.json").exists():
            time.sleep(0.05)
        time.sleep(0.2)
        address = json.loads((folder / "scheduler.json").read_text())["address"]
        workers = [
            subprocess.Popen(
                [
                    *(sys.executable, "-m", "distributed.cli.dask_worker", address),
                    *("--nthreads", "1", "--no-nanny", "--no-dashboard"),
                    *("--local-directory", str(folder)),
                ],
                stderr=subprocess.DEVNULL,
                env=os.environ | {"PYTHONPATH": f"{ROOT}:{ROOT / 'tests' / 'bench'}"},
            )
            for _ in range(CORES)
        ]
        where = address.replace("tcp://", "dask://")
        with DaskClient(address) as client:  # type: ignore[no-untyped-call] # theirs
            client.wait_for_workers(CORES)
            engine = client.get_executor(pure=False)
            rounds = [_on_dask(folder, engine, where, items) for _ in range(count + 1)]
        # The first one starts the workers' processes.
        name = f"{items} items on Dask, against Dask alone"
        return Figure(name, statistics.median(rounds[1:]), "x", 1.3)
    finally:
        for process in [*workers, scheduler]:
            process.kill()
            process.wait()


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--dask", action="store_true")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        figures = [busy(folder, given.rounds), overhead(folder, given.rounds)]
        figures += progress(folder)
        if given.dask:
            figures.append(dask(folder, given.rounds))
    for figure in figures:
        line = json.dumps([figure.name, figure.value]) if given.json else figure.line()
        print(line)  # noqa: T201 - its output


if __name__ == "__main__":
    main()
