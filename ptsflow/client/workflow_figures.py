"""Reads how the workflows of a store stand, in figures that a monitor keeps."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence

from ptsflow.client.looking import outlooks, seen
from ptsflow.client.overdue import overdue_of
from ptsflow.core import counts
from ptsflow.core.insight import Outlook, RunStatus
from ptsflow.core.model import ContainerRecord, Status, Tally
from ptsflow.core.workflow_figures import KILLED, STATUSES, WorkflowFigures
from ptsflow.stores.base import Store


def workflow_figures(store: Store, now: int) -> list[WorkflowFigures]:
    """Return how each workflow stands that has containers or a schedule, by their names."""
    records = store.containers(plans=False)
    by_workflow: dict[str, list[ContainerRecord]] = defaultdict(list)
    for record in records:
        if record.workflow is not None:
            by_workflow[record.workflow].append(record)
    known = {record.name: record for record in records}
    late = {
        schedule.workflow: len(overdue_of(store, schedule, now, known=known))
        for schedule in store.schedules()
    }
    return [
        _figures(store, name, by_workflow[name], now, late.get(name))
        for name in sorted(by_workflow.keys() | late.keys())
    ]


def _figures(
    store: Store,
    workflow: str,
    records: Sequence[ContainerRecord],
    now: int,
    late: int | None,
) -> WorkflowFigures:
    stands = Counter[str](dict.fromkeys(STATUSES, 0))
    live = []
    for record in records:
        status: str = record.status
        if record.status is Status.RUNNING:
            if seen(store, record, now).is_leased(now):
                live.append(record)
            else:
                status = KILLED
        stands[status] += 1
    unfinished = [r.uid for r in records if r.status is not Status.DONE]
    tallies = store.tallies(unfinished) if unfinished else {}
    told = outlooks(store, live, now) if live else {}
    ends = [each.eta_at for each in told.values() if each.eta_at is not None]
    newest = live[-1] if live else None
    done = store.runs(workflow, limit=1, status=RunStatus.DONE)
    ended = [run for run in store.runs(workflow, limit=20) if run.ended_at is not None]
    return WorkflowFigures(
        workflow=workflow,
        containers=stands,
        failed_tasks=sum(map(_failed, tallies.values())),
        last_done=done[0] if done else None,
        last_ended=ended[0] if ended else None,
        percentage=None
        if newest is None
        else _percentage(store, newest, tallies[newest.uid], told.get(newest.uid)),
        eta_at=max(ends, default=None),
        overdue=late,
    )


def _percentage(
    store: Store,
    record: ContainerRecord,
    tallies: Sequence[Tally],
    told: Outlook | None,
) -> float:
    """Return how much of a container is complete that was read without its plan."""
    whole = store.container(record.name) or record
    return counts.percentage_of(whole, tallies, told)


def _failed(tallies: Sequence[Tally]) -> int:
    return sum(tally.count for tally in tallies if tally.status is Status.FAILED)
