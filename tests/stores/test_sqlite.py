"""What only a SQLite file can be: full, held, flipped, forked or moved away."""

from __future__ import annotations

import multiprocessing
import os
import re
import resource
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import apsw
import pytest

from ptsflow.core.model import (
    ContainerRecord,
    Progress,
    Status,
    Stop,
)
from ptsflow.errors import PtsflowError, StoreFull, StoreUnavailable
from ptsflow.stores.sqlite import statements
from ptsflow.stores.sqlite.store import SqliteStore
from tests.stores.making import (
    LEASE,
    Ticker,
    drop,
    ended,
    filled,
    held,
    names,
    new,
    one,
    owner,
    swap,
)
from tests.support.processes import ROOT


@pytest.fixture
def store(path: Path) -> Iterator[SqliteStore]:
    opened = SqliteStore(f"sqlite:///{path}", clock=Ticker(), patience=0.2)
    yield opened
    opened.close()


def test_each_connection_is_durable_and_trusts_nothing(store: SqliteStore) -> None:
    sibling = store.sibling()
    for each in (store, sibling):
        pragma = each._database.connection.pragma
        settings = {
            name: pragma(name)
            for name in ("journal_mode", "synchronous", "mmap_size", "trusted_schema")
        }

        assert settings == {
            "journal_mode": "wal",
            "synchronous": 2,
            "mmap_size": 0,
            "trusted_schema": 0,
        }
    sibling.close()


def test_the_next_open_task_is_found_by_its_index(store: SqliteStore) -> None:
    query = statements.FULL_TASKS + statements.OPEN + statements.FIRST
    plan = [
        str(row[-1])
        for row in store._database.execute(f"EXPLAIN QUERY PLAN {query}", (1,))
    ]

    assert plan[0] == "SEARCH t USING INDEX open_tasks (container=?)"
    assert not [line for line in plan if "TEMP B-TREE" in line]


def test_nothing_of_what_was_deleted_is_left(store: SqliteStore) -> None:
    uid = filled(store)
    store.commit(
        uid,
        [ended(new("one", result="1"), 1), ended(new("two", result="2"), 1)],
        fence=None,
    )
    store.commit(uid, [drop(one(store, uid, "one"))], fence=None)
    count = "SELECT (SELECT count(*) FROM payloads), (SELECT count(*) FROM attempts)"
    assert store._database.execute(count).fetchall() == [(1, 1)]
    store.delete(uid)

    left = "SELECT 1 FROM tasks UNION ALL SELECT 2 FROM payloads UNION ALL SELECT 3 FROM attempts"
    assert store._database.execute(left).fetchall() == []


def test_a_task_that_ends_well_writes_its_row_alone(store: SqliteStore) -> None:
    uid = filled(store, "one", "two", "three")
    held(store, uid)
    first, second, third = store.tasks(uid)
    said: list[str] = []

    def listen(_: apsw.Cursor, statement: str, __: apsw.Bindings | None) -> bool:
        said.append(re.split(r" SET | \(", statement, maxsplit=1)[0])
        return True

    store._database.connection.exec_trace = listen
    good = [
        swap(first, fence=1, status=Status.DONE),
        swap(second, fence=1, status=Status.RUNNING),
    ]
    store.commit(uid, good, fence=1)
    begin = ["BEGIN IMMEDIATE", statements.WRITER]
    assert said == [*begin, *["UPDATE tasks"] * 2, "COMMIT"]
    said.clear()
    store.commit(uid, [ended(swap(third, fence=1), 1)], fence=1)

    entry = [
        "SELECT id, ledger_length,",
        "INSERT INTO attempts",
        "DELETE FROM attempts WHERE task = ?1 AND number <=",
        "UPDATE tasks",
    ]
    assert said == [*begin, "UPDATE tasks", *entry, "COMMIT"]


def test_a_uid_is_not_used_again_by_another_file_of_that_name(path: Path) -> None:
    clock = Ticker()
    uids = set()
    for _ in range(3):
        store = SqliteStore(f"sqlite:///{path}", clock=clock)
        uids |= {store.create(name)[0].uid for name in "abc"}
        store.close()
        path.unlink()
        clock.now += 1

    assert len(uids) == 9


