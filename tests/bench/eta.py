"""How well outlooks foretell the end of runs, against simpler methods.

    python tests/bench/eta.py [--check] [--json]

Replays made-up runs of six shapes (see `simulated.py`) and recordings of real runs (see
`record.py`), each with the history of the runs before it. The error of a method is
abs(left as foretold - left) / left, at 25, 50 and 75 percent of the time of each run.
"""

# ruff: noqa: T201 - it prints what it finds.

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import fmean, median

import msgspec

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from ptsflow import Workflow  # noqa: E402 - found from the repository as it stands
from ptsflow.core import history  # noqa: E402
from ptsflow.core.insight import RunRecord  # noqa: E402
from ptsflow.core.plan import Plan  # noqa: E402
from ptsflow.workflow.compile import plan_of  # noqa: E402
from ptsflow.workflow.loading import load  # noqa: E402
from tests.bench import simulated  # noqa: E402
from tests.bench.recordings import Recording, read  # noqa: E402
from tests.bench.replay import Foretold, Replay  # noqa: E402

#: How many runs of history there are at least, and how many runs are made up.
FIRST, RUNS = 3, 23
POINTS = [n / 20 for n in range(1, 20)]
JUDGED = (0.25, 0.5, 0.75)
#: From this run on, all is twice as slow.
SLOWER_FROM = 20
RECORDED = ("epf_import", "verify_packages")


class Row(msgspec.Struct):
    """What came of one kind of runs: errors in percent, distances in points."""

    what: str
    naive: tuple[float, float]
    weights: tuple[float, float]
    last_run: tuple[float, float]
    ours: tuple[float, float]
    percentage: float
    in_range: float
    in_twice: float


def replayed(plan: Plan, recordings: Iterable[Recording]) -> list[list[Foretold]]:
    """Return what was foretold in each run that had enough runs before it."""
    rows: list[RunRecord] = []
    found: list[list[Foretold]] = []
    for recording in recordings:
        replay = Replay(plan, recording, rows)
        points = [replay.foretold(share) for share in POINTS]
        told = [(p.ours.at, p.ours.eta_at) for p in points if p.ours and p.ours.eta_at]
        ended_at = replay.began_at + recording.took
        rows.append(replay.row(history.errors_of(told, replay.began_at, ended_at)))
        if len(rows) > FIRST:
            found.append(points)
    return found


def left_by_ours(point: Foretold) -> float:
    assert point.ours is not None
    assert point.ours.eta_at is not None
    return point.ours.eta_at - point.ours.at


def errors(runs: Sequence[Sequence[Foretold]], method: str) -> list[float]:
    """Return the relative errors of a method at the points that are judged."""
    return [
        abs((left_by_ours(p) if method == "ours" else getattr(p, method)) - p.left)
        / p.left
        for points in runs
        for p in points
        if p.share in JUDGED
    ]


