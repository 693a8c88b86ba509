"""Leases of containers: claim one, take over a dead runner's, leave a live runner's alone.

The store decides who gets a lease. A runner that cannot renew its lease stops before the
lease ends. If it cannot stop (it was frozen), the store refuses its later writes.
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
from ptsflow.host.clock import since_boot, system_clock
from ptsflow.host.process_identity import (
    is_dead,
    is_elsewhere,
    is_stopped,
    this_process,
)
from ptsflow.stores.base import Store

#: The lease under which a dead runner's container is released, in milliseconds.
_MOMENT_MS = 30_000
#: A claim that took longer than this share of its lease is renewed at once: a wide
#: container takes long to claim.
_LONG_CLAIM = 1 / 6
#: How often a container is read while its holder is waited for, in seconds.
_LOOK_EVERY = 0.5
#: How long a runner whose store was moved keeps its mark, in seconds.
_STAY = 3.0


def still_working(store: Store, record: ContainerRecord) -> Owner | None:
    """Return the runner of this host that is alive and may be running bodies, or None.

    The runner's lease may have ended: a body that holds the GIL blocks lease renewal. A
    stopped runner (SIGSTOP) counts only if it has processes, because those go on.
    """
    key = store.key_of(record)
    written = container_lock.marked_by(key)
    try:
        owner = msgspec.json.decode(written or b"", type=Owner)
    except msgspec.MsgspecError:
        return None
    # A process that a body forked holds the lock too, even after the runner has died.
    if is_elsewhere(owner) or is_dead(owner):
        return None
    if is_stopped(owner.pid) and not container_lock.has_processes(key):
        return None
    return owner


def mark(store: Store, record: ContainerRecord) -> container_lock.Mark:
    """Mark on this host that bodies of the container may run in this process.

    Raises:
        StoreUnavailable: the folder for lock files cannot be used.
    """
    file = container_lock.file_of(store.key_of(record))
    return container_lock.Mark(file, msgspec.json.encode(record.owner))


def stay_for_latecomers() -> None:
    """Keep this host's mark a little longer: the file of the store was moved or removed.

    Whoever did that may have begun the same command just then. It must hear that the
    container is run here (exit 5), and not begin all anew in a file of that name.
    """
    time.sleep(_STAY)


def acquire(  # noqa: PLR0913 - three of them say how long
    store: Store,
    record: ContainerRecord,
    owner: Owner,
    lease_ms: int,
    *,
    wait: float = 0.0,
    since: float | None = None,
    until: float = math.inf,
    notice: Callable[[str], None] = lambda _: None,
) -> tuple[ContainerRecord, float]:
    """Claim a container; return it with its new fence, and when the claim was sent.

    That time is in seconds since boot: the lease cannot have begun before it.

    A dead runner of this host is taken over at once. A runner of another host may be
    dead: its lease is waited for, as long as the runner does not renew it, and never
    longer than the lease is. A live runner of this host that may be running bodies is
    never taken over, even without a lease.

    Args:
        store: where the container is.
        record: the container, as last read.
        owner: who claims.
        lease_ms: the length of the lease, in milliseconds.
        wait: seconds to wait for a live runner to end.
        since: when `owner` first asked, in seconds since boot, if an earlier call ended
            in `StoreUnavailable`: that one may have claimed the container.
        until: when to give up all waiting, in seconds since boot.
        notice: called with one line when a wait begins.

    Raises:
        ContainerBusy: another live runner holds it.
        ContainerNotFound: it was deleted meanwhile.
    """
    owner = replace(owner, lease_ms=lease_ms)
    patience = min(since_boot() + wait, until)
    first_seen: tuple[int, int | None] | None = None
    seen_at = 0.0
    while True:
        worker = still_working(store, record)
        asked_at = since or since_boot()
        claim = None if worker else _claim(store, record, owner, lease_ms, asked_at)
        if claim is not None:
            return claim
        seen = _again(store, record)
        holder = seen.owner
        if worker is None and (holder is None or is_dead(holder)):
            claim = _claim(store, record, owner, lease_ms, asked_at, dead=seen.fence)
            if claim is not None:
                return claim
            continue
        # The runner at work on this host may have been overtaken, and so not be the owner.
        outlived = worker if worker and not seen.is_leased(store.now()) else None
        may_be_dead = outlived is None and holder is not None and is_elsewhere(holder)
        if first_seen is None:
            first_seen, seen_at = (seen.fence, seen.leased_till), since_boot()
            if may_be_dead or wait > 0:
                said = _outlived(seen, outlived) if outlived else describe_holder(seen)
                notice(f"waiting: {said}")
        renewed = (seen.fence, seen.leased_till) != first_seen
        if may_be_dead and worker is None and not renewed and _outlasted(seen, seen_at):
            claim = _claim(store, record, owner, lease_ms, asked_at, dead=seen.fence)
            if claim is not None:
                return claim
        if since_boot() >= (patience if renewed or not may_be_dead else until):
            raise _still_working(seen, outlived) if outlived else busy(seen)
        time.sleep(_LOOK_EVERY)


def _outlasted(seen: ContainerRecord, since: float) -> bool:
    """Whether the lease, which was not renewed since then, is over by its own length.

    If the store's clock was set back, the end of the lease may be hours away.
    """
    length = 0 if seen.owner is None else seen.owner.lease_ms
    return length > 0 and since_boot() - since >= length / 1000


def _claim(
    store: Store,
    record: ContainerRecord,
    owner: Owner,
    lease_ms: int,
    asked_at: float,
    *,
    dead: int | None = None,
) -> tuple[ContainerRecord, float] | None:
    """Claim a container; return what `acquire` returns, or None if that cannot be.

    The owner did not ask before `asked_at`.
    """
    claimed = store.claim(record.uid, owner, lease_ms, dead=dead)
    if claimed is not None and since_boot() - asked_at > _LONG_CLAIM * lease_ms / 1000:
        # The store renewed the lease meanwhile, but this process does not know when.
        asked_at = since_boot()
        if not store.renew(claimed.uid, claimed.fence, lease_ms):
            return None
    return None if claimed is None else (claimed, asked_at)


def _again(store: Store, record: ContainerRecord) -> ContainerRecord:
    seen = store.container(record.name)
    if seen is None or seen.uid != record.uid:
        raise ContainerNotFound(f"container {record.name!r}: it was deleted; run again")
    return seen


def free(store: Store, record: ContainerRecord) -> None:
    """Release the container of a runner of this host that died.

    Args:
        store: where the container is.
        record: the container, as last read.

    Raises:
        ContainerBusy: a runner that is alive, or may be, holds the container.
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
    """Return who holds a container, since when and until when."""
    owner = record.owner
    if owner is None:
        return f"container {record.name!r} is held by nobody"
    from ptsflow.display import format as fmt  # noqa: PLC0415 - 5 ms, only for a refusal

    now = system_clock()
    return (
        f"container {record.name!r} is run by pid {owner.pid} on {owner.host} "
        f"since {fmt.moment(owner.since, now)}, its lease lasts until "
        f"{fmt.moment(record.leased_till, now)}"
    )


def busy(record: ContainerRecord) -> ContainerBusy:
    """Return the error that says who holds the container."""
    return ContainerBusy(
        f"{describe_holder(record)}; wait until it has ended, or stop it with"
    ).advise("cancel", record.name)


def _outlived(record: ContainerRecord, runner: Owner) -> str:
    """Return the line for a runner of this host that works on without a lease."""
    who = "this process" if runner.pid == os.getpid() else f"pid {runner.pid}"
    does = "may still be in a body of it"
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