def test_a_uid_is_not_used_again_though_the_clock_went_back(path: Path) -> None:
    clock = Ticker()
    store = SqliteStore(f"sqlite:///{path}", clock=clock)
    first = store.create("a")[0]
    store.delete(first.uid)
    clock.now -= 5_000
    second = store.create("a")[0]
    third = store.create("b")[0]

    assert int(first.uid) < int(second.uid) < int(third.uid)
    assert store.containers() == [second, third]
    store.close()


def test_each_write_is_one_transaction_from_its_first_look_on(
    store: SqliteStore,
) -> None:
    uid = filled(store, "one")
    task = one(store, uid, "one")
    record = ContainerRecord(uid=uid, name="feed", fence=1)
    batch = [swap(task, fence=1), new("two", fence=1), new("three", fence=1)]
    writes: list[Callable[[], object]] = [
        lambda: store.claim(uid, owner(), LEASE),
        lambda: store.renew(uid, 1, LEASE),
        lambda: store.save(record),
        lambda: store.ask_to_stop(uid, 1, Stop.NOW),
        lambda: store.commit(uid, batch, fence=1),
        lambda: store.touch(uid, [Progress("one", 1.0, "")], fence=1),
        lambda: store.release(record),
        lambda: store.commit(uid, [new("four")], fence=None),
        lambda: store.delete(uid),
    ]
    statements: list[str] = []

    def trace(_: object, sql: str, __: object) -> bool:
        statements.append(sql)
        return True

    store._database.connection.exec_trace = trace
    for write in writes:
        statements.clear()
        write()
        bounds = [sql for sql in statements if sql.startswith(("BEGIN", "COMMIT"))]

        assert bounds == ["BEGIN IMMEDIATE", "COMMIT"]
        assert [statements[0], statements[-1]] == bounds


# -- held by others ------------------------------------------------------------


def test_a_file_that_another_holds_is_unavailable_after_some_patience(
    store: SqliteStore, raw: apsw.Connection, path: Path
) -> None:
    uid = filled(store, "one")
    raw.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreUnavailable) as caught:
        store.commit(uid, [new("two")], fence=None)

    assert str(caught.value) == (
        f"{path}: another process holds it; try again, or find it with `fuser`"
    )
    raw.execute("ROLLBACK")
    store.commit(uid, [new("two")], fence=None)
    assert names(store, uid) == ["one", "two"]


def test_a_write_goes_on_as_soon_as_the_other_lets_go(path: Path) -> None:
    store = SqliteStore(f"sqlite:///{path}", patience=20)
    uid = filled(store)
    raw = apsw.Connection(str(path))
    raw.execute("BEGIN IMMEDIATE")
    timer = threading.Timer(0.3, raw.execute, ["ROLLBACK"])
    timer.start()
    # SQLite itself gives up at once: what waits here is the store.
    store._database.connection.set_busy_timeout(0)
    store.commit(uid, [new("one")], fence=None)

    assert names(store, uid) == ["one"]
    timer.join()
    raw.close()
    store.close()


def test_reading_goes_on_while_another_writes(
    store: SqliteStore, raw: apsw.Connection
) -> None:
    uid = filled(store, "one")
    raw.execute("BEGIN IMMEDIATE")
    raw.execute("DELETE FROM tasks")

    assert names(store, uid) == ["one"]
    raw.execute("ROLLBACK")


# -- no room -------------------------------------------------------------------


def test_a_full_disk_keeps_nothing_of_the_write_and_the_store_goes_on(
    store: SqliteStore, path: Path
) -> None:
    uid = filled(store, "one")
    pragma = store._database.connection.pragma
    pages = pragma("page_count")
    assert isinstance(pages, int)
    pragma("max_page_count", pages + 2)
    with pytest.raises(StoreFull) as caught:
        store.commit(uid, [new("two"), new("big", result="x" * 65536)], fence=None)

    assert str(caught.value) == (
        f"{path}: the disk is full and nothing of the last write was kept; "
        "make room and run it again"
    )
    assert names(store, uid) == ["one"]
    pragma("max_page_count", 1_000_000)
    store.commit(uid, [new("two"), new("big", result="x" * 65536)], fence=None)
    assert names(store, uid) == ["one", "two", "big"]


