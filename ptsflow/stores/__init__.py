"""Where containers and tasks are kept: opening the store that a URL names.

A backend is imported when its URL is opened, so that a program that uses a file never
loads MongoDB's drivers.
"""

from __future__ import annotations

from collections.abc import Callable

from ptsflow.errors import StoreUnavailable, StoreURLError
from ptsflow.host.clock import Clock, system_clock
from ptsflow.stores.base import Store
from ptsflow.stores.url_mask import mask

__all__ = ["Store", "mask", "open_store", "upgrade_store"]

_EXPECTED = "expected sqlite:///FILE, mongodb://HOST/DATABASE or memory:"


def open_store(
    url: str,
    *,
    clock: Clock = system_clock,
    upgrade: bool = True,
    notice: Callable[[str], None] | None = None,
) -> Store:
    """Open the store that `url` names.

    Args:
        url: `sqlite:///FILE`, `sqlite:////ABSOLUTE/FILE`, `mongodb://…`,
            `mongodb+srv://…` or `memory:`.
        clock: Tells the time for leases in SQLite and memory. MongoDB uses the
            server's own, unless another one than `system_clock` is given.
        upgrade: Carry a SQLite file of an earlier layout over to this version's, and
            refuse a database of an earlier layout. Without it the store stays in its
            layout, and can only be read, and carry requests to stop to runners.
        notice: Receives one line if the file was upgraded; without it standard error
            does.

    Raises:
        StoreURLError: the URL is not one of these.
        StoreUnavailable: the store cannot be reached or made.
        StoreFull: the disk has no room for the upgrade.
        StoreDamaged: what is there is not a store of this version.
        ContainerBusy: a runner may be at work in a file that must be upgraded.
    """
    scheme = _scheme(url)
    if scheme == "sqlite":
        return _open_sqlite(url, clock, notice, upgrade=upgrade)
    if scheme in _MONGO:
        from ptsflow.stores.mongo.store import MongoStore  # noqa: PLC0415 - lazily.

        its_own = None if clock is system_clock else clock
        return MongoStore(url, clock=its_own, any_layout=not upgrade)
    if url in {"memory:", "memory://"}:
        from ptsflow.stores.memory.store import MemoryStore  # noqa: PLC0415 - lazily.

        return MemoryStore(clock=clock)
    raise StoreURLError(_unknown(url, scheme))


def upgrade_store(url: str) -> str | None:
    """Carry a store over to this version's layout.

    Returns:
        One line about the upgrade, or None if the store has this layout already.

    Raises:
        ContainerBusy: a runner may be at work in the store.
        StoreError: the store does not exist, or cannot be opened; see `open_store`.
    """
    lines: list[str] = []
    if _scheme(url) in _MONGO:
        from ptsflow.stores.mongo.migrations import upgrade  # noqa: PLC0415 - lazily.

        lines += upgrade(url)
    elif _scheme(url) == "sqlite":
        from ptsflow.stores.sqlite.file import path_of  # noqa: PLC0415 - lazily.

        if not path_of(url).exists():
            raise StoreUnavailable(
                f"there is no store at {url}; name the one to upgrade"
            )
    open_store(url, notice=lines.append).close()
    return lines[0] if lines else None


_MONGO = {"mongodb", "mongodb+srv"}


def _scheme(url: str) -> str:
    return url.partition(":")[0].lower() if ":" in url else ""


def _open_sqlite(
    url: str, clock: Clock, notice: Callable[[str], None] | None, *, upgrade: bool
) -> Store:
    if not upgrade:
        from ptsflow.stores.sqlite.earlier import open_as_is  # noqa: PLC0415 - lazily.

        return open_as_is(url, clock)
    from ptsflow.stores.sqlite.store import SqliteStore  # noqa: PLC0415 - lazily.

    return SqliteStore(url, clock=clock, notice=notice)


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
