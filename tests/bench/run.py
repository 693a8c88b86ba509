"""Measure ptsflow against its floor: one durable commit of one small row or document.

    python tests/bench/run.py [--store sqlite|mongodb] [--json] [--rounds N]

Every figure is the median of several rounds in this one process, and stands beside the
floor measured between those rounds on the same store, so that a slow or noisy machine
changes both. MongoDB is the test extra's mongod, as a one-node replica set, unless
PTSFLOW_TEST_MONGODB_URI names another.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

import ptsflow  # noqa: E402 - found from the repository as it stands
from ptsflow import Workflow, step  # noqa: E402
from ptsflow.workflow.step import Step  # noqa: E402
from tests.bench.bare import BareMongo, BareSqlite  # noqa: E402
from tests.support.processes import environment  # noqa: E402

CHAIN = 1_000


def chain_of(length: int) -> type[Workflow]:
    """Return a workflow of plain steps that do nothing."""

    def body(self: Workflow) -> None:
        """Do nothing."""

    steps: dict[str, Any] = {}
    for index in range(length):
        name = f"s{index:05}"
        steps[name] = made = step(_named(body, name))
        assert isinstance(made, Step)
    return type("Chain", (Workflow,), steps)


def _named(function: Callable[..., None], name: str) -> Callable[..., None]:
    import types  # noqa: PLC0415 - once

    copy = types.FunctionType(function.__code__, function.__globals__, name)
    copy.__qualname__ = f"Chain.{name}"
    copy.__annotations__ = {"return": None}
    return copy


class FanOut(Workflow):
    """So many items that do nothing."""

    count: int = 10_000

    @step
    def numbers(self) -> list[int]:
        """List the items."""
        return list(range(self.count))

    @step(each=numbers)
    def item(self, number: int) -> None:
        """Do nothing."""


class AlmostDone(Workflow):
    """10,000 items and one step after them."""

    @step
    def numbers(self) -> list[int]:
        """List the items."""
        return list(range(10_000))

    @step(each=numbers)
    def item(self, number: int) -> None:
        """Do nothing."""

    @step(after=item)
    def last(self) -> float:
        """Tell when the first body of the resumed run began."""
        if os.environ.get("PTSFLOW_BENCH_FIRST"):
            raise ptsflow.Fail("not in the first run")
        return time.perf_counter()


class SqliteFloor:
    """One durable commit of one row: WAL, synchronous FULL.

    Each measure makes a new file, as every chain and fan-out does: a log that still
    grows costs nearly twice what one costs that is written over.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def measure(self, commits: int = CHAIN) -> float:
        """Return seconds for one commit."""
        import apsw  # noqa: PLC0415 - only for this store

        db = apsw.Connection(str(self._folder / f"floor-{uuid4().hex}.db"))
        db.execute("PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL")
        db.execute("PRAGMA wal_autocheckpoint=250")  # as the store has it
        db.execute("CREATE TABLE t(id INTEGER PRIMARY KEY, v TEXT) STRICT")
        db.execute("INSERT INTO t VALUES (1, '')")
        started = time.perf_counter()
        for index in range(commits):
            db.execute("BEGIN IMMEDIATE")
            db.execute("UPDATE t SET v = ? WHERE id = 1", (str(index),))
            db.execute("COMMIT")
        took = (time.perf_counter() - started) / commits
        db.close()
        return took

    def close(self) -> None:
        """Nothing is left open."""


class MongoFloor:
    """One update of one document with w=majority, j=True."""

    def __init__(self, url: str) -> None:
        import pymongo  # noqa: PLC0415 - only for this store

        self._client: Any = pymongo.MongoClient(url)
        concern = pymongo.WriteConcern("majority", j=True)
        self._docs = self._client.floor.get_collection("t", write_concern=concern)
        self._docs.insert_one({"_id": 1})

    def measure(self, commits: int = 200) -> float:
        """Return seconds for one update."""
        started = time.perf_counter()
        for index in range(commits):
            self._docs.update_one({"_id": 1}, {"$set": {"v": str(index)}})
        return (time.perf_counter() - started) / commits

    def close(self) -> None:
        """Close it."""
        self._client.close()


@contextlib.contextmanager
def store_of(
    kind: str, folder: Path
) -> Iterator[tuple[Callable[[], str], Any, BareSqlite | BareMongo]]:
    """Yield a maker of fresh store URLs; and the floor and the bare writes of the store."""
    if kind == "sqlite":
        floor: Any = SqliteFloor(folder)
        bare: Any = BareSqlite(folder)
        yield lambda: f"sqlite:///{folder}/{uuid4().hex}.db", floor, bare
        floor.close()
        return
    given = os.environ.get("PTSFLOW_TEST_MONGODB_URI")
    with contextlib.nullcontext(given) if given else _own_mongod() as url:
        floor, bare = MongoFloor(url), BareMongo(url)
        base, _, query = url.partition("?")
        try:
            yield lambda: f"{base.rstrip('/')}/b{uuid4().hex[:12]}?{query}", floor, bare
        finally:
            floor.close()
            bare.close()


