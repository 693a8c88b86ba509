"""Putting a container into the queue, for a worker of its workflow."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

from msgspec.structs import replace

from ptsflow.client import admin, lease
from ptsflow.core import counts
from ptsflow.core.model import ContainerRecord, Status
from ptsflow.core.work_queue import QueueEntry
from ptsflow.errors import LeaseLost
from ptsflow.host.process_identity import this_process
from ptsflow.runner.foresight import learned
from ptsflow.runner.planned_run import PlannedRun
from ptsflow.runner.prepare import with_plan
from ptsflow.stores.base import Store

#: The lease under which a container is made ready, in milliseconds.
_LEASE_MS = 30_000


def submit(
    planned: PlannedRun,
    store: Store,
    *,
    notice: Callable[[str], None],
    not_before: int = 0,
    priority: int = 0,
) -> tuple[ContainerRecord, bool]:
    """Make or reopen the container of a run, and put it into the queue.

    Args:
        planned: the run.
        store: keeps the container and the queue.
        notice: receives what a person should know, in a line.
        not_before: the worker leaves it alone before this time.
        priority: containers with a larger number are taken first.

    Returns:
        The container; and False if it is complete, so that nothing is left to do.

    Raises:
        ContainerBusy: a live runner holds the container.
        ContainerMismatch: it was made with other parameters, or by another workflow.
    """
    record = planned.find_or_make(store, notice)
    if record.workflow is not None:
        tallies = store.tallies([record.uid])[record.uid]
        if counts.status_of(record, tallies) is Status.DONE:
            return record, False
    if record.status is Status.FAILED:
        admin.retry(store, record)
    with _held(store, record) as held:
        planned.check_fits(held)
        profile = learned(store, planned.plan.workflow)
        ready = with_plan(planned, held, profile)
    record = _given_back(store, ready)
    by = this_process(store.now)
    entry = QueueEntry(
        uid=record.uid,
        container=record.name,
        workflow=planned.plan.workflow,
        not_before=not_before,
        priority=priority,
        by=by.process,
        at=by.since,
    )
    store.queue.put(entry)
    return record, True


@contextlib.contextmanager
def _held(store: Store, record: ContainerRecord) -> Iterator[ContainerRecord]:
    """Hold a container's lease; if it does not fit, it is given back as it was."""
    held, _ = lease.acquire(store, record, this_process(store.now), _LEASE_MS)
    try:
        yield held
    except BaseException:
        store.release(held)
        raise


def _given_back(store: Store, held: ContainerRecord) -> ContainerRecord:
    """Give a container back that is to be run."""
    ready = replace(held, status=Status.PENDING, finish_reason=None, ended_at=None)
    if not store.release(ready):
        raise LeaseLost(f"container {held.name!r}: it took too long; try again")
    return replace(ready, owner=None, leased_till=None)
