"""Workflows whose containers the pages show."""

from __future__ import annotations

import os
import time
from pathlib import Path

from ptsflow import Retry, TaskHandle, Workflow, step


class Import(Workflow):
    """Load what a feed has; the songs have a bad row, unless they are `sound`."""

    container = "import:{hour}"
    hour: str = "13"
    sound: bool = True

    @step
    def download(self, task: TaskHandle) -> list[str]:
        """Fetch the feed."""
        task.progress(50, text="half of it")
        print(f"fetched the feed of {self.hour}")  # noqa: T201 - it is kept as a log line
        return ["albums", "artists", "songs"]

    @step(each=download, retry=Retry(1, delay=0.01, jitter=0))
    def load(self, name: str, task: TaskHandle) -> int:
        """Load one table."""
        print(f"{name}: attempt {task.attempt}")  # noqa: T201 - it is kept as a log line
        if name == "artists" and task.attempt == 1:
            raise ConnectionError("reset by peer")
        if name == "songs" and not self.sound:
            raise ValueError("bad date '2011-00-00' (row 7)")
        return len(name)

    @step
    def publish(self, load: list[int]) -> dict[str, int]:
        """Say how much there is."""
        return {"rows": sum(load)}


class Held(Workflow):
    """Its second step does what it finds in a folder, until it is told to go on."""

    folder: Path

    @step
    def first(self) -> int:
        return 1

    @step
    def work(self, task: TaskHandle) -> int:
        task.progress(10, text="at it")
        print("line 0", flush=True)  # noqa: T201 - it is kept as a log line
        (self.folder / "pid").write_text(str(os.getpid()), encoding="utf-8")
        said = 0
        while not (self.folder / "go").exists() and not task.cancelled:
            if (self.folder / f"say{said + 1}").exists():
                said += 1
                task.progress(10 + said, text=f"said {said}")
                print(f"line {said}", flush=True)  # noqa: T201 - a log line
            time.sleep(0.02)
        return said

    @step
    def last(self) -> int:
        return 3


class Sides(Workflow):
    """Three steps beside each other and two above, too wide for a narrow screen."""

    @step(parallel=True)
    def left_hand_side(self) -> int:
        return 1

    @step(parallel=True)
    def right_hand_side(self) -> int:
        return 2

    @step(parallel=True)
    def in_the_middle(self) -> str:
        """Return a value that is too long to be shown."""
        return "x" * 70_000

    @step
    def above(self, left_hand_side: int, right_hand_side: int) -> int:
        return left_hand_side + right_hand_side

    @step
    def on_top(self, above: int) -> int:
        return above


class Many(Workflow):
    """A wide fan-out, of which one item in a thousand fails."""

    count: int = 2_000

    @step
    def numbers(self) -> list[int]:
        return list(range(self.count))

    @step(each=numbers, retry=0)
    def item(self, number: int) -> int:
        if number % 1_000 == 7:
            raise ValueError(f"bad date in row {number}")
        return number

    @step
    def whole(self, item: list[int]) -> int:
        return len(item)
