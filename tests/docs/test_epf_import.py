"""The example that imports a feed: killed, cut, cheated, and right in the end."""

from __future__ import annotations

import importlib.util
import io
import os
import random
import sqlite3
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import datetime
from pathlib import Path
from types import ModuleType
from typing import IO, Any

import pytest

import ptsflow
from ptsflow.client import Client
from ptsflow.client.task import Task
from ptsflow.core.model import Status, TaskRecord
from ptsflow.errors import Fail
from ptsflow.events import Event, TaskChanged
from ptsflow.testing import run_inline
from ptsflow.workflow.handle import TaskHandle
from tests.support.processes import PTSFLOW, ROOT, environment
from tests.support.reports import Reports, handle_of

HOUR = "20250301T09"
HOUR_BEFORE = "20250301T08"
SCALE = 0.01
TABLES = ["character", "decomposition", "numeric_value", "normal_form", "category"]


def load_example(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(
        name, ROOT / "examples" / f"{name}.py"
    )
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


feed_example = load_example("epf_server")
example = load_example("epf_import")


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "*")


@pytest.fixture
def client() -> Iterator[Client]:
    with ptsflow.connect("memory:") as connected:
        yield connected


@pytest.fixture
def lasting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """A client of a store that keeps the files of tasks from one run to the next."""
    folder = tmp_path_factory.mktemp("store")
    with ptsflow.connect(f"sqlite:///{folder}/store.db") as connected:
        yield connected


def partial_archives(client: Client) -> list[Path]:
    folder = Path(client.store.url.removeprefix("sqlite:///")).parent
    return list(folder.rglob("*.tbz.*.part"))


@pytest.fixture
def feed() -> Iterator[Any]:
    with feed_example.FeedServer(hour=HOUR, scale=SCALE) as server:
        yield server


def cutting_feed(scale: float) -> Any:
    """Return a feed that cuts archives, and nothing else."""
    server = feed_example.FeedServer(hour=HOUR, scale=scale, kinds=["cut"])
    next_fault = server.next_fault

    def of_archives(path: str) -> str | None:
        fault: str | None = next_fault(path)
        return fault if path.endswith(".tbz") else None

    server.next_fault = of_archives
    return server


def import_of(feed: Any, folder: Path, hour: str = HOUR) -> Any:
    moment = datetime.fromisoformat(hour)
    return example.EpfImport(hour=moment, server=feed.url, folder=folder)


def stored(database: Path) -> dict[str, list[tuple[Any, ...]]]:
    with closing(sqlite3.connect(database)) as db:
        return {
            table: db.execute(f"SELECT * FROM {table}").fetchall()  # noqa: S608
            for table in TABLES
        }


def posted(hour: str, scale: float = SCALE) -> dict[str, list[tuple[Any, ...]]]:
    """The truth, in the order of the primary keys."""
    return {
        table.name: sorted(table.rows, key=lambda row: row[1:3])
        for table in feed_example.tables(hour, scale)
    }


# ---- Killed, with a feed that fails ---------------------------------------------


class Runs:
    """Runs the command, and kills it."""

    def __init__(self, folder: Path, url: str, hour: str) -> None:
        self.folder = folder
        self.command = [*PTSFLOW, "run"]
        self.command += [str(ROOT / "examples" / "epf_import.py")]
        self.command += ["-p", f"hour={hour}", "-p", f"server={url}"]
        self.store = f"sqlite:///{folder}/store.db"
        self.environment = environment(PTSFLOW_STORE=self.store, EPF_RETRY_DELAY="0.02")

    def run(self, dice: random.Random | None = None) -> int:
        """Run it, and kill it at a moment that the dice choose; return its status."""
        process = subprocess.Popen(
            self.command,
            cwd=self.folder,
            env=self.environment,
            stderr=subprocess.PIPE,
            text=True,
        )
        with process:
            assert process.stderr
            if dice is not None and self._has_lines(process.stderr, dice.randint(1, 9)):
                time.sleep(dice.uniform(0, 0.05))
                process.kill()
            process.communicate(timeout=60)
        return process.returncode

    @staticmethod
    def _has_lines(stream: IO[str], count: int) -> bool:
        return all(stream.readline() for _ in range(count))

    def tasks(self, container: str) -> dict[str, Task]:
        with ptsflow.connect(self.store) as connected:
            found = connected.get_task_container(container)
            assert found
            return {task.name: task for task in found.get_tasks()}


