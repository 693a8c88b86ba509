"""A database of its own for every test of MongoDB alone, and what was said to it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from uuid import uuid4

from pymongo import MongoClient, monitoring
from pymongo.database import Database

Raw = dict[str, Any]


def new_database_url(server: str, options: str = "") -> str:
    """Return the URL of a database that nobody else uses."""
    address, _, query = server.partition("?")
    both = "&".join(part for part in (query, options) if part)
    return f"{address.rstrip('/')}/ptsflow_{uuid4().hex}?{both}"


@contextmanager
def raw_database(url: str) -> Iterator[Database[Raw]]:
    """Open the database behind the store's back, and drop it at the end."""
    with MongoClient[Raw](url, tz_aware=True, w=1, wTimeoutMS=30_000) as client:
        database = client.get_default_database()
        yield database
        client.drop_database(database)


class Ear(monitoring.CommandListener):
    """Hears every command of clients that are opened while it listens."""

    def __init__(self) -> None:
        self.commands: list[Raw] = []

    def started(self, event: monitoring.CommandStartedEvent) -> None:
        if event.command_name not in {"hello", "ping", "endSessions"}:
            self.commands.append(dict(event.command))

    def succeeded(self, event: monitoring.CommandSucceededEvent) -> None:
        """Do nothing: what was asked is enough."""

    def failed(self, event: monitoring.CommandFailedEvent) -> None:
        """Do nothing: what was asked is enough."""

    @property
    def names(self) -> list[str]:
        return [next(iter(command)) for command in self.commands]


@contextmanager
def listening() -> Iterator[Ear]:
    """Hear the commands of all clients that are opened within."""
    ear = Ear()
    listeners = monitoring._LISTENERS.command_listeners
    monitoring.register(ear)
    try:
        yield ear
    finally:
        listeners.remove(ear)
