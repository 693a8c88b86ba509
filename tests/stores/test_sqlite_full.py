"""A disk without room under a SQLite file: what goes on, and what a run leaves behind."""

from __future__ import annotations

import resource
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import ptsflow
from ptsflow import Client, Retry, TaskHandle, Workflow, step
from ptsflow.core.model import Ending
from ptsflow.errors import StoreFull
from ptsflow.stores.sqlite.store import SqliteStore
from tests.stores.making import filled, new, one, swap


@contextmanager
def files_up_to(size: int) -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, handler)


def test_small_writes_go_on_in_the_room_that_the_log_has(path: Path) -> None:
    store = SqliteStore(f"sqlite:///{path}")
    uid = filled(store, "one")
    for number in range(20):
        store.commit(uid, [new(f"t{number}")], fence=None)
    size = path.with_name("pts.db-wal").stat().st_size
    assert size > path.stat().st_size

    with files_up_to(size):
        for number in range(200):
            task = one(store, uid, "one", payloads=True)
            change = swap(task, percentage_complete=float(number % 100))
            store.commit(uid, [change], fence=None)
        with pytest.raises(StoreFull):
            store.commit(uid, [new("big", result="x" * 10 * size)], fence=None)
    assert one(store, uid, "one").percentage_complete == 99.0
    store.close()


class Load(Workflow):
    """Returns or saves more than there is room for."""

    journal: Path
    saves: bool = False

    @step
    def begin(self) -> None: ...

    @step(retry=Retry(1, delay=0))
    def load(self, task: TaskHandle) -> str:
        with self.journal.open("a") as file:
            file.write("x")
        if self.saves:
            task.checkpoint("x" * 300_000)
        return "x" * 300_000

    @step(after=())
    def beside(self) -> None: ...


def limit(client: Client, pages: int) -> None:
    store = client.store
    assert isinstance(store, SqliteStore)
    store._database.connection.pragma("max_page_count", pages)


@pytest.mark.parametrize("saves", [False, True])
def test_runs_on_a_full_disk_use_up_no_attempts(
    path: Path, tmp_path: Path, *, saves: bool
) -> None:
    workflow = Load(journal=tmp_path / "journal", saves=saves)
    record = None
    with ptsflow.connect(f"sqlite:///{path}") as client:
        limit(client, path.stat().st_size // 4096 + 20)
        for _ in range(4):
            with pytest.raises(StoreFull):
                ptsflow.run(workflow, store=client, container="box")
            record = client.store.container("box")
            assert record is not None
            if saves:
                # The body was in this process when the run ended; then that has ended.
                client.store.release(record)
            else:
                assert record.owner is None
        assert record is not None
        entries = client.store.attempts(record.uid, "load")
        limit(client, 1_000_000)
        report = ptsflow.run(workflow, store=client, container="box")

    assert report.ok
    assert [entry.ending for entry in entries] == [Ending.INTERRUPTED] * 4
    assert entries[0].error.startswith("its end could not be recorded: ")
    assert workflow.journal.read_text() == "x" * 5
