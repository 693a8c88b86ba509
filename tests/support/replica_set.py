"""A real replica set of three members, whose members die, freeze and come back."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pymongo import MongoClient
from pymongo.errors import PyMongoError

from tests.support.mongod import Mongod, shifted, start_mongod
from tests.support.processes import free_port, state_of
from tests.support.waiting import until

#: After so long without a primary the members elect another one, in milliseconds.
_ELECTION_MS = 2_000


class Member:
    """One member; its data and its port outlive its process."""

    def __init__(self, folder: Path, env: Mapping[str, str]) -> None:
        self.folder = folder
        self.port = free_port()
        self._env = env
        self.mongod = self._start()

    def _start(self) -> Mongod:
        # Flow control would take a clock that is off for members that lag behind.
        flow = ("--setParameter", "enableFlowControl=false")
        words = ("--replSet", "rs", "--oplogSize=64", *flow)
        return start_mongod(self.folder, self.port, *words, env=self._env)

    @property
    def is_dead(self) -> bool:
        return self.mongod.process.poll() is not None

    def kill(self) -> None:
        self.mongod.kill()

    def revive(self) -> None:
        """Have it run, whatever became of it."""
        if self.is_dead:
            self.mongod = self._start()
        elif state_of(self.mongod.process.pid) == "T":
            self.mongod.thaw()

    def hello(self) -> dict[str, Any]:
        """Return what it says of itself; nothing if it says nothing in time."""
        if self.is_dead or state_of(self.mongod.process.pid) == "T":
            return {}
        try:
            with MongoClient[dict[str, Any]](
                self.mongod.url, directConnection=True, timeoutMS=1000
            ) as client:
                return dict(client.admin.command("hello"))
        except PyMongoError:
            return {}


class ReplicaSet:
    """Three members that elect a primary among them.

    Args:
        folder: where their data is.
        shifts: how many seconds the clock of each is ahead.
    """

    def __init__(self, folder: Path, shifts: Sequence[int] = (0, 0, 0)) -> None:
        self.members = [
            Member(folder / f"member{n}", shifted(shift, folder) if shift else {})
            for n, shift in enumerate(shifts)
        ]
        hosts = [f"127.0.0.1:{each.port}" for each in self.members]
        self.url = f"mongodb://{','.join(hosts)}/?replicaSet=rs"
        config = {
            "_id": "rs",
            "members": [{"_id": n, "host": host} for n, host in enumerate(hosts)],
            "settings": {"electionTimeoutMillis": _ELECTION_MS},
        }
        self.members[0].mongod.command("replSetInitiate", config)
        self.heal()

    def primary(self) -> Member:
        """Return the primary, as soon as there is one."""
        found: list[Member] = []

        def look() -> bool:
            found[:] = [m for m in self.members if m.hello().get("isWritablePrimary")]
            return len(found) == 1

        until(look)
        return found[0]

    def secondaries(self) -> list[Member]:
        primary = self.primary()
        return [member for member in self.members if member is not primary]

    def step_down(self) -> None:
        """Have the primary make room for another one, at once."""
        self.primary().mongod.command("replSetStepDown", 10, force=True)

    def heal(self) -> None:
        """Have all members run, and wait until they are a primary and two secondaries."""
        for member in self.members:
            member.revive()
        until(lambda: self._roles() == ["primary", "secondary", "secondary"])

    def _roles(self) -> list[str]:
        roles = {"isWritablePrimary": "primary", "secondary": "secondary"}
        said = [member.hello() for member in self.members]
        return sorted(
            role for key, role in roles.items() for each in said if each.get(key)
        )

    def close(self) -> None:
        for member in self.members:
            member.kill()


@contextmanager
def three_members(shifts: Sequence[int] = (0, 0, 0)) -> Iterator[ReplicaSet]:
    """Run a replica set in a folder of its own, and leave nothing of it."""
    folder = Path(tempfile.mkdtemp(prefix="ptsflow-replica-set-"))
    try:
        made = ReplicaSet(folder, shifts)
        try:
            yield made
        finally:
            made.close()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
