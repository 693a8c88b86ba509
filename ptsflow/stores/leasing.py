"""Claiming, renewing, saving and giving back a lease, for SQLite and memory.

Each call reads a container's record, asks a pure function below for the new record, and
writes it, all within one transaction or lock. MongoDB decides the same in its filters.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable

from msgspec.structs import replace

from ptsflow.core.insight import RunRecord
from ptsflow.core.model import ContainerRecord, Owner, Stop
from ptsflow.stores.rules import is_held, raise_lost

#: Takes the stored record (None if there is no container) and returns the record to
#: write, or None to write nothing.
Decide = Callable[[ContainerRecord | None], ContainerRecord | None]

#: The fields of a container that `Store.save` leaves as they are stored.
NOT_SAVED = frozenset(
    {"uid", "name", "fence", "owner", "leased_till", "stop_asked", "created_at"}
)


class Leasing(ABC):
    """The calls of `Store` about leases: each is one read, one decision and one write."""

    @abstractmethod
    def now(self) -> int:
        """Return the store's time in milliseconds since the epoch."""

    @abstractmethod
    def _swap_container(
        self, uid: str, decide: Decide, run: RunRecord | None = None
    ) -> ContainerRecord | None:
        """Write the record that `decide` returns for the stored one, and return it.

        With it goes the run, if one is given.
        """

    def claim(
        self,
        uid: str,
        owner: Owner,
        lease_ms: int,
        *,
        dead: int | None = None,
        above: int = 0,
    ) -> ContainerRecord | None:
        """Take the lease for `owner` and raise the fence by one, or return None."""

        def decide(stored: ContainerRecord | None) -> ContainerRecord | None:
            found = claimed(stored, owner, self.now(), lease_ms, dead)
            if found is stored or found is None or found.fence > above:
                return found
            return replace(found, fence=above + 1)

        return self._swap_container(uid, decide)

    def renew(self, uid: str, fence: int, lease_ms: int) -> bool:
        """Move the end of the lease to now + `lease_ms`; False if the lease was lost."""
        renewed = self._swap_container(
            uid, lambda stored: extended(stored, fence, self.now() + lease_ms)
        )
        return renewed is not None

    def save(self, record: ContainerRecord, run: RunRecord | None = None) -> None:
        """Write the fields of a leased container that are not `NOT_SAVED`."""
        self._swap_container(record.uid, lambda stored: saved(stored, record), run)

    def release(self, record: ContainerRecord, run: RunRecord | None = None) -> bool:
        """Do what `save` does and give the lease back, in one write."""
        released = self._swap_container(
            record.uid, lambda stored: given_back(stored, record), run
        )
        return released is not None

    def ask_to_stop(self, uid: str, fence: int, how: Stop) -> bool:
        """Ask the owner of that fence to stop; False if the lease was lost."""
        asked = self._swap_container(
            uid, lambda stored: asked_to_stop(stored, fence, how)
        )
        return asked is not None


def claimed(
    stored: ContainerRecord | None,
    owner: Owner,
    now: int,
    lease_ms: int,
    dead: int | None,
) -> ContainerRecord | None:
    """Return the container leased to `owner`; None if it is gone, or another owner's.

    If `dead` is the fence of a live lease, its owner has died, and the lease is taken. If
    `owner` holds the lease already, the answer to its claim was lost: return `stored`.
    """
    if stored is None:
        return None
    if stored.is_leased(now):
        if stored.owner is not None and stored.owner.id == owner.id:
            return stored
        if stored.fence != dead:
            return None
    return replace(
        stored,
        owner=owner,
        fence=stored.fence + 1,
        leased_till=now + lease_ms,
        stop_asked=None,
    )


def extended(
    stored: ContainerRecord | None, fence: int, till: int
) -> ContainerRecord | None:
    """Return the container leased until `till`, or None if the lease was lost."""
    return replace(stored, leased_till=till) if is_held(stored, fence) else None


def saved(stored: ContainerRecord | None, wanted: ContainerRecord) -> ContainerRecord:
    """Return `wanted` with the stored values of the fields in `NOT_SAVED`.

    Raises:
        LeaseLost: the lease of `wanted.fence` was lost.
    """
    if not is_held(stored, wanted.fence):
        raise_lost(wanted.name, wanted.fence, stored)
    return replace(wanted, **{name: getattr(stored, name) for name in NOT_SAVED})


def given_back(
    stored: ContainerRecord | None, wanted: ContainerRecord
) -> ContainerRecord | None:
    """Return the container as its owner leaves it, or None if the lease was lost.

    If the owner has given the lease back already, return `stored`.
    """
    if stored is None or stored.fence != wanted.fence:
        return None
    if stored.owner is None:
        return stored
    return replace(saved(stored, wanted), owner=None, leased_till=None, stop_asked=None)


def asked_to_stop(
    stored: ContainerRecord | None, fence: int, how: Stop
) -> ContainerRecord | None:
    """Return the container with a request to stop, or None if the lease was lost.

    GENTLY does not replace NOW.
    """
    if not is_held(stored, fence):
        return None
    return stored if stored.stop_asked is Stop.NOW else replace(stored, stop_asked=how)