def what_readers_see(database: Path) -> tuple[str, set[int]]:
    """Return the hour published, and the dates of all rows."""
    with closing(sqlite3.connect(database)) as db:
        (hour,) = db.execute("SELECT hour FROM published").fetchone()
        dates: set[int] = set()
        for table in TABLES:
            found = db.execute(f"SELECT DISTINCT export_date FROM {table}")  # noqa: S608
            dates |= {date for (date,) in found}
    return hour, dates


def date_of(hour: str) -> int:
    moment: datetime = feed_example.parse_hour(hour)
    return round(moment.timestamp() * 1000)


@pytest.mark.parametrize("seed", [1, 2])
def test_an_import_killed_again_and_again_equals_one_that_was_not(
    tmp_path: Path, seed: int
) -> None:
    scale = 0.3
    dice = random.Random(seed)  # noqa: S311 - no secret
    database = tmp_path / "epf" / "epf.db"
    with feed_example.FeedServer(hour=HOUR, scale=scale, seed=seed) as server:
        assert Runs(tmp_path, server.url, HOUR_BEFORE).run() == 0

        server.faults = 0.3
        runs = Runs(tmp_path, server.url, HOUR)
        finished: dict[str, Task] = {}
        kills, code = 0, -1
        while code != 0:
            code = runs.run(dice if kills < 10 else None)
            assert code in (0, 1, -9)
            kills += code == -9
            seen = runs.tasks(f"epf:{HOUR}")
            again = {name: seen[name] for name in finished}
            assert again == finished
            finished = {
                name: task
                for name, task in seen.items()
                if task.status is Status.DONE and name != "clean_up"
            }
            hour, dates = what_readers_see(database)
            assert hour in (HOUR_BEFORE, HOUR)
            assert dates == {date_of(hour)}

    assert kills >= 4
    assert stored(database) == posted(HOUR, scale)
    assert sorted(path.name for path in (tmp_path / "epf").iterdir()) == ["epf.db"]


# ---- What is done is not done again ---------------------------------------------


def test_a_second_run_of_an_hour_asks_the_feed_nothing(
    tmp_path: Path, feed: Any, client: Client
) -> None:
    assert run_inline(import_of(feed, tmp_path), client=client).ok
    asked = feed.asked.total()
    before = run_inline(import_of(feed, tmp_path), client=client)

    assert before.ok
    assert feed.asked.total() == asked
    assert {task.invoke_count for task in before.tasks} == {1}


@pytest.mark.parametrize("hour", [HOUR, HOUR_BEFORE])
def test_an_hour_that_is_not_newer_is_finished_at_once(
    tmp_path: Path, feed: Any, client: Client, hour: str
) -> None:
    assert run_inline(import_of(feed, tmp_path), client=client).ok
    feed.asked.clear()
    report = run_inline(import_of(feed, tmp_path, hour), client=client, container="new")

    assert report.ok
    assert feed.asked.total() == 0
    by_name = {task.name: task for task in report.tasks}
    assert by_name["check"].status_text == f"{HOUR} is published already"
    assert by_name["merge"].status is Status.SKIPPED
    assert stored(tmp_path / "epf.db") == posted(HOUR)


def test_an_older_hour_that_comes_late_does_not_replace_a_newer_one(
    tmp_path: Path, feed: Any, client: Client
) -> None:
    older = import_of(feed, tmp_path, HOUR_BEFORE)
    run_inline(older, client=client, only=["check"])
    assert run_inline(import_of(feed, tmp_path), client=client).ok
    assert run_inline(older, client=client).ok

    assert stored(tmp_path / "epf.db") == posted(HOUR)
    assert [path.name for path in tmp_path.iterdir()] == ["epf.db"]


def test_working_files_stay_until_the_hour_is_published(
    tmp_path: Path, feed: Any, client: Client
) -> None:
    upto = ["check", "download", "unpack", "clean_up"]
    run_inline(import_of(feed, tmp_path), client=client, only=upto)
    work = tmp_path / HOUR

    assert sorted(path.name for path in (work / "flat").iterdir()) == sorted(TABLES)
    assert len(list((work / "archives").iterdir())) == len(TABLES)

    assert run_inline(import_of(feed, tmp_path), client=client).ok
    assert not work.exists()


