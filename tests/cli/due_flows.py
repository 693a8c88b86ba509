"""Workflows with schedules, for the tests of `--due`."""

from __future__ import annotations

import os
import time
from pathlib import Path

from ptsflow import Cron, Day, Fail, Hour, RunEnd, Workflow, step

#: Where bodies write, in whatever folder a command is typed.
_FOLDER = Path(os.environ.get("DUE_FOLDER", "."))


def _wait_for(name: str) -> None:
    (_FOLDER / f"{name}.begun").touch()
    while not (_FOLDER / name).exists():
        time.sleep(0.02)


class Yearly(Workflow):
    """Due once a year: no test meets another tick than it expects."""

    container = "year:{day:%Y}"
    day: Day
    schedule = Cron("0 0 1 1 *", catch_up="2000d", again="1ms")

    @step
    def load(self) -> int:
        year = f"{self.day:%Y}"
        if year in os.environ.get("BAD", "").split():
            raise Fail("bad year")
        if year == os.environ.get("SLOW"):
            _wait_for("go")
        with (_FOLDER / "loaded").open("a") as file:
            file.write(f"{year}\n")
        return 1


class Rarely(Yearly):
    """As Yearly, with much time before a failed year is tried again."""

    container = "rare:{day:%Y}"
    schedule = Cron("0 0 1 1 *", catch_up="2000d", again="1d")


class Latest(Yearly):
    """As Yearly, but old years are passed over."""

    container = "latest:{day:%Y}"
    schedule = Cron("0 0 1 1 *", catch_up="2000d", overlap="latest")


class Parallel(Yearly):
    """As Yearly, but years run beside each other."""

    container = "parallel:{day:%Y}"
    schedule = Cron("0 0 1 1 *", catch_up="2000d", overlap="parallel")


def _telling(what: str) -> str:
    return f'echo {what} $PTSFLOW_CONTAINER $PTSFLOW_TICK >> "$DUE_FOLDER/told"'


class Telling(Yearly):
    """As Yearly, and says whom its ends are told."""

    container = "telling:{day:%Y}"
    on_failure = _telling("failure")
    on_done = _telling("done")

    def on_recovery(self, end: RunEnd) -> None:
        with (_FOLDER / "told").open("a") as file:
            file.write(f"recovery {end.container} {end.tick} {self.day}\n")


class Brief(Yearly):
    """As Yearly, but hardly anything is caught up with."""

    container = "brief:{day:%Y}"
    schedule = Cron("0 0 1 1 *", catch_up="1ms")


class SettingTheClock(Workflow):
    """Hourly; the body of one hour sets this process's clock, as `shifted` lets it."""

    container = "clock:{hour:%Y%m%dT%H}"
    hour: Hour
    schedule = Cron("0 * * * *", again="1ms")

    @step
    def load(self) -> int:
        with (_FOLDER / "loaded").open("a") as file:
            file.write(f"{self.hour:%d%H}\n")
        hour, _, shift = os.environ["SETS"].partition(" ")
        if hour == f"{self.hour:%d%H}":
            os.environ["CLOCK_SHIFT"] = shift
        return 1


class Unscheduled(Workflow):
    """Has no schedule."""

    @step
    def load(self) -> None: ...
