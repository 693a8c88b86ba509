"""What listeners hear of a run: everything, in order, and after it was committed."""

from __future__ import annotations

import pytest

import ptsflow
from ptsflow import Retry, Status, TaskHandle, Workflow, step
from ptsflow.core.model import TaskRecord
from ptsflow.events import (
    AttemptEnded,
    Event,
    Notice,
    Progressed,
    RunEnded,
    RunStarted,
    TaskChanged,
)
from tests.api.conftest import main_stores


class Feed(Workflow):
    @step
    def check(self) -> list[str]:
        return ["a", "b"]

    @step(each=check, retry=Retry(1, delay=0))
    def load(self, name: str, task: TaskHandle) -> str:
        if task.attempt == 1 and name == "b":
            raise OSError("no route")
        return name

    @step
    def verify(self, load: list[str]) -> int:
        return len(load)


class Hearing:
    """A listener that keeps what it hears."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    def __call__(self, event: Event) -> None:
        self.events.append(event)

    def changes(self) -> list[tuple[TaskRecord | None, TaskRecord | None]]:
        found = [event for event in self.events if isinstance(event, TaskChanged)]
        return [(event.before, event.after) for event in found]

    def history(self, task: str) -> list[str]:
        """Return the statuses that a task went through."""
        return [
            str(after.status)
            for _, after in self.changes()
            if after is not None and after.name == task
        ]


@main_stores
def test_a_listener_hears_all_changes_in_order(url: str, name: str) -> None:
    heard = Hearing()
    ptsflow.run(Feed(), url, name, jobs=1, listeners=[heard])
    first, *middle, last = heard.events

    assert isinstance(first, RunStarted)
    assert (first.container.status, first.container.name) == (Status.RUNNING, name)
    assert [s.name for s in first.container.plan] == ["check", "load", "verify"]
    assert first.tasks == []
    assert all(isinstance(e, TaskChanged | AttemptEnded) for e in middle)
    assert isinstance(last, RunEnded)
    assert (last.container.status, last.container.owner) == (Status.DONE, None)
    assert heard.history("check") == ["pending", "running", "done"]
    assert heard.history("load[a]") == ["pending", "running", "done"]
    assert heard.history("load[b]") == [
        *("pending", "running", "waiting"),
        *("running", "done"),
    ]
    assert [event.at for event in heard.events] == sorted(e.at for e in heard.events)


def test_each_change_begins_where_the_one_before_it_ended(url: str) -> None:
    heard = Hearing()
    ptsflow.run(Feed(), url, listeners=[heard])
    now: dict[str, TaskRecord] = {}
    for before, after in heard.changes():
        record = after or before
        assert record is not None
        known = now.get(record.name)
        assert (before is None) == (known is None)
        if before is not None and known is not None:
            assert (before.status, before.version) == (known.status, known.version)
        if after is not None:
            now[after.name] = after
    with ptsflow.connect(url) as client:
        container = client.store.container("Feed")
        assert container is not None
        stored = client.store.tasks(container.uid)

    assert {t.name: (t.status, t.version) for t in stored} == {
        name: (record.status, record.version) for name, record in now.items()
    }


@main_stores
def test_what_a_listener_hears_is_stored_already(url: str, name: str) -> None:
    late: list[object] = []

    with ptsflow.connect(url) as client:

        def check(event: Event) -> None:
            if isinstance(event, TaskChanged) and event.after is not None:
                container = client.store.container(name)
                uid = "" if container is None else container.uid
                (stored,) = client.store.tasks(uid, [event.after.name])
                if stored.version < event.after.version:
                    late.append((stored, event))

        ptsflow.run(Feed(), url, name, jobs=1, listeners=[check])

    assert late == []


@pytest.mark.parametrize("kind_of_event", [RunStarted, TaskChanged, RunEnded])
def test_a_listener_that_raises_stops_nothing_and_is_not_asked_again(
    url: str, kind_of_event: type[Event]
) -> None:
    asked: list[Event] = []
    heard = Hearing()

    def bad(event: Event) -> None:
        if isinstance(event, kind_of_event):
            asked.append(event)
            raise OSError("a broken screen")

    report = ptsflow.run(Feed(), url, listeners=[bad, heard])

    assert report.ok
    assert len(asked) == 1
    assert len([event for event in heard.events if isinstance(event, RunEnded)]) == 1
    (told,) = [event.text for event in heard.events if isinstance(event, Notice)]
    assert told.startswith(f"the listener {__name__}:{bad.__qualname__} raised OSError")
    assert heard.history("verify") == ["pending", "running", "done"]


def test_all_listeners_hear_the_same(url: str) -> None:
    heard = [Hearing(), Hearing()]
    ptsflow.run(Feed(), url, listeners=heard)

    assert heard[0].events == heard[1].events


def test_progress_is_heard(url: str) -> None:
    heard = Hearing()

    class Progressing(Workflow):
        @step
        def work(self, task: TaskHandle) -> None:
            task.progress(1, 4, "a quarter")
            while not any(isinstance(event, Progressed) for event in heard.events):
                pass

    ptsflow.run(Progressing(), url, listeners=[heard])
    (event,) = [event for event in heard.events if isinstance(event, Progressed)]
    (progress,) = event.progress

    assert (progress.name, progress.percentage, progress.text) == (
        *("work", 25.0),
        "a quarter",
    )


def test_a_run_that_finds_nothing_to_do_begins_and_ends(url: str) -> None:
    ptsflow.run(Feed(), url)
    heard = Hearing()
    ptsflow.run(Feed(), url, listeners=[heard])
    first, last = heard.events

    assert isinstance(first, RunStarted)
    assert isinstance(last, RunEnded)
    assert [(task.name, task.status) for task in first.tasks] == [
        (name, Status.DONE) for name in ("check", "load[a]", "load[b]", "verify")
    ]


def test_events_are_frozen(url: str) -> None:
    refused: set[type[Event]] = set()

    def change(event: Event) -> None:
        try:
            event.at = 0  # type: ignore[misc]
        except AttributeError:
            refused.add(type(event))

    ptsflow.run(Feed(), url, listeners=[change])

    assert refused == {RunStarted, AttemptEnded, TaskChanged, RunEnded}


def test_a_failed_run_ends_as_failed(url: str) -> None:
    heard = Hearing()

    class Failing(Workflow):
        @step(retry=0)
        def work(self) -> None:
            raise OSError("no")

    ptsflow.run(Failing(), url, listeners=[heard])
    last = heard.events[-1]

    assert isinstance(last, RunEnded)
    assert last.container.status is Status.FAILED
    assert heard.history("work") == ["pending", "running", "failed"]
    error = heard.changes()[-1][1]
    assert error is not None
    assert str(error.error).startswith("OSError: no (test_events.py:")
