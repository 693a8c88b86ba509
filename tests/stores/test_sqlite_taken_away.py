"""A SQLite file or its log that another program moves, removes or replaces while in use."""

from __future__ import annotations

import os
import shutil
import sqlite3
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import apsw
import pytest

import ptsflow
from ptsflow import TaskHandle, Workflow, step
from ptsflow.client import lease
from ptsflow.core.model import Progress
from ptsflow.errors import ContainerBusy, StoreDamaged, StoreMoved
from ptsflow.stores.sqlite.store import SqliteStore
from tests.stores.making import LEASE, drop, filled, held, new, one, swap


@pytest.fixture
def store(path: Path) -> Iterator[SqliteStore]:
    opened = SqliteStore(f"sqlite:///{path}")
    yield opened
    opened.close()


def log_of(path: Path) -> Path:
    return path.with_name(f"{path.name}-wal")


def replaced(path: Path) -> None:
    shutil.copy(path, path.with_name("copy"))
    path.with_name("copy").replace(path)


def without_log(path: Path) -> None:
    log_of(path).unlink()


def with_another_log(path: Path) -> None:
    replaced(log_of(path))


#: What other programs do to a store in use.
TAKEN = [
    Path.unlink,
    lambda path: path.rename(path.with_name("away.db")),
    replaced,
    without_log,
    with_another_log,
    lambda path: shutil.rmtree(path.parent),
]


@pytest.mark.parametrize("take", TAKEN)
def test_nothing_is_acknowledged_into_or_shown_of_a_file_that_was_taken_away(
    store: SqliteStore, path: Path, take: Callable[[Path], object]
) -> None:
    uid = filled(store, "one")
    record = held(store, uid)
    task = one(store, uid, "one")
    take(path)
    message = (
        f"{path}: expected the file and the -wal beside it that were opened, found one "
        "moved, removed or replaced; stop what did that, and run again"
    )

    for call in (
        lambda: store.create("other"),
        lambda: store.commit(uid, [new("two")], fence=1),
        lambda: store.commit(uid, [swap(task, percentage_complete=5.0)], fence=1),
        lambda: store.touch(uid, [Progress("one", 5.0, "")], fence=1),
        lambda: store.renew(uid, 1, LEASE),
        lambda: store.save(record),
        lambda: store.stop_asked(uid, 1),
        lambda: store.release(record),
        lambda: store.delete(uid),
        store.sibling,
        # Screens would show for ever what the file was then.
        lambda: store.container("box"),
        store.recent,
        lambda: store.glance(uid),
    ):
        with pytest.raises(StoreDamaged) as caught:
            call()
        assert str(caught.value) == message


@pytest.mark.parametrize("take", TAKEN)
def test_no_two_clients_lease_a_task_though_the_file_was_taken_away(
    path: Path, take: Callable[[Path], object]
) -> None:
    with ptsflow.connect(f"sqlite:///{path}") as client:
        container, _ = client.get_or_create_task_container("box")
        container.add_task("one")
        take(path)

        with pytest.raises(StoreDamaged):
            container.lease_next_task(seconds=60)


def test_a_file_taken_away_within_a_commit_is_noticed_at_its_end(
    store: SqliteStore, path: Path
) -> None:
    database = store._database
    uid = filled(store)

    def act() -> None:
        database.execute("UPDATE containers SET fence = 7")
        path.unlink()

    with pytest.raises(StoreDamaged):
        database.write(act)
    assert uid


def test_a_log_that_was_taken_away_is_not_written_into_the_file(path: Path) -> None:
    store = SqliteStore(f"sqlite:///{path}")
    uid = filled(store)
    # A program that reads the file and closes it drops this process's locks.
    path.read_bytes()
    with sqlite3.connect(path) as other:
        assert other.execute("SELECT count(*) FROM containers").fetchone() == (1,)
    other.close()
    assert not log_of(path).exists()
    kept = path.read_bytes()
    wide = [new(f"t{number}", result="x" * 3000) for number in range(400)]

    with pytest.raises(StoreDamaged):
        store.commit(uid, wide, fence=None)
    store.close()
    assert path.read_bytes() == kept


def write_back(path: Path, mode: int) -> None:
    other = apsw.Connection(str(path))
    other.pragma("journal_mode")  # SQLite looks for a log when it first reads.
    pages, written = other.wal_checkpoint(mode=mode)
    assert pages == written
    other.close()


