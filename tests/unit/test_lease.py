"""The keeper of a lease: how often it asks a store that is away."""

from __future__ import annotations

import queue

from ptsflow.clock import since_boot, system_clock
from ptsflow.errors import StoreUnavailable
from ptsflow.lease import Keeper, acquire, this_process
from ptsflow.stores.memory import MemoryStore

LEASE_MS = 1_000


class Away(MemoryStore):
    """A store that says at once that it cannot be reached, whenever a lease is renewed."""

    asked = 0

    def sibling(self) -> Away:
        return self

    def renew(self, uid: str, fence: int, lease_ms: int) -> bool:  # noqa: ARG002 - a Store's
        self.asked += 1
        raise StoreUnavailable("away")


def test_a_store_that_refuses_at_once_is_not_asked_without_a_pause() -> None:
    store = Away()
    record, _ = store.create("box")
    claimed, asked_at = acquire(store, record, this_process(system_clock), LEASE_MS)
    lost: queue.SimpleQueue[str] = queue.SimpleQueue()
    keeper = Keeper(store, claimed, LEASE_MS, asked_at=asked_at, on_lost=lost.put)
    keeper.start()
    why = lost.get(timeout=10)
    keeper.stop()

    assert why == "its lease could not be renewed in time"
    assert since_boot() >= keeper.deadline
    assert 2 <= store.asked <= 20
