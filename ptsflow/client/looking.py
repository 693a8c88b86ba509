"""Looks at a store for screens: who has its containers, and how these stand."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from msgspec.structs import replace

from ptsflow.client.lease import still_working
from ptsflow.core import counts
from ptsflow.core.changed_code import changed_steps
from ptsflow.core.insight import Glance, Outlook, RunRecord, RunStatus
from ptsflow.core.model import ContainerRecord, Status
from ptsflow.core.sources import judged, outdated
from ptsflow.display import tables
from ptsflow.display.look import Look
from ptsflow.display.look_at_all import LookAtAll, in_order
from ptsflow.display.next_command import Remedies
from ptsflow.host.process_identity import is_dead
from ptsflow.stores.base import Store

#: How many containers are looked through for those that ended last, and for live ones.
_NEWEST, _MOST_RUNNING = 100, 1_000
#: How many runs are read at once.
_RUNS_AT_ONCE = 200
#: The lease that is shown of a live runner whose lease has ended, in milliseconds.
_MOMENT_MS = 1_000
#: Looks take at most one part in so many of the time.
_TIMES_ITS_COST = 20


def pause_after(took: float, interval: float) -> float:
    """Return how long to wait after a look, so that looking takes a small part of the time.

    Args:
        took: how long the look took, in seconds.
        interval: how long to wait at the least, in seconds.
    """
    return max(interval, _TIMES_ITS_COST * took)


def seen(store: Store, record: ContainerRecord, now: int) -> ContainerRecord:
    """Return a container with the owner that it really has.

    A runner of this host that died holds nothing; one that ended since the record was
    read has recorded more, which is read. A runner of this host that still runs bodies
    holds its container although its lease may have ended.
    """
    while record.owner is not None and is_dead(record.owner):
        again = store.container(record.name)
        if again is None or (again.uid, again.owner) == (record.uid, record.owner):
            record = replace(record if again is None else again, owner=None)
        else:
            record = again
    worker = None if record.is_leased(now) else still_working(store, record)
    if worker is None:
        return record
    return replace(record, owner=worker, leased_till=now + _MOMENT_MS)


def outlooks(
    store: Store, records: Iterable[ContainerRecord], now: int
) -> dict[str, Outlook]:
    """Return what runners told of containers, by uid; of earlier runs the percentage alone."""
    records = list(records)
    told = store.outlooks([record.uid for record in records], of_earlier_runs=True)
    live = [r.uid for r in records if r.uid in told and r.is_leased(now)]
    current: Mapping[str, Outlook] = store.outlooks(live) if live else {}
    return {
        uid: current.get(uid)
        or replace(outlook, eta_at=None, low_at=None, high_at=None, runs=0)
        for uid, outlook in told.items()
    }


def runs_back(
    store: Store,
    workflow: str | None = None,
    name: str | None = None,
    status: RunStatus | None = None,
) -> Iterator[RunRecord]:
    """Yield the runs of a workflow, of containers of a name, or all, the newest first.

    They are read part by part, as far as they are asked for.
    """
    before: RunRecord | None = None
    while found := store.runs(
        workflow, name, limit=_RUNS_AT_ONCE, before=before, status=status
    ):
        yield from found
        before = found[-1]


def look_at(store: Store, record: ContainerRecord, items: int = 50) -> Look:
    """Return how a container stands, however many tasks it has.

    Args:
        store: where it is.
        record: the container.
        items: so many active and so many failed items are there at the most.
    """
    now = store.now()
    record = seen(store, record, now)
    glance = store.glance(record.uid, active=items, failed=items)
    return Look(
        at=now,
        record=record,
        status=counts.status_of(record, glance.tallies),
        glance=tables.seen_glance(record, glance, now),
        outlook=outlooks(store, [record], now).get(record.uid),
    )


def remedies(store: Store, record: ContainerRecord, glance: Glance) -> Remedies:
    """Return what can be done about a container, however many tasks it has."""
    steps = judged(record.plan, glance.tallies)
    names = {name for step in steps for name in (step.name, *step.takes)}
    origins = store.origins(record.uid, names) if names else ()
    return Remedies(
        tasks=[*glance.plain, *glance.failed],
        changed=changed_steps(record.plan, glance.code),
        outdated=outdated(record.plan, origins, steps),
    )


def look_at_all(store: Store, before: LookAtAll | None) -> LookAtAll:
    """Return how the containers stand that run, were killed, or ended last.

    Those that ran at the look before are there too, however long ago they were made.
    """
    now = store.now()
    found = {record.uid: record for record in store.recent(_NEWEST)}
    running = store.recent(_MOST_RUNNING, status=Status.RUNNING)
    found |= {record.uid: record for record in running}
    for record in () if before is None else before.records:
        if record.uid not in found:
            again = store.container(record.name)
            found |= {} if again is None else {again.uid: again}
    shown = in_order([seen(store, record, now) for record in found.values()], now)
    return LookAtAll(
        at=now,
        records=shown,
        tallies=store.tallies([record.uid for record in shown]),
        outlooks=outlooks(store, shown, now),
    )


def run_as_it_stands(store: Store, row: RunRecord, now: int) -> RunRecord:
    """Return a run; one that is said to last is lost if its process is gone.

    One that ended since the row was read is read again.
    """
    if row.status is not RunStatus.RUNNING:
        return row
    record = store.container(row.container)
    is_its = record is not None and (record.uid, record.fence) == (row.uid, row.fence)
    if record is not None and is_its and seen(store, record, now).is_leased(now):
        return row
    ended = run_again(store, row)
    if ended is not None and ended.status is not RunStatus.RUNNING:
        return ended
    return replace(row, status=RunStatus.LOST)


def run_again(store: Store, row: RunRecord) -> RunRecord | None:
    """Return a run as it is recorded now; None if it is not there any more."""
    for found in runs_back(store, row.workflow, row.container):
        if (found.uid, found.fence) == (row.uid, row.fence):
            return found
    return None
