"""A disk that is full indeed, under a SQLite file and under mongod: a small one is mounted."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from pymongo import MongoClient
from pymongo.errors import PyMongoError

from ptsflow.core.model import Status
from ptsflow.errors import LeaseLost, StoreFull
from ptsflow.host.clock import since_boot
from tests.crash import journal as journals
from tests.crash.checks import errors, look, run_again
from tests.crash.nest import Nest, Spec
from tests.crash.waiting import until_it_runs
from tests.support.databases import Raw
from tests.support.mongod import Mongod, start_mongod
from tests.support.processes import free_port, python
from tests.support.waiting import until

#: Mounts a disk of so many megabytes, or makes the one that is there as large.
Mount = Callable[[int], Path]


@pytest.fixture
def mount(tmp_path: Path) -> Iterator[Mount]:
    folder = tmp_path / "disk"

    def mount(size: int) -> Path:
        again = "remount," if folder.exists() else ""
        folder.mkdir(exist_ok=True)
        options = f"{again}size={size}m"
        words = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        if done.returncode:
            pytest.skip(f"no disk can be mounted here: {done.stderr.strip()}")
        return folder

    if shutil.which("mount") is None:
        pytest.skip("no disk can be mounted here: there is no `mount`")
    yield mount
    if folder.is_mount():
        # Lazily, as a server that just died may still be seen there.
        subprocess.run(["umount", "--lazy", folder], check=True)


FLOW = """
from pathlib import Path
from ptsflow import Workflow, step

class Load(Workflow):
    @step
    def items(self) -> list[int]:
        return list(range(10))

    @step(each=items, retry=0)
    def load(self, item: int) -> str:
        with Path("journal").open("a") as file:
            file.write(f"{item}\\n")
        return str(item) * 300_000
"""


def test_a_run_on_a_full_disk_goes_on_where_it_was_when_there_is_room(
    mount: Mount, tmp_path: Path
) -> None:
    url = f"sqlite:///{mount(1)}/pts.db"
    (tmp_path / "flow.py").write_text(FLOW)
    words = ("-m", "ptsflow", "run", "flow.py", "-q", "-c", "crash", "-j", "1")
    full = [python(*words, "--store", url, cwd=tmp_path) for _ in range(2)]
    before = look(url)
    begun = (tmp_path / "journal").read_text().split()
    mount(64)
    done = python(*words, "--store", url, cwd=tmp_path)
    after = look(url)
    again = (tmp_path / "journal").read_text().split()

    for run in full:
        assert run.returncode == StoreFull.exit_code, run.stderr
        assert "Traceback" not in run.stderr
    assert done.returncode == 0, done.stderr
    kept = before.names(Status.DONE) - {"items"}
    assert len(kept) < 10
    for item in map(str, range(10)):
        is_done = f"load[{item}]" in kept
        assert after.tasks[f"load[{item}]"].result == f'"{item * 300_000}"'
        assert again.count(item) == begun.count(item) + (not is_done)


@pytest.mark.mongod
def test_nothing_acknowledged_is_lost_when_mongod_dies_of_a_full_disk(
    mount: Mount, nest: Nest, journal: Path
) -> None:
    folder = mount(100)
    port = free_port()
    server = _mongod(folder, port)
    _fill(folder / "most", leave=4_000_000)
    url = f"{server.url}/crash"
    # One body at a time, so that the run lasts longer than the server.
    spec = Spec(workflow="Chain", url=url, journal=str(journal), lease=2.0, jobs=1)
    try:
        pid = nest.start(spec)
        until_it_runs(journal, 10)
        _fill(folder / "filler")
        _use_up_what_is_reserved(server)
        until(lambda: server.process.poll() is not None)
        died_at = since_boot()
        code = nest.wait(pid)
        took = since_boot() - died_at
        for name in ("most", "filler"):
            (folder / name).unlink()
        server = _mongod(folder, port)
        begun = journals.starts(journals.read(journal))
        known = {f"load[{n}]" for n in range(40) if begun[f"check[{n}]"]}

        assert code == LeaseLost.exit_code, errors(spec)
        assert took < 60
        assert known <= look(url).names(Status.DONE)
        assert run_again(nest, spec).tasks["end"].result == "780"
    finally:
        server.kill()


def _mongod(folder: Path, port: int) -> Mongod:
    small_logs = "--wiredTigerEngineConfigString=log=(file_max=1MB)"
    return start_mongod(folder / "data", port, small_logs)


def _use_up_what_is_reserved(server: Mongod) -> None:
    """Write until the server dies, which has some room in its logs for a while."""
    with (
        contextlib.suppress(PyMongoError),
        MongoClient[Raw](server.url, timeoutMS=2000, journal=True) as client,
    ):
        while True:
            client["other"]["other"].insert_one({"text": os.urandom(200_000)})


def _fill(path: Path, leave: int = 0) -> None:
    with contextlib.suppress(OSError), path.open("wb", buffering=0) as file:
        while shutil.disk_usage(path).free > leave:
            file.write(bytes(1 << 16))
