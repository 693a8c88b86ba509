"""The workflows that are crashed: between them, everything that a plan can have."""

from __future__ import annotations

import ctypes
import os
import signal
import time
from pathlib import Path

from ptsflow import Fail, Finish, Retry, RetryLater, Skip, TaskHandle, Workflow, step
from tests.crash.journal import noted

#: A file that bodies wait for, where a test wants them to.
GATE = "PTSFLOW_TEST_GATE"

_AGAIN = Retry(3, delay=0.001)


class Everything(Workflow):
    """Each kind of step once."""

    @step
    def prepare(self, task: TaskHandle) -> int:
        with noted(task):
            return 1

    @step(parallel=True)
    def left(self, prepare: int, task: TaskHandle) -> int:
        with noted(task):
            return prepare + 1

    @step(parallel=True)
    def right(self, prepare: int, task: TaskHandle) -> int:
        with noted(task):
            saved = task.processing_data or 0
            assert isinstance(saved, int)
            for count in range(saved, 3):
                task.checkpoint(count + 1)
            return prepare + 2

    @step(parallel=True)
    def skipped(self, task: TaskHandle) -> int:
        with noted(task):
            raise Skip("nothing there")

    @step
    def listing(self, skipped: int | None, task: TaskHandle) -> list[str]:
        with noted(task):
            assert skipped is None
            return ["a", "b", "c"]

    @step(each=listing, limit=2, retry=_AGAIN)
    def fetch(self, name: str, task: TaskHandle) -> str:
        with noted(task):
            if name == "b" and task.attempt == 1:
                raise OSError("not yet")
            return name * 600  # Long enough not to stay in memory.

    @step(each=fetch)
    def unpack(self, text: str, task: TaskHandle) -> tuple[str, int]:
        with noted(task):
            return text[0], len(text)

    @step(after=listing, optional=True)
    def flaky(self, task: TaskHandle) -> None:
        with noted(task):
            raise Fail("always")

    @step
    def join(
        self,
        unpack: list[tuple[str, int]],
        left: int,
        right: int,
        flaky: None,
        task: TaskHandle,
    ) -> str:
        with noted(task):
            return f"{unpack} {left + right} {flaky}"

    @step(always=True)
    def clean_up(self, task: TaskHandle) -> None:
        with noted(task):
            pass


class Ends(Workflow):
    """A step finds that the rest is not needed, while others are under way."""

    @step
    def begin(self, task: TaskHandle) -> None:
        with noted(task):
            pass

    @step
    def names(self, task: TaskHandle) -> list[int]:
        with noted(task):
            return [1, 2, 3]

    @step(each=names, limit=1)
    def load(self, name: int, task: TaskHandle) -> int:
        with noted(task):
            time.sleep(0.01)
            return name

    @step(after=names)
    def late(self, task: TaskHandle) -> list[int]:
        with noted(task):
            time.sleep(0.02)
            return [1, 2]

    @step(each=late)
    def more(self, name: int, task: TaskHandle) -> int:
        with noted(task):
            return name

    @step(after=names)
    def look(self, task: TaskHandle) -> None:
        with noted(task):
            time.sleep(0.005)
            raise Finish("nothing new")

    @step
    def verify(self, load: list[int], task: TaskHandle) -> int:
        with noted(task):
            return sum(load)

    @step(always=True)
    def clean_up(self, task: TaskHandle) -> None:
        with noted(task):
            pass


class Small(Workflow):
    """A few steps, for many runs."""

    @step
    def begin(self, task: TaskHandle) -> list[int]:
        with noted(task):
            return [1, 2]

    @step(each=begin, retry=_AGAIN)
    def load(self, number: int, task: TaskHandle) -> int:
        with noted(task):
            if task.attempt == 1 and number == 1:
                raise OSError("not yet")
            return number

    @step(parallel=True)
    def one(self, load: list[int], task: TaskHandle) -> int:
        with noted(task):
            task.checkpoint(sum(load))
            return 1

    @step(parallel=True)
    def two(self, task: TaskHandle) -> int:
        with noted(task):
            return 2

    @step
    def end(self, one: int, two: int, task: TaskHandle) -> int:
        with noted(task):
            return one + two


class Gated(Workflow):
    """Two bodies at once that wait for a file, and a step before and after."""

    @step
    def begin(self, task: TaskHandle) -> None:
        with noted(task):
            pass

    @step(parallel=True)
    def patient(self, task: TaskHandle) -> None:
        with noted(task):
            _wait_for_gate()

    @step(parallel=True)
    def obedient(self, task: TaskHandle) -> None:
        with noted(task):
            while not Path(os.environ[GATE]).exists():
                if task.cancelled:
                    raise RetryLater(0, "cancelled")
                time.sleep(0.005)

    @step
    def end(self, task: TaskHandle) -> None:
        with noted(task):
            pass


class Reads(Workflow):
    """A body that reads the file of its SQLite store, as a copy or a checksum does."""

    @step
    def begin(self, task: TaskHandle) -> None:
        with noted(task):
            pass

    @step
    def read(self, task: TaskHandle) -> int:
        size = len(
            Path(os.environ[GATE]).with_name("store").joinpath("pts.db").read_bytes()
        )
        with noted(task):
            _wait_for_gate()
            return size

    @step
    def end(self, task: TaskHandle) -> None:
        with noted(task):
            pass


class Bomb(Workflow):
    """A step that kills its process whenever it is run."""

    @step
    def begin(self, task: TaskHandle) -> None:
        with noted(task):
            pass

    @step(retry=Retry(2, delay=0))
    def explode(self, task: TaskHandle) -> None:
        with noted(task):
            os.kill(os.getpid(), signal.SIGKILL)

    @step
    def end(self, task: TaskHandle) -> None:
        with noted(task):
            pass


class Chain(Workflow):
    """A step after the other, some milliseconds each, for faults from outside."""

    @step
    def numbers(self, task: TaskHandle) -> list[int]:
        with noted(task):
            return list(range(40))

    @step(each=numbers)
    def load(self, number: int, task: TaskHandle) -> int:
        with noted(task):
            time.sleep(0.05)
            task.checkpoint(number)
            return number

    @step(each=load)
    def check(self, number: int, task: TaskHandle) -> int:
        with noted(task):
            time.sleep(0.02)
            return number

    @step
    def end(self, check: list[int], task: TaskHandle) -> int:
        with noted(task):
            return sum(check)


class Wide(Workflow):
    """Many items at once, and as many behind them."""

    @step
    def numbers(self, task: TaskHandle) -> list[int]:
        with noted(task):
            return list(range(7))

    @step(each=numbers)
    def load(self, number: int, task: TaskHandle) -> int:
        with noted(task):
            return number

    @step(each=load)
    def check(self, number: int, task: TaskHandle) -> int:
        with noted(task):
            return number

    @step
    def end(self, check: list[int], task: TaskHandle) -> int:
        with noted(task):
            return sum(check)


class Held(Workflow):
    """A body that holds the interpreter in C, the first time: until a FIFO is opened."""

    @step
    def hold(self, task: TaskHandle) -> None:
        with noted(task):
            if task.attempt == 1:  # PyDLL does not let go of the interpreter
                ctypes.PyDLL(None).open(os.environ[GATE].encode(), os.O_RDONLY)


def _wait_for_gate() -> None:
    while not Path(os.environ[GATE]).exists():
        time.sleep(0.005)


WORKFLOWS: dict[str, type[Workflow]] = {
    workflow.__name__: workflow
    for workflow in (Everything, Ends, Small, Gated, Reads, Bomb, Chain, Wide, Held)
}
