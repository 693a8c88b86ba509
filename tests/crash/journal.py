"""An execution journal that no store sees: a line when a body starts, one when it ends."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from msgspec import Struct

from ptsflow.host.clock import since_boot
from ptsflow.workflow.handle import TaskHandle
from tests.support import journals

#: Where bodies write to: set for each runner.
JOURNAL = "PTSFLOW_TEST_JOURNAL"


class Line(Struct, frozen=True):
    """One body that started, or that ended in whatever way."""

    what: str
    container: str
    task: str
    attempt: int
    fence: int
    pid: int
    at: float


def write(what: str, task: TaskHandle) -> None:
    """Note what a body does."""
    container = task.idempotency_key.removesuffix(f"/{task.name}")
    fields = (what, container, task.name, task.attempt, task.fence, os.getpid())
    journals.append(os.environ[JOURNAL], *fields, since_boot())


@contextmanager
def noted(task: TaskHandle) -> Iterator[None]:
    """Note that a body starts, and that it ends."""
    write("start", task)
    try:
        yield
    finally:
        write("end", task)


def read(path: Path) -> list[Line]:
    lines = []
    for what, container, task, attempt, fence, pid, at in journals.read(path):
        numbers = int(attempt), int(fence), int(pid)
        lines.append(Line(what, container, task, *numbers, float(at)))
    return lines


def starts(lines: Iterable[Line]) -> Counter[str]:
    """Return how often each task's body started."""
    return Counter(line.task for line in lines if line.what == "start")
