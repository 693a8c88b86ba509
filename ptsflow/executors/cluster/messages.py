"""What runner and worker tell each other, and how it is read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import overload

from msgspec.msgpack import Decoder

from ptsflow.core.model import LogLine
from ptsflow.executors.processes.messages import (
    Assignment,
    Cancel,
    Checkpoint,
    Ended,
    Kept,
    Message,
    Progressing,
    Setting,
)
from ptsflow.workflow.loading import Reference

_LEFT_OUT = LogLine(0, "", "")


class Home(Message, frozen=True, tag=True, array_like=True):
    """From a worker: it has children for this run as long as this connection lasts."""

    #: Its `host:pid`.
    worker: str


class Premises(Message, frozen=True, tag=True, array_like=True):
    """To a worker: what all children of this run need to know."""

    #: Of ptsflow, which must be the same.
    version: str
    reference: Reference
    setting: Setting
    #: Where else modules may be found.
    path: list[str]


class Token(Message, frozen=True, tag=True, array_like=True):
    """From a worker: it was called with this token."""

    token: str
    worker: str


class Work(Message, frozen=True, tag=True, array_like=True):
    """To a worker: make it."""

    assignment: Assignment
    timeout: float | None
    stall: float | None


class Dismissed(Message, frozen=True, tag=True, array_like=True):
    """To a worker: there is nothing (more) to do for it."""


class RanBy(Message, frozen=True, tag=True, array_like=True):
    """From a worker: the `host:pid` of the child that makes the attempt."""

    ran_by: str


class Logged(Message, frozen=True, tag=True, array_like=True):
    """From a worker: what the body logged or printed; of much of it only the ends."""

    count: int
    head: list[LogLine]
    tail: list[LogLine]


class Lost(Message, frozen=True, tag=True, array_like=True):
    """From a worker: the attempt ended without its body's say.

    The runner knows the step's `retry=`, and decides what follows.
    """

    #: The name of an `AttemptLost`.
    kind: str
    text: str


Report = Progressing | Checkpoint | Logged | RanBy | Ended | Lost


read_call = Decoder(Home | Token).decode


read_premises = Decoder(Premises).decode


read_order = Decoder(Work | Dismissed | Cancel).decode


read_answer = Decoder(Kept | Cancel).decode


read_report = Decoder(Report).decode


class Ends(Sequence[LogLine]):
    """Lines of which only the first and the last ones came here; between, empty ones."""

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
        left = count - places
        return tail[-left] if left <= len(tail) else _LEFT_OUT


def ends_of(lines: Sequence[LogLine], head: int, tail: int) -> Logged:
    """Return lines up to so many characters of the first ones and of the last ones."""
    first: list[LogLine] = []
    while head > 0 and len(first) < len(lines):
        first.append(lines[len(first)])
        head -= len(first[-1].text) + 1
    last: list[LogLine] = []
    while tail > 0 and len(first) + len(last) < len(lines):
        last.append(lines[len(lines) - 1 - len(last)])
        tail -= len(last[-1].text) + 1
    return Logged(len(lines), first, last[::-1])
