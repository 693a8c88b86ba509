"""Measure the care of stores: prunes beside a run, copies, metrics, and their size.

    python tests/bench/care.py [--check] [--store sqlite|mongodb] [--rounds N] [--json]
                               [--part PART]

A chain of 3,000 steps runs while a container of 100,000 tasks is pruned: no step may be
delayed by more than 100 ms. 50,000 tasks are copied from a SQLite file, and back from
MongoDB. `metrics` reads 10,000 containers; to load the drivers of MongoDB takes as long as
its mark by itself, so the start of a process is not counted there. An hourly import with `keep = "7d"` runs for
1,440 virtual hours. Beside each figure stands its mark; `--check` exits 1 if one is not
met. PART is one of prune, copy, metrics, keep. MongoDB is a server of its own, unless
PTSFLOW_TEST_MONGODB_URI names another.
"""

from __future__ import annotations

import contextlib
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from msgspec.structs import replace  # noqa: E402 - the repository is found above

from ptsflow.core.model import Change, Status, TaskRecord  # noqa: E402
from ptsflow.core.texts import hash_of  # noqa: E402
from ptsflow.host.clock import system_clock  # noqa: E402
from ptsflow.host.process_identity import this_process  # noqa: E402
from ptsflow.stores import open_store  # noqa: E402
from tests.bench import look  # noqa: E402
from tests.bench.parts import Row, measure  # noqa: E402
from tests.bench.scale_cases import Command, Place  # noqa: E402
from tests.stores.making import schedule  # noqa: E402
from tests.support.kept import HOURS, sizes_as_hours_pass  # noqa: E402
from tests.support.processes import PTSFLOW, environment  # noqa: E402

#: The longest delay of a step, in milliseconds.
_DELAY = 100
#: Tasks a second, by the store to which they are copied.
_LEAST = {"sqlite": 10_000, "mongodb": 3_000}
#: How many containers `metrics` reads, and the most seconds of a processor for that.
_MANY, _METRICS = 10_000, 0.3
#: How many times as large as after a week a store may be after months.
_GROWTH = 1.3
_AT_ONCE = 5_000
_COPIED = 250
_TASKS = 200

_FLOW = """
import json
import time
from pathlib import Path

from ptsflow import Workflow, step

TIMES = []
COUNT = 10_000


def body(self):
    if not TIMES:
        Path("begun").touch()
    TIMES.append(time.monotonic())


def last(self):
    Path("times").write_text(json.dumps(TIMES))


steps = {f"step_{number}": step(type(body)(
    body.__code__, globals(), f"step_{number}")) for number in range(COUNT)}
Chain = type("Chain", (Workflow,), {
    "__module__": __name__, **steps, "last": step(last)})
"""


def fill(url: str, containers: int, tasks: int) -> None:
    """Make done containers, as runs leave them."""
    owner = this_process(system_clock)
    with contextlib.closing(open_store(url)) as store:
        for number in range(containers):
            made, _ = store.create(f"old:{number:05}")
            record = store.claim(made.uid, owner, 600_000)
            assert record is not None
            for start in range(0, tasks, _AT_ONCE):
                some = range(start, min(start + _AT_ONCE, tasks))
                changes = [Change(None, _task(place, record.fence)) for place in some]
                store.commit(made.uid, changes, fence=record.fence)
            ended = {"status": Status.DONE, "started_at": 1, "ended_at": 2}
            store.release(replace(record, workflow="Old", **ended))


def _task(place: int, fence: int) -> TaskRecord:
    result = f'{{"songs": {place}, "file": "songs-{place}.tbz"}}'
    return TaskRecord(
        name=f"load[{place}]",
        step="load",
        key=str(place),
        version=1,
        fence=fence,
        status=Status.DONE,
        percentage_complete=100.0,
        last_invoked_at=1,
        task_ended_at=2,
        attempt=1,
        invoke_count=1,
        result=result,
        result_hash=hash_of(result),
    )


def prune_rows(place: Place, kind: str, rounds: int) -> Iterator[Row]:
    """Yield how long the longest step of a chain takes, alone and beside a prune."""
    beside, alone = list[float](), list[float]()
    for _ in range(rounds):
        url = place.sqlite() if kind == "sqlite" else place.mongodb()
        fill(url, 1, 100_000)
        alone += _gaps(place, url, is_pruned=False)
        beside += _gaps(place, url, is_pruned=True)
    delay = max(beside) - statistics.median(alone)
    yield {
        "what": "longest step beside a prune of 100,000 tasks",
        "ms": max(beside),
        "alone_ms": max(alone),
        "usual_ms": statistics.median(alone),
        "most_ms": _DELAY,
        "ok": delay <= _DELAY or max(beside) <= max(alone),
    }


