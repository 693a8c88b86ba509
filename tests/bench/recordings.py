"""Recordings of runs: what became of every task, and when, as a listener heard of it.

Of the same form are the runs that `simulated` makes up, so that `eta.py` replays both.
"""

from __future__ import annotations

import gzip
from collections.abc import Iterable
from pathlib import Path

import msgspec

from ptsflow.core.model import Status, TaskRecord
from ptsflow.events import Event, Progressed, RunEnded, RunStarted, TaskChanged

RUNS = Path(__file__).parent / "runs"


class Moment(msgspec.Struct, frozen=True, array_like=True):
    """What became of a task."""

    #: Milliseconds since the run began.
    at: int
    task: str
    #: What the task is now.
    status: Status
    #: Of a task that ended or waits: how long its attempt took, in milliseconds.
    took: int = 0
    #: Of a running task: how much of it is done.
    percentage: float = 0.0
    #: Of a waiting task: when it is due, in milliseconds since the run began.
    due: int = 0


class Recording(msgspec.Struct, frozen=True):
    """One run of a container that was complete at its end."""

    jobs: int
    #: How long the run took, in milliseconds.
    took: int
    #: The keys of the items of each step, in their order.
    items: dict[str, list[str]]
    moments: list[Moment]


class Recorder:
    """Listens to one run."""

    #: Progress is kept if it is by so many points further, or so many milliseconds later.
    FURTHER = 4.0
    LATER = 500

    def __init__(self) -> None:
        self._began = self._ended = 0
        self._items: dict[str, list[str]] = {}
        self._moments: list[Moment] = []
        self._told: dict[str, tuple[int, float]] = {}

    def __call__(self, event: Event) -> None:
        match event:
            case RunStarted():
                self._began = event.at
            case TaskChanged(before=None, after=TaskRecord(key=str(key)) as task):
                self._items.setdefault(task.step, []).append(key)
            case TaskChanged(before=TaskRecord() as before, after=TaskRecord() as task):
                if task.status is not before.status:
                    self._change(event.at, task)
            case Progressed():
                for entry in event.progress:
                    self._progress(event.at, entry.name, entry.percentage)
            case RunEnded():
                self._ended = event.at
            case _:
                pass

    def recording(self, jobs: int) -> Recording:
        """Return what was heard."""
        return Recording(jobs, self._ended - self._began, self._items, self._moments)

    def _change(self, at: int, task: TaskRecord) -> None:
        began, due = self._began, 0
        if task.status is Status.WAITING:
            due = (task.due or at) - began
        if task.status is Status.RUNNING:
            took, self._told[task.name] = 0, (at, 0.0)
        else:
            took = task.task_duration_ms or 0
        self._moments.append(Moment(at - began, task.name, task.status, took, 0.0, due))

    def _progress(self, at: int, name: str, percentage: float) -> None:
        then, told = self._told.get(name, (at, percentage))
        if percentage - told < self.FURTHER and at - then < self.LATER:
            return
        if percentage != told:
            self._told[name] = at, percentage
            percentage = round(percentage, 1)
            self._moments.append(
                Moment(at - self._began, name, Status.RUNNING, 0, percentage)
            )


def write(name: str, recordings: Iterable[Recording]) -> Path:
    """Keep recordings, in their order; return the file."""
    RUNS.mkdir(exist_ok=True)
    path = RUNS / f"{name}.json.gz"
    data = msgspec.json.encode(list(recordings))
    # Without a date, so that equal recordings are equal files.
    path.write_bytes(gzip.compress(data, mtime=0))
    return path


def read(name: str) -> list[Recording]:
    """Return the recordings that are kept under a name, oldest first."""
    data = gzip.decompress((RUNS / f"{name}.json.gz").read_bytes())
    return msgspec.json.decode(data, type=list[Recording])
