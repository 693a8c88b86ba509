"""Looks at a container whose runner begins, ends or dies between two reads of the store."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from msgspec.structs import replace

from ptsflow.client.checking import faults_of_records
from ptsflow.client.looking import look_at, run_as_it_stands, seen
from ptsflow.core.insight import RunRecord, RunStatus
from ptsflow.core.model import ContainerRecord, Owner, Status
from ptsflow.host.clock import system_clock
from ptsflow.host.process_identity import this_process
from ptsflow.stores.memory.store import MemoryStore
from tests.stores.making import new, one, swap

LEASE_MS = 60_000


class Meanwhile(MemoryStore):
    """A store to which something happens right before a read of a kind, once."""

    def __init__(self) -> None:
        super().__init__()
        self.before = ""
        self.happens: Callable[[], object] = lambda: None

    def _meanwhile(self, read: str) -> None:
        if read == self.before:
            self.before = ""
            self.happens()

    def container(self, name: str) -> ContainerRecord | None:
        self._meanwhile("container")
        return super().container(name)

    def containers(self, *, plans: bool = True) -> list[ContainerRecord]:
        self._meanwhile("containers")
        return super().containers(plans=plans)

    def tasks(self, uid: str, *names: Any, **options: Any) -> Any:
        self._meanwhile("tasks")
        return super().tasks(uid, *names, **options)

    def glance(self, uid: str, active: int = 50, failed: int = 50) -> Any:
        self._meanwhile("glance")
        return super().glance(uid, active, failed)

    def runs(self, *names: Any, **options: Any) -> list[RunRecord]:
        self._meanwhile("runs")
        return super().runs(*names, **options)


def gone() -> Owner:
    """A process of this host that has ended."""
    me = this_process(system_clock)
    return replace(me, started=me.started - 1)


class Running:
    """A run of a container by a process that has ended when somebody looks for it."""

    def __init__(self, store: MemoryStore, uid: str) -> None:
        self._store = store
        claimed = store.claim(uid, gone(), LEASE_MS)
        assert claimed is not None
        self.row = RunRecord(
            uid=uid,
            fence=claimed.fence,
            container=claimed.name,
            workflow="Feed",
            began_at=store.now(),
        )
        self.record = replace(claimed, workflow="Feed", status=Status.RUNNING)
        store.save(self.record, self.row)
        work = new("work", step="work", status=Status.RUNNING, fence=claimed.fence)
        store.commit(uid, [work], fence=claimed.fence)

    def end(self) -> None:
        record, row, now = self.record, self.row, self._store.now()
        work = one(self._store, record.uid, "work", payloads=True)
        done = swap(work, status=Status.DONE, result="1")
        self._store.commit(record.uid, [done], fence=record.fence)
        over = replace(record, status=Status.DONE, ended_at=now)
        ended = replace(row, status=RunStatus.DONE, ended_at=now, percentage=100.0)
        assert self._store.release(over, ended)


@pytest.fixture
def store() -> Meanwhile:
    return Meanwhile()


@pytest.fixture
def running(store: Meanwhile) -> Running:
    return Running(store, store.create("box")[0].uid)


def test_a_runner_that_ended_since_its_container_was_read_was_not_killed(
    store: Meanwhile, running: Running
) -> None:
    running.end()
    found = seen(store, running.record, store.now())

    assert (found.status, found.owner) == (Status.DONE, None)


def test_a_runner_that_died_holds_nothing(store: Meanwhile, running: Running) -> None:
    found = seen(store, running.record, store.now())

    assert (found.status, found.owner) == (Status.RUNNING, None)


def test_another_runner_may_hold_it_since(store: Meanwhile, running: Running) -> None:
    me, record = this_process(system_clock), running.record
    assert store.claim(record.uid, me, LEASE_MS, dead=record.fence)
    found = seen(store, record, store.now())

    assert found.owner is not None
    assert found.owner.started == me.started
    assert found.is_leased(store.now())


def test_a_container_that_was_deleted_since_is_held_by_nobody(
    store: Meanwhile, running: Running
) -> None:
    running.end()
    store.delete(running.record.uid)

    assert seen(store, running.record, store.now()).owner is None


@pytest.mark.parametrize("before", ["container", "glance"])
def test_a_look_shows_a_run_as_running_or_as_done(
    store: Meanwhile, running: Running, before: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    is_over: list[bool] = []

    def end() -> None:
        running.end()
        is_over.append(True)

    dead = "ptsflow.client.looking.is_dead"
    if before == "glance":  # it lives until then
        monkeypatch.setattr(dead, lambda _owner: bool(is_over))
    store.before, store.happens = before, end
    look = look_at(store, running.record)

    assert is_over
    assert look.stands.text.split()[-1] == (
        "done" if before == "container" else "running"
    )


def test_a_run_that_ended_since_its_row_was_read_is_not_lost(
    store: Meanwhile, running: Running
) -> None:
    running.end()

    assert run_as_it_stands(store, running.row, store.now()).status is RunStatus.DONE


def test_a_run_whose_process_died_is_lost(store: Meanwhile, running: Running) -> None:
    assert run_as_it_stands(store, running.row, store.now()).status is RunStatus.LOST


@pytest.mark.parametrize("before", ["runs", "containers", "tasks", "container"])
def test_a_check_finds_no_fault_where_a_run_ends_meanwhile(
    store: Meanwhile, running: Running, before: str
) -> None:
    store.before, store.happens = before, running.end

    assert list(faults_of_records(store, deep=True)) == []
    assert store.before == ""


@pytest.mark.parametrize("before", ["runs", "containers", "tasks", "container"])
def test_a_check_finds_no_fault_where_a_run_begins_meanwhile(
    store: Meanwhile, before: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    uid = store.create("box")[0].uid
    monkeypatch.setattr("ptsflow.client.looking.is_dead", lambda _owner: False)
    store.before, store.happens = before, lambda: Running(store, uid)

    assert list(faults_of_records(store, deep=True)) == []
    assert store.before == ""


@pytest.mark.parametrize("before", ["runs", "containers", "tasks", "container"])
def test_a_check_finds_no_fault_where_a_container_is_deleted_meanwhile(
    store: Meanwhile, running: Running, before: str
) -> None:
    def delete() -> None:
        running.end()
        store.delete(running.record.uid)

    store.before, store.happens = before, delete

    assert list(faults_of_records(store, deep=True)) == []
