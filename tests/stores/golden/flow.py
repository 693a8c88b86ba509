"""The workflows in the golden stores: each body writes its task's name to a journal.

The golden stores hold results, parameters and code of these classes: a name, a
parameter or a step that is changed here would make every golden store unfit.
"""

from __future__ import annotations

import os
import time
from datetime import date, datetime, timedelta
from decimal import Decimal
from pathlib import Path

from ptsflow import Fail, Finish, Retry, Skip, TaskHandle, Workflow, step

#: The file that bodies append their tasks' names to.
JOURNAL = "PTSFLOW_GOLDEN_JOURNAL"
#: Set to "broken", it makes `fetch` fail, wait and hang.
WORLD = "PTSFLOW_GOLDEN_WORLD"

ITEMS = ["a", "b", "c", "d", "e"]
#: Large enough to be a document of its own in MongoDB.
LARGE = (1 << 20) + 1


def _note(task: TaskHandle) -> None:
    """Append one line with one write, which no crash tears."""
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT
    number = os.open(os.environ[JOURNAL], flags, 0o600)
    try:
        os.write(number, f"{task.name}\n".encode())
    finally:
        os.close(number)


def journal(path: Path) -> list[str]:
    """Return the names of the tasks whose bodies began, in order."""
    return path.read_text().splitlines() if path.exists() else []


class Golden(Workflow):
    """Left off with done, skipped, failed, waiting, running and pending tasks."""

    container = "golden:{day:%Y%m%d}"
    day: datetime
    share: Decimal = Decimal("0.10")

    @step
    def listing(self, task: TaskHandle) -> list[str]:
        _note(task)
        print("five items: a to e")  # noqa: T201 - kept as a log line
        return ITEMS

    @step(parallel=True)
    def nothing(self, task: TaskHandle) -> int:
        _note(task)
        raise Skip("nothing to do")

    @step(parallel=True)
    def large(self, task: TaskHandle) -> str:
        _note(task)
        return "x" * LARGE

    @step(each=listing, limit=1, retry=Retry(3, delay=20, jitter=0, on=Exception))
    def fetch(self, name: str, task: TaskHandle) -> tuple[str, date]:
        _note(task)
        read = 0
        if task.processing_data is not None:
            assert isinstance(task.processing_data, dict)
            read = task.processing_data["read"]
        if os.environ.get(WORLD) == "broken":
            _break(name, task)
        return f"{name}{read}", (self.day + timedelta(days=ITEMS.index(name))).date()

    @step(each=fetch)
    def unpack(self, fetched: tuple[str, date], task: TaskHandle) -> Decimal:
        _note(task)
        return self.share * fetched[1].day

    @step
    def join(
        self,
        fetch: list[tuple[str, date]],
        unpack: list[Decimal],
        large: str,
        nothing: int | None,
        task: TaskHandle,
    ) -> str:
        _note(task)
        names = " ".join(name for name, _ in fetch)
        return f"{names} {sum(unpack)} {len(large)} {nothing}"

    @step(always=True)
    def clean_up(self, task: TaskHandle) -> None:
        _note(task)


#: What `join` returns in a run that is continued: `fetch[d]` had read three.
CONTINUED = f"a0 b0 c0 d3 e0 1.50 {LARGE} None"


def _break(name: str, task: TaskHandle) -> None:
    if name == "b":
        raise Fail("the server has no b")
    if name == "c":
        raise OSError("the server is away")
    if name == "d":
        task.checkpoint({"read": 3, "tag": ("é", b"\0")})
        print("read three")  # noqa: T201 - kept as a log line
        task.log.warning("the rest is late")
        task.progress(40, text="40 of 100")
        time.sleep(3600)


class Early(Workflow):
    """Finds that the rest is not needed."""

    container = "early"

    @step
    def look(self, task: TaskHandle) -> None:
        _note(task)
        raise Finish("nothing new")

    @step
    def load(self, task: TaskHandle) -> int:
        _note(task)
        return 1
