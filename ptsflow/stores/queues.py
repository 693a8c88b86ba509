"""The contract of the queue of a store; `Store.queue` returns it."""

from __future__ import annotations

from collections.abc import Collection
from typing import Protocol

from ptsflow.core.work_queue import QueueEntry


class WorkQueue(Protocol):
    """The containers that wait for a worker.

    Its table or collection is made with the first entry. Deleting a container deletes its
    entry.
    """

    def put(self, entry: QueueEntry) -> None:
        """Keep an entry, in place of an earlier one of its container."""

    def remove(self, uid: str, until: int | None = None) -> bool:
        """Remove the entry of a container; False if there is none.

        Args:
            uid: the container's.
            until: leave an entry that was submitted after this time; None for any.
        """

    def due(
        self, workflows: Collection[str], now: int, limit: int = 100
    ) -> list[QueueEntry]:
        """Return entries that may be taken, those to be taken first in front.

        Args:
            workflows: return the containers of these workflows only.
            now: leave out what is not to be begun until later.
            limit: return so many at the most.
        """
