"""Opening a store in memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ptsflow.errors import StoreURLError, UsageError
from ptsflow.host.clock import Clock
from ptsflow.stores.care import StoreCare
from ptsflow.stores.memory.store import MemoryStore
from ptsflow.stores.store_wait import StoreWait
from ptsflow.stores.url_mask import mask


class MemoryOpener:
    """Opens an empty store in this process's memory each time."""

    @staticmethod
    def open(
        url: str,
        *,
        clock: Clock,
        upgrade: bool,
        notice: Callable[[str], None] | None,
        wait: StoreWait,
    ) -> MemoryStore:
        """Return a new store; it has this version's layout."""
        del upgrade, notice, wait
        if url not in {"memory:", "memory://"}:
            raise StoreURLError(
                f"store URL {mask(url)!r}: expected memory: alone; leave out the rest"
            )
        return MemoryStore(clock=clock)

    @staticmethod
    def exists(url: str) -> bool:
        """Return True: opening such a store leaves nothing behind."""
        del url
        return True

    @staticmethod
    def absolute(url: str) -> str:
        """Return the URL: it names no folder."""
        return url

    @staticmethod
    def care(url: str) -> StoreCare:
        """Refuse: the store ends with this process.

        Raises:
            UsageError: always.
        """
        raise UsageError(
            f"store URL {mask(url)!r}: expected a store that outlives this process, found "
            "one in memory; name another with --store URL"
        )

    @staticmethod
    def upgrade(url: str) -> Sequence[str]:
        """Do nothing: no store in memory is older than this version."""
        del url
        return ()
