"""Stores with containers of every kind, and servers that show them."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from msgspec import Struct

import ptsflow
from ptsflow.stores import open_store
from tests.support.processes import PTSFLOW, environment, free_port
from tests.support.waiting import awaited, until
from tests.web.flows import Import, Many, Sides

FLOWS = Path(__file__).with_name("flows.py")


class Shelf(Struct, frozen=True):
    """A store in which there is a container of every kind."""

    url: str
    #: By what became of each container.
    names: Mapping[str, str]
    #: By what became of each container.
    uids: Mapping[str, str]


def uid_of(url: str, name: str) -> str:
    """Return the uid of a container that exists."""
    with contextlib.closing(open_store(url)) as store:
        record = store.container(name)
    assert record is not None
    return record.uid


def start_held(url: str, name: str, folder: Path) -> subprocess.Popen[bytes]:
    """Start a run that lasts until there is a file `go` in a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    process = subprocess.Popen(
        [*PTSFLOW, "run", f"{FLOWS}:Held", "-p", f"folder={folder}", "-c", name, "-q"],
        env=environment(PTSFLOW_STORE=url),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    until((folder / "pid").exists, seen=lambda: f"the run ended: {process.poll()}")
    return process


def end(process: subprocess.Popen[bytes]) -> None:
    """End a process at once."""
    process.kill()
    process.wait()


def make_by_client(url: str) -> None:
    """Make a container as a client does that has no workflow."""
    with ptsflow.connect(url) as client:
        container, _ = client.get_or_create_task_container("by/client & co")
        container.add_task("read", task_data={"from": "feed.csv"})
        container.add_task(
            "write", is_complete=True, has_failed=True, error="no room left"
        )
        container.add_task("tell")


@contextmanager
def shelf(url: str, folder: Path) -> Iterator[Shelf]:
    """Put a container of every kind into a store; one of them runs meanwhile."""
    ptsflow.run(Import(hour="12"), store=url)
    ptsflow.run(Import(hour="13"), store=url)
    ptsflow.run(Import(hour="14", sound=False), store=url)
    ptsflow.run(Many(), store=url, container="many")
    ptsflow.run(Sides(), store=url, container="wide")
    make_by_client(url)
    end(start_held(url, "orphaned", folder / "orphaned"))
    names = {
        "done": "import:13",
        "failed": "import:14",
        "many": "many",
        "wide": "wide",
        "client": "by/client & co",
        "orphaned": "orphaned",
        "running": "running",
    }
    running = start_held(url, "running", folder / "running")
    try:
        yield Shelf(url, names, {is_: uid_of(url, name) for is_, name in names.items()})
    finally:
        end(running)


class Server:
    """`ptsflow ui` in a process of its own.

    Args:
        url: the store.
        folder: where the server keeps its token, and what it writes.
        options: further words of the command.
        port: the port to listen on; a free one without it.
    """

    def __init__(
        self, url: str, folder: Path, *options: str, port: int | None = None
    ) -> None:
        self.port = free_port() if port is None else port
        self.base = f"http://127.0.0.1:{self.port}"
        self.said = folder / f"ui-{self.port}.txt"
        self._folder = folder
        self._env = environment(PTSFLOW_STORE=url, PYTHONUNBUFFERED=1)
        self._words = ["ui", "--port", str(self.port), *options]
        self.process = self._start()

    @property
    def address(self) -> str:
        """The address that was printed; it carries the token."""
        found = re.search(r"http://\S+", awaited(self.said))
        assert found, self.said.read_text()
        return found[0]

    @property
    def token(self) -> str:
        """The token of the address."""
        return urlsplit(self.address).query.removeprefix("token=")

    def start_again(self) -> None:
        """Start the server anew, on the same port."""
        self.process = self._start()

    def kill(self) -> None:
        """End the server as a power cut does."""
        self.process.kill()
        self.process.wait()

    def _start(self) -> subprocess.Popen[bytes]:
        token = ["--token-file", str(self._folder / "token")]
        given = [] if "--no-token" in self._words else token
        with self.said.open("wb") as said:
            process = subprocess.Popen(
                [*PTSFLOW, *self._words, *given],
                cwd=self._folder,
                env=self._env,
                stdout=said,
                stderr=subprocess.STDOUT,
            )
        until(
            lambda: "http://" in self.said.read_text() or process.poll() is not None,
            seen=self.said.read_text,
        )
        assert process.poll() is None, self.said.read_text()
        return process

    def close(self) -> None:
        """End the server as Ctrl-C does."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
        try:
            self.process.wait(30)
        finally:
            self.kill()


@contextmanager
def served(url: str, folder: Path, *options: str) -> Iterator[Server]:
    """Serve a store for as long as the block lasts."""
    server = Server(url, folder, *options)
    try:
        yield server
    finally:
        server.close()


def chromium() -> str | None:
    """Return the path of the browser, or None where there is none."""
    found = shutil.which("chromium") or "/usr/bin/chromium"
    return found if os.access(found, os.X_OK) else None
