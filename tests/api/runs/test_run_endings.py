"""`RunEnded`: the last event of a run, told once on every way out after the claim."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from typing import Any

import apsw
import pytest
from msgspec.structs import replace
from pymongo import MongoClient

import ptsflow
from ptsflow import Fail, PtsflowError, TaskHandle, Workflow, step
from ptsflow.client.client import Client
from ptsflow.core.model import ContainerRecord, Owner, Status, Stop
from ptsflow.errors import (
    Conflict,
    ContainerBusy,
    ContainerMismatch,
    LeaseLost,
    StoreDamaged,
)
from ptsflow.events import Event, Notice, RunEnded, RunEnding, RunStarted
from ptsflow.host import container_lock
from ptsflow.host.process_identity import this_process
from ptsflow.runner.options import RunOptions
from ptsflow.runner.planned_run import plan_run
from ptsflow.runner.report import Stopped
from ptsflow.runner.run import run_planned
from ptsflow.stores.memory.store import MemoryStore
from ptsflow.stores.mongo.documents import TaskDocument
from ptsflow.testing import run_inline
from tests.api.conftest import main_stores


class Works(Workflow):
    @step
    def first(self) -> int:
        return 1

    @step
    def second(self, first: int) -> int:
        return first + 1


class Fails(Workflow):
    @step
    def work(self) -> None:
        raise Fail("no")


def end_of(events: list[Event]) -> RunEnded:
    """Return the end of a run, which is told once, and last."""
    ends = [event for event in events if isinstance(event, RunEnded)]
    assert ends == events[-1:]
    return ends[0]


@pytest.mark.parametrize(
    ("workflow", "only", "how", "status"),
    [
        pytest.param(Works(), None, RunEnding.DONE, Status.DONE, id="complete"),
        pytest.param(Works(), ["first"], RunEnding.DONE, Status.PENDING, id="as asked"),
        pytest.param(Works(), ["second"], RunEnding.FAILED, Status.PENDING, id="stuck"),
        pytest.param(Fails(), None, RunEnding.FAILED, Status.FAILED, id="failed"),
    ],
)
def test_a_run_that_goes_to_its_end_tells_how_it_went(
    url: str,
    workflow: Workflow,
    only: list[str] | None,
    how: RunEnding,
    status: Status,
) -> None:
    events: list[Event] = []
    report = ptsflow.run(workflow, url, only=only, listeners=[events.append])
    end = end_of(events)

    assert (end.how, end.error, end.container.status) == (how, "", status)
    assert report.ok == (how is RunEnding.DONE)


@main_stores
def test_what_is_told_of_the_container_is_what_is_stored(url: str, name: str) -> None:
    events: list[Event] = []
    ptsflow.run(Works(), url, name, listeners=[events.append])
    with ptsflow.connect(url) as client:
        stored = client.store.container(name)

    assert end_of(events).container == stored


def by_signal(_: MemoryStore) -> None:
    signal.raise_signal(signal.SIGTERM)


def by_cancel(store: MemoryStore) -> None:
    (record,) = store.containers()
    assert store.ask_to_stop(record.uid, record.fence, Stop.GENTLY)


def by_nobody(_: MemoryStore) -> None:
    pass


@pytest.mark.parametrize(
    ("stop", "timeout", "how", "told"),
    [
        (by_signal, None, RunEnding.STOPPED, "stopped by SIGTERM"),
        (by_cancel, None, RunEnding.STOPPED, "stopped by cancel"),
        (by_nobody, 0.3, RunEnding.TIMEOUT, "stopped by its timeout"),
    ],
)
def test_a_run_that_is_stopped_says_by_what(
    stop: Callable[[MemoryStore], None],
    timeout: float | None,
    how: RunEnding,
    told: str,
) -> None:
    store = MemoryStore()
    events: list[Event] = []

    class Stopping(Workflow):
        @step
        def work(self, task: TaskHandle) -> None:
            stop(store)
            while not task.cancelled:
                threading.Event().wait(0.01)
            raise OSError

    planned = plan_run(Stopping(), RunOptions(timeout=timeout))
    with pytest.raises(Stopped):
        run_planned(planned, Client(store), [events.append])
    end = end_of(events)

    assert (end.how, end.error) == (how, told)
    assert end.container == store.container("Stopping")
    assert end.container.owner is None


class Failing(MemoryStore):
    """A store of which one call goes wrong, with an error or otherwise."""

    def __init__(self, **wrong: Callable[..., Any]) -> None:
        super().__init__()
        for name, act in wrong.items():
            setattr(self, name, act)


def raising(error: BaseException) -> Callable[..., Any]:
    """Return a function that raises an error."""

    def act(*_: object, **__: object) -> None:
        raise error

    return act


def test_a_run_whose_lease_was_taken_tells_that_it_lost_it() -> None:
    store = MemoryStore()

    class Overtaken(Workflow):
        @step
        def work(self) -> None:
            (record,) = store.containers()
            other = Owner(id="x", host="h", boot="b", pid=1, started=1, since=0)
            assert store.claim(record.uid, other, 60_000, dead=record.fence)

    events: list[Event] = []
    with pytest.raises(LeaseLost) as caught:
        ptsflow.run(Overtaken(), Client(store), listeners=[events.append])
    end = end_of(events)
    (stored,) = store.containers()

    assert (end.how, end.error) == (RunEnding.LEASE_LOST, str(caught.value))
    assert end.container.fence == stored.fence - 1
    assert stored.owner is not None


def test_a_container_that_was_taken_over_at_the_end_tells_that_too() -> None:
    events: list[Event] = []
    store = Failing(release=lambda *_: False)
    with pytest.raises(LeaseLost):
        ptsflow.run(Works(), Client(store), listeners=[events.append])

    assert end_of(events).how is RunEnding.LEASE_LOST


@pytest.mark.parametrize(
    ("error", "how", "told"),
    [
        (StoreDamaged("page 3 is torn"), RunEnding.STORE, "page 3 is torn"),
        (PtsflowError("no thread"), RunEnding.REFUSED, "no thread"),
        (ZeroDivisionError("of\nours"), RunEnding.BUG, "ZeroDivisionError: of"),
        (KeyboardInterrupt(), RunEnding.STOPPED, "stopped by KeyboardInterrupt"),
        (SystemExit(143), RunEnding.STOPPED, "stopped by SystemExit"),
    ],
)
@pytest.mark.parametrize("call", ["commit", "tasks"])
def test_a_run_that_an_error_ends_tells_the_error_in_one_line(
    error: BaseException, how: RunEnding, told: str, call: str
) -> None:
    events: list[Event] = []
    store = Failing(**{call: raising(error)})
    with pytest.raises(type(error)):
        ptsflow.run(Works(), Client(store), listeners=[events.append])
    end = end_of(events)

    assert (end.how, end.error) == (how, told)
    # At the commit the first task counts as running: the lease is left to end.
    assert (end.container.owner is None) == (call == "tasks")
    assert any(isinstance(event, RunStarted) for event in events) == (call == "commit")


def test_a_store_in_which_an_older_copy_was_put_back_is_damaged() -> None:
    events: list[Event] = []
    store = Failing(commit=raising(Conflict("task 'first' changed since it was read")))
    with pytest.raises(StoreDamaged, match=r"\(task 'first' changed .*, and run again"):
        ptsflow.run(Works(), Client(store), listeners=[events.append])

    assert end_of(events).how is RunEnding.STORE


class Robbed(Workflow):
    """A step takes a large result, which another program may delete before."""

    @step
    def taken(self) -> str:
        return "x" * 10_000

    @step
    def meanwhile(self) -> None:
        ROBBERS.pop()()

    @step
    def last(self, taken: str) -> int:
        return len(taken)


ROBBERS: list[Callable[[], object]] = []


def delete(url: str, what: str) -> None:
    """Delete a row or a document behind the store's back, of the task or the container."""
    if url.startswith("sqlite:"):
        db = apsw.Connection(url.removeprefix("sqlite:///"))
        table, name = ("tasks", "taken") if what == "task" else ("containers", "Robbed")
        db.execute(f"DELETE FROM {table} WHERE name = ?", (name,))  # noqa: S608
        db.close()
        return
    with MongoClient[dict[str, Any]](url) as client:
        database = client.get_default_database()
        documents = database[TaskDocument.collection_name()]
        assert documents.delete_one({"name": "taken"}).deleted_count == 1


