"""Workflows whose bodies end in every way; at the top level, where worker processes find them."""

from __future__ import annotations

import ctypes
import logging
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

from ptsflow import Retry, TaskHandle, Workflow, step
from tests.support.journals import append

ONCE_MORE = Retry(1, delay=0)

LOG = logging.getLogger("tests.feed")
LOG.setLevel(logging.DEBUG)


def raises() -> None:
    raise RuntimeError("no such feed")


def raises_unpicklable() -> None:
    error = RuntimeError("not for pickle")
    error.callback = lambda: None  # type: ignore[attr-defined] # what users do
    raise error


def raises_surrogate() -> None:
    raise RuntimeError(os.fsdecode(b"bad \xff name"))


def exits() -> None:
    print("last words")  # noqa: T201 - seen in the error
    os._exit(3)


def kills_itself() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def crashes() -> None:
    ctypes.string_at(0)


def runs_out_of_memory() -> None:
    raise MemoryError


def asks_too_much() -> None:
    bytearray(300_000_000)


def sleeps() -> None:
    time.sleep(1.5)


def holds_the_interpreter() -> None:
    ctypes.PyDLL(None).usleep(1_500_000)


def prints_for_ever() -> None:
    while True:
        print("x" * 10_000)  # noqa: T201 - what is tested


def returns_an_object() -> object:
    return object()


def returns_9_mib() -> str:
    return "x" * (9 * 1024 * 1024)


def prints_100_mb() -> str:
    line = "x" * 99_999
    for _ in range(1000):
        print(line)  # noqa: T201 - what is tested
    return "printed"


def closes_its_output() -> str:
    for descriptor in (1, 2):
        os.close(descriptor)
    sys.stdout = None
    time.sleep(0.2)
    return "silent"


ACTS: dict[str, Callable[[], object]] = {
    act.__name__: act
    for act in (
        raises,
        raises_unpicklable,
        raises_surrogate,
        sys.exit,
        exits,
        kills_itself,
        crashes,
        runs_out_of_memory,
        asks_too_much,
        sleeps,
        holds_the_interpreter,
        prints_for_ever,
        returns_an_object,
        returns_9_mib,
        prints_100_mb,
        closes_its_output,
    )
}


class Accompanied(Workflow):
    """What stands beside and behind a body that is tested."""

    act: str

    @step(parallel=True)
    def sibling(self) -> str:
        time.sleep(0.1)
        return "done"

    @step(always=True)
    def after(self) -> str:
        return "still here"


class One(Accompanied):
    """A body that ends as it is told, beside one that ends well."""

    @step(parallel=True, retry=ONCE_MORE)
    def tested(self) -> object:
        return ACTS[self.act]()


class TimedOne(Accompanied):
    """A body that takes too long."""

    @step(parallel=True, retry=ONCE_MORE, timeout=0.5)
    def tested(self) -> object:
        return ACTS[self.act]()


class StalledOne(Accompanied):
    """A body that reports progress once, and then no more."""

    @step(parallel=True, retry=ONCE_MORE, stall=0.5)
    def tested(self, task: TaskHandle) -> object:
        task.progress(1, 10)
        return ACTS[self.act]()


class LimitedOne(Workflow):
    """A body that may ask for 200 MB, and one without a limit in the same process."""

    executor = "process"

    act: str

    @step(retry=ONCE_MORE, memory="200MB", optional=True)
    def tested(self) -> object:
        return ACTS[self.act]()

    @step(memory="1GB")
    def sibling(self) -> str:
        return "done" if bytearray(400_000_000) else ""

    @step(always=True)
    def after(self) -> str:
        return "still here" if bytearray(1_100_000_000) else ""


class Steady(Workflow):
    """Reports progress all the time: it takes long, but does not stall."""

    executor = "process"

    @step(stall=2, retry=0)
    def work(self, task: TaskHandle) -> str:
        for count in range(25):
            time.sleep(0.1)
            task.progress(count, 25)
        return "done"


