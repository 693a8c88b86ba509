"""A later version of ptsflow, whose layout 5 is made from layout 3 by two steps.

It reads and writes what this version does; what its layouts have besides it only keeps.

Run as a program it upgrades stores in forks of itself, each of which may be killed:
a line `NUMBER URL` upgrades a store, is killed at that statement (0: never), and is
answered by the line of what the fork exited with.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

import apsw
from pymongo import monitoring

from ptsflow import stores
from ptsflow.core import model
from ptsflow.stores.mongo import migrations as mongo
from ptsflow.stores.mongo.connection import Connection
from ptsflow.stores.sqlite import layout, statements
from ptsflow.stores.sqlite import migrations as sqlite

SCHEMA = 5
_COLUMNS = statements.CONTAINER

#: The tables of layout 5: a container has a colour, an attempt a cost.
TABLES = (
    *(
        text.replace("next_position INTEGER", "colour TEXT,\n next_position INTEGER")
        for text in layout.TABLES[:-1]
    ),
    layout.TABLES[-1].replace("entry TEXT", "cost REAL,\n entry TEXT"),
)


def _colour_containers(connection: apsw.Connection) -> None:
    connection.execute("ALTER TABLE containers ADD COLUMN colour TEXT")
    for (uid,) in list(connection.execute("SELECT uid FROM containers")):
        connection.execute(
            "UPDATE containers SET colour = 'red ' || name WHERE uid = ?", (uid,)
        )


def _price_attempts(connection: apsw.Connection) -> None:
    connection.execute(TABLES[-1].replace("attempts", "new_attempts"))
    connection.execute(
        "INSERT INTO new_attempts (task, number, checksum, entry, cost) "
        "SELECT task, number, checksum, entry, 1.5 FROM attempts"
    )
    connection.execute("DROP TABLE attempts")
    connection.execute("ALTER TABLE new_attempts RENAME TO attempts")


SQLITE_STEPS = (
    *sqlite.STEPS,
    sqlite.SqliteStep(3, _COLUMNS, _colour_containers),
    sqlite.SqliteStep(4, _COLUMNS, _price_attempts),
)


def _colour_documents(link: Connection) -> None:
    containers = link.collection("ptsflow_containers")
    for raw in link.find_all(containers, {"colour": {"$exists": False}}, {"name": 1}):
        colour = f"red {raw['name']}"
        with link.call():
            containers.update_one({"_id": raw["_id"]}, {"$set": {"colour": colour}})


def _price_documents(link: Connection) -> None:
    with link.call():
        link.collection("ptsflow_tasks").update_many(
            {"ledger.0": {"$exists": True}}, {"$set": {"ledger.$[].cost": 1.5}}
        )


MONGO_STEPS = (
    *mongo.STEPS,
    mongo.MongoStep(3, _colour_documents),
    mongo.MongoStep(4, _price_documents),
)


@contextmanager
def later_version() -> Iterator[None]:
    """Be that later version within."""
    with (
        mock.patch.object(model, "SCHEMA", SCHEMA),
        mock.patch.object(layout, "TABLES", TABLES),
        mock.patch.object(sqlite, "STEPS", SQLITE_STEPS),
        mock.patch.object(mongo, "STEPS", MONGO_STEPS),
    ):
        yield


# -- upgrades that are killed ----------------------------------------------------------


class _Death:
    """Kills this process at the n-th statement, command, copy or renaming."""

    def __init__(self, number: int) -> None:
        self._left = number

    def pass_by(self, *_: object) -> bool:
        self._left -= 1
        if self._left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return True

    def lie_in_wait(self) -> None:
        apsw.connection_hooks.append(lambda each: each.set_exec_trace(self.pass_by))
        sys.addaudithook(
            lambda event, _: event in {"os.rename", "os.remove"} and self.pass_by()
        )
        copy = sqlite.copy_into
        sqlite.copy_into = self._around(copy)
        monitoring.register(_Listener(self))

    def _around(self, act: Callable[..., None]) -> Callable[..., None]:
        def acted(*args: Any) -> None:
            self.pass_by()
            act(*args)
            self.pass_by()

        return acted


class _Listener(monitoring.CommandListener):
    def __init__(self, death: _Death) -> None:
        self._death = death

    def started(self, event: monitoring.CommandStartedEvent) -> None:
        if event.command_name not in {"hello", "ping", "endSessions"}:
            self._death.pass_by()

    def succeeded(self, event: monitoring.CommandSucceededEvent) -> None:
        """Do nothing."""

    def failed(self, event: monitoring.CommandFailedEvent) -> None:
        """Do nothing."""


def _upgrade(number: int, url: str) -> None:
    code = 1
    try:
        _Death(number).lie_in_wait()
        stores.upgrade_store(url)
        code = 0
    finally:
        os._exit(code)


def _serve() -> None:
    with later_version():
        for line in sys.stdin:
            number, _, url = line.rstrip("\n").partition(" ")
            pid = os.fork()
            if pid == 0:
                _upgrade(int(number), url)
            _, status = os.waitpid(pid, 0)
            sys.stdout.write(f"{os.waitstatus_to_exitcode(status)}\n")
            sys.stdout.flush()


if __name__ == "__main__":
    _serve()
