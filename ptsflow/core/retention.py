"""Which containers are old enough to be deleted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

from msgspec import Struct

from ptsflow.core.model import ContainerRecord, Status


class Retention(Struct, frozen=True, kw_only=True):
    """What is deleted: containers of workflows that have been over for long.

    Containers that only clients use are never old: nobody can say when they ended.
    """

    #: Containers that ended before this time, in milliseconds since the epoch.
    before: int
    #: Of this workflow only; None for all.
    workflow: str | None = None
    #: So many of each workflow stay, those that were made last.
    keep: int = 0
    #: Also those that are not complete.
    unfinished: bool = False
    #: By workflow: containers that were made since then stay. Without its container, the
    #: tick of a schedule would be due again.
    since: Mapping[str, int] = {}

    def is_meant(self, record: ContainerRecord, now: int) -> bool:
        """Return whether the container is old, as it is stored and nobody holds it."""
        return (
            record.workflow is not None
            and self.workflow in (None, record.workflow)
            and not record.is_leased(now)
            and (self.unfinished or record.status is Status.DONE)
            and last_used(record) < self.before
            and record.created_at < self.since.get(record.workflow, now + 1)
        )


def last_used(record: ContainerRecord) -> int:
    """Return when a container ended; of one without an end, when it was last begun."""
    if record.status is Status.DONE and record.ended_at is not None:
        return record.ended_at
    return max(record.created_at, record.started_at or 0, record.ended_at or 0)


def expendable(
    records: Iterable[ContainerRecord], retention: Retention, now: int
) -> list[ContainerRecord]:
    """Return the containers that are deleted, oldest first.

    Args:
        records: all containers, oldest first.
        retention: which of them are meant.
        now: the store's time.
    """
    newer: Counter[str | None] = Counter()
    found: list[ContainerRecord] = []
    for record in reversed([*records]):
        newer[record.workflow] += 1
        is_kept = newer[record.workflow] <= retention.keep
        if not is_kept and retention.is_meant(record, now):
            found.append(record)
    return found[::-1]
