"""What a run tells those who listen: frozen records, handed out in order.

Screens, logs and tests are equal listeners. A listener is a callable that takes one
event; what it raises is its own affair and never the run's.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence

from msgspec import Struct

from ptsflow.core.model import ContainerRecord, Progress, TaskRecord


class Event(Struct, frozen=True, kw_only=True):
    """The base of all events."""

    #: When it happened, in milliseconds since the epoch.
    at: int


class RunStarted(Event, frozen=True, kw_only=True):
    """The lease is held and the plan is laid out; nothing runs yet.

    The tasks are as earlier runs left them; what this one changes of them follows.
    """

    container: ContainerRecord
    tasks: Sequence[TaskRecord]


class TaskChanged(Event, frozen=True, kw_only=True):
    """A change was committed; None before for a new task, None after for a deleted one."""

    before: TaskRecord | None
    after: TaskRecord | None


class Progressed(Event, frozen=True, kw_only=True):
    """Running tasks got further."""

    progress: Sequence[Progress]


class Notice(Event, frozen=True, kw_only=True):
    """Something a person should know, in one line."""

    text: str


class RunEnded(Event, frozen=True, kw_only=True):
    """The lease was given back."""

    container: ContainerRecord


#: Takes one event.
Listener = Callable[[Event], None]


class Bus:
    """Hands every event to every listener, and outlives a bad one."""

    def __init__(self, listeners: Sequence[Listener]) -> None:
        self._listeners = list(listeners)

    def __bool__(self) -> bool:
        return bool(self._listeners)

    def emit(self, event: Event) -> None:
        """Hand the event out; a listener that raises is not asked again."""
        for listener in list(self._listeners):
            try:
                listener(event)
            except Exception:  # noqa: BLE001 - a broken screen must not stop the work
                with contextlib.suppress(ValueError):
                    self._listeners.remove(listener)
