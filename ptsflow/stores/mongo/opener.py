"""Opening a MongoDB database of whatever layout."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ptsflow.host.clock import Clock, system_clock
from ptsflow.stores.care import StoreCare
from ptsflow.stores.mongo import migrations
from ptsflow.stores.mongo.store import MongoStore
from ptsflow.stores.store_wait import StoreWait


class MongoOpener:
    """Opens the database that a `mongodb:` or `mongodb+srv:` URL names."""

    @staticmethod
    def open(
        url: str,
        *,
        clock: Clock,
        upgrade: bool,
        notice: Callable[[str], None] | None,
        wait: StoreWait,
    ) -> MongoStore:
        """Return a store; a database of an earlier layout is refused if it must change."""
        del notice
        its_own = None if clock is system_clock else clock
        return wait.through(
            lambda: MongoStore(url, clock=its_own, any_layout=not upgrade, wait=wait)
        )

    @staticmethod
    def exists(url: str) -> bool:
        """Return True: a database comes into being with its first document."""
        del url
        return True

    @staticmethod
    def absolute(url: str) -> str:
        """Return the URL: it names no folder."""
        return url

    @staticmethod
    def care(url: str) -> StoreCare:
        """Return what looks after the database."""
        from ptsflow.stores.mongo.care import MongoCare  # noqa: PLC0415 - rarely used.

        return MongoCare(url)

    @staticmethod
    def upgrade(url: str) -> Sequence[str]:
        """Carry the database over to this version's layout; return a line if it was not."""
        return migrations.upgrade(url)
