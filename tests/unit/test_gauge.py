"""The gauge against the percentage that is counted anew each time."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from ptsflow.core import counts
from ptsflow.core.gauge import Gauge
from ptsflow.core.model import StepSummary, TaskRecord

PLAN = (StepSummary(name="a", weight=3.0), StepSummary(name="b"))

tasks = st.builds(
    TaskRecord,
    name=st.sampled_from("uvwxyz"),
    step=st.sampled_from(["a", "b", "", "gone"]),
    percentage_complete=st.sampled_from([0.0, 12.5, 50.0, 100.0]),
)


@given(
    changed=st.lists(tasks, max_size=20),
    deleted=st.lists(st.sampled_from("uvwxyz"), max_size=5),
    known=st.integers(0, 20),
)
def test_a_gauge_shows_what_is_counted(
    changed: list[TaskRecord], deleted: list[str], known: int
) -> None:
    stored = {task.name: task for task in changed[:known]}
    gauge = Gauge(PLAN, counts.tallies_of(stored))
    for found in changed[known:]:
        task, before = found, stored.get(found.name)
        if before is None:
            gauge.put(task)
        else:
            task = replace(found, step=before.step)
            gained = task.percentage_complete - before.percentage_complete
            gauge.move(task.step, gained)
        stored[task.name] = task
    for name in deleted:
        if name in stored:
            gauge.drop(stored.pop(name))

    expected = counts.percentage(PLAN, counts.tallies_of(stored.values()))
    assert gauge.value == pytest.approx(expected)


def test_without_a_plan_and_tasks_all_is_complete() -> None:
    assert Gauge((), ()).value == counts.percentage((), ()) == 100.0
