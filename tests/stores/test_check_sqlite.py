"""`store check` of SQLite finds each kind of fault, and no fault where there is none."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from shutil import copy2
from types import SimpleNamespace
from zlib import crc32

import apsw
import pytest
from msgspec.msgpack import encode

from ptsflow.cli.store import found_faults
from ptsflow.core.work_queue import QueueEntry
from ptsflow.stores import open_care, open_store
from ptsflow.stores.care import Fault, Grade
from ptsflow.stores.sqlite import faults as file_faults
from ptsflow.stores.sqlite import file as sqlite_file
from ptsflow.stores.sqlite import statements
from tests.stores.sound import finished, random_history

Plant = Callable[[apsw.Connection, Path], object]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a sound store with a row of each kind."""
    folder = tmp_path_factory.mktemp("sound")
    with closing(open_store(f"sqlite:///{folder}/pts.db")) as store:
        finished(store, "one")
        finished(store, "two")
    return folder


@pytest.fixture
def path(made: Path, tmp_path: Path) -> Path:
    """Return a copy of a sound store."""
    for file in made.iterdir():
        copy2(file, tmp_path / file.name)
    return tmp_path / "pts.db"


def check(path: Path, *, deep: bool = True) -> list[Fault]:
    with closing(open_care(f"sqlite:///{path}")) as care:
        return list(found_faults(care, f"sqlite:///{path}", deep=deep))


def do(statement: str) -> Plant:
    """Return what makes a fault by a statement of SQL."""
    return lambda connection, _path: connection.execute(statement)


def resealed(table: str, statement: str) -> Plant:
    """Return what makes a fault by a statement, in rows whose check values fit again."""

    def plant(connection: apsw.Connection, _path: Path) -> None:
        connection.execute(statement)
        reseal(connection, table)

    return plant


def reseal(connection: apsw.Connection, table: str) -> None:
    """Write the check values of all rows of a table anew."""
    columns, key = {
        "containers": (statements.CONTAINER, "uid"),
        "tasks": (statements.TASK, "id"),
    }[table]
    rows = connection.execute(
        f"SELECT {key}, {', '.join(columns[:-1])} FROM {table}"  # noqa: S608
    ).fetchall()
    for number, *cells in rows:
        value = crc32(encode(tuple(cells)))
        connection.execute(
            f"UPDATE {table} SET checksum = ? WHERE {key} = ?",  # noqa: S608
            (value, number),
        )


def two_names(_connection: apsw.Connection, path: Path) -> None:
    os.link(path, path.with_name("other.db"))


def cut(connection: apsw.Connection, path: Path) -> None:
    connection.close()
    os.truncate(path, path.stat().st_size - 100)


def zeros(connection: apsw.Connection, path: Path) -> None:
    connection.close()
    with path.open("r+b") as file:
        file.seek(path.stat().st_size - 4096)
        file.write(bytes(4096))


def folder(_connection: apsw.Connection, path: Path) -> None:
    (path.with_name("pts.db.work") / ("0" * 32)).mkdir(parents=True)


def queue(path: Path, uid: str = "") -> None:
    """Queue a container of that uid, or the oldest one."""
    with closing(open_store(f"sqlite:///{path}")) as store:
        uid = uid or store.containers()[0].uid
        entry = QueueEntry(uid=uid, container="one", workflow="Feed", at=1)
        store.queue.put(entry)


def flipped_queue(connection: apsw.Connection, path: Path) -> None:
    queue(path)
    connection.execute("UPDATE queue SET priority = 9")


def lines(statement: str) -> Plant:
    def plant(_connection: apsw.Connection, path: Path) -> None:
        with closing(apsw.Connection(str(path.with_name("pts.db.logs")))) as logs:
            logs.execute(statement)

    return plant


def log_alone(connection: apsw.Connection, path: Path) -> None:
    connection.close()
    path.rename(path.with_name("away.db"))
    path.with_name("pts.db-wal").write_bytes(b"x")


