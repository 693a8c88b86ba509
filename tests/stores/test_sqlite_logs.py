"""The file of lines beside a SQLite store: made late, never in the store's way."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import apsw
import pytest

from ptsflow.errors import PtsflowError, StoreDamaged, StoreUnavailable
from ptsflow.stores.sqlite import logs as sqlite_logs
from ptsflow.stores.sqlite.logs import SqliteLogs
from ptsflow.stores.sqlite.store import SqliteStore
from tests.stores.making import Ticker, chunk, filled
from tests.support.processes import ROOT
from tests.support.wording import THEIRS, Message

WHAT = "the log lines of a ptsflow store"


@pytest.fixture
def beside(path: Path) -> Path:
    """Name the file of lines."""
    return path.with_name("pts.db.logs")


@pytest.fixture
def store(path: Path) -> Iterator[SqliteStore]:
    opened = SqliteStore(f"sqlite:///{path}", clock=Ticker(), patience=0.2)
    yield opened
    opened.close()


@pytest.fixture
def logs(store: SqliteStore) -> Iterator[SqliteLogs]:
    opened = store.logs()
    yield opened
    opened.close()


def texts(logs: SqliteLogs, uid: str) -> list[str]:
    return [line.text for each in logs.read(uid)[0] for line in each.lines]


def told(call: Callable[[], object]) -> str:
    """Return the one line that a refused call says."""
    with pytest.raises(PtsflowError) as caught:
        call()
    return str(caught.value)


# -- the file ------------------------------------------------------------------------


def test_the_file_is_made_with_the_first_line_for_this_user_alone(
    store: SqliteStore, logs: SqliteLogs, beside: Path
) -> None:
    uid = filled(store)
    logs.read(uid)
    logs.trim(uid, "load", 1, 0, 9)
    logs.forget(uid)
    store.delete(store.create("other")[0].uid)
    assert not beside.exists()
    previous = os.umask(0)
    try:
        logs.put(uid, [chunk("one")])
    finally:
        os.umask(previous)

    modes = {
        each.name.removeprefix(beside.name): stat.S_IMODE(each.stat().st_mode)
        for each in beside.parent.iterdir()
        if each.name.startswith(beside.name)
    }
    assert modes == {"": 0o600, "-wal": 0o600, "-shm": 0o600}


def test_nothing_but_the_files_is_left_when_all_are_closed(
    store: SqliteStore, logs: SqliteLogs, path: Path, beside: Path
) -> None:
    logs.put(filled(store), [chunk("one")])
    logs.close()
    store.close()

    assert sorted(path.parent.iterdir()) == [path, beside]


def test_lines_wait_for_no_disk(store: SqliteStore, logs: SqliteLogs) -> None:
    logs.put(filled(store), [chunk("one")])
    assert logs._database is not None
    pragma = logs._database.connection.pragma

    assert (pragma("journal_mode"), pragma("synchronous")) == ("wal", 0)


@pytest.mark.parametrize(
    ("where", "index"),
    [
        ("", "chunks_of_containers (container=? AND rowid>?)"),
        (
            " AND task = ? AND attempt = ?",
            "chunks_of_attempts (container=? AND task=? AND attempt=? AND rowid>?)",
        ),
    ],
)
def test_what_is_new_is_found_by_an_index(
    store: SqliteStore, logs: SqliteLogs, where: str, index: str
) -> None:
    logs.put(filled(store), [chunk("one")])
    assert logs._database is not None
    query = f"EXPLAIN QUERY PLAN {sqlite_logs._READ}{where} ORDER BY mark"
    args = ("1", "2", "load", "1")[: query.count("?")]
    plan = logs._database.execute(query, args).fetchall()

    assert [str(row[-1]) for row in plan] == [f"SEARCH chunks USING INDEX {index}"]


# -- which container a line is of -------------------------------------------------------


def test_a_store_that_was_started_over_has_none_of_the_old_lines(
    path: Path, beside: Path
) -> None:
    clock = Ticker()
    for text in ("old", "new"):
        store = SqliteStore(f"sqlite:///{path}", clock=clock)
        uid = filled(store)
        logs = store.logs()
        assert texts(logs, uid) == []
        logs.put(uid, [chunk(text)])
        assert texts(logs, uid) == [text]
        logs.close()
        store.close()
        path.unlink()
        clock.now += 1
    assert beside.exists()


def test_a_copy_that_was_put_back_has_none_of_the_lost_lines(path: Path) -> None:
    clock = Ticker()
    url = f"sqlite:///{path}"
    SqliteStore(url, clock=clock).close()
    copy = shutil.copy(path, path.with_name("copy"))
    store = SqliteStore(url, clock=clock)
    logs = store.logs()
    logs.put(filled(store), [chunk("lost")])
    store.close()
    shutil.copy(copy, path)
    clock.now += 1
    again = SqliteStore(url, clock=clock)

    assert texts(logs, filled(again)) == []
    logs.close()
    again.close()


def test_after_the_file_was_moved_away_another_is_made(
    store: SqliteStore, logs: SqliteLogs, beside: Path
) -> None:
    uid = filled(store)
    logs.put(uid, [chunk("one")])
    beside.rename(beside.with_name("away"))
    wal = beside.with_name("pts.db.logs-wal")
    assert texts(logs, uid) == []
    assert told(lambda: logs.put(uid, [chunk("two")])) == (
        f"{beside}: expected it beside {wal.name}, found that log alone; "
        "restore the file, or move the log away to start over"
    )
    wal.unlink()
    logs.put(uid, [chunk("three")])

    assert texts(logs, uid) == ["three"]


# -- damage ----------------------------------------------------------------------------


def _foreign(beside: Path) -> None:
    connection = apsw.Connection(str(beside))
    connection.execute("CREATE TABLE songs (a)")
    connection.execute("PRAGMA application_id = 7")
    connection.close()


def _newer(beside: Path) -> None:
    sqlite_logs._prepare(beside)
    connection = apsw.Connection(str(beside))
    connection.execute("PRAGMA user_version = 2")
    connection.close()


def _orphaned(beside: Path) -> None:
    beside.with_name(f"{beside.name}-wal").write_bytes(b"x" * 100)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        pytest.param(
            _foreign,
            f"expected {WHAT}, found another program's database (application_id 7); "
            "move it away to start over",
            id="another program's",
        ),
        pytest.param(
            _newer,
            "expected log lines of layout 1, found layout 2; move it away to start over",
            id="a newer one",
        ),
        pytest.param(
            lambda beside: beside.write_bytes(b"x" * 5000),
            f"expected {WHAT}, found no database; move it away to start over",
            id="no database",
        ),
        pytest.param(
            lambda beside: beside.touch(),
            f"expected {WHAT}, found an empty file; restore it, or remove it to start "
            "over",
            id="empty",
        ),
        pytest.param(
            _orphaned,
            "expected it beside pts.db.logs-wal, found that log alone; restore the "
            "file, or move the log away to start over",
            id="its log alone",
        ),
        pytest.param(
            lambda beside: beside.mkdir(),
            "expected a file, found a folder; name a file in the URL",
            id="a folder",
        ),
    ],
)
def test_a_file_that_is_none_of_ours_refuses_lines_and_nothing_else(
    store: SqliteStore,
    logs: SqliteLogs,
    beside: Path,
    spoil: Callable[[Path], None],
    message: str,
) -> None:
    uid = filled(store, "load")
    spoil(beside)
    before = beside.read_bytes() if beside.is_file() else b""

    assert told(lambda: logs.put(uid, [chunk("one")])) == f"{beside}: {message}"
    assert store.tasks(uid)
    assert store.delete(uid)
    assert (beside.read_bytes() if beside.is_file() else b"") == before


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param("lines = '[[1'", id="cut"),
        pytest.param("lines = '[[1, 2, 3]]'", id="of other types"),
    ],
)
def test_lines_that_nobody_put_are_damage(
    store: SqliteStore, logs: SqliteLogs, beside: Path, damage: str
) -> None:
    uid = filled(store)
    logs.put(uid, [chunk("one")])
    connection = apsw.Connection(str(beside))
    connection.execute(f"UPDATE chunks SET {damage}")  # noqa: S608 - of this test.
    connection.close()

    with pytest.raises(StoreDamaged) as caught:
        logs.read(uid)
    assert str(caught.value) == Message(
        f"{beside}: expected {WHAT}, found others ({THEIRS}); move it away to start over"
    )


def test_a_name_that_is_no_text_is_damage(
    store: SqliteStore, logs: SqliteLogs, beside: Path
) -> None:
    uid = filled(store)
    logs.put(uid, [chunk("one")])
    connection = apsw.Connection(str(beside))
    connection.execute("UPDATE chunks SET task = CAST(x'ff' AS TEXT)")
    connection.close()

    assert told(lambda: logs.read(uid)) == (
        f"{beside}: expected text, found a row that cannot be decoded; "
        "move it away to start over"
    )


def test_a_file_that_another_holds_is_unavailable_and_keeps_no_container(
    store: SqliteStore, logs: SqliteLogs, beside: Path
) -> None:
    uid = filled(store)
    logs.put(uid, [chunk("one")])
    holder = apsw.Connection(str(beside))
    holder.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreUnavailable) as caught:
        logs.put(uid, [chunk("two", number=1)])

    assert str(caught.value) == (
        f"{beside}: another process holds it; try again, or find it with `fuser`"
    )
    assert store.delete(uid)
    holder.close()


# -- processes -------------------------------------------------------------------------


def test_closed_lines_say_so(
    store: SqliteStore, logs: SqliteLogs, beside: Path
) -> None:
    uid = filled(store)
    logs.put(uid, [chunk("one")])
    logs.close()

    assert told(lambda: logs.put(uid, [])) == (
        f"{beside}: the store was closed; open it again"
    )


def test_no_connection_is_carried_over_a_fork(
    store: SqliteStore, logs: SqliteLogs, beside: Path
) -> None:
    uid = filled(store)
    logs.put(uid, [chunk("one")])
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe()

    def child() -> None:
        try:
            logs.put(uid, [chunk("two")])
        except PtsflowError as error:
            theirs.send((os.getpid(), str(error)))

    process = context.Process(target=child)
    process.start()
    assert ours.poll(30)
    pid, said = ours.recv()
    process.join()

    assert said == (
        f"{beside}: the store was opened by process {os.getpid()}, of which this "
        f"process {pid} is a fork; start processes by spawn"
    )
    assert texts(logs, uid) == ["one"]


_WRITER = """
import sys
from ptsflow.stores import open_store
from tests.stores.making import chunk, filled

