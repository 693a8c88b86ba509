"""Hands the events of a run to its listeners, and outlives a listener that raises."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence

from ptsflow.core.attempt_ledger import ended_by
from ptsflow.core.model import Change, ContainerRecord
from ptsflow.core.texts import one_line
from ptsflow.events import (
    AttemptEnded,
    Event,
    HookFailed,
    Listener,
    Notice,
    Stopping,
    TaskChanged,
)
from ptsflow.host.clock import Clock, system_clock


class Bus:
    """The listeners of one run; false where there are none, so that no event is made.

    Args:
        listeners: called with every event, in this order.
        clock: tells the time of notices.
    """

    def __init__(
        self, listeners: Sequence[Listener], clock: Clock = system_clock
    ) -> None:
        self._listeners = tuple(listeners)
        self._clock = clock
        # The log writer tells notices from its own thread. Reentrant, as the notice of a
        # listener that raised is told while its event is handed out.
        self._lock = threading.RLock()

    def __bool__(self) -> bool:
        return bool(self._listeners)

    def emit(self, event: Event) -> None:
        """Hand out an event; drop the listeners that raise, and tell the others of it."""
        raised: list[tuple[Listener, Exception]] = []
        with self._lock:
            for listener in self._listeners:
                try:
                    listener(event)
                except Exception as error:  # noqa: BLE001 - a broken listener must not stop the run
                    raised.append((listener, error))
            if raised:
                self._drop(raised, event.at)

    def notice(self, text: str) -> None:
        """Tell a person something, in one line."""
        if self:
            self.emit(Notice(at=self._clock(), text=text))

    def stopping(self, text: str) -> None:
        """Tell that nothing more starts, in one line."""
        if self:
            self.emit(Stopping(at=self._clock(), text=text))

    def hook_failed(self, text: str) -> None:
        """Tell that somebody could not be told of the run's end, in one line."""
        if self:
            self.emit(HookFailed(at=self._clock(), text=text))

    def _drop(self, raised: list[tuple[Listener, Exception]], at: int) -> None:
        notices = []
        for listener, error in raised:
            others = tuple(known for known in self._listeners if known is not listener)
            if len(others) < len(self._listeners):
                text = (
                    f"the listener {name_of(listener)} raised {one_line(error)}; "
                    "the run goes on without it"
                )
                notices.append(Notice(at=at, text=text))
            self._listeners = others
        for notice in notices:
            self.emit(notice)


def name_of(listener: Callable[..., object]) -> str:
    """Return `module:name` of a function, or of the class of another callable."""
    kind = type(listener)
    module = getattr(listener, "__module__", None) or kind.__module__
    return f"{module}:{getattr(listener, '__qualname__', kind.__qualname__)}"


def tell_changes(
    bus: Bus, container: ContainerRecord, changes: Iterable[Change], at: int
) -> None:
    """Tell of changes that were stored, and of the attempts that ended with them."""
    for change in changes:
        attempt = ended_by(change)
        task = change.after
        if attempt is not None and task is not None:
            ended = AttemptEnded(
                at=at,
                container=container.name,
                task=task.name,
                step=task.step,
                key=task.key,
                number=attempt.number,
                outcome=attempt.ending,
                status=task.status,
                error_type=attempt.error_type,
                error=attempt.error,
                traceback=attempt.traceback,
                began_at=attempt.began_at,
                duration_ms=max(0, attempt.took_ms),
                ran_by=attempt.ran_by,
            )
            bus.emit(ended)
        bus.emit(TaskChanged(at=at, before=change.before, after=task))