def test_a_step_that_is_repeated_makes_the_same(
    tmp_path: Path, feed: Any, client: Client
) -> None:
    every = list(example.EpfImport.declared_steps)
    for name in every[: every.index("publish")]:
        for _ in range(2):
            run_inline(
                import_of(feed, tmp_path), client=client, only=[name], from_step=name
            )
    assert run_inline(import_of(feed, tmp_path), client=client).ok

    assert stored(tmp_path / "epf.db") == posted(HOUR)


# ---- What a feed does -----------------------------------------------------------


def test_a_feed_that_is_late_is_asked_again_until_it_has_posted(tmp_path: Path) -> None:
    server = feed_example.FeedServer(hour=HOUR, scale=SCALE, late=3600)
    waits: list[str] = []

    def post_at_the_third(event: Event) -> None:
        after = getattr(event, "after", None)
        if isinstance(after, TaskRecord) and after.status is Status.WAITING:
            waits.append(after.status_text)
            if len(waits) == 3:
                server.late = 0

    with server:
        report = run_inline(import_of(server, tmp_path), listeners=[post_at_the_third])

    assert report.ok
    assert waits == [f"{HOUR} is not posted yet"] * 3
    assert stored(tmp_path / "epf.db") == posted(HOUR)


def test_four_archives_are_fetched_at_a_time_and_unpacked_by_other_processes(
    tmp_path: Path, feed: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    running: set[str] = set()
    together: list[int] = []
    unpacked_by: set[str] = set()

    def look(event: Event) -> None:
        if not isinstance(event, TaskChanged) or event.after is None:
            return
        task = event.after
        if task.step == "download":
            running.add(task.name)
            if task.status is not Status.RUNNING:
                running.remove(task.name)
            together.append(len(running))
        if task.step == "unpack" and task.status is Status.DONE:
            unpacked_by.add(task.ran_by.rpartition(":")[2])

    monkeypatch.syspath_prepend(ROOT / "examples")  # so that processes find it
    upto = ["check", "download", "unpack"]
    report = ptsflow.run(
        import_of(feed, tmp_path), "memory:", jobs=8, only=upto, listeners=[look]
    )

    assert report.failed == []
    assert max(together) == 4
    assert unpacked_by
    assert str(os.getpid()) not in unpacked_by


def test_an_archive_that_is_cut_goes_on_where_it_was_cut(
    tmp_path: Path, lasting: Client, capfd: pytest.CaptureFixture[str]
) -> None:
    with cutting_feed(SCALE) as server:
        work = import_of(server, tmp_path)
        run_inline(work, client=lasting, only=["check"])
        server.faults = 1
        assert not run_inline(work, client=lasting, only=["download"]).ok
        container = lasting.get_task_container(work.container_name)
        assert container
        task = container.get_task("download[character.tbz]")
        assert task
        size = len(feed_example.archives(HOUR, SCALE)["character.tbz"])
        (part,) = [p for p in partial_archives(lasting) if "character" in p.name]
        # Each of the eleven attempts brought half of what was missing.
        assert part.stat().st_size == pytest.approx(size, rel=0.01)
        assert task.error
        assert "DownloadError" in task.error

        server.faults = 0
        server.verbose = True
        capfd.readouterr()
        assert run_inline(work, client=lasting).ok
        log = capfd.readouterr().err

    assert f'"GET /{HOUR}/character.tbz HTTP/1.1" 206' in log
    assert '.tbz HTTP/1.1" 200' not in log
    assert stored(tmp_path / "epf.db") == posted(HOUR)


def test_a_part_that_is_shorter_than_was_noted_is_fetched_from_its_end(
    tmp_path: Path, lasting: Client
) -> None:
    # As after a power cut on a disc that lied, or by hand.
    with cutting_feed(SCALE) as server:
        work = import_of(server, tmp_path)
        run_inline(work, client=lasting, only=["check"])
        server.faults = 1
        run_inline(work, client=lasting, only=["download"])
        parts = partial_archives(lasting)
        assert sorted(part.name.partition(".")[0] for part in parts) == sorted(TABLES)
        for part in parts:
            os.truncate(part, 10)
        server.faults = 0
        server.asked.clear()

        assert run_inline(work, client=lasting).ok
    assert [server.asked[f"/{HOUR}/{table}.tbz"] for table in TABLES] == [1] * 5
    assert stored(tmp_path / "epf.db") == posted(HOUR)


def test_a_wrong_checksum_lets_nothing_through_and_is_asked_for_again(
    tmp_path: Path, lasting: Client
) -> None:
    with feed_example.FeedServer(hour=HOUR, scale=SCALE, kinds=["md5"]) as server:
        work = import_of(server, tmp_path)
        server.faults = 1
        report = run_inline(work, client=lasting)
        assert report.failed == [f"download[{table}.tbz]" for table in TABLES]
        assert not (tmp_path / HOUR).exists()
        assert server.asked[f"/{HOUR}/category.tbz"] == 11
        assert server.asked[f"/{HOUR}/category.tbz.md5"] == 11

        server.faults = 0
        assert run_inline(work, client=lasting).ok
    assert stored(tmp_path / "epf.db") == posted(HOUR)


def test_an_archive_that_is_posted_anew_and_shorter_is_fetched_from_its_beginning(
    tmp_path: Path, lasting: Client
) -> None:
    large = cutting_feed(4 * SCALE)
    with large:
        work = import_of(large, tmp_path)
        run_inline(work, client=lasting, only=["check"])
        large.faults = 1
        run_inline(work, client=lasting, only=["download"])
        large.scale, large.faults = SCALE, 0

        assert run_inline(work, client=lasting).ok
    assert stored(tmp_path / "epf.db") == posted(HOUR)


# ---- What an archive and a flat file may hold -----------------------------------


@pytest.fixture
def task(tmp_path: Path) -> TaskHandle:
    return handle_of(Reports(), folder=f"{tmp_path}/workdir")


@pytest.fixture
def work(tmp_path: Path) -> Any:
    hour = datetime.fromisoformat(HOUR)
    return example.EpfImport(hour=hour, server="http://127.0.0.1:1", folder=tmp_path)


def archive(path: Path, *members: tarfile.TarInfo, content: bytes = b"flat") -> Path:
    with tarfile.open(path, "w:bz2") as tar:
        for member in members:
            member.size = len(content) if member.isreg() else 0
            tar.addfile(member, io.BytesIO(content))
    return path


def link(name: str, target: str) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type = tarfile.SYMTYPE
    member.linkname = target
    return member


@pytest.mark.parametrize("name", ["../../../evil", "/tmp/evil", "category", ""])  # noqa: S108
def test_a_file_is_called_like_its_table_whatever_its_archive_calls_it(
    tmp_path: Path, work: Any, task: TaskHandle, name: str
) -> None:
    packed = archive(tmp_path / "category.tbz", tarfile.TarInfo(name))
    place = work.unpack(packed, task)

    assert place == tmp_path / HOUR / "flat" / "category"
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert sorted(files) == sorted([packed, place])
    assert place.read_bytes() == b"flat"


@pytest.mark.parametrize(
    ("members", "why"),
    [
        pytest.param([], "expected a plain file in it, found none", id="empty"),
        pytest.param(
            [link("category", "/etc/hostname")],
            "expected a plain file in it, found none",
            id="a link",
        ),
        pytest.param(
            [tarfile.TarInfo("category"), tarfile.TarInfo("more")],
            "expected one file in it, found more",
            id="two files",
        ),
    ],
)
def test_an_archive_of_anything_but_one_file_is_refused(
    tmp_path: Path,
    work: Any,
    task: TaskHandle,
    members: list[tarfile.TarInfo],
    why: str,
) -> None:
    packed = archive(tmp_path / "category.tbz", *members)
    with pytest.raises(Fail) as refused:
        work.unpack(packed, task)

    assert str(refused.value) == f"category.tbz: {why}"
    assert not (tmp_path / HOUR / "flat" / "category").exists()


FLAT = (
    "#category\x01count|#primaryKey:category|#dbTypes:VARCHAR(2)\x01INTEGER|"
    "#exportMode:FULL|Lu\x015|L\nl\x01|#recordsWritten:2|"
)


def write_flat(work: Any, text: str) -> None:
    flat = work.work / "flat" / "category"
    flat.parent.mkdir(parents=True)
    flat.write_bytes(text.replace("|", "\x02\n").encode())


def test_a_record_may_hold_line_ends_and_missing_values(
    work: Any, task: TaskHandle
) -> None:
    write_flat(work, FLAT)
    loaded = work.load_categories(task)

    assert loaded == example.Table("category", ["category"], 2)
    with closing(sqlite3.connect(work.staging("category"))) as db:
        rows = db.execute("SELECT * FROM category").fetchall()
    assert rows == [("L\nl", None), ("Lu", 5)]


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        (FLAT, "", "expected # in its header, found ''"),
        ("#primary", "#", "expected #primaryKey: in its header, found '#Key:category'"),
        (
            "FULL",
            "INCREMENTAL",
            "expected #exportMode:FULL in its header, found '#exportMode:INCREMENTAL'",
        ),
        (
            "\x01count",
            "\x01count); DROP",
            "expected a column's name, found 'count); DROP'",
        ),
        (
            "Key:category",
            "Key:name",
            "its primary key ['name'] is not among its columns",
        ),
        (
            "INTEGER",
            "BLOB",
            "expected a known type a column, found ['VARCHAR', 'BLOB']",
        ),
        ("Written:2", "Written:3", "has 2 rows, 3 were written"),
        ("#recordsWritten:2|", "", "has 2 rows, -1 were written"),
        ("Written:2|", "Written:2", "the last record does not end"),
    ],
)
def test_a_flat_file_that_is_not_as_it_should_be_is_refused(
    work: Any, task: TaskHandle, old: str, new: str, why: str
) -> None:
    write_flat(work, FLAT.replace(old, new))
    with pytest.raises(Fail) as refused:
        work.load_categories(task)

    assert str(refused.value) == f"{work.work / 'flat' / 'category'}: {why}"
    assert not work.staging("category").exists()


