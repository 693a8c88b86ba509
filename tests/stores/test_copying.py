"""Copies of containers, from any kind of store to any other, are as the originals."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import closing
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

import ptsflow
from ptsflow import Fail, TaskHandle, Workflow, step
from ptsflow.cli.store import found_faults
from ptsflow.client.copying import GONE, Copying, chosen
from ptsflow.core.insight import ScheduleRecord
from ptsflow.core.model import ContainerRecord, Status
from ptsflow.core.work_queue import QueueEntry
from ptsflow.errors import ContainerBusy, ContainerMismatch
from ptsflow.stores import open_care, open_store
from ptsflow.stores.base import Store
from tests.crash.faulty import Fault, FaultyStore
from tests.stores.making import LEASE, filled, held, owner
from tests.stores.sound import finished, random_history
from tests.support.databases import new_database_url, raw_database

_PATHS = [
    pytest.param(("sqlite", "sqlite"), id="sqlite"),
    pytest.param(("mongod", "sqlite"), id="mongod", marks=pytest.mark.mongod),
]


@pytest.fixture
def urls(
    request: pytest.FixtureRequest, tmp_path: Path
) -> Iterator[Callable[[str], str]]:
    """Return what names new stores of a kind."""
    numbers, databases = count(), []

    def named(kind: str) -> str:
        if kind == "sqlite":
            return f"sqlite:///{tmp_path}/{next(numbers)}.db"
        databases.append(new_database_url(request.getfixturevalue("mongod_url")))
        return databases[-1]

    yield named
    for each in databases:
        with raw_database(each):
            pass


def content(store: Store) -> dict[str, Any]:
    """Return all that a store keeps, without what differs in another store."""
    names = {record.uid: record.name for record in store.containers()}
    found: dict[str, Any] = {}
    for record in store.containers():
        tasks = store.tasks(record.uid, payloads=True)
        with closing(store.logs()) as logs:
            lines, _ = logs.read(record.uid)
        found[record.name] = (
            replace(record, uid="", fence=0),
            tasks,
            store.ledgers(record.uid, [task.name for task in tasks]),
            lines,
            store.outlooks([record.uid], of_earlier_runs=True).get(record.uid),
        )
    runs = [
        replace(run, uid=names.get(run.uid, run.uid.removeprefix(GONE)))
        for run in store.runs(limit=1000)
    ]
    found["queue"] = {
        entry.container: replace(entry, uid="")
        for entry in store.queue.due(["Feed"], 10**15)
    }
    found["history"] = sorted(runs, key=lambda r: (r.began_at, r.container, r.fence))
    return found


def submitted(store: Store, record: ContainerRecord, **fields: int) -> None:
    """Put a container into the queue."""
    entry = QueueEntry(uid=record.uid, container=record.name, workflow="Feed", at=1)
    store.queue.put(replace(entry, **fields))


def copy(source: str, target: str, **options: Any) -> Copying:
    """Copy all containers of a store to another one."""
    with closing(open_store(source)) as old, closing(open_store(target)) as new:
        return copied(old, new, **options)


def copied(old: Store, new: Store, **options: Any) -> Copying:
    copying = Copying(old, new, **options)
    copying.copy(chosen(old.containers(), (), unfinished=False))
    copying.copy_queue()
    copying.copy_history()
    return copying


@pytest.mark.parametrize("way", _PATHS)
@pytest.mark.parametrize("seed", range(5))
def test_a_copy_of_a_copy_is_as_the_first_store(
    urls: Callable[[str], str], way: tuple[str, ...], seed: int
) -> None:
    first, *others = [urls(kind) for kind in ("sqlite", *way)]
    with closing(open_store(first)) as store:
        random_history(store, 100 + seed)
        large = finished(store, "large", large=True)
        submitted(store, large, not_before=10**14, priority=7)
        before, fences = content(store), {r.name: r.fence for r in store.containers()}
    for source, target in zip([first, *others], others, strict=False):
        copy(source, target)
        with closing(open_store(target)) as store:
            assert content(store) == before
            assert all(r.fence >= fences[r.name] for r in store.containers())
        with closing(open_care(target)) as care:
            assert list(found_faults(care, target, deep=True)) == []


@pytest.mark.parametrize("way", _PATHS)
def test_what_was_copied_is_not_copied_again(
    urls: Callable[[str], str], way: tuple[str, ...]
) -> None:
    first, second = urls("sqlite"), urls(way[0])
    with closing(open_store(first)) as store:
        finished(store, "one")
        finished(store, "two")
    once, again = copy(first, second), copy(first, second)

    assert once.copied == ["one", "two"]
    assert (again.copied, again.there) == ([], ["one", "two"])


def test_what_is_queued_in_the_new_store_stays_as_it_is(
    urls: Callable[[str], str],
) -> None:
    first, second = urls("sqlite"), urls("sqlite")
    with closing(open_store(first)) as store:
        one = finished(store, "one")
        submitted(store, one)
    copy(first, second)
    with closing(open_store(first)) as store:
        submitted(store, one, priority=7)
    copy(first, second)
    with closing(open_store(second)) as store:
        (entry,) = store.queue.due(["Feed"], 10**15)

    assert entry.priority == 0


def test_schedules_come_along_unless_there_is_one(urls: Callable[[str], str]) -> None:
    first, second = urls("sqlite"), urls("sqlite")
    feed = ScheduleRecord(
        workflow="Feed", cron="5 * * * *", catch_up_ms=1, again_ms=1, since=1
    )
    theirs = replace(feed, workflow="Other", cron="7 * * * *")
    with closing(open_store(first)) as old, closing(open_store(second)) as new:
        for each in (feed, replace(feed, workflow="Other")):
            assert old.swap_schedule(None, each)
        assert new.swap_schedule(None, theirs)
        Copying(old, new).copy_schedules()

        assert new.schedules() == [feed, theirs]


class Import(Workflow):
    """Fails in the middle, as long as nobody has mended what it needs."""

    flag: str

    @step
    def check(self) -> list[int]:
        return [1, 2, 3]

    @step(each=check, retry=0)
    def load(self, number: int, task: TaskHandle) -> int:
        if task.processing_data is None:
            task.checkpoint({"at": number})
            (task.workdir / "part").write_text(str(number))
            if number == 2 and not Path(self.flag).exists():
                raise Fail("not mended")
        return int((task.workdir / "part").read_text()) * 10

    @step
    def total(self, load: list[int]) -> int:
        return sum(load)


@pytest.mark.parametrize("way", _PATHS)
def test_what_was_copied_halfway_goes_on_as_if_nothing_had_happened(
    urls: Callable[[str], str], way: tuple[str, ...], tmp_path: Path
) -> None:
    flag = tmp_path / "mended"
    stayed, moved, target = urls("sqlite"), urls("sqlite"), urls(way[0])
    for url in (stayed, moved):
        assert not ptsflow.run(Import(flag=str(flag)), url).ok
    copy(moved, target)
    flag.touch()
    results = []
    for url in (stayed, target):
        report = ptsflow.run(Import(flag=str(flag)), url)
        assert report.ok, [task.error for task in report.tasks]
        results.append(
            [
                (t.name, t.status, t.result, t.invoke_count, t.processing_data)
                for t in report.tasks
            ]
        )

    assert results[0] == results[1]


def test_a_live_container_is_left_and_so_is_one_that_there_is_otherwise(
    urls: Callable[[str], str],
) -> None:
    first, second = urls("sqlite"), urls("sqlite")
    with closing(open_store(first)) as old, closing(open_store(second)) as new:
        finished(old, "one")
        finished(old, "other")
        live = held(old, filled(old, "a"))
        filled(new, "b")
        made, _ = new.create("other")
        new.claim(made.uid, owner(), LEASE)
        told: list[str] = []
        copying = copied(old, new, refused=lambda name, _error: told.append(name))
        old.release(live)

    kinds = {name: type(error) for name, error in copying.left.items()}
    assert copying.copied == ["one"]
    assert kinds == {"other": ContainerBusy, "feed": ContainerMismatch}
    assert sorted(told) == ["feed", "other"]


def test_only_unfinished_ones_and_those_of_a_name_are_chosen() -> None:
    with closing(open_store("memory:")) as store:
        finished(store, "one")
        filled(store, "a")
        records = store.containers()

        assert [r.name for r in chosen(records, ["fee"], unfinished=False)] == ["feed"]
        assert [r.name for r in chosen(records, (), unfinished=True)] == ["feed"]
        assert records[0].status is Status.DONE


@pytest.mark.parametrize("way", _PATHS)
def test_a_copy_that_is_killed_at_any_write_is_finished_by_the_next_one(
    urls: Callable[[str], str], way: tuple[str, ...]
) -> None:
    first, second = urls("sqlite"), urls(way[0])
    with closing(open_store(first)) as store:
        for name in ("one", "two"):
            submitted(store, finished(store, name))
        before = content(store)
    for number in count(1):
        if _copy_and_die(first, second, number) == 0:
            break
    with closing(open_store(second)) as store:
        assert content(store) == before
    with closing(open_store(first)) as store:
        assert content(store) == before

    assert number > 10


def test_no_run_goes_on_in_half_a_copy(
    urls: Callable[[str], str], tmp_path: Path
) -> None:
    first, second = urls("sqlite"), urls("sqlite")
    assert not ptsflow.run(Import(flag=str(tmp_path / "flag")), first).ok
    assert _copy_and_die(first, second, 4) == -9
    with pytest.raises(ContainerMismatch, match="is not yet copied whole"):
        ptsflow.run(Import(flag=str(tmp_path / "flag")), second)
    copy(first, second)

    assert ptsflow.run(Import(flag=str(tmp_path / "flag")), second).ok


def _copy_and_die(first: str, second: str, number: int) -> int:
    """Copy in a process that dies around its write of that number; return how it ended."""
    pid = os.fork()
    if pid == 0:
        try:
            with closing(open_store(first)) as old, closing(open_store(second)) as new:
                copied(old, FaultyStore(new, Fault(number, "after", "kill")))
        finally:
            os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