def _gaps(place: Place, url: str, *, is_pruned: bool) -> list[float]:
    """Run a chain; return the times between its steps, in milliseconds.

    Beside a prune, those while it goes on.
    """
    store = ("--store", url)
    begun = place.folder / "begun"
    begun.unlink(missing_ok=True)
    words = ("run", "flow.py:Chain", "-q", "--fresh", *store)
    run = subprocess.Popen(
        [*PTSFLOW, *words],
        cwd=place.folder,
        env=environment(),
        stderr=subprocess.DEVNULL,
    )
    began, ended = 0.0, float("inf")
    if is_pruned:
        while not begun.exists():
            assert run.poll() is None
            time.sleep(0.01)
        began = time.monotonic()
        place.ptsflow("prune", "--older", "1d", "--workflow", "Old", "-y", *store)
        ended = time.monotonic()
    assert run.wait(600) == 0
    times = json.loads((place.folder / "times").read_text())
    beside = min(times[-1], ended) - max(times[0], began)
    assert not is_pruned or beside > (ended - began) / 2, "one is over too soon"
    return [
        (after - before) * 1000
        for before, after in pairwise(times)
        if before <= ended and after >= began
    ]


def copy_rows(place: Place, kind: str, rounds: int) -> Iterator[Row]:
    """Yield how many tasks a second are copied to a store, and from MongoDB back."""
    source, copies = place.sqlite(), list[str]()
    fill(source, _COPIED, _TASKS)
    yield _copied(place, [source] * rounds, kind, copies)
    if kind == "mongodb":
        yield _copied(place, copies, "sqlite", [])


def _copied(place: Place, sources: Sequence[str], kind: str, copies: list[str]) -> Row:
    """Return the row of one way; add the URLs of the copies."""
    took = list[Command]()
    for source in sources:
        copies.append(place.sqlite() if kind == "sqlite" else place.mongodb())
        took.append(place.ptsflow("store", "copy", source, copies[-1]))
    count = _COPIED * _TASKS
    rate = count / statistics.median(each.seconds for each in took)
    scheme = sources[0].partition(":")[0]
    return {
        "what": f"tasks copied a second from {scheme} to {kind}, {_COPIED} containers",
        "rate": rate,
        "processor_rate": count / statistics.median(each.processor for each in took),
        "least_rate": _LEAST[kind],
        "ok": rate >= _LEAST[kind],
    }


def metrics_rows(place: Place, kind: str, rounds: int) -> Iterator[Row]:
    """Yield what figures of many containers of a workflow with a schedule cost."""
    url = place.sqlite() if kind == "sqlite" else place.mongodb()
    empty = place.mongodb() if kind == "mongodb" else ""
    look.fill(url, _MANY)
    with contextlib.closing(open_store(url)) as store:
        store.swap_schedule(None, schedule("Feed", since=store.now() - 86_400_000))
    seconds = _metrics_seconds(place, url, rounds)
    start = _metrics_seconds(place, empty, rounds) if empty else 0.0
    yield {
        "what": f"metrics of {_MANY:,} containers, of which a tenth failed",
        "processor_seconds": seconds,
        "start_processor_seconds": start,
        "most_processor_seconds": _METRICS,
        "ok": seconds - start <= _METRICS,
    }


def _metrics_seconds(place: Place, url: str, rounds: int) -> float:
    found = [place.ptsflow("metrics", "--store", url) for _ in range(rounds)]
    return statistics.median(each.processor for each in found)


def keep_rows(place: Place, kind: str, _rounds: int) -> Iterator[Row]:
    """Yield how much larger than after a week a store is after months."""
    url = place.sqlite() if kind == "sqlite" else place.mongodb()
    week, months, _ = sizes_as_hours_pass(url)
    yield {
        "what": f"size after {HOURS:,} hours with keep of a week, times that of a week",
        "ratio": months / week,
        "most_ratio": _GROWTH,
        "bytes": months,
        "ok": months <= _GROWTH * week,
    }


def line_of(row: Row) -> str:
    """Return a figure as a person reads it."""
    if "rate" in row:
        found = f"{row['rate']:,.0f} (at least {row['least_rate']:,}"
        found += f"; {row['processor_rate']:,.0f} a second of a processor)"
    elif "ratio" in row:
        found = (
            f"{row['ratio']:.2f} (at most {row['most_ratio']}; {row['bytes']:,} bytes)"
        )
    elif "processor_seconds" in row:
        start = row["start_processor_seconds"]
        most = f"{row['most_processor_seconds']}" + (f" + {start:.2f}" if start else "")
        found = f"{row['processor_seconds']:.2f} s of a processor (at most {most})"
    else:
        found = (
            f"{row['ms']:.0f} ms (alone {row['alone_ms']:.0f} ms, usually "
            f"{row['usual_ms']:.1f} ms; delayed by at most {row['most_ms']} ms)"
        )
    return f"{row['what']}: {found}: {'met' if row['ok'] else 'NOT MET'}"


if __name__ == "__main__":
    parts = {
        "prune": prune_rows,
        "copy": copy_rows,
        "metrics": metrics_rows,
        "keep": keep_rows,
    }
    sys.exit(measure(__doc__ or "", parts, line_of, _FLOW))
