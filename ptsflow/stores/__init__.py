"""Where containers and tasks are kept: opening the store that a URL names.

An opener is imported when its URL is opened, so that a program that uses a file never
loads MongoDB's drivers.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module

from ptsflow.errors import ContainerNotFound, StoreUnavailable, StoreURLError
from ptsflow.host.clock import Clock, system_clock
from ptsflow.host.garbage import modules_stay
from ptsflow.stores.base import Opener, Store
from ptsflow.stores.care import StoreCare
from ptsflow.stores.store_wait import NO_WAIT, StoreWait
from ptsflow.stores.url_mask import mask, mask_in

__all__ = [
    "Store",
    "absolute",
    "mask",
    "mask_in",
    "open_care",
    "open_store",
    "store_exists",
    "upgrade_store",
]

#: How the URLs of each kind of store are spelt, and the `Opener` that opens them.
_OPENERS = {
    "sqlite:///FILE": "ptsflow.stores.sqlite.opener:SqliteOpener",
    "mongodb://HOST/DATABASE": "ptsflow.stores.mongo.opener:MongoOpener",
    "mongodb+srv://HOST/DATABASE": "ptsflow.stores.mongo.opener:MongoOpener",
    "memory:": "ptsflow.stores.memory.opener:MemoryOpener",
}


def open_store(
    url: str,
    *,
    clock: Clock = system_clock,
    upgrade: bool = True,
    notice: Callable[[str], None] | None = None,
    wait: StoreWait = NO_WAIT,
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
        wait: How long to wait for a store that is away for a moment.

    Raises:
        StoreURLError: the URL is not one of these.
        StoreUnavailable: the store cannot be reached or made.
        StoreFull: the disk has no room for the upgrade.
        StoreDamaged: what is there is not a store of this version.
        ContainerBusy: a runner may be at work in a file that must be upgraded.
    """
    return _opener(url).open(
        url, clock=clock, upgrade=upgrade, notice=notice, wait=wait
    )


def store_exists(url: str) -> bool:
    """Return whether opening the store would make nothing, such as a file.

    Raises:
        StoreURLError: the URL is none of a store.
    """
    return _opener(url).exists(url)


def absolute(url: str) -> str:
    """Return a URL that names the same store in every folder.

    Raises:
        StoreURLError: the URL is none of a store.
    """
    return _opener(url).absolute(url)


def open_care(url: str) -> StoreCare:
    """Return what looks after an existing store, also after one that cannot be opened.

    Raises:
        StoreURLError: the URL is none of a store.
        ContainerNotFound: there is no store.
    """
    care = _opener(url).care(url)
    if not care.is_there:
        raise ContainerNotFound(
            f"there is no store at {mask(url)} yet: a run makes it; or name another one "
            "with --store URL"
        )
    return care


def upgrade_store(url: str) -> str | None:
    """Carry a store over to this version's layout.

    Returns:
        One line about the upgrade, or None if the store has this layout already.

    Raises:
        ContainerBusy: a runner may be at work in the store.
        StoreError: the store does not exist, or cannot be opened; see `open_store`.
    """
    opener = _opener(url)
    if not opener.exists(url):
        raise StoreUnavailable(
            f"there is no store at {mask(url)}; name the one to upgrade"
        )
    lines = list(opener.upgrade(url))
    open_store(url, notice=lines.append).close()
    return lines[0] if lines else None


def _opener(url: str) -> Opener:
    """Return what opens the store of a URL.

    Raises:
        StoreURLError: the scheme is none of a store.
    """
    scheme = _scheme(url)
    for spelling, place in _OPENERS.items():
        if scheme == _scheme(spelling):
            module, _, name = place.partition(":")
            with modules_stay():
                loaded = import_module(module)
            opener: Opener = getattr(loaded, name)
            return opener
    raise StoreURLError(_unknown(url, scheme))


def _scheme(url: str) -> str:
    return url.partition(":")[0].lower() if ":" in url else ""


def _unknown(url: str, scheme: str) -> str:
    *others, last = _OPENERS
    expected = f"expected {', '.join(others)} or {last}"
    if not url:
        return f"store URL: {expected}, found nothing; give one of these"
    shown = mask(url)
    if "://" in url:
        return f"store URL {shown!r}: {expected}, found {scheme!r}; use one of these"
    return (
        f"store URL {shown!r}: {expected}, found no scheme; for a file, put sqlite:/// "
        "before it"
    )