_TASK = "(SELECT id FROM tasks WHERE name = 'load[0]' LIMIT 1)"
_WITH_LEDGER = "(SELECT task FROM attempts LIMIT 1)"
#: What is planted: the kind that is found, its grade, and how.
PLANTED: dict[str, tuple[str, Grade, Plant]] = {
    "flipped container": (
        "check value",
        Grade.DAMAGE,
        do("UPDATE containers SET status = 'failed' WHERE name = 'one'"),
    ),
    "flipped task": (
        "check value",
        Grade.DAMAGE,
        do("UPDATE tasks SET invoke_count = 7 WHERE name = 'load[0]'"),
    ),
    "flipped attempt": (
        "check value",
        Grade.DAMAGE,
        do("UPDATE attempts SET checksum = checksum + 1"),
    ),
    "flipped run": (
        "check value",
        Grade.DAMAGE,
        do("UPDATE runs SET began_at = began_at + 1"),
    ),
    "flipped outlook": (
        "check value",
        Grade.DAMAGE,
        do("UPDATE outlooks SET entry = '{}'"),
    ),
    "flipped result": (
        "check value",
        Grade.DAMAGE,
        do("UPDATE payloads SET text = '7'"),
    ),
    "wrong mark of an open task": (
        "check value",
        Grade.DAMAGE,
        resealed("tasks", "UPDATE tasks SET is_open = 1"),
    ),
    "text that is no UTF-8": (
        "pages",
        Grade.DAMAGE,
        do("UPDATE tasks SET status_text = CAST(x'ff' AS TEXT)"),
    ),
    "lost task": (
        "task count",
        Grade.DAMAGE,
        do("DELETE FROM tasks WHERE name = 'load[2]'"),
    ),
    "lost result": (
        "lost payload",
        Grade.DAMAGE,
        do(f"DELETE FROM payloads WHERE id / 4 = {_TASK}"),  # noqa: S608
    ),
    "result of another task": (
        "unbound payload",
        Grade.DAMAGE,
        do(f"INSERT INTO payloads (id, text) VALUES ({_TASK} * 4, '1')"),  # noqa: S608
    ),
    "lost attempt": (
        "ledger",
        Grade.DAMAGE,
        do("DELETE FROM attempts"),
    ),
    "position that is given again": (
        "next position",
        Grade.FINDING,
        resealed("containers", "UPDATE containers SET next_position = 0"),
    ),
    "uid that is given again": (
        "uid",
        Grade.DAMAGE,
        do("UPDATE sqlite_sequence SET seq = 1"),
    ),
    "task without container": (
        "task without container",
        Grade.FINDING,
        do(
            "CREATE TEMP TABLE lost AS SELECT * FROM tasks LIMIT 1; "
            "UPDATE lost SET id = 900, container = 7, ledger_length = 0, "
            "task_data_check = NULL, processing_data_check = NULL, result_check = NULL; "
            "INSERT INTO tasks SELECT * FROM lost"
        ),
    ),
    "payload without task": (
        "payload without task",
        Grade.FINDING,
        do("INSERT INTO payloads (id, text) VALUES (4004, '1')"),
    ),
    "attempt without task": (
        "attempt without task",
        Grade.FINDING,
        do(
            "INSERT INTO attempts SELECT 900, number, checksum, entry FROM attempts LIMIT 1"
        ),
    ),
    "outlook without container": (
        "outlook without container",
        Grade.FINDING,
        do(
            "INSERT INTO outlooks SELECT 7, fence, checksum, entry FROM outlooks LIMIT 1"
        ),
    ),
    "place in the queue without container": (
        "queue without container",
        Grade.FINDING,
        lambda _connection, path: queue(path, "7"),
    ),
    "flipped place in the queue": (
        "check value",
        Grade.DAMAGE,
        flipped_queue,
    ),
    "lines without container": (
        "lines without container",
        Grade.FINDING,
        lines("UPDATE chunks SET container = 7"),
    ),
    "lines that cannot be read": (
        "log lines",
        Grade.FINDING,
        lines("UPDATE chunks SET lines = '{'"),
    ),
    "another program's file of lines": (
        "log lines",
        Grade.FINDING,
        lines("PRAGMA application_id = 7"),
    ),
    "folder without container": ("folder without container", Grade.FINDING, folder),
    "missing index": ("missing index", Grade.FINDING, do("DROP INDEX open_tasks")),
    "missing index of runs": (
        "missing index",
        Grade.FINDING,
        do("DROP INDEX runs_by_workflow"),
    ),
    "missing table": ("table", Grade.DAMAGE, do("DROP TABLE attempts")),
    "spoiled table": (
        "table",
        Grade.DAMAGE,
        do("DROP TABLE runs; CREATE TABLE runs (x TEXT)"),
    ),
    "another program's file": ("layout", Grade.DAMAGE, do("PRAGMA application_id = 7")),
    "newer layout": ("layout", Grade.DAMAGE, do("PRAGMA user_version = 99")),
    "another program's table": (
        "foreign table",
        Grade.NOTE,
        do("CREATE TABLE theirs (x TEXT)"),
    ),
    "deletion that was cut short": (
        "deletion",
        Grade.NOTE,
        do("INSERT INTO deleted VALUES (7)"),
    ),
    "file that others may read": (
        "file mode",
        Grade.FINDING,
        lambda _connection, path: path.chmod(0o644),
    ),
    "file with two names": ("file", Grade.DAMAGE, two_names),
    "file that is cut": ("pages", Grade.DAMAGE, cut),
    "page of zeros": ("pages", Grade.DAMAGE, zeros),
    "log without its file": ("file", Grade.DAMAGE, log_alone),
    "owner without lease": (
        "lease",
        Grade.FINDING,
        resealed(
            "containers", "UPDATE containers SET leased_till = 9 WHERE name = 'one'"
        ),
    ),
    "request to stop nobody": (
        "stop",
        Grade.FINDING,
        resealed("containers", "UPDATE containers SET stop_asked = 'now'"),
    ),
    "fence beyond the container's": (
        "fence",
        Grade.DAMAGE,
        resealed("tasks", "UPDATE tasks SET fence = 9 WHERE name = 'load[0]'"),
    ),
    "run beyond the container's fence": (
        "fence",
        Grade.DAMAGE,
        resealed("containers", "UPDATE containers SET fence = 0 WHERE name = 'one'"),
    ),
    "attempts that cannot be": (
        "counts",
        Grade.DAMAGE,
        resealed("tasks", "UPDATE tasks SET version = 0 WHERE name = 'load[2]'"),
    ),
    "open task in a done container": (
        "open task in done container",
        Grade.FINDING,
        resealed("tasks", "UPDATE tasks SET status = 'pending' WHERE name = 'load[2]'"),
    ),
    "running task without lease": (
        "running task without lease",
        Grade.FINDING,
        lambda connection, path: (
            resealed("tasks", "UPDATE tasks SET status = 'running'")(connection, path),
            resealed("containers", "UPDATE containers SET status = 'pending'")(
                connection, path
            ),
        ),
    ),
    "times that are yet to come": (
        "time",
        Grade.FINDING,
        resealed("containers", "UPDATE containers SET ended_at = 99999999999999"),
    ),
    "parameters that cannot be read": (
        "parameters",
        Grade.DAMAGE,
        resealed("containers", "UPDATE containers SET params = '{'"),
    ),
    "plan with an unknown step": (
        "damage",
        Grade.DAMAGE,
        resealed(
            "containers",
            'UPDATE containers SET plan = \'[{"name": "a", "needs": ["b"]}]\'',
        ),
    ),
}


