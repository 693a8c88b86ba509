"""Deleting containers with all that they have: one that is named, or all old ones."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import closing, suppress

from msgspec import Struct, field
from msgspec.structs import replace

from ptsflow.client.lease import acquire
from ptsflow.client.looking import seen
from ptsflow.core import counts
from ptsflow.core.model import ContainerRecord, Status
from ptsflow.core.retention import Retention, expendable
from ptsflow.errors import (
    ContainerBusy,
    ContainerNotFound,
    LeaseLost,
    PtsflowError,
    StoreError,
)
from ptsflow.host import workdirs
from ptsflow.host.clock import since_boot
from ptsflow.host.process_identity import this_process
from ptsflow.stores.base import Store

#: How many containers a run deletes after its end, and for how many seconds it does so.
_MOST, _LONGEST = 20, 1.0
#: The lease of a deletion, in milliseconds: many large files take long to remove.
_LEASE_MS = 600_000


def delete(
    store: Store,
    container: ContainerRecord,
    is_meant: Callable[[ContainerRecord], bool] = lambda _: True,
) -> list[str] | None:
    """Delete a container with all that it has on this host; its history stays.

    Files and log lines go first, while the lease is held, then the container with its
    tasks. So if this process is killed, nothing is left that belongs to no container.

    Args:
        store: where the container is.
        container: which one, as last read.
        is_meant: says of the container, once it is held, whether it is to be deleted.

    Returns:
        One line for each folder that could not be removed; None if the container is gone
        already, or is not meant.

    Raises:
        ContainerBusy: a live runner holds it, or a runner of another host may.
        LeaseLost: it took so long that somebody else took the container.
    """
    owner = this_process(store.now)
    try:
        held, _ = acquire(store, container, owner, _LEASE_MS, until=since_boot())
    except ContainerNotFound:
        return None
    try:
        if not is_meant(held):
            store.release(held)
            return None
        notices = workdirs.forget(store.work_root, held)
        # If the lines cannot be deleted, the container is deleted all the same.
        with suppress(StoreError), closing(store.logs()) as logs:
            logs.forget(held.uid)
        is_deleted = store.delete(held.uid, fence=held.fence)
    except BaseException:
        with suppress(StoreError):
            store.release(held)
        raise
    if not is_deleted:
        raise LeaseLost(f"container {held.name!r}: it took too long; try again")
    return notices


class Pruning(Struct):
    """Deletes old containers one after the other, and counts them.

    Args:
        store: where they are.
        retention: which containers are meant.
        say: is given a line for each folder that could not be removed.
        refused: is given the name of each container that is left, and why it is.
    """

    store: Store
    retention: Retention
    say: Callable[[str], None] = lambda _: None
    refused: Callable[[str, PtsflowError], None] = lambda _name, _error: None
    #: The names of the containers that were deleted.
    deleted: list[str] = field(default_factory=list)

    def found(self) -> list[ContainerRecord]:
        """Return the containers that would be deleted, oldest first."""
        now = self.store.now()
        records = [
            record if record.owner is None else seen(self.store, record, now)
            for record in self.store.containers(plans=False)
        ]
        return [
            record
            for record in expendable(records, self.retention, now)
            if not seen(self.store, record, now).is_leased(now)
        ]

    def delete(self, records: Iterable[ContainerRecord]) -> None:
        """Delete containers that are still meant when they are held."""
        for record in records:
            try:
                notices = delete(self.store, record, self._is_meant)
            except (ContainerBusy, LeaseLost) as error:
                self.refused(record.name, error)
                continue
            if notices is not None:
                self.deleted.append(record.name)
                for notice in notices:
                    self.say(notice)

    def _is_meant(self, held: ContainerRecord) -> bool:
        free = replace(held, owner=None, leased_till=None)
        if not self.retention.is_meant(free, self.store.now()):
            return False
        # A client may have opened tasks of a complete container again.
        tallies = self.store.tallies([held.uid]).get(held.uid, ())
        is_done = counts.status_of(free, tallies) is Status.DONE
        return is_done or self.retention.unfinished


def delete_old(
    store: Store, workflow: str, ran: str, keep_ms: int, say: Callable[[str], None]
) -> None:
    """Delete some done containers of a workflow that ended longer ago, oldest first.

    A run does so after its end, and is not held up by it: what is left, the next run
    deletes. The container that it `ran` itself stays, however short the time is. A store
    that is away is told, and changes nothing of how the run ended.
    """
    try:
        retention = Retention(before=store.now() - keep_ms, workflow=workflow)
        pruning = Pruning(store, retention)
        end = since_boot() + _LONGEST
        found = [record for record in pruning.found() if record.name != ran]
        for record in found[:_MOST]:
            if since_boot() >= end:
                return
            pruning.delete([record])
    except StoreError as error:
        say(f"old containers were not deleted: {error}")
