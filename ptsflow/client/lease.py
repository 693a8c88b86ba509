"""Who holds a container: claiming it, keeping it, leaving it to those who live.

The store decides; this asks. A runner that cannot confirm its lease stops by itself
before anybody else could take it, and if it does not (it was frozen), the store refuses
what it writes afterwards.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable

import msgspec
from msgspec.structs import replace

from ptsflow.core.model import ContainerRecord, Owner, Status
from ptsflow.errors import ContainerBusy, ContainerNotFound
from ptsflow.host import container_lock
from ptsflow.host.clock import since_boot, to_datetime
from ptsflow.host.process_identity import (
    is_dead,
    is_elsewhere,
    is_stopped,
    this_process,
)
from ptsflow.stores.base import Store
from ptsflow.stores.rules import is_leased

#: How long a dead runner's lease may take to give back, in milliseconds.
_MOMENT_MS = 30_000
#: How often a container held by another host is looked at, in seconds.
_LOOK_EVERY = 0.5


def still_working(store: Store, uid: str) -> Owner | None:
    """Return the runner of this host that lives and may be in bodies, if any.

    Its lease may have ended: a body that holds the interpreter keeps it from renewing
    that, and from noticing. One that is stopped counts only if it has processes, as they
    go on.
    """
    written = container_lock.marked_by(store.identity, uid)
    try:
        owner = msgspec.json.decode(written or b"", type=Owner)
    except msgspec.MsgspecError:
        return None
    # What a body forked holds the mark too, also when its runner has died.
    if is_elsewhere(owner) or is_dead(owner):
        return None
    if is_stopped(owner.pid) and not container_lock.has_processes(store.identity, uid):
        return None
    return owner


def mark(store: Store, record: ContainerRecord) -> container_lock.Mark:
    """Let others of this host know that bodies of the container may run in this process.

    Raises:
        StoreUnavailable: there is no folder to do so.
    """
    file = container_lock.file_of(store.identity, record.uid)
    return container_lock.Mark(file, msgspec.json.encode(record.owner))


def acquire(  # noqa: PLR0913 - three of them say how long
    store: Store,
    record: ContainerRecord,
    owner: Owner,
    lease_ms: int,
    *,
    wait: float = 0.0,
    until: float = math.inf,
    notice: Callable[[str], None] = lambda _: None,
) -> tuple[ContainerRecord, float]:
    """Claim a container; return it with its new fence, and when that was asked for.

    The time is in seconds since boot, from before the claim was sent: the lease counts
    from then at the earliest.

    A dead runner of this host is taken over at once. One of another host may be dead:
    its lease is waited for, unless it renews it. One of this host that lives and is in
    a body is not taken over, though its lease may have ended.

    Args:
        store: where it is.
        record: the container, as last seen.
        owner: who claims.
        lease_ms: for how long, in milliseconds.
        wait: seconds to wait for a live runner to end.
        until: when to wait no more for whatever it is, in seconds since boot.
        notice: told, in one line, when there is something to wait for.

    Raises:
        ContainerBusy: another live runner holds it.
        ContainerNotFound: it was deleted meanwhile.
    """
    patience = min(since_boot() + wait, until)
    first_seen: tuple[int, int | None] | None = None
    while True:
        asked_at = since_boot()
        worker = still_working(store, record.uid)
        claimed = None if worker else store.claim(record.uid, owner, lease_ms)
        if claimed is not None:
            return claimed, asked_at
        seen = _again(store, record)
        holder = seen.owner
        if worker is None and (holder is None or is_dead(holder)):
            claimed = store.claim(record.uid, owner, lease_ms, dead=seen.fence)
            if claimed is not None:
                return claimed, asked_at
            continue
        # The one at work here is not always the owner: it may have been overtaken.
        outlived = worker if worker and not is_leased(seen, store.now()) else None
        may_be_dead = outlived is None and holder is not None and is_elsewhere(holder)
        if first_seen is None:
            first_seen = (seen.fence, seen.leased_till)
            if may_be_dead or wait > 0:
                said = _outlived(seen, outlived) if outlived else describe_holder(seen)
                notice(f"waiting: {said}")
        renewed = (seen.fence, seen.leased_till) != first_seen
        if since_boot() >= (patience if renewed or not may_be_dead else until):
            raise _still_working(seen, outlived) if outlived else busy(seen)
        time.sleep(_LOOK_EVERY)


def _again(store: Store, record: ContainerRecord) -> ContainerRecord:
    seen = store.container(record.name)
    if seen is None or seen.uid != record.uid:
        raise ContainerNotFound(f"container {record.name!r}: it was deleted; run again")
    return seen


def free(store: Store, record: ContainerRecord) -> None:
    """Give back the lease of a runner of this host that died.

    Args:
        store: where it is.
        record: the container, as last seen.

    Raises:
        ContainerBusy: a live runner holds it, or one that may be alive.
    """
    if record.owner is None:
        return
    if not is_dead(record.owner):
        raise busy(record) from None
    claimed = store.claim(
        record.uid, this_process(store.now), _MOMENT_MS, dead=record.fence
    )
    if claimed is not None:
        left = Status.PENDING if claimed.status is Status.RUNNING else claimed.status
        store.release(replace(claimed, status=left))


def describe_holder(record: ContainerRecord) -> str:
    """Say who holds a container, since when and until when."""
    owner = record.owner
    if owner is None:
        return f"container {record.name!r} is held by nobody"
    since, until = to_datetime(owner.since), to_datetime(record.leased_till)
    return (
        f"container {record.name!r} is run by pid {owner.pid} on {owner.host} "
        f"since {since:%Y-%m-%d %H:%M:%S} UTC, its lease lasts until "
        f"{until:%H:%M:%S} UTC"
    )


def busy(record: ContainerRecord) -> ContainerBusy:
    """Return the error that says who holds the container."""
    return ContainerBusy(
        f"{describe_holder(record)}; wait until it has ended, or stop it with "
        f"ptsflow cancel {record.name}"
    )


def _outlived(record: ContainerRecord, runner: Owner) -> str:
    """Say that a runner of this host still works whose lease has ended."""
    who = "this process" if runner.pid == os.getpid() else f"pid {runner.pid}"
    does = "is still in a body of it"
    if is_stopped(runner.pid):
        does = "is stopped, and processes of it may be in bodies"
    return (
        f"container {record.name!r}: {who} on {runner.host} {does}, though its lease "
        "has ended"
    )


def _still_working(record: ContainerRecord, runner: Owner) -> ContainerBusy:
    pid = runner.pid
    advice = "wait until that has ended"
    if is_stopped(pid):
        advice = f"let it go on: kill -CONT {pid}, or end it: kill -9 {pid}"
    elif pid != os.getpid():
        advice += f", or end it: kill -9 {pid}"
    return ContainerBusy(f"{_outlived(record, runner)}; {advice}")