class Gated(Workflow):
    """Four bodies that note when they start and end, one of them for ever in C."""

    executor = "process"

    journal: str

    @step(parallel=True)
    def begin(self) -> list[int]:
        return list(range(4))

    @step(each=begin, key=str, retry=0)
    def work(self, item: int, task: TaskHandle) -> int:
        note(self.journal, "start", task.name)
        if not Path(f"{self.journal}.open").exists():
            if item == 0:
                ctypes.PyDLL(None).sleep(60)
            if item == 1:
                os.kill(os.getpid(), signal.SIGSTOP)
            if item == 2:
                time.sleep(60)
        time.sleep(0.05)
        note(self.journal, "end", task.name)
        return item


class Chaotic(Workflow):
    """Twelve short bodies, four at a time."""

    executor = "process"

    journal: str

    @step
    def begin(self) -> list[int]:
        return list(range(12))

    @step(each=begin, key=str, retry=0)
    def work(self, item: int, task: TaskHandle) -> int:
        note(self.journal, "start", task.name)
        time.sleep(0.1)
        note(self.journal, "end", task.name)
        return item


def note(journal: str, what: str, name: str) -> None:
    append(journal, what, name, os.getpid(), time.monotonic())


class Busy(Workflow):
    """Items of 50 ms of CPU each, or of nothing."""

    executor = "process"

    items: int
    cpu: float

    @step
    def begin(self) -> list[int]:
        return list(range(self.items))

    @step(each=begin, key=str)
    def work(self, item: int) -> int:
        until = time.process_time() + self.cpu
        while time.process_time() < until:
            pass
        return item


class Chatty(Workflow):
    """Reports progress 10,000 times a second, for two seconds."""

    executor = "process"

    @step
    def work(self, task: TaskHandle) -> int:
        begun, count = time.monotonic(), 0
        while time.monotonic() < begun + 2:
            count += 1
            task.progress(count % 100)
            time.sleep(max(0.0, begun + count / 10_000 - time.monotonic()))
        return count


class Orphaned(Workflow):
    """A body that kills the process that its own and its neighbour's were forked by."""

    executor = "process"

    times: int = 1

    @step(parallel=True, retry=ONCE_MORE)
    def kills(self, task: TaskHandle) -> str:
        if task.attempt <= self.times:
            time.sleep(0.3)
            os.kill(os.getppid(), signal.SIGKILL)
            time.sleep(60)
        return "done"

    @step(parallel=True, retry=Retry(5, delay=0))
    def bystands(self, task: TaskHandle) -> str:
        if task.attempt <= self.times:
            time.sleep(60)
        return "done"

    @step(retry=0)
    def after(self) -> str:
        return "done"


class Telling(Workflow):
    """Prints and logs, in turn; the first attempt fails."""

    @step(retry=ONCE_MORE)
    def tells(self, task: TaskHandle) -> None:
        print("one", end=" ")  # noqa: T201 - what is tested
        print("line")  # noqa: T201 - what is tested
        LOG.debug("%d of %d", 1, 2)
        print("error", file=sys.stderr)  # noqa: T201 - what is tested
        task.log.info("by the task")
        if task.attempt == 1:
            try:
                raises()
            except RuntimeError:
                LOG.exception("it failed")
            raise OSError("try again")
        print("no end", end="")  # noqa: T201 - what is tested


class Dying(Workflow):
    """Its last words are kept."""

    executor = "process"

    act: str

    @step(retry=0)
    def dies(self) -> None:
        print("printed")  # noqa: T201 - what is tested
        LOG.error("logged")
        print("no end", end="", flush=True)  # noqa: T201 - what is tested
        if self.act == "closes_its_output":
            closes_its_output()
            LOG.error("without a stream")
            return
        ACTS[self.act]()


class Whose(Workflow):
    """Returns which process ran it."""

    executor = "process"

    @step
    def work(self) -> int:
        return os.getpid()
