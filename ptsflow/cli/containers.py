"""What commands read of containers: which failed, and which are unfinished."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from ptsflow.core import counts
from ptsflow.core.model import ContainerRecord, Status, Tally, TaskRecord
from ptsflow.core.names import listed, similar
from ptsflow.errors import WorkflowNotFound
from ptsflow.stores.base import ALL, Store


def unfinished(
    store: Store, records: Sequence[ContainerRecord]
) -> list[tuple[ContainerRecord, Status]]:
    """Return those containers of workflows that are not complete, and how they stand."""
    ours = [record for record in records if record.workflow is not None]
    # A client may have opened tasks of a complete container again.
    complete = [record.uid for record in ours if record.status is Status.DONE]
    tallies = store.tallies(complete)
    found = [
        (record, counts.status_of(record, tallies.get(record.uid, ())))
        for record in ours
    ]
    return [(record, status) for record, status in found if status is not Status.DONE]


def of_workflow(
    records: Sequence[ContainerRecord], workflow: str | None
) -> list[ContainerRecord]:
    """Return the containers of a workflow, or all.

    Raises:
        WorkflowNotFound: there is none of that workflow.
    """
    found = [r for r in records if workflow in (None, r.workflow)]
    if workflow is not None and not found:
        raise no_workflow(workflow, [r.workflow for r in records if r.workflow])
    return found


def no_workflow(name: str, known: Iterable[str]) -> WorkflowNotFound:
    """Return the error for a workflow that nothing is of."""
    names = sorted(set(known))
    return WorkflowNotFound(
        f"no container is of a workflow {name!r}{similar(name, names)}; there are those "
        f"of {listed(names, name) or 'none'}"
    )


def failed_tasks(
    store: Store,
    records: Iterable[ContainerRecord],
    tallies: Mapping[str, Sequence[Tally]] | None = None,
) -> list[tuple[ContainerRecord, list[TaskRecord]]]:
    """Return the containers that have failed tasks, with these.

    What failed in a complete container was accepted, as `optional` and `tolerate` allow.

    Args:
        store: where they are.
        records: the containers.
        tallies: their tasks counted, by uid, where they were counted already.
    """
    unfinished = [record for record in records if record.status is not Status.DONE]
    if tallies is None:
        tallies = store.tallies([record.uid for record in unfinished])
    having = [
        record
        for record in unfinished
        if any(t.status is Status.FAILED for t in tallies.get(record.uid, ()))
    ]
    return [
        (record, store.page(record.uid, status=Status.FAILED, limit=ALL)[0])
        for record in having
    ]
