"""Workflows for tests of runs, and what such tests do again and again."""

from __future__ import annotations

import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

import ptsflow
from ptsflow import Status, TaskHandle, Workflow, step
from ptsflow.core.model import Change, Progress
from ptsflow.events import Event, TaskChanged
from ptsflow.runner.report import Report
from ptsflow.stores.base import Store
from tests.support.containers import container_of

#: Seconds after which something that should have happened will not.
PATIENCE = 20

Body = Callable[..., object]


@dataclass
class FeedFile:
    name: str
    size: int
    tags: set[str] = field(default_factory=set)


class Base(Workflow):
    greeting: str = "hello"

    @step
    def first(self) -> str:
        return f"{self.greeting} from base"

    @step
    def second(self, first: str) -> str:
        return first.upper()

    @step(always=True)
    def tidy(self) -> str:
        return "tidy"


class Derived(Base):
    times: int = 2

    @step
    def first(self) -> str:
        return f"{self.greeting} from derived"

    @step
    def third(self, second: str) -> str:
        return second * self.times


def statuses(report: Report) -> dict[str, str]:
    return {task.name: str(task.status) for task in report.tasks}


def flow(ran: list[str], **steps: Body | dict[str, Any] | None) -> Workflow:
    """Make a workflow of steps that note that they ran; all are called Flow."""
    body: dict[str, Any] = {"__module__": __name__}
    for name, given in steps.items():
        options: dict[str, Any] = given if isinstance(given, dict) else {"does": given}
        options = dict(options)
        does = options.pop("does", None)
        for option in ("after", "each"):
            if option in options:
                options[option] = body[options[option]]
        body[name] = step(**options)(_noting(ran, name, does))
    made: Workflow = type("Flow", (Workflow,), body)()
    return made


def _noting(ran: list[str], name: str, does: Body | None) -> Any:
    def plain(_self: Workflow) -> object:
        ran.append(name)
        return None if does is None else does()

    def item(_self: Workflow, item: object) -> object:
        ran.append(f"{name} {item}")
        return None if does is None else does(item)

    takes_item = does is not None and bool(does.__code__.co_argcount)
    made: Any = item if takes_item else plain
    made.__name__ = name
    return made


def again(ran: list[str], workflow: Workflow, url: str, **options: Any) -> Report:
    """Run once more; `ran` holds what that ran."""
    ran.clear()
    return ptsflow.run(workflow, url, **options)


def fail() -> None:
    raise ptsflow.Fail("no")


def raising(error: BaseException) -> Any:
    raise error


def send(number: signal.Signals) -> None:
    """Send a signal as from a terminal: the main thread wakes."""
    signal.pthread_kill(threading.main_thread().ident or 0, number)


def run_until(
    flow: Workflow, url: str, name: str, task: str, status: Status, **options: Any
) -> None:
    """Run until a task stands so, then have the run stop as Ctrl-C does."""

    def stop(event: Event) -> None:
        after = event.after if isinstance(event, TaskChanged) else None
        if after is not None and (after.name, after.status) == (task, status):
            send(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        ptsflow.run(flow, url, name, listeners=[stop], **options)


def task_of(url: str, name: str, task: str) -> ptsflow.Task:
    with ptsflow.connect(url) as client:
        found = container_of(client, name).get_task(task)
        assert found is not None
        return found


def until_cancelled(task: TaskHandle) -> None:
    until = time.monotonic() + PATIENCE
    while not task.cancelled:
        assert time.monotonic() < until
        time.sleep(0.001)


class Counting:
    """A store that counts what is written to it and to its siblings."""

    def __init__(self, store: Store, writes: Counter[str]) -> None:
        self.store = store
        self.writes = writes

    def __getattr__(self, name: str) -> Any:
        return getattr(self.store, name)

    def sibling(self) -> Counting:
        return Counting(self.store.sibling(), self.writes)

    def touch(self, uid: str, progress: Sequence[Progress], *, fence: int) -> None:
        self.writes["touch"] += 1
        self.store.touch(uid, progress, fence=fence)

    def commit(self, uid: str, changes: Sequence[Change], *, fence: int | None) -> None:
        self.writes["commit"] += 1
        self.store.commit(uid, changes, fence=fence)