def row_of(what: str, runs: Sequence[Sequence[Foretold]]) -> Row:
    """Return what came of these runs."""

    def of(method: str) -> tuple[float, float]:
        found = sorted(errors(runs, method))
        return round(100 * median(found), 1), round(
            100 * found[len(found) * 9 // 10], 1
        )

    points = [p for run in runs for p in run]
    far = [abs(p.ours.percentage - 100 * p.share) for p in points if p.ours]
    ranged = [
        abs(left_by_ours(p) - p.left) / max(1, p.ours.high_at - (p.ours.eta_at or 0))
        for p in points
        if p.ours and p.ours.high_at is not None
    ]
    return Row(
        what=what,
        naive=of("naive"),
        weights=of("weights"),
        last_run=of("last"),
        ours=of("ours"),
        percentage=round(fmean(far), 1),
        in_range=round(100 * fmean(r <= 1 for r in ranged)) if ranged else 0,
        in_twice=round(100 * fmean(r <= 2 for r in ranged)) if ranged else 0,
    )


def made_up(reports: simulated.Reports) -> tuple[list[Row], Row]:
    """Return a row for each shape, and one for all."""
    rows: list[Row] = []
    every: list[list[Foretold]] = []
    for shape in simulated.SHAPES:
        runs = replayed(shape.plan, simulated.runs(shape, RUNS, reports))
        rows.append(row_of(f"{shape.name}, {reports}", runs))
        every += runs
    return rows, row_of(f"all, {reports}", every)


def recorded(name: str) -> list[list[Foretold]]:
    """Return what was foretold in the recordings of an example."""
    os.environ["EPF_RETRY_DELAY"] = "0.1"
    kind = load(str(ROOT / "examples" / f"{name}.py"), Workflow)
    return replayed(plan_of(kind), read(name))


def after_a_change() -> float:
    """Return the median error, in percent, from the third run on that is twice as slow."""
    found: list[float] = []
    for shape in simulated.SHAPES:
        runs = simulated.runs(shape, SLOWER_FROM + 6, "linear", slower_from=SLOWER_FROM)
        found += errors(replayed(shape.plan, runs)[SLOWER_FROM + 3 - FIRST :], "ours")
    return round(100 * median(found), 1)


def misses(sums: Sequence[Row], real: Row, changed: float) -> list[str]:
    """Return which marks are missed."""
    marks = {"linear": (20, 50), "stepwise": (20, 50), "none": (25, 60)}
    found: list[str] = []
    for row in sums:
        most = marks[row.what.split()[-1]]
        found += [
            f"{row.what}: {name} {value}, expected {most_or_least}"
            for name, value, most_or_least, is_met in (
                ("median", row.ours[0], most[0], row.ours[0] <= most[0]),
                ("p90", row.ours[1], most[1], row.ours[1] <= most[1]),
                ("percentage", row.percentage, 6, row.percentage <= 6),
                ("in range", row.in_range, 40, row.in_range >= 40),
                ("in twice the range", row.in_twice, 75, row.in_twice >= 75),
            )
            if not is_met
        ]
    if real.ours[0] > 25:
        found.append(f"recordings: median {real.ours[0]}, expected 25")
    every = [*sums, real]
    ours, naive = fmean(r.ours[0] for r in every), fmean(r.naive[0] for r in every)
    if ours > naive / 2:
        found.append(f"ours {ours:.1f} on average, naive {naive:.1f}")
    if changed > 25:
        found.append(f"twice as slow: median {changed}, expected 25")
    return found


def main() -> int:
    """Measure; return 1 if a mark is missed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--check", action="store_true", help="fail if a mark is missed")
    parser.add_argument("--json", action="store_true", help="print JSON")
    given = parser.parse_args()
    rows: list[Row] = []
    sums: list[Row] = []
    for reports in simulated.REPORTS:
        shapes, every = made_up(reports)
        rows += [*shapes, every]
        sums.append(every)
    runs = {name: recorded(name) for name in RECORDED}
    rows += [row_of(name, found) for name, found in runs.items()]
    real = row_of("all recordings", [run for found in runs.values() for run in found])
    rows.append(real)
    changed = after_a_change()
    if given.json:
        data = [msgspec.structs.asdict(row) for row in rows]
        print(json.dumps({"schema": 1, "rows": data, "after_a_change": changed}))
    else:
        print("| runs | naive | weights | last run | ptsflow | percentage | range |")
        print("|---|---|---|---|---|---|---|")
        for row in rows:
            methods = (row.naive, row.weights, row.last_run, row.ours)
            cells = [f"{middle:.0f} / {most:.0f}" for middle, most in methods]
            cells += [
                f"{row.percentage:.1f}",
                f"{row.in_range:.0f} / {row.in_twice:.0f}",
            ]
            print(f"| {row.what} | {' | '.join(cells)} |")
        print(f"from the third run on that is twice as slow: {changed:.0f} %")
    missed = misses(sums, real, changed) if given.check else []
    print(*missed, sep="\n", file=sys.stderr)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
