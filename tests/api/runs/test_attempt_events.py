"""`AttemptEnded`: told once for every attempt, however it ended, with all of its error."""

from __future__ import annotations

import signal
import threading
from collections.abc import Sequence
from itertools import pairwise

import pytest

import ptsflow
from ptsflow import Fail, Finish, Retry, RetryLater, Skip, TaskHandle, Workflow, step
from ptsflow.client.lease import acquire
from ptsflow.core.model import Change, Status, TaskRecord
from ptsflow.core.transitions import reset, start
from ptsflow.events import AttemptEnded, Ending, Event, RunStarted, TaskChanged
from ptsflow.host.process_identity import this_process
from tests.api.conftest import main_stores


class Ends(Workflow):
    """A task for every way in which an attempt can end by itself."""

    @step
    def done(self) -> list[str]:
        return ["a", "b"]

    @step(each=done, retry=Retry(1, delay=0), tolerate=1)
    def item(self, name: str, task: TaskHandle) -> None:
        if name == "b":
            raise OSError(f"no route, try {task.attempt}")

    @step(retry=Retry(0), optional=True)
    def failed(self) -> None:
        raise Fail("gone")

    @step
    def skipped(self) -> None:
        raise Skip("nothing new")

    @step
    def postponed(self, task: TaskHandle) -> None:
        if not task.processing_data:
            task.checkpoint("asked")
            raise RetryLater(0, "not posted yet")

    @step
    def finished(self) -> None:
        raise Finish("enough")


def ended(events: Sequence[Event]) -> list[AttemptEnded]:
    """Return the attempts that were told of."""
    return [event for event in events if isinstance(event, AttemptEnded)]


@main_stores
def test_each_attempt_is_told_with_its_outcome(url: str, name: str) -> None:
    events: list[Event] = []
    ptsflow.run(Ends(), url, name, jobs=1, listeners=[events.append])
    told = ended(events)

    assert [(e.task, e.number, e.outcome, e.status, e.error) for e in told] == [
        ("done", 1, Ending.DONE, Status.DONE, ""),
        ("item[a]", 1, Ending.DONE, Status.DONE, ""),
        ("item[b]", 1, Ending.FAILED, Status.WAITING, told[2].error),
        ("item[b]", 2, Ending.FAILED, Status.FAILED, told[3].error),
        ("failed", 1, Ending.FAILED, Status.FAILED, "gone"),
        ("skipped", 1, Ending.SKIPPED, Status.SKIPPED, ""),
        ("postponed", 1, Ending.POSTPONED, Status.WAITING, "not posted yet"),
        ("postponed", 2, Ending.DONE, Status.DONE, ""),
        ("finished", 1, Ending.DONE, Status.DONE, ""),
    ]
    assert {e.container for e in told} == {name}
    assert [(e.step, e.key) for e in told[:3]] == [
        ("done", None),
        ("item", "a"),
        ("item", "b"),
    ]


def test_the_error_is_told_with_its_class_message_and_traceback(url: str) -> None:
    events: list[Event] = []
    ptsflow.run(Ends(), url, jobs=1, listeners=[events.append])
    first, second = (e for e in ended(events) if e.key == "b")

    assert (first.error_type, second.error_type) == ("OSError", "OSError")
    assert first.error.startswith("OSError: no route, try 1 (")
    assert second.error.startswith("OSError: no route, try 2 (")
    assert 'raise OSError(f"no route, try {task.attempt}")' in second.traceback


def test_the_time_of_an_attempt_is_told(url: str) -> None:
    class Slow(Workflow):
        @step
        def work(self) -> None:
            threading.Event().wait(0.05)

    events: list[Event] = []
    ptsflow.run(Slow(), url, listeners=[events.append])
    (told,) = ended(events)

    assert 50 <= told.duration_ms <= told.at - told.began_at
    assert told.ran_by == this_process(lambda: 0).process


def test_an_attempt_is_told_before_what_became_of_its_task(url: str) -> None:
    events: list[Event] = []
    ptsflow.run(Ends(), url, jobs=1, listeners=[events.append])
    for event, following in pairwise(events):
        if isinstance(event, AttemptEnded):
            assert isinstance(following, TaskChanged)
            assert following.before is not None
            assert following.after is not None
            assert following.before.status is Status.RUNNING
            assert following.after.status is event.status
            assert following.after.name == event.task


def test_what_is_told_is_what_show_lists(url: str) -> None:
    events: list[Event] = []
    ptsflow.run(Ends(), url, jobs=1, listeners=[events.append])
    with ptsflow.connect(url) as client:
        container = client.store.container("Ends")
        assert container is not None
        ledger = client.store.attempts(container.uid, "item[b]")
    told = [e for e in ended(events) if e.key == "b"]

    assert [
        (a.number, a.ending, a.error_type, a.error, a.traceback, a.began_at)
        for a in ledger
    ] == [
        (e.number, e.outcome, e.error_type, e.error, e.traceback, e.began_at)
        for e in told
    ]


def test_an_interrupted_attempt_is_told(url: str) -> None:
    class Stopping(Workflow):
        @step
        def work(self, task: TaskHandle) -> None:
            signal.raise_signal(signal.SIGTERM)
            while not task.cancelled:
                threading.Event().wait(0.01)
            raise OSError

    events: list[Event] = []
    with pytest.raises(SystemExit):
        ptsflow.run(Stopping(), url, listeners=[events.append])
    (told,) = ended(events)

    assert (told.outcome, told.status) == (Ending.INTERRUPTED, Status.PENDING)


def test_the_attempt_of_a_runner_that_died_is_told_by_the_next_run(url: str) -> None:
    class Work(Workflow):
        @step
        def work(self) -> None:
            pass

    assert ptsflow.run(Work(), url).ok
    with ptsflow.connect(url) as client:
        store = client.store
        record = store.container("Work")
        assert record is not None
        claimed, _ = acquire(store, record, this_process(store.now), 60_000)
        (task,) = store.tasks(claimed.uid)
        fresh = reset(task, fence=claimed.fence)
        running = start(fresh, now=store.now(), fence=claimed.fence, ran_by="host:1")
        store.commit(claimed.uid, [Change(task, running)], fence=claimed.fence)
        store.release(claimed)
    events: list[Event] = []
    assert ptsflow.run(Work(), url, listeners=[events.append]).ok
    first, *_ = events
    crashed, again = ended(events)

    assert isinstance(first, RunStarted)
    assert (crashed.number, crashed.outcome) == (2, Ending.CRASHED)
    assert crashed.error == "the runner died while it ran (attempt 1)"
    assert crashed.ran_by == "host:1"
    assert (again.number, again.outcome) == (3, Ending.DONE)


def test_a_reset_task_does_not_tell_its_old_attempt_again(url: str) -> None:
    assert ptsflow.run(Ends(), url, jobs=1).ok
    events: list[Event] = []
    ptsflow.run(Ends(), url, jobs=1, from_step="skipped", listeners=[events.append])

    assert "skipped" in {
        after.name
        for event in events
        if isinstance(event, TaskChanged)
        and isinstance(after := event.after, TaskRecord)
    }
    assert [e.number for e in ended(events) if e.task == "skipped"] == [2]
