"""What `show` prints of a container that has too many tasks to list all of them."""

from __future__ import annotations

from collections.abc import Sequence

from ptsflow.core.insight import Glance
from ptsflow.core.model import ContainerRecord, Status, TaskRecord
from ptsflow.display import format as fmt
from ptsflow.display import tables
from ptsflow.display.format import Line, Piece


def overview(
    record: ContainerRecord, glance: Glance, slowest: Sequence[TaskRecord], now: int
) -> list[Line]:
    """Return how many tasks of each step stand how, and the tasks to look at first.

    Args:
        record: the container.
        glance: its tasks, counted, with those that are active or failed.
        slowest: the tasks that took longest.
        now: the time.
    """
    total = dict.fromkeys(Status, 0)
    steps: dict[str, dict[Status, int]] = {}
    for tally in glance.tallies:
        of_step = steps.setdefault(tally.step, {})
        of_step[tally.status] = of_step.get(tally.status, 0) + tally.count
        total[tally.status] += tally.count
    rows = [
        [
            Piece(str(sum(counted.values())).rjust(len(str(sum(total.values()))))),
            Piece(fmt.clean(step) or "(a client's)", "name"),
            Piece(fmt.in_words(counted), "dim"),
        ]
        for step, counted in steps.items()
    ]
    heading = [Piece(title, "title") for title in ("TASKS", "STEP", "")]
    lines = fmt.columns([heading, *rows])
    plain = [t for t in glance.plain if t.step]
    active = [t for t in plain if t.status in (Status.RUNNING, Status.WAITING)]
    failed = [t for t in plain if t.has_failed]
    parts = (
        ("running and waiting", [*active, *glance.active]),
        ("failed", [*failed, *reversed(glance.failed)]),
        ("slowest", slowest),
    )
    for title, tasks in parts:
        if tasks:
            seen = tables.seen_tasks(record, tasks, now)
            lines += [[], [Piece(title, "title")], *tables.tasks(seen, now)]
    return lines
