"""Opening a SQLite file of whatever layout."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from ptsflow.host.clock import Clock
from ptsflow.stores.care import StoreCare
from ptsflow.stores.sqlite.file import path_of
from ptsflow.stores.sqlite.store import SqliteStore
from ptsflow.stores.store_wait import StoreWait


class SqliteOpener:
    """Opens the file that a `sqlite:` URL names."""

    @staticmethod
    def open(
        url: str,
        *,
        clock: Clock,
        upgrade: bool,
        notice: Callable[[str], None] | None,
        wait: StoreWait,
    ) -> SqliteStore:
        """Return a store; a file of an earlier layout is upgraded if `upgrade` says so."""
        if upgrade:
            return wait.through(partial(SqliteStore, url, clock=clock, notice=notice))
        from ptsflow.stores.sqlite.earlier import open_as_is  # noqa: PLC0415 - rarely used.

        return open_as_is(url, clock)

    @staticmethod
    def exists(url: str) -> bool:
        """Return whether the file exists; opening the store would make it."""
        return path_of(url).exists()

    @staticmethod
    def absolute(url: str) -> str:
        """Return a URL with the absolute path of the file."""
        path = str(path_of(url)).replace("%", "%25").replace("?", "%3F")
        return f"sqlite:///{path}"

    @staticmethod
    def care(url: str) -> StoreCare:
        """Return what looks after the file."""
        from ptsflow.stores.sqlite.care import SqliteCare  # noqa: PLC0415 - rarely used.

        return SqliteCare(url, path_of(url))

    @staticmethod
    def upgrade(url: str) -> Sequence[str]:
        """Do nothing: opening the file upgrades it."""
        del url
        return ()
