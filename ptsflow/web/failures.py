"""The page of what is failed now, in all containers, by what went wrong."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct

from ptsflow.client.sound import sound_failed
from ptsflow.core.grouping import FailureGroup, group_failures
from ptsflow.core.model import ContainerRecord, Status, TaskRecord
from ptsflow.display import failure_groups
from ptsflow.stores.base import Store
from ptsflow.web.overview import Counted
from ptsflow.web.pages import Page, Part

#: What failed in a complete container was accepted.
_NOT_DONE = (Status.FAILED, Status.PENDING, Status.RUNNING, Status.WAITING)
#: How many of the newest containers are looked through by how they are stored, and how
#: many failed tasks of each are read.
_CONTAINERS, _TASKS = 500, 200


class GroupRow(Struct, frozen=True, kw_only=True):
    """What went wrong in the same way, as a row shows it."""

    group: FailureGroup
    what: str
    how_many: str
    #: By their names, the uids of the first containers.
    containers: dict[str, str]


class AllFailures(Struct, frozen=True, kw_only=True):
    """One look at what is failed."""

    at: int
    rows: Sequence[GroupRow]


def failed_now(
    store: Store, counted: Counted
) -> list[tuple[ContainerRecord, list[TaskRecord]]]:
    """Return containers that have failed tasks, with some of these."""
    now = store.now()
    records = [
        record
        for status in _NOT_DONE
        for record in store.recent(_CONTAINERS, status=status, damaged=[])
    ]
    tallies = counted.of(store, records, now)
    found = [
        (record, store.page(record.uid, status=Status.FAILED, limit=_TASKS)[0])
        for record in records
        if any(t.count for t in tallies[record.uid] if t.status is Status.FAILED)
    ]
    damaged = [record for record in records if record.uid in counted.damaged]
    found += [(record, sound_failed(store, record, _TASKS)) for record in damaged]
    return [(record, tasks) for record, tasks in found if tasks]


def groups_of(
    found: Sequence[tuple[ContainerRecord, Sequence[TaskRecord]]],
) -> list[FailureGroup]:
    """Return what went wrong, that with the newest failure first."""
    groups = group_failures(
        failure_groups.failure_of(record, task)
        for record, tasks in found
        for task in tasks
    )
    return sorted(groups, key=lambda group: -group.failures[0].at)


def look_at_failures(store: Store, counted: Counted) -> AllFailures:
    """Return what is failed now."""
    found = failed_now(store, counted)
    now = store.now()
    uids = {record.name: record.uid for record, _ in found}
    rows = [
        GroupRow(
            group=group,
            what=failure_groups.what(group),
            how_many=failure_groups.how_many(group, now),
            containers={name: uids[name] for name in group.containers},
        )
        for group in groups_of(found)
    ]
    return AllFailures(at=now, rows=rows)


def failures_page(found: AllFailures, form: str | None) -> Page:
    """Return the page of what is failed."""
    values = {"found": found, "now": found.at, "form": form}
    return Page(
        title="Errors · ptsflow", parts={"groups": Part("_groups.html", values)}
    )
