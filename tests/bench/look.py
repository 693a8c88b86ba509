"""Measure what it costs to look at large stores, each figure beside its mark.

    python tests/bench/look.py [--check] [--store sqlite|mongodb] [--rounds N] [--json]
                               [--part PART]

There are a container of 100,000 items that a run made, 9,000 containers of 12 tasks, and
runs of 100,000 items with and without `ptsflow watch` beside them, in turns. `--check`
exits 1 if a figure is over its mark. PART is one of status, list, watch. MongoDB is a
server of its own, unless PTSFLOW_TEST_MONGODB_URI names another.
"""

from __future__ import annotations

import contextlib
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from msgspec.structs import replace  # noqa: E402 - the repository is found above

from ptsflow.core.model import (  # noqa: E402
    Change,
    Status,
    StepSummary,
    TaskRecord,
)
from ptsflow.host.clock import system_clock  # noqa: E402
from ptsflow.host.process_identity import this_process  # noqa: E402
from ptsflow.stores import open_store  # noqa: E402
from tests.bench.parts import Row, measure  # noqa: E402
from tests.bench.scale_cases import Place  # noqa: E402
from tests.support.processes import PTSFLOW, environment  # noqa: E402

CONTAINERS, TASKS = 9_000, 12
#: The most seconds and MB by store; None where a figure has no mark.
_STATUS = {"sqlite": (0.4, 80), "mongodb": (1.0, 120)}
_SHOW = {"sqlite": (0.6, 80), "mongodb": (None, 120)}
_LIST = {"sqlite": (0.5, 80), "mongodb": (None, None)}
#: How much longer a run may take with somebody watching.
_SLOWER = 1.02

_FLOW = """
from ptsflow import Workflow, step


class Many(Workflow):
    @step
    def numbers(self) -> list[int]:
        return list(range(100_000))

    @step(each=numbers)
    def item(self, number: int) -> None:
        pass


class Failing(Workflow):
    @step
    def numbers(self) -> list[int]:
        return list(range(100_000))

    @step(each=numbers, retry=0)
    def item(self, number: int) -> None:
        if number % 1_000 == 7:
            raise ValueError(f"bad date in row {number}")

    @step
    def whole(self, item: list[None]) -> None:
        pass
"""


def url_of(place: Place, kind: str) -> str:
    """Return the URL of a store that is not there yet."""
    return place.sqlite() if kind == "sqlite" else place.mongodb()


def figure(
    place: Place,
    what: str,
    words: Sequence[str],
    most: tuple[float | None, float | None],
    rounds: int,
) -> Row:
    """Return the row of a command that looks."""
    found = [place.ptsflow(*words, expect=(0, 1)) for _ in range(rounds)]
    seconds = statistics.median(each.seconds for each in found)
    memory = statistics.median(each.memory for each in found)
    is_within = all(
        mark is None or value <= mark
        for value, mark in zip((seconds, memory), most, strict=True)
    )
    row = {"what": what, "seconds": seconds, "most_seconds": most[0]}
    return row | {"mb": memory, "most_mb": most[1], "ok": is_within}


# -- one large container ------------------------------------------------------


def status_rows(place: Place, kind: str, rounds: int) -> Iterator[Row]:
    """Yield what it costs to look at a container of 100,000 items."""
    for name in ("Many", "Failing"):
        url = url_of(place, kind)
        store = ("--store", url)
        place.ptsflow(
            "run", f"flow.py:{name}", "-c", "big", "-q", *store, expect=(0, 1)
        )
        of = f"100,000 items, {'done' if name == 'Many' else '100 failed'}"
        most = _STATUS[kind]
        yield figure(place, f"status, {of}", ("status", "big", *store), most, rounds)
        yield figure(place, f"show, {of}", ("show", "big", *store), _SHOW[kind], rounds)
    yield figure(place, f"errors, {of}", ("errors", *store), most, rounds)


# -- many containers ----------------------------------------------------------