store = open_store(sys.argv[1])
logs = store.logs()
uid = filled(store)
for i in range(1_000_000):
    logs.put(uid, [chunk(str(i), number=i)])
    print(i, flush=True)
"""


def test_what_was_put_survives_a_kill(path: Path) -> None:
    url = f"sqlite:///{path}"
    with subprocess.Popen(
        [sys.executable, "-c", _WRITER, url],
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line == "3000\n":  # Checkpoints have been made by then.
                break
        process.kill()
        put = [3000, *map(int, process.stdout.read().split())]
    store = SqliteStore(url)
    logs = store.logs()
    found = texts(logs, filled_by_the_writer(store))

    assert found == [str(i) for i in range(len(found))]
    assert len(found) - put[-1] in {1, 2}
    logs.close()
    store.close()


def filled_by_the_writer(store: SqliteStore) -> str:
    (container,) = store.containers()
    return container.uid


_FIRST = """
import sys
from ptsflow.stores import open_store
from tests.stores.making import chunk

store = open_store(sys.argv[1])
logs = store.logs()
print("ready", flush=True)
sys.stdin.readline()
for i in range(50):
    logs.put(sys.argv[2], [chunk(str(i), task=sys.argv[3], number=i)])
"""


def test_processes_that_put_the_first_line_at_once_lose_none(
    path: Path,
) -> None:
    store = SqliteStore(f"sqlite:///{path}")
    uid = filled(store)
    command = [sys.executable, "-c", _FIRST, f"sqlite:///{path}", uid]
    writers = [
        subprocess.Popen(
            [*command, f"t{i}"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        )
        for i in range(4)
    ]
    for writer in writers:
        assert writer.stdout is not None
        assert writer.stdout.readline() == "ready\n"
    for writer in writers:
        writer.communicate("go\n", timeout=60)
    logs = store.logs()

    assert [writer.returncode for writer in writers] == [0] * 4
    for i in range(4):
        chunks, _ = logs.read(uid, task=f"t{i}")
        assert [each.number for each in chunks] == list(range(50))
    logs.close()
    store.close()
