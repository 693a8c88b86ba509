"""What a body reports, kept for a test to look at."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ptsflow import TaskHandle
from ptsflow.core.model import LogLine, TaskRecord
from ptsflow.errors import LeaseLost
from ptsflow.workflow.handle import Watch


class Reports:
    """A `Reporter` without a runner, which can lose its lease."""

    def __init__(self) -> None:
        self.progress: list[tuple[str, float, str]] = []
        self.saved: list[tuple[str, str]] = []
        #: Task, level and text of each line.
        self.lines: list[tuple[str, str, str]] = []
        self.is_lost = False

    def progressed(self, name: str, percentage: float, text: str) -> None:
        self.progress.append((name, percentage, text))

    def save(self, name: str, text: str) -> None:
        if self.is_lost:
            raise LeaseLost("somebody else owns it")
        self.saved.append((name, text))

    def logged(self, name: str, lines: Sequence[LogLine]) -> None:
        assert all(line.at > 1_600_000_000_000 for line in lines)
        self.lines += [(name, line.level, line.text) for line in lines]

    def of(self, name: str = "task") -> list[tuple[str, str]]:
        """Return level and text of the lines of a task."""
        return [(level, text) for task, level, text in self.lines if task == name]


def handle_of(
    reports: Reports,
    task: TaskRecord | None = None,
    *,
    saved: str | None = None,
    cancelled: Callable[[], bool] = lambda: False,
    folder: str = "",
    watch: Watch | None = None,
) -> TaskHandle:
    """Return the handle of an attempt in the container `nightly`."""
    return TaskHandle(
        "nightly",
        task or TaskRecord(name="task"),
        saved=saved,
        reporter=reports,
        cancelled=cancelled,
        folder=folder,
        watch=watch,
    )