def test_a_write_past_the_limit_of_file_sizes_is_a_full_disk(path: Path) -> None:
    store = SqliteStore(f"sqlite:///{path}")
    uid = filled(store, "one")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, hard))
    try:
        with pytest.raises(StoreFull):
            store.commit(uid, [new("big", result="x" * 400_000)], fence=None)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, handler)

    store.commit(uid, [new("two")], fence=None)
    assert names(store, uid) == ["one", "two"]
    store.close()


# -- moved away ----------------------------------------------------------------


# -- processes and threads -------------------------------------------------------


def test_a_closed_store_says_so(store: SqliteStore, path: Path) -> None:
    store.close()

    for use in (store.containers, store.sibling, lambda: store.create("feed")):
        with pytest.raises(PtsflowError) as caught:
            use()
        assert str(caught.value) == f"{path}: the store was closed; open it again"


def _told(use: object) -> str:
    assert callable(use)
    try:
        use()
    except PtsflowError as error:
        return str(error)
    return "nothing"


def test_no_connection_is_carried_over_a_fork(store: SqliteStore, path: Path) -> None:
    filled(store)
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe()

    def child() -> None:
        uses = (
            store.containers,
            store.sibling,
            lambda: SqliteStore(f"sqlite:///{path}"),
        )
        theirs.send((os.getpid(), [_told(use) for use in uses]))
        store.close()

    process = context.Process(target=child)
    process.start()
    assert ours.poll(30)
    pid, told = ours.recv()
    process.join()

    message = (
        f"{path}: the store was opened by process {os.getpid()}, of which this "
        f"process {pid} is a fork; start processes by spawn"
    )
    assert told == [message] * 3
    assert store.container("feed") is not None


def test_a_store_may_be_handed_from_thread_to_thread(store: SqliteStore) -> None:
    uid = filled(store)
    for name in ("one", "two"):
        thread = threading.Thread(
            target=store.commit, args=(uid, [new(name)]), kwargs={"fence": None}
        )
        thread.start()
        thread.join()

    assert names(store, uid) == ["one", "two"]


def test_an_interrupt_within_a_commit_leaves_the_store_usable(
    store: SqliteStore,
) -> None:
    uid = filled(store, "one")
    task = one(store, uid, "one")

    class Stop(BaseException):
        pass

    class Changes(list[object]):
        def __iter__(self) -> Iterator[object]:
            yield swap(task)
            raise Stop

    with pytest.raises(Stop):
        store.commit(uid, Changes(), fence=None)  # type: ignore[arg-type]
    assert one(store, uid, "one") == task
    store.commit(uid, [swap(task)], fence=None)


_WRITER = """
import sys
from ptsflow.core.model import Change, TaskRecord
from ptsflow.stores import open_store

store = open_store(sys.argv[1])
container, _ = store.create("feed")
for i in range(10_000):
    insert = Change(None, TaskRecord(name=f"t{i}", version=1, result=f'"{i}"'))
    store.commit(container.uid, [insert], fence=None)
    print(i, flush=True)
"""


def test_what_was_acknowledged_survives_a_kill(path: Path) -> None:
    url = f"sqlite:///{path}"
    with subprocess.Popen(
        [sys.executable, "-c", _WRITER, url],
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line == "40\n":
                break
        process.kill()
        acknowledged = [40, *map(int, process.stdout.read().split())]
    store = SqliteStore(url)
    found = store.container("feed")

    assert found is not None
    assert len(names(store, found.uid)) - acknowledged[-1] in {1, 2}
    assert [task.result for task in store.tasks(found.uid, payloads=True)][40] == '"40"'
    store.close()
