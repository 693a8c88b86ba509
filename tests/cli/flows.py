"""Workflows that the tests of the command line run in processes of their own."""

from __future__ import annotations

import os
import signal
import time
from datetime import datetime
from pathlib import Path

from ptsflow import Fail, Finish, Retry, RetryLater, Skip, TaskHandle, Workflow, step


class Steady(Workflow):
    """Three steps that work, of which one fans out."""

    count: int = 3

    @step
    def numbers(self) -> list[int]:
        """List numbers."""
        return list(range(self.count))

    @step(each=numbers)
    def square(self, number: int) -> int:
        return number * number

    @step
    def total(self, square: list[int]) -> int:
        return sum(square)


class Broken(Workflow):
    """Its second step works once the file is there."""

    flag: Path
    loud: bool = False
    tags: tuple[str, ...] = ()

    @step
    def before(self) -> str:
        return "kept"

    @step(retry=0)
    def fragile(self) -> int:
        if not self.flag.exists():
            raise OSError("the disk \x1b[31mis\x1b[0m [red]away[/red]")
        return 1

    @step
    def after(self) -> int:
        return 2


class Slow(Workflow):
    """Writes its pid, then works until it is told to stop, or for ever."""

    pid: Path
    gentle: bool = True

    @step
    def quick(self) -> int:
        return 1

    @step
    def work(self, task: TaskHandle) -> int:
        done = self.pid.with_suffix(".done")
        task.progress(10, text="at it")
        self.pid.write_text(str(os.getpid()))
        while not done.exists():
            if task.cancelled and self.gentle:
                return 1
            time.sleep(0.02)
        return 2


class Suicide(Workflow):
    """Kills its process, once."""

    mark: Path

    @step
    def quick(self) -> int:
        return 1

    @step
    def last(self) -> int:
        if not self.mark.exists():
            self.mark.write_text("")
            os.kill(os.getpid(), signal.SIGKILL)
        return 2


class Hourly(Workflow):
    """Has a template for its name, and a date in it."""

    container = "hourly:{hour:%Y%m%dT%H}"
    hour: datetime

    @step
    def nothing(self) -> None:
        raise Finish("nothing new")

    @step
    def rest(self) -> None:
        raise AssertionError


class Various(Workflow):
    """Ends in every way that there is."""

    @step(optional=True, retry=0)
    def fails(self) -> None:
        raise Fail("no \N{RIGHT-TO-LEFT OVERRIDE}use")

    @step
    def skips(self) -> None:
        raise Skip("not today")

    @step(retry=Retry(2, delay=0.05, jitter=0))
    def flickers(self, task: TaskHandle) -> tuple[bytes, set[int]]:
        if task.attempt == 1:
            raise ConnectionError("reset by peer")
        return b"\x00\xff", {3, 1, 2}

    @step
    def waits(self, task: TaskHandle) -> None:
        if task.processing_data is None:
            task.checkpoint({"seen": True})
            raise RetryLater(0.05, "not there yet")


class Wide(Workflow):
    """A fan-out of a thousand, whose second step cannot end."""

    @step
    def numbers(self) -> list[int]:
        return list(range(1000))

    @step(each=numbers)
    def each(self, number: int) -> int:
        return number
