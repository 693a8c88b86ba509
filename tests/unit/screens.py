"""Records and events that tests of screens are fed."""

from __future__ import annotations

from typing import Any

from ptsflow.core import transitions
from ptsflow.core.model import ContainerRecord, Owner, Status, StepSummary, TaskRecord
from ptsflow.display.run_state import Board
from ptsflow.events import Event, RunStarted, TaskChanged

OWNER = Owner(id="o", host="hostA", boot="b", pid=4711, started=1, since=0)
PLAN = (
    StepSummary(name="fetch", above=0),
    StepSummary(name="load", each="fetch", needs=("fetch",)),
    StepSummary(name="merge", above=2),
)


def container(**fields: Any) -> ContainerRecord:
    known: dict[str, Any] = {
        "uid": "1",
        "name": "orders",
        "workflow": "Orders",
        "plan": PLAN,
        "status": Status.RUNNING,
        "owner": OWNER,
        "leased_till": 60_000,
    }
    return ContainerRecord(**known | fields)


def task(name: str, **fields: Any) -> TaskRecord:
    step, _, key = name.partition("[")
    key_of = key.rstrip("]") or None
    return TaskRecord(
        **{"name": name, "step": step, "key": key_of, "version": 1} | fields
    )


def begun(tasks: list[TaskRecord], at: int = 0, **fields: Any) -> RunStarted:
    return RunStarted(at=at, container=container(**fields), tasks=tasks)


class Run:
    """Makes the events of a run and hands them to listeners."""

    def __init__(self, *listeners: Any) -> None:
        self._listeners = listeners
        self.tasks: dict[str, TaskRecord] = {}

    def emit(self, event: Event) -> None:
        for listener in self._listeners:
            listener(event)

    def add(self, *names: str, at: int = 0) -> None:
        for name in names:
            self.change(None, task(name), at)

    def start(self, name: str, at: int) -> None:
        before = self.tasks[name]
        self.change(before, transitions.start(before, now=at, fence=1), at)

    def succeed(self, name: str, at: int) -> None:
        before = self.tasks[name]
        self.change(before, transitions.succeed(before, now=at, result="1"), at)

    def fail(self, name: str, at: int, error: str) -> None:
        before = self.tasks[name]
        self.change(before, transitions.give_up(before, now=at, error=error), at)

    def put_off(self, name: str, at: int, due: int, error: str) -> None:
        before = self.tasks[name]
        after = transitions.retry(before, now=at, due=due, error=error)
        self.change(before, after, at)

    def change(self, before: TaskRecord | None, after: TaskRecord, at: int) -> None:
        self.tasks[after.name] = after
        self.emit(TaskChanged(at=at, before=before, after=after))


def started(board: Board, *names: str) -> Run:
    """Return a run of the plan above that `board` hears of, its tasks pending."""
    run = Run(board)
    tasks = [task(name) for name in names]
    run.tasks = {entry.name: entry for entry in tasks}
    run.emit(begun(tasks))
    return run