@pytest.mark.parametrize("left", ["a table", "rubbish"])
def test_a_table_is_loaded_from_the_beginning_whatever_was_left(
    work: Any, task: TaskHandle, left: str
) -> None:
    write_flat(work, FLAT)
    work.load_categories(task)
    place = work.staging("category")
    if left == "rubbish":
        place.write_bytes(b"x" * 5000)

    assert work.load_categories(task).rows == 2
    assert list(place.parent.iterdir()) == [place]
    with closing(sqlite3.connect(place)) as db:
        assert db.execute("SELECT count(*) FROM category").fetchone() == (2,)


def test_a_primary_key_that_comes_twice_is_refused(work: Any, task: TaskHandle) -> None:
    write_flat(work, FLAT.replace("L\nl", "Lu"))
    with pytest.raises(sqlite3.IntegrityError):
        work.load_categories(task)

    assert not work.staging("category").exists()


def test_a_merged_database_that_lacks_a_row_is_not_published(
    tmp_path: Path, feed: Any, client: Client
) -> None:
    run_inline(import_of(feed, tmp_path, HOUR_BEFORE), client=client)
    work = import_of(feed, tmp_path)
    every = list(example.EpfImport.declared_steps)
    run_inline(work, client=client, only=every[: every.index("verify")])
    with closing(sqlite3.connect(work.merged)) as db:
        db.execute("DELETE FROM category WHERE category = 'Lu'")
        db.commit()
    report = run_inline(work, client=client)

    assert report.failed == ["verify"]
    rows = len(posted(HOUR)["category"])
    error = next(task.error for task in report.tasks if task.name == "verify")
    assert error == f"category: has {rows - 1} rows, {rows} were written"
    assert stored(tmp_path / "epf.db") == posted(HOUR_BEFORE)

    assert run_inline(work, client=client, from_step="merge").ok
    assert stored(tmp_path / "epf.db") == posted(HOUR)


def test_a_publication_that_fails_after_it_was_seen_is_no_harm(
    tmp_path: Path, feed: Any, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: int) -> None:
        raise OSError("the disc is gone")

    work = import_of(feed, tmp_path)
    every = list(example.EpfImport.declared_steps)
    run_inline(work, client=client, only=every[: every.index("publish")])
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fail)
        with pytest.raises(OSError, match="disc is gone"):
            work.publish()
    work.clean_up()

    assert run_inline(work, client=client).ok
    assert stored(tmp_path / "epf.db") == posted(HOUR)
