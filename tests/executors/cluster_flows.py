"""Workflows for clusters, whose bodies write into a journal outside of the store."""

from __future__ import annotations

import os
import time
from pathlib import Path

from msgspec import Struct

from ptsflow import Retry, TaskHandle, Workflow, step
from tests.support import journals, waiting

#: How long a body waits for its gate, in seconds.
_PATIENCE = 60.0


class Entry(Struct, frozen=True):
    """One line of a journal."""

    what: str
    task: str
    attempt: int
    pid: int
    at: float


def note(journal: str, what: str, task: TaskHandle) -> None:
    words = (what, task.name, task.attempt, os.getpid(), time.monotonic())
    journals.append(journal, *words)


def entries(journal: str) -> list[Entry]:
    return [
        Entry(what, name, int(attempt), int(pid), float(at))
        for what, name, attempt, pid, at in journals.read(journal)
    ]


def until(journal: str, what: str, count: int) -> list[Entry]:
    """Return the entries of a kind, when there are so many."""

    def found() -> list[Entry]:
        return [entry for entry in entries(journal) if entry.what == what]

    waiting.until(lambda: len(found()) >= count, seen=lambda: entries(journal))
    return found()


def open_gate(journal: str) -> None:
    Path(f"{journal}.open").touch()


def pass_gate(journal: str, task: TaskHandle, *, heeds: bool) -> None:
    deadline = time.monotonic() + _PATIENCE
    while not Path(f"{journal}.open").exists() and time.monotonic() < deadline:
        if heeds and task.cancelled:
            return
        time.sleep(0.02)


class Gated(Workflow):
    """Items that wait for a gate to open."""

    journal: str
    items: int = 2
    heeds: bool = False

    @step
    def begin(self) -> list[int]:
        return list(range(self.items))

    @step(each=begin, key=str, retry=Retry(3, delay=0))
    def work(self, item: int, task: TaskHandle) -> int:
        note(self.journal, "start", task)
        pass_gate(self.journal, task, heeds=self.heeds)
        note(self.journal, "end", task)
        return item

    @step
    def total(self, work: list[int]) -> int:
        return sum(work)


class Fragile(Gated):
    """The same, but nothing is tried again."""

    @step(each=Gated.begin, key=str, retry=0)
    def work(self, item: int, task: TaskHandle) -> int:
        note(self.journal, "start", task)
        pass_gate(self.journal, task, heeds=self.heeds)
        note(self.journal, "end", task)
        return item


class Patient(Gated):
    """The same, but tried again every second."""

    @step(each=Gated.begin, key=str, retry=Retry(20, delay=1, backoff=1))
    def work(self, item: int, task: TaskHandle) -> int:
        note(self.journal, "start", task)
        pass_gate(self.journal, task, heeds=self.heeds)
        note(self.journal, "end", task)
        return item


class Short(Workflow):
    """Many bodies of a moment."""

    journal: str
    items: int = 24

    @step
    def begin(self) -> list[int]:
        return list(range(self.items))

    @step(each=begin, key=str, retry=Retry(50, delay=0))
    def work(self, item: int, task: TaskHandle) -> int:
        note(self.journal, "start", task)
        time.sleep(0.1)
        note(self.journal, "end", task)
        return item

    @step
    def total(self, work: list[int]) -> int:
        return sum(work)


class Lone(Workflow):
    """One body that is tried once."""

    @step(retry=0)
    def work(self) -> str:
        return "done"


class Limited(Workflow):
    """One body that has a second, and one beside the runner, that wait for a gate."""

    journal: str

    @step(parallel=True, retry=0, timeout=1)
    def work(self, task: TaskHandle) -> None:
        note(self.journal, "start", task)
        task.progress(1, text="begun")
        pass_gate(self.journal, task, heeds=False)

    @step(parallel=True, executor="thread")
    def wait(self, task: TaskHandle) -> None:
        pass_gate(self.journal, task, heeds=False)


class Queued(Workflow):
    """Bodies that have three seconds each, and need more than half of it."""

    @step
    def begin(self) -> list[int]:
        return list(range(6))

    @step(each=begin, key=str, retry=0, timeout=3)
    def work(self, item: int) -> int:
        time.sleep(1.6)
        return item


class Idle(Workflow):
    """One body elsewhere, then one beside the runner that waits for a gate."""

    journal: str

    @step
    def work(self, task: TaskHandle) -> None:
        note(self.journal, "start", task)

    @step(executor="thread")
    def wait(self, task: TaskHandle) -> None:
        pass_gate(self.journal, task, heeds=False)


class Saving(Workflow):
    """Saves how far it is, fails, and goes on from there."""

    @step(retry=Retry(1, delay=0))
    def work(self, task: TaskHandle) -> str:
        if task.processing_data is None:
            task.progress(1, 4, "a quarter")
            task.checkpoint({"done": 1})
            print("as far as this")  # noqa: T201 - what is tested
            time.sleep(1.5)
            raise OSError("the line was cut")
        return f"went on from {task.processing_data}"


class Trivial(Workflow):
    """Bodies that do nothing."""

    items: int

    @step
    def begin(self) -> list[int]:
        return list(range(self.items))

    @step(each=begin, key=str)
    def work(self, item: int) -> int:
        return item
