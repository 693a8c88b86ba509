"""The queue in memory."""

from __future__ import annotations

from collections.abc import Collection
from threading import Lock

from ptsflow.core.work_queue import QueueEntry, in_order


class MemoryQueue:
    """Entries by the uid of their container."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._entries: dict[str, QueueEntry] = {}

    def put(self, entry: QueueEntry) -> None:
        """Keep an entry, in place of an earlier one of its container."""
        with self._lock:
            self._entries[entry.uid] = entry

    def remove(self, uid: str, until: int | None = None) -> bool:
        """Remove the entry of a container; False if there is none; see `WorkQueue`."""
        with self._lock:
            entry = self._entries.get(uid)
            if entry is None or (until is not None and entry.at > until):
                return False
            del self._entries[uid]
            return True

    def due(
        self, workflows: Collection[str], now: int, limit: int = 100
    ) -> list[QueueEntry]:
        """Return entries that may be taken, those to be taken first in front."""
        with self._lock:
            entries = list(self._entries.values())
        found = [e for e in entries if e.workflow in workflows and e.not_before <= now]
        return in_order(found)[:limit]