@contextlib.contextmanager
def _own_mongod() -> Iterator[str]:
    from tests.support.mongod import running  # noqa: PLC0415 - only for this store

    with running(replica_set=True) as server:
        yield server.url


def chain(url: str) -> float:
    """Return seconds a step of a chain of 1,000."""
    workflow = chain_of(CHAIN)()
    started = time.perf_counter()
    report = ptsflow.run(workflow, store=url)
    elapsed = time.perf_counter() - started
    assert report.ok
    return elapsed / CHAIN


def fan_out(url: str, count: int) -> float:
    """Return seconds an item of a fan-out, 16 at a time."""
    started = time.perf_counter()
    report = ptsflow.run(FanOut(count=count), store=url, jobs=16)
    elapsed = time.perf_counter() - started
    assert report.ok
    return elapsed / count


def resumed(url: str) -> float:
    """Return seconds from `run` to the first body, 10,000 items being done."""
    os.environ["PTSFLOW_BENCH_FIRST"] = "1"
    assert not ptsflow.run(AlmostDone(), store=url, jobs=16).ok
    del os.environ["PTSFLOW_BENCH_FIRST"]
    started = time.perf_counter()
    report = ptsflow.run(AlmostDone(), store=url)
    assert report.ok
    return float(report.result("last")) - started


def import_cpu() -> float:
    """Return CPU seconds of `import ptsflow`, the bare interpreter's taken off."""

    def cpu(code: str) -> float:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(
            [sys.executable, "-c", code], check=True, cwd=ROOT, env=environment()
        )
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    return max(0.0, cpu("import ptsflow") - cpu("pass"))


def hello(url: str) -> float:
    """Return wall seconds of `ptsflow run examples/hello.py` from cold."""
    command = [sys.executable, "-m", "ptsflow", "run", "examples/hello.py", "-q"]
    started = time.perf_counter()
    subprocess.run([*command, "--store", url], check=True, cwd=ROOT, env=environment())
    return time.perf_counter() - started


def memory() -> float:
    """Return the peak memory of a process that runs 10,000 items, in bytes."""
    code = (
        "import re, sys; sys.path[:0] = ['tests/bench']; import run\n"
        "run.ptsflow.run(run.FanOut(), store=sys.argv[1], jobs=16)\n"
        # Not ru_maxrss, which begins with the memory of the process that forked.
        "status = open('/proc/self/status').read()\n"
        "print(re.search(r'VmHWM:\\s+(\\d+) kB', status)[1])"
    )
    with tempfile.TemporaryDirectory() as folder:
        url = f"sqlite:///{folder}/memory.db"
        done = subprocess.run(
            [sys.executable, "-c", code, url],
            check=True,
            cwd=ROOT,
            capture_output=True,
            text=True,
        )
    return float(done.stdout) * 1024


def measure(kind: str, rounds: int) -> list[dict[str, Any]]:
    """Return a row for every figure."""
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as name, store_of(kind, Path(name)) as made:
        new_url, floor, bare = made

        def take(what: str, once: Callable[[str], float], times: int = rounds) -> None:
            figures, floors = [], []
            for _ in range(times):
                floors.append(floor.measure())
                figures.append(once(new_url()))
                floors.append(floor.measure())
            value, bottom = statistics.median(figures), statistics.median(floors)
            row = {"what": what, "seconds": value, "floor": bottom}
            rows.append(row | {"ratio": value / bottom})

        take("chain of 1,000, a step", chain)
        take("the writes of that chain alone, a step", lambda _: bare.measure(CHAIN))
        take("fan-out of 5,000 -j 16, an item", lambda url: fan_out(url, 5_000))
        take("fan-out of 10,000 -j 16, an item", lambda url: fan_out(url, 10_000))
        take("fan-out of 50,000 -j 16, an item", lambda url: fan_out(url, 50_000), 1)
        take("resume of 10,000, to the first body", resumed)
        take("import ptsflow, CPU", lambda _: import_cpu(), 5)
        take("run examples/hello.py from cold", hello, 5)
        rows.append({"what": "memory of 10,000 items, MB", "value": memory() / 1e6})
    return rows


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--store", choices=("sqlite", "mongodb"), default="sqlite")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    rows = measure(given.store, given.rounds)
    if given.json:
        print(json.dumps({"schema": 1, "store": given.store, "rows": rows}))  # noqa: T201 - its purpose
        return
    print(f"{given.store:40} {'measured':>12} {'floor':>12} {'ratio':>8}")  # noqa: T201 - its purpose
    for row in rows:
        if "value" in row:
            print(f"{row['what']:40} {row['value']:>12.1f}")  # noqa: T201 - its purpose
            continue
        took, floor_ = row["seconds"] * 1e3, row["floor"] * 1e3
        print(  # noqa: T201 - its purpose
            f"{row['what']:40} {took:>9.3f} ms {floor_:>9.3f} ms {row['ratio']:>7.2f}x"
        )


if __name__ == "__main__":
    main()
