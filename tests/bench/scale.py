"""Measure what grows with the size of a run, each figure beside its mark.

    python tests/bench/scale.py [--check] [--rounds N] [--json] [--list] [NAME...]

Every measurement is made in a process and a folder of its own, and starts the MongoDB
server that it needs; the median of several counts. NAME is a part of a case's name; without one all are
measured. `--check` exits 1 if a figure is over its mark or could not be measured.
The cases stand in `scale_cases`, one module for each area.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import json
import pkgutil
import signal
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from tests.bench import scale_cases  # noqa: E402 - found from the repository as it is
from tests.bench.scale_cases import Case, Place  # noqa: E402
from tests.support.processes import environment  # noqa: E402


def all_cases() -> Iterator[Case]:
    """Yield the cases of every area."""
    for module in pkgutil.iter_modules(scale_cases.__path__):
        area = importlib.import_module(f"{scale_cases.__name__}.{module.name}")
        yield from area.CASES


def measure_here(case: Case) -> float:
    """Measure a case once, in this process."""
    with (
        tempfile.TemporaryDirectory(prefix="ptsflow-scale-") as folder,
        contextlib.ExitStack() as servers,
    ):
        return case.measure(Place(Path(folder), servers))


def measure_apart(case: Case) -> float | str:
    """Measure a case once, in a process of its own; return why if that fails."""
    with tempfile.TemporaryFile("w+") as said:
        process = subprocess.Popen(
            [sys.executable, __file__, "--once", case.name],
            stdout=subprocess.PIPE,
            stderr=said,
            text=True,
            env=environment(),
        )
        try:
            answer, _ = process.communicate(timeout=case.timeout)
        except subprocess.TimeoutExpired:
            # SIGINT, so that it leaves no folder and no server behind.
            process.send_signal(signal.SIGINT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.communicate(timeout=20)
            process.kill()
            process.wait()
            return f"not within {case.timeout:g} s"
        if process.returncode:
            said.seek(0)
            lines = said.read().strip().splitlines()
            return lines[-1] if lines else f"exit {process.returncode}"
    return float(answer.strip().splitlines()[-1])


def measure(case: Case, rounds: int) -> dict[str, Any]:
    """Return the row of a case."""
    row = {"name": case.name, "what": case.what, "unit": case.unit, "mark": case.mark}
    figures = list[float]()
    for _ in range(rounds):
        figure = measure_apart(case)
        if isinstance(figure, str):
            return row | {"error": figure, "ok": False}
        figures.append(figure)
    median = statistics.median(figures)
    is_within = case.mark is None or median <= case.mark
    return row | {"value": median, "figures": figures, "ok": is_within}


def line_of(row: dict[str, Any]) -> str:
    """Return a row as a person reads it."""
    found = f"{row['value']:.3f} {row['unit']}" if "value" in row else "failed"
    mark = "-" if row["mark"] is None else f"{row['mark']:g} {row['unit']}"
    end = "" if row["ok"] else " OVER" if "value" in row else f" {row['error']}"
    return f"{row['name']:20} {row['what']:62} {found:>14} {mark:>12}{end}"


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help="part of a case's name"
    )
    parser.add_argument("--check", action="store_true", help="exit 1 if one is over")
    parser.add_argument("--rounds", type=int, help="how often each is measured")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--list", action="store_true", help="only name the cases")
    parser.add_argument("--once", help=argparse.SUPPRESS)
    given = parser.parse_args()
    cases = list(all_cases())
    if given.once:
        print(measure_here(next(case for case in cases if case.name == given.once)))  # noqa: T201 - its answer
        return 0
    if given.names:
        cases = [
            case for case in cases if any(part in case.name for part in given.names)
        ]
    if not cases:
        parser.error(f"expected a part of a case's name, found {given.names}")
    if given.list:
        print(*(f"{case.name:20} {case.what}" for case in cases), sep="\n")  # noqa: T201 - its output
        return 0
    rows = list[dict[str, Any]]()
    if not given.json:
        print(f"{'':20} {'what':62} {'measured':>14} {'mark':>12}")  # noqa: T201 - its output
    for case in cases:
        rows.append(measure(case, given.rounds or case.rounds))
        if not given.json:
            print(line_of(rows[-1]), flush=True)  # noqa: T201 - its output
    if given.json:
        print(json.dumps({"schema": 1, "rows": rows}))  # noqa: T201 - its output
    return int(given.check and not all(row["ok"] for row in rows))


if __name__ == "__main__":
    sys.exit(main())
