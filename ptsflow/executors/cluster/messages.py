"""The messages between the runner and cluster workers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import overload

from msgspec.msgpack import Decoder

from ptsflow.core.model import LogLine
from ptsflow.executors.processes.messages import (
    Assignment,
    BodyEnded,
    Cancel,
    Checkpoint,
    CheckpointAnswer,
    Lost,
    Message,
    Progressing,
    Setting,
)
from ptsflow.workflow.loading import Reference

_LEFT_OUT = LogLine(0, "", "")


class WorkerJoined(Message, frozen=True, tag=True, array_like=True):
    """From a cluster worker: it serves this run as long as this connection lasts."""

    #: `host:pid` of the cluster worker.
    worker: str


class RunDescription(Message, frozen=True, tag=True, array_like=True):
    """To a cluster worker: what its worker processes need to know of the run."""

    #: The version of ptsflow, which must be the same on both sides.
    version: str
    reference: Reference
    setting: Setting
    #: The folders beside the installed packages where the runner finds modules.
    path: list[str]


class CallStarted(Message, frozen=True, tag=True, array_like=True):
    """From a cluster worker: the backend called it with this token."""

    token: str
    #: `host:pid` of the cluster worker.
    worker: str


class MakeAttempt(Message, frozen=True, tag=True, array_like=True):
    """To a cluster worker: make this attempt, within these limits in seconds."""

    assignment: Assignment
    timeout: float | None
    stall: float | None


class NoMoreWork(Message, frozen=True, tag=True, array_like=True):
    """To a cluster worker: there is no attempt for this call, or no further one."""


class RanBy(Message, frozen=True, tag=True, array_like=True):
    """From a cluster worker: `host:pid` of the worker process that runs the body."""

    ran_by: str


class Logged(Message, frozen=True, tag=True, array_like=True):
    """From a cluster worker: lines that the body logged or printed, or only their ends."""

    #: How many lines there were.
    count: int
    head: list[LogLine]
    tail: list[LogLine]


Report = Progressing | Checkpoint | Logged | RanBy | BodyEnded | Lost

read_call = Decoder(WorkerJoined | CallStarted).decode
read_description = Decoder(RunDescription).decode
read_order = Decoder(MakeAttempt | NoMoreWork | Cancel).decode
read_answer = Decoder(CheckpointAnswer | Cancel).decode
read_report = Decoder(Report).decode


class LoggedLines(Sequence[LogLine]):
    """The lines of a `Logged` message; those that were not sent are empty."""

    def __init__(self, logged: Logged) -> None:
        self._logged = logged

    def __len__(self) -> int:
        return self._logged.count

    @overload
    def __getitem__(self, index: int) -> LogLine: ...
    @overload
    def __getitem__(self, index: slice) -> list[LogLine]: ...
    def __getitem__(self, index: int | slice) -> LogLine | list[LogLine]:
        count, head, tail = self._logged.count, self._logged.head, self._logged.tail
        places = range(count)[index]
        if isinstance(places, range):
            return [self[place] for place in places]
        if places < len(head):
            return head[places]
        from_end = count - places
        return tail[-from_end] if from_end <= len(tail) else _LEFT_OUT
