"""How many pages of a SQLite file its statements touch, and for how long they hold it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import apsw
import pytest
from msgspec.structs import replace

from ptsflow.core.model import Status, StepSummary, TaskRecord
from ptsflow.errors import LeaseLost
from ptsflow.stores.sqlite import commits, containers, rows
from ptsflow.stores.sqlite.store import SqliteStore
from tests.stores.making import LEASE, filled, held, new, one, owner, swap


@pytest.fixture
def store(path: Path) -> Iterator[SqliteStore]:
    opened = SqliteStore(f"sqlite:///{path}")
    yield opened
    opened.close()


def pages_of(store: SqliteStore, act: Callable[[SqliteStore], object]) -> int:
    """Return how many pages a new connection asks its cache for while it acts."""
    other = store.sibling()
    other.container("feed")
    connection = other._database.connection
    kinds = (apsw.SQLITE_DBSTATUS_CACHE_HIT, apsw.SQLITE_DBSTATUS_CACHE_MISS)
    before = sum(connection.status(kind)[0] for kind in kinds)
    act(other)
    after = sum(connection.status(kind)[0] for kind in kinds)
    other.close()
    return after - before


def bytes_read() -> int:
    """Return how many bytes this process has read; pages of large rows have no cache."""
    lines = Path("/proc/self/io").read_text().splitlines()
    return int(lines[0].removeprefix("rchar: "))


def bytes_written() -> int:
    """Return how many bytes this process has written."""
    lines = Path("/proc/self/io").read_text().splitlines()
    return int(lines[1].removeprefix("wchar: "))


def planned(store: SqliteStore, steps: int) -> str:
    """Return the uid of a container with a plan, held under fence 1."""
    uid = filled(store)
    plan = tuple(StepSummary(name=f"step{number}") for number in range(steps))
    store.save(replace(held(store, uid), workflow="Feed", plan=plan))
    tasks = [new(f"step{n}", step=f"step{n}", position=n, fence=1) for n in range(3)]
    store.commit(uid, tasks, fence=1)
    return uid


def test_small_results_beside_a_large_one_are_read_without_it(
    store: SqliteStore,
) -> None:
    uid = filled(store)
    large = new("large", result="x" * 2_000_000)
    small = [new(f"small{number}", result="1") for number in range(100)]
    store.commit(uid, [*small[:50], large, *small[50:]], fence=None)
    names = [change.after.name for change in small if change.after]
    before = bytes_read()
    store.tasks(uid, names, payloads=True)

    assert bytes_read() - before < 1_000_000


def test_large_results_are_written_once_and_not_read(store: SqliteStore) -> None:
    uid = planned(store, 3)
    many = [new(f"item{n}", step="item", position=n, fence=1) for n in range(40)]
    store.commit(uid, many, fence=1)
    tasks = [one(store, uid, f"item{n}") for n in (38, 1, 37, 0, 39, 2)]
    texts = ["x" * 4_000_000 for _ in tasks]
    ends = [
        swap(task, result=text, fence=1)
        for task, text in zip(tasks, texts, strict=True)
    ]
    starts = [swap(one(store, uid, f"item{n}"), fence=1) for n in range(10, 16)]
    mixed = [change for pair in zip(ends, starts, strict=True) for change in pair]
    database = store._database
    # No checkpoint, which would read the log.
    database._kind = replace(database._kind, longest_log=1_000_000)
    before = bytes_read(), bytes_written()
    store.commit(uid, mixed, fence=1)
    size = sum(map(len, texts))

    assert bytes_read() - before[0] < 1_000_000
    assert size < bytes_written() - before[1] < 1.05 * size


def test_the_check_value_of_a_result_is_taken_from_its_hash() -> None:
    task = TaskRecord(name="a", result="long", result_hash=4 << 32 | 99)

    assert rows.checks_of({0: None, 2: "long"}, task) == (None, 99)


def test_a_commit_reads_no_plan(store: SqliteStore) -> None:
    uid = planned(store, 20_000)
    task = one(store, uid, "step0")
    done = swap(task, status=Status.DONE, fence=1)

    assert pages_of(store, lambda s: s.commit(uid, [done], fence=1)) < 30


def test_the_end_of_a_step_and_the_start_of_the_next_write_one_page(
    store: SqliteStore,
) -> None:
    uid = planned(store, 3)
    first, second, _ = store.tasks(uid)
    before = store._database._log.pages
    ends = swap(first, status=Status.DONE, fence=1)
    starts = swap(second, status=Status.RUNNING, fence=1)
    store.commit(uid, [ends, starts], fence=1)

    assert store._database._log.pages - before == 1


def test_the_next_open_task_may_be_of_a_step(store: SqliteStore) -> None:
    uid = planned(store, 3)
    own = [new("own", position=1, fence=1), new("last", position=9, fence=1)]
    store.commit(uid, own, fence=1)
    found = []
    while task := store.next_open(uid):
        found.append(task.name)
        store.commit(uid, [swap(task, status=Status.DONE, fence=1)], fence=1)

    assert found == ["step0", "own", "step1", "step2", "last"]


def test_a_task_that_a_client_added_is_no_open_one_of_it_as_a_step(
    store: SqliteStore,
) -> None:
    uid = planned(store, 3)
    store.commit(uid, [new("extra", position=9, fence=1)], fence=1)
    taken = swap(one(store, uid, "extra"), step="extra", fence=1)
    store.commit(uid, [taken], fence=1)

    assert store.tasks(uid)[-1] == taken.after
    assert store.next_open(uid) is not None


# -- deleting --------------------------------------------------------------------


class Killed(BaseException):
    """The process was killed."""


def test_what_a_killed_delete_left_is_deleted_by_the_next(
    store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    uid = filled(store, *(f"task{number}" for number in range(2_500)))
    write, turns = store._database.write, 0

    def killed(*args: Any) -> object:
        nonlocal turns
        turns += 1
        if turns > 1:
            raise Killed
        return write(*args)

    monkeypatch.setattr(containers, "_LONGEST_TURN", 0.0)
    monkeypatch.setattr(store, "_write", killed)
    with pytest.raises(Killed):
        store.delete(uid)
    monkeypatch.setattr(store, "_write", write)
    count = "SELECT (SELECT count(*) FROM tasks), (SELECT count(*) FROM deleted)"
    assert store._database.execute(count).fetchall() == [(1_500, 1)]
    assert store.container("feed") is None
    assert not store.delete(uid)

    other = filled(store, "one")
    assert [task.name for task in store.tasks(other)] == ["one"]
    assert store.delete(other)
    assert store._database.execute(count).fetchall() == [(0, 0)]


# -- large commits ---------------------------------------------------------------


def test_others_write_between_the_parts_of_a_large_commit(
    store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    uid = planned(store, 3)
    monkeypatch.setattr(commits, "_LONGEST_PART", 10)
    other, renewed = store.sibling(), 0

    def renew(_: float) -> None:
        nonlocal renewed
        renewed += other.renew(uid, 1, 5_000)

    # Another thread of this process may sleep as well.
    monkeypatch.setattr(commits, "time", SimpleNamespace(sleep=renew))
    many = [new(f"item{number}", step="item", fence=1) for number in range(35)]
    store.commit(uid, many, fence=1)
    other.close()

    assert renewed == 3
    assert len(store.tasks(uid)) == 38


def test_a_runner_that_lost_its_lease_writes_no_further_part(
    store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    uid = planned(store, 3)
    monkeypatch.setattr(commits, "_LONGEST_PART", 10)
    monkeypatch.setattr(
        time, "sleep", lambda _: store.claim(uid, owner("b"), LEASE, dead=1)
    )
    many = [new(f"item{number}", step="item", fence=1) for number in range(35)]

    with pytest.raises(LeaseLost):
        store.commit(uid, many, fence=1)
    assert len(store.tasks(uid)) == 13