def fill(url: str, count: int = CONTAINERS) -> None:
    """Make the containers of `list`, as runs leave them."""
    plan = tuple(
        StepSummary(name=f"step_{number}", above=number - 1 if number else None)
        for number in range(TASKS)
    )
    owner = this_process(system_clock)
    with contextlib.closing(open_store(url)) as store:
        for number in range(count):
            made, _ = store.create(f"feed:{number:05}")
            record = store.claim(made.uid, owner, 60_000)
            assert record is not None
            now = store.now()
            is_done = number % 10 != 0
            ended = Status.DONE if is_done else Status.FAILED
            tasks = [
                TaskRecord(
                    name=step.name,
                    step=step.name,
                    version=1,
                    fence=record.fence,
                    status=ended if place == TASKS - 1 else Status.DONE,
                    percentage_complete=100.0,
                    last_invoked_at=now,
                    task_ended_at=now,
                    invoke_count=1,
                )
                for place, step in enumerate(plan)
            ]
            changes = [Change(None, task) for task in tasks]
            store.commit(made.uid, changes, fence=record.fence)
            store.release(
                replace(
                    record,
                    workflow="Feed",
                    target="feed.py:Feed",
                    plan=plan,
                    status=ended,
                    started_at=now,
                    ended_at=now,
                )
            )


def list_rows(place: Place, kind: str, rounds: int) -> Iterator[Row]:
    """Yield what it costs to list 9,000 containers."""
    url = url_of(place, kind)
    fill(url)
    store = ("--store", url)
    of = f"{CONTAINERS:,} containers of {TASKS} tasks"
    newest = ("list", "--limit", "200", *store)
    yield figure(place, f"list --limit 200, {of}", newest, _LIST[kind], rounds)
    yield figure(place, f"list, all {of}", ("list", *store), (None, None), rounds)


# -- somebody who watches -----------------------------------------------------


def run_once(place: Place, kind: str, *, is_watched: bool) -> tuple[float, float]:
    """Return CPU and wall seconds of a run of 100,000 items."""
    store = ("--store", url_of(place, kind))
    watch = None
    if is_watched:
        words = ("watch", "many", "--wait", "60", *store)
        watch = start(place, *words)
        time.sleep(1)
    began = time.perf_counter()
    run = start(place, "run", "flow.py:Many", "-c", "many", "-q", *store)
    _, code, used = os.wait4(run.pid, 0)
    took = time.perf_counter() - began
    run.returncode = code
    assert code == 0
    assert watch is None or watch.wait(60) == 0
    return used.ru_utime + used.ru_stime, took


def start(place: Place, *words: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [*PTSFLOW, *words],
        cwd=place.folder,
        env=environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def watch_rows(place: Place, kind: str, rounds: int) -> Iterator[Row]:
    """Yield how much slower a run is that is watched, by its CPU time."""
    alone, watched = list[tuple[float, float]](), list[tuple[float, float]]()
    for _ in range(rounds):
        alone.append(run_once(place, kind, is_watched=False))
        watched.append(run_once(place, kind, is_watched=True))
    for what, place_, most in (("CPU", 0, _SLOWER), ("wall", 1, None)):
        ratios = [b[place_] / a[place_] for a, b in zip(alone, watched, strict=True)]
        ratio = statistics.median(ratios)
        row: Row = {"what": f"a run of 100,000 items, watched, {what} time, times"}
        row |= {"ratio": ratio, "most_ratio": most, "ratios": ratios}
        yield row | {"ok": most is None or ratio <= most}


_ROWS = {"status": status_rows, "list": list_rows, "watch": watch_rows}


def line_of(row: Row) -> str:
    """Return a row as a person reads it."""
    end = "" if row["ok"] else "  OVER"
    if "ratio" in row:
        most = row["most_ratio"] or "-"
        return f"{row['what']:62} {row['ratio']:8.3f}    {most:>8}{end}"
    mb = "-" if row["most_mb"] is None else f"{row['most_mb']} MB"
    most = "-" if row["most_seconds"] is None else f"{row['most_seconds']} s"
    return (
        f"{row['what']:62} {row['seconds']:8.3f} s  {most:>8} "
        f"{row['mb']:8.1f} MB {mb:>8}{end}"
    )


def main() -> int:
    """Measure and print."""
    return measure(__doc__ or "", _ROWS, line_of, _FLOW)


if __name__ == "__main__":
    sys.exit(main())