@main_stores
def test_a_result_that_another_program_deleted_is_damage(url: str) -> None:
    ROBBERS.append(lambda: delete(url, "task"))
    with pytest.raises(
        StoreDamaged, match=r"'taken' is not there any|expected 3 tasks"
    ):
        ptsflow.run(Robbed(), url)


def test_a_container_that_another_program_deleted_is_damage(url: str) -> None:
    ROBBERS.append(lambda: delete(url, "container"))
    with pytest.raises(StoreDamaged, match="expected what this run recorded"):
        ptsflow.run(Robbed(), url)


def test_a_run_that_is_refused_after_the_claim_tells_it_without_having_started() -> (
    None
):
    store = MemoryStore()
    claim = store.claim

    def claim_of_another(*given: Any, **more: Any) -> ContainerRecord | None:
        record = claim(*given, **more)
        if record is not None:
            store.save(replace(record, workflow="Other", status=Status.DONE))
            return store.container(record.name)
        return None

    store.claim = claim_of_another  # type: ignore[method-assign]
    events: list[Event] = []
    with pytest.raises(ContainerMismatch) as caught:
        ptsflow.run(Works(), Client(store), listeners=[events.append])
    (end,) = events

    assert isinstance(end, RunEnded)
    assert (end.how, end.error) == (RunEnding.REFUSED, str(caught.value))
    assert end.container == store.container("Works")
    assert (end.container.owner, end.container.status) == (None, Status.DONE)


