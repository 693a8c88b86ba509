"""What an attempt took is the time of its body, not of commits and waits for a worker."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

import ptsflow
from ptsflow import Retry, TaskHandle, Workflow, step
from ptsflow.client.client import Client
from ptsflow.core.model import Change
from ptsflow.events import AttemptEnded, Event
from ptsflow.stores.memory.store import MemoryStore

#: What a commit takes, in seconds.
COMMIT = 0.2


class SlowStore(MemoryStore):
    """A store that takes long to commit."""

    def commit(self, uid: str, changes: Sequence[Change], *, fence: int | None) -> None:
        time.sleep(COMMIT)
        super().commit(uid, changes, fence=fence)


class Sleeping(Workflow):
    """Items that sleep, and end in all ways."""

    seconds: float
    act: str = "return"
    count: int = 4

    @step
    def numbers(self) -> list[int]:
        return list(range(self.count))

    @step(each=numbers, retry=Retry(1, delay=0), timeout=30)
    def item(self, number: int, task: TaskHandle) -> int:
        time.sleep(self.seconds)
        if self.act == "fail" and task.attempt == 1:
            raise OSError("once")
        if self.act == "skip":
            raise ptsflow.Skip("not today")
        return number


def attempts(
    executor: str | Callable[[], Executor], store: Any, **parameters: Any
) -> list[AttemptEnded]:
    """Return the attempts of the items of a run."""
    events: list[Event] = []
    flow = Sleeping(**parameters)
    report = ptsflow.run(
        flow, store, jobs=8, executor=executor, listeners=[events.append]
    )
    assert report.ok
    found = [event for event in events if isinstance(event, AttemptEnded)]
    took = {task.name: task.task_duration_ms for task in report.tasks}
    last = {event.task: event.duration_ms for event in found}
    assert took == last
    return [event for event in found if event.step == "item"]


def one_worker() -> Executor:
    return ThreadPoolExecutor(1)


@pytest.mark.parametrize("executor", ["thread", "process", one_worker])
@pytest.mark.parametrize("act", ["return", "fail", "skip"])
def test_a_commit_that_takes_long_is_not_what_an_attempt_took(
    act: str, executor: str | Callable[[], Executor]
) -> None:
    made = attempts(executor, Client(SlowStore()), seconds=0.05, act=act)

    assert len(made) == (8 if act == "fail" else 4)
    assert all(event.duration_ms >= 50 for event in made)
    # The commit of its start, and that of its end.
    besides = [event.at - event.began_at - event.duration_ms for event in made]
    assert min(besides) >= 2000 * COMMIT - 5


def test_the_wait_for_a_worker_is_not_what_an_attempt_took(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/x.db"
    made = attempts(one_worker, url, seconds=0.3, count=8)

    began, ended = min(e.began_at for e in made), max(e.at for e in made)
    assert len(made) == 8
    # One after the other: what they took together is at most the time of the run.
    assert sum(event.duration_ms for event in made) <= ended - began


class Killed(Workflow):
    """A body whose process is killed."""

    @step(executor="process", timeout=0.3, retry=0)
    def hang(self) -> None:
        time.sleep(60)


def test_a_killed_attempt_took_as_long_as_its_process_had_it() -> None:
    events: list[Event] = []

    ptsflow.run(Killed(), Client(SlowStore()), listeners=[events.append])

    (made,) = [event for event in events if isinstance(event, AttemptEnded)]
    assert made.duration_ms >= 300
    assert made.at - made.began_at - made.duration_ms >= 2000 * COMMIT - 5
