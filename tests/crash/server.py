"""A mongod of a test's own, that dies and comes back with its data."""

from __future__ import annotations

from pathlib import Path

from tests.support.mongod import Mongod, start_mongod
from tests.support.processes import free_port


class Server:
    """A mongod that outlives its process."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self.url = f"mongodb://127.0.0.1:{self.port}/crash"
        self._mongod: Mongod | None = None

    def start(self) -> None:
        self._mongod = start_mongod(self.folder, self.port)

    def kill(self) -> None:
        if self._mongod is not None:
            self._mongod.kill()