def test_a_place_for_bodies_that_cannot_be_had_is_a_refusal(url: str) -> None:
    class Local(Works):
        pass

    events: list[Event] = []
    with pytest.raises(PtsflowError):
        ptsflow.run(Local(), url, executor="process", listeners=[events.append])

    assert end_of(events).how is RunEnding.REFUSED


def test_ctrl_c_while_another_process_is_waited_for_is_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(container_lock, "wait_alone", raising(KeyboardInterrupt()))
    events: list[Event] = []
    store = MemoryStore()
    with pytest.raises(KeyboardInterrupt):
        ptsflow.run(Works(), Client(store), listeners=[events.append])
    end = end_of(events)

    assert end.how is RunEnding.STOPPED
    assert end.container == store.container("Works")


def test_a_run_that_never_held_its_container_tells_no_end() -> None:
    store = MemoryStore()
    record, _ = store.create("Works")
    assert store.claim(record.uid, this_process(store.now), 60_000)
    events: list[Event] = []
    with pytest.raises(ContainerBusy):
        ptsflow.run(Works(), Client(store), listeners=[events.append])

    assert events == []


def test_what_bodies_printed_is_kept_before_the_end_is_told() -> None:
    class Prints(Workflow):
        @step
        def work(self) -> None:
            print("said at the end")  # noqa: T201 - it is what is looked for

    store = Failing(logs=raising(OSError("no room for lines")))
    events: list[Event] = []
    assert ptsflow.run(Prints(), Client(store), listeners=[events.append]).ok

    assert any(isinstance(e, Notice) and "no room for lines" in e.text for e in events)
    assert end_of(events).how is RunEnding.DONE


def test_an_inline_run_tells_its_end_too() -> None:
    class Interrupted(Workflow):
        @step
        def work(self) -> None:
            raise KeyboardInterrupt

    done: list[Event] = []
    stopped: list[Event] = []
    run_inline(Works(), listeners=[done.append])
    with pytest.raises(KeyboardInterrupt):
        run_inline(Interrupted(), listeners=[stopped.append])

    assert end_of(done).how is RunEnding.DONE
    assert end_of(stopped).how is RunEnding.STOPPED
    assert end_of(stopped).container.status is Status.PENDING
