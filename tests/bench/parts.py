"""The command line of a measurement in parts, each of which is made on both stores."""

from __future__ import annotations

import argparse
import contextlib
import json
import tempfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from tests.bench.scale_cases import Place

#: A figure, as `--json` prints it; `ok` says whether it is within its mark.
Row = dict[str, Any]


def measure(
    description: str,
    parts: Mapping[str, Callable[[Place, str, int], Iterable[Row]]],
    line_of: Callable[[Row], str],
    flow: str,
) -> int:
    """Measure what the command line asks for, print it, and return the exit code.

    Args:
        description: the first line of `--help`.
        parts: by name, what yields the figures of a part, given the place, the store
            and the number of rounds.
        line_of: returns a figure as a person reads it.
        flow: the text of the file `flow.py` in the place.
    """
    parser = argparse.ArgumentParser(description=description.split("\n", maxsplit=1)[0])
    parser.add_argument("--check", action="store_true", help="exit 1 if one is over")
    parser.add_argument("--store", choices=("sqlite", "mongodb"))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--part", choices=list(parts))
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    rows = list[Row]()
    for kind in (given.store,) if given.store else ("sqlite", "mongodb"):
        for part in (given.part,) if given.part else parts:
            with (
                tempfile.TemporaryDirectory(prefix="ptsflow-bench-") as folder,
                contextlib.ExitStack() as servers,
            ):
                (Path(folder) / "flow.py").write_text(flow, encoding="utf-8")
                place = Place(Path(folder), servers)
                for row in parts[part](place, kind, given.rounds):
                    rows.append(row | {"store": kind})
                    if not given.json:
                        print(f"{kind:8}{line_of(row)}", flush=True)  # noqa: T201 - its output
    if given.json:
        print(json.dumps({"schema": 1, "rows": rows}))  # noqa: T201 - its output
    return int(given.check and not all(row["ok"] for row in rows))
