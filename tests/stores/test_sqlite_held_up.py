"""A thread that is held up in a SQLite file when the file is closed."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import apsw
import pytest

import ptsflow
from ptsflow import Workflow, step
from ptsflow.errors import LeaseLost, PtsflowError
from ptsflow.runner import heartbeat
from ptsflow.stores.sqlite import database
from ptsflow.stores.sqlite.store import SqliteStore
from tests.stores.making import filled, new


@pytest.fixture
def held(path: Path) -> Iterator[apsw.Connection]:
    """Open another program's connection to a store that was made."""
    SqliteStore(f"sqlite:///{path}").close()
    connection = apsw.Connection(str(path))
    yield connection
    connection.close()


def test_a_close_waits_for_a_thread_that_is_in_the_file(path: Path) -> None:
    store = SqliteStore(f"sqlite:///{path}")
    uid = filled(store)
    inside, order = threading.Event(), list[str]()

    def act() -> None:
        inside.set()
        time.sleep(0.2)
        order.append("committed")

    thread = threading.Thread(target=store._database.write, args=(act,))
    thread.start()
    inside.wait()
    store.close()
    order.append("closed")
    thread.join()

    assert uid
    assert order == ["committed", "closed"]


def test_a_close_does_not_wait_for_a_stalled_disk(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "_LAST_CALL", 0.05)
    store = SqliteStore(f"sqlite:///{path}")
    uid = filled(store)
    inside, moves = threading.Event(), threading.Event()

    def act() -> None:
        inside.set()
        moves.wait()

    thread = threading.Thread(target=store._database.write, args=(act,))
    thread.start()
    inside.wait()
    store.close()
    with pytest.raises(PtsflowError, match="the store was closed"):
        store.commit(uid, [new("two")], fence=None)
    moves.set()
    thread.join()
    store._database.connection.close()


def test_a_thread_that_waits_for_another_program_hears_of_the_close(
    path: Path, held: apsw.Connection
) -> None:
    store = SqliteStore(f"sqlite:///{path}", patience=0.5)
    uid = filled(store)
    raised = list[BaseException]()

    def write() -> None:
        try:
            store.commit(uid, [new("two")], fence=None)
        except BaseException as error:  # noqa: BLE001 - looked at below
            raised.append(error)

    held.execute("BEGIN IMMEDIATE")
    thread = threading.Thread(target=write)
    thread.start()
    time.sleep(0.1)
    store.close()
    thread.join()

    assert [str(error) for error in raised] == [
        f"{path}: the store was closed; open it again"
    ]
    held.execute("ROLLBACK")


class Steps(Workflow):
    """While its steps follow each other, another program begins to write."""

    @step
    def first(self) -> None:
        time.sleep(0.2)  # Until the driver sleeps: this thread takes the next turn.
        other = apsw.Connection(str(OTHER[0]))
        other.execute("BEGIN IMMEDIATE")
        OTHER.append(other)

    @step
    def second(self) -> None: ...


OTHER: list[object] = []


def run_by(by: str, url: str) -> None:
    if by == "url":
        ptsflow.run(Steps(), store=url, lease=5)
        return
    with ptsflow.connect(url) as client:
        ptsflow.run(Steps(), store=client, lease=5)


@pytest.mark.parametrize("by", ["url", "client"])
def test_a_lease_that_ends_while_another_program_writes_is_a_lost_lease(
    path: Path, by: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(heartbeat, "STOP_AFTER", 0.1)
    OTHER[:] = [path]
    url = f"sqlite:///{path}"
    began = time.monotonic()
    with pytest.raises(LeaseLost) as caught:
        run_by(by, url)

    assert "run again" in str(caught.value)
    assert time.monotonic() - began < 60
    connection = OTHER.pop()
    assert isinstance(connection, apsw.Connection)
    connection.close()
    assert ptsflow.run(Again(), store=url, container="x").ok


class Again(Workflow):
    """A run after the other program has ended."""

    @step
    def only(self) -> None: ...