@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_fault_is_found(path: Path, name: str) -> None:
    kind, grade, plant = PLANTED[name]
    with closing(apsw.Connection(str(path))) as connection:
        plant(connection, path)
    found = check(path)

    assert (kind, grade) in [(fault.kind, fault.grade) for fault in found], found


def test_more_than_thirty_kinds_are_planted() -> None:
    assert len(PLANTED) > 40


@pytest.mark.parametrize("seed", range(12))
def test_nothing_is_found_in_a_sound_store(tmp_path: Path, seed: int) -> None:
    look_at_sound(tmp_path, seed)


@pytest.mark.soak
def test_nothing_is_found_in_a_thousand_sound_stores(tmp_path: Path) -> None:
    for seed in range(1000):
        (tmp_path / str(seed)).mkdir()
        look_at_sound(tmp_path / str(seed), seed)


def look_at_sound(folder: Path, seed: int) -> None:
    url = f"sqlite:///{folder}/pts.db"
    with closing(open_store(url)) as store:
        random_history(store, seed)

    assert check(folder / "pts.db") == []


@pytest.mark.parametrize(
    "name",
    [name for name, (_, grade, _) in PLANTED.items() if grade is not Grade.DAMAGE],
)
def test_a_repair_takes_away_what_it_can_and_nothing_else(
    path: Path, name: str
) -> None:
    url = f"sqlite:///{path}"
    before = everything(url)
    _, _, plant = PLANTED[name]
    with closing(apsw.Connection(str(path))) as connection:
        plant(connection, path)
    could = [fault for fault in check(path) if not fault.is_repairable]
    with closing(open_care(url)) as care:
        list(care.repair())

    assert check(path) == could
    if not could:
        assert everything(url) == before


def everything(url: str) -> list[object]:
    """Return all that a store keeps, but the lines of bodies."""
    with closing(open_store(url)) as store:
        records = store.containers()
        return [
            *records,
            *(store.tasks(record.uid, payloads=True) for record in records),
            *(store.ledgers(record.uid, ["load[0]"]) for record in records),
            store.outlooks([record.uid for record in records], of_earlier_runs=True),
            store.runs(),
        ]


def test_a_log_that_is_not_written_back_is_found(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(file_faults, "LONG_LOG", 1)
    with closing(apsw.Connection(str(path))) as connection:
        connection.execute("CREATE TABLE theirs (x TEXT)")
        kinds = [fault.kind for fault in check(path)]

    assert "long log" in kinds


def test_a_disk_with_less_room_than_the_file_takes_is_found(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    full = SimpleNamespace(f_bavail=0, f_frsize=4096)
    monkeypatch.setattr(os, "statvfs", lambda _folder: full)

    assert [fault.kind for fault in check(path)] == ["disk room"]


def test_a_network_disk_is_found_where_the_file_cannot_be_opened(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mounts = path.with_name("mounts")
    mounts.write_text("36 35 0:52 / / rw,noatime - nfs4 host:/srv rw\n")
    for module in (file_faults, sqlite_file):
        monkeypatch.setattr(module, "_MOUNTS", mounts)

    assert [fault.kind for fault in check(path)] == ["network disk"]
