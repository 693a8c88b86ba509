"""What the runner costs, and what it says that bodies took."""

from __future__ import annotations

import ptsflow
from tests.bench.run import FanOut
from tests.bench.scale_cases import Case, Place


def _longest_no_op(store: str) -> float:
    report = ptsflow.run(FanOut(count=20_000), store=store, jobs=16)
    assert report.ok
    return max(task.task_duration_ms or 0 for task in report.tasks) / 1000


def _longest_no_op_sqlite(place: Place) -> float:
    return _longest_no_op(place.sqlite())


def _longest_no_op_mongodb(place: Place) -> float:
    return _longest_no_op(place.mongodb())


CASES = [
    Case(
        *("no-op-sqlite", "the longest of 20,000 items that do nothing, SQLite", "s"),
        *(0.1, _longest_no_op_sqlite),
    ),
    Case(
        *("no-op-mongodb", "the longest of 20,000 items that do nothing, MongoDB", "s"),
        *(0.1, _longest_no_op_mongodb),
    ),
]