def test_a_log_that_was_cut_takes_no_more_commits_and_does_no_harm_to_the_file(
    path: Path,
) -> None:
    store = SqliteStore(f"sqlite:///{path}")
    uid = filled(store)
    write_back(path, apsw.SQLITE_CHECKPOINT_PASSIVE)
    kept = path.read_bytes()
    wide = [new(f"t{number}", result="x" * 3000) for number in range(100)]
    store.commit(uid, wide, fence=None)
    os.truncate(log_of(path), 0)

    with pytest.raises(StoreDamaged) as caught:
        store.commit(uid, [new("more")], fence=None)
    store.close()
    assert str(caught.value).startswith(
        f"{path}: expected the -wal beside it as it was written, found it cut"
    )
    assert path.read_bytes() == kept


def test_a_log_that_sqlite_itself_cut_takes_more_commits(
    store: SqliteStore, path: Path
) -> None:
    uid = filled(store)
    wide = [new(f"t{number}", result="x" * 3000) for number in range(100)]
    store.commit(uid, wide, fence=None)
    write_back(path, apsw.SQLITE_CHECKPOINT_TRUNCATE)
    assert log_of(path).stat().st_size == 0

    store.commit(uid, [new("more")], fence=None)
    assert one(store, uid, "more").name == "more"


def test_the_log_is_written_back_before_it_grows_long(
    store: SqliteStore, path: Path
) -> None:
    uid = filled(store)
    for number in range(100):
        store.commit(uid, [new("x", result="x" * 50_000)], fence=None)
        assert log_of(path).stat().st_size < 300 * 4200, number
        store.commit(uid, [drop(one(store, uid, "x"))], fence=None)


class Slow(Workflow):
    """Its body removes the file, and then saves or does not."""

    path: Path
    saves: bool

    @step
    def load(self, task: TaskHandle) -> None:
        for each in (self.path, log_of(self.path)):
            each.unlink()
        for number in range(600):
            if self.saves:
                task.checkpoint(number)
            if task.cancelled:
                return
            time.sleep(0.02)


@pytest.mark.parametrize("saves", [True, False])
def test_a_run_whose_file_is_removed_ends_as_an_error_of_the_store(
    path: Path, monkeypatch: pytest.MonkeyPatch, *, saves: bool
) -> None:
    monkeypatch.setattr(lease, "stay_for_latecomers", lambda: None)
    with pytest.raises(StoreMoved) as caught:
        ptsflow.run(Slow(path=path, saves=saves), store=f"sqlite:///{path}")

    assert "moved, removed or replaced" in str(caught.value)
    assert not path.exists()


def test_a_command_that_was_begun_as_the_file_was_removed_is_told_of_the_run(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow, url = Slow(path=path, saves=True), f"sqlite:///{path}"
    told: list[str] = []

    def come_late() -> None:
        with pytest.raises(ContainerBusy) as caught:
            ptsflow.run(slow, store=url, container="c")
        told.append(str(caught.value))

    monkeypatch.setattr(lease, "stay_for_latecomers", come_late)
    with pytest.raises(StoreMoved):
        ptsflow.run(slow, store=url, container="c")

    assert ["may still be in a body of it" in text for text in told] == [True]


# -- hard links --------------------------------------------------------------------------


def test_a_file_with_two_names_is_refused(path: Path) -> None:
    SqliteStore(f"sqlite:///{path}").close()
    path.with_name("other.db").hardlink_to(path)
    inode = path.stat().st_ino

    for name in ("pts.db", "other.db"):
        with pytest.raises(StoreDamaged) as caught:
            SqliteStore(f"sqlite:///{path.with_name(name)}")
        assert str(caught.value) == (
            f"{path.with_name(name)}: expected a file with this name alone, found one with 2 "
            f"names (hard links); remove the others (find them with find -inum {inode}), or "
            "make this one a copy"
        )


def test_the_draft_of_a_maker_that_was_killed_is_removed(path: Path) -> None:
    SqliteStore(f"sqlite:///{path}").close()
    draft = path.with_name(f".pts.db.{'0a' * 16}")
    draft.hardlink_to(path)
    foreign = path.with_name(f".pts.db.{'0b' * 16}")
    foreign.write_text("of a maker that is at work")

    SqliteStore(f"sqlite:///{path}").close()
    assert not draft.exists()
    assert foreign.exists()


def test_a_draft_that_its_maker_removes_meanwhile_is_no_fault(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    SqliteStore(f"sqlite:///{path}").close()
    draft = path.with_name(f".pts.db.{'0a' * 16}")
    draft.hardlink_to(path)
    others = [path.with_name(f".pts.db.{digit * 32}") for digit in "bc"]
    monkeypatch.setattr(Path, "iterdir", lambda _: iter([others[0], draft, others[1]]))

    SqliteStore(f"sqlite:///{path}").close()
    assert not draft.exists()
