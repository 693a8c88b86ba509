"""The queue: containers that wait for a worker, and what becomes of those that it takes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from enum import Enum

from msgspec import Struct

from ptsflow.core.model import ContainerRecord, Status


class QueueEntry(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A container that somebody submitted. It names no code: a worker brings its own."""

    uid: str
    container: str
    workflow: str
    #: A worker leaves it alone before this time; 0 for no such time.
    not_before: int = 0
    #: Entries with a larger number are taken first.
    priority: int = 0
    #: The host and process that submitted it, such as "vm:4711".
    by: str = ""
    #: When it was submitted.
    at: int


def in_order(entries: Iterable[QueueEntry]) -> list[QueueEntry]:
    """Return entries by priority, then by when they were submitted."""
    return sorted(entries, key=lambda e: (-e.priority, e.at, e.uid))


def is_over(entry: QueueEntry, record: ContainerRecord | None) -> bool:
    """Whether nothing is left to do for an entry.

    A container is pending when it is submitted: one that has failed was run since then.

    Args:
        entry: the entry.
        record: the container of its name as it is now; None if there is none.
    """
    if record is None or record.uid != entry.uid:
        return True
    return record.status in (Status.DONE, Status.FAILED)


def is_orphaned(record: ContainerRecord, now: int) -> bool:
    """Whether a run of the container died.

    Args:
        record: the container with the owner that it really has.
        now: the store's time.
    """
    return record.status is Status.RUNNING and not record.is_leased(now)


class Fate(Enum):
    """What becomes of a container whose runner ended."""

    #: The run ended, well or not: nobody runs the container again by itself.
    OVER = "over"
    #: Another runner has it.
    BUSY = "busy"
    #: The worker stopped the run: the next worker goes on with it.
    STOPPED = "stopped"
    #: The runner died, or the store was away: the container is to be run again.
    BROKE_OFF = "broke off"


_BUSY, _STORE, _LEASE_LOST = 5, 6, 75
_STOPPED = frozenset({129, 130, 143})


def fate(code: int, *, is_stopping: bool) -> Fate:
    """Return what becomes of a container.

    Args:
        code: what its runner exited with; negative if a signal killed the runner.
        is_stopping: whether the worker had asked the runner to stop.
    """
    if is_stopping and (code < 0 or code in _STOPPED):
        return Fate.STOPPED
    if code == _BUSY:
        return Fate.BUSY
    has_broken_off = code < 0 or code in (_STORE, _LEASE_LOST)
    return Fate.BROKE_OFF if has_broken_off else Fate.OVER


#: Workers that look at the same moment are to take different containers.
_FIRST = 8


def to_try(
    entries: Sequence[QueueEntry], draw: Callable[[], float]
) -> list[QueueEntry]:
    """Return entries in the order in which a worker tries to take them.

    The first ones of one priority change places at random, so that of several workers
    most take another one.

    Args:
        entries: as the queue is ordered.
        draw: returns a random number.
    """
    first = [e for e in entries[:_FIRST] if e.priority == entries[0].priority]
    return [*sorted(first, key=lambda _: draw()), *entries[len(first) :]]
