"""Where containers and tasks are kept: opening the store that a URL names.

A backend is imported when its URL is opened, so that a program that uses a file never
loads MongoDB's drivers.
"""

from __future__ import annotations

from ptsflow.errors import StoreURLError
from ptsflow.host.clock import Clock, system_clock
from ptsflow.stores.base import Store
from ptsflow.stores.url_mask import mask

__all__ = ["Store", "mask", "open_store"]

_EXPECTED = "expected sqlite:///FILE, mongodb://HOST/DATABASE or memory:"


def open_store(url: str, *, clock: Clock = system_clock) -> Store:
    """Open the store that `url` names.

    Args:
        url: `sqlite:///FILE`, `sqlite:////ABSOLUTE/FILE`, `mongodb://…`,
            `mongodb+srv://…` or `memory:`.
        clock: Tells the time for leases in SQLite and memory. MongoDB uses the
            server's own, unless another one than `system_clock` is given.

    Raises:
        StoreURLError: the URL is not one of these.
        StoreUnavailable: it cannot be reached or made.
        StoreDamaged: what is there is not a store of this version.
    """
    scheme = url.partition(":")[0].lower() if ":" in url else ""
    if scheme == "sqlite":
        from ptsflow.stores.sqlite.store import SqliteStore  # noqa: PLC0415 - lazily.

        return SqliteStore(url, clock=clock)
    if scheme in {"mongodb", "mongodb+srv"}:
        from ptsflow.stores.mongo.store import MongoStore  # noqa: PLC0415 - lazily.

        return MongoStore(url, clock=None if clock is system_clock else clock)
    if url in {"memory:", "memory://"}:
        from ptsflow.stores.memory.store import MemoryStore  # noqa: PLC0415 - lazily.

        return MemoryStore(clock=clock)
    raise StoreURLError(_unknown(url, scheme))


def _unknown(url: str, scheme: str) -> str:
    shown = mask(url)
    if not url:
        return f"store URL: {_EXPECTED}, found nothing; give one of these"
    if scheme == "memory":
        return f"store URL {shown!r}: expected memory: alone; leave out the rest"
    if "://" in url:
        return f"store URL {shown!r}: {_EXPECTED}, found {scheme!r}; use one of these"
    return (
        f"store URL {shown!r}: {_EXPECTED}, found no scheme; for a file, put "
        "sqlite:/// before it"
    )
