"""Says that an attempt in a thread is overdue: nothing else can be done about it."""

from __future__ import annotations

import math
from collections.abc import Iterable

from ptsflow.core.model import Progress
from ptsflow.core.plan import PlanStep
from ptsflow.core.texts import LATE_ADVICE
from ptsflow.executors.placement import Placement
from ptsflow.host.clock import since_boot
from ptsflow.runner.unit_of_work import UnitOfWork

#: How often attempts are looked at, in seconds.
_LOOK_EVERY = 0.9
#: How often the time that has passed is told anew: whenever it is so much longer.
_GROWTH = 0.1


class LateAttempts:
    """Tells of the attempts in threads that are overdue, as progress of their tasks."""

    def __init__(
        self, steps: Iterable[PlanStep], work: UnitOfWork, placement: Placement
    ) -> None:
        self._work = work
        self._placement = placement
        self._look_at = 0.0 if any(s.timeout or s.stall for s in steps) else math.inf
        #: Task -> its text before it was late, when that began, and when it was told last.
        self._told: dict[str, tuple[str, float, float]] = {}

    def tell(self) -> None:
        """Look, once a second at most, and tell what is new."""
        now = since_boot()
        if now < self._look_at:
            return
        self._look_at = now + _LOOK_EVERY
        late = self._placement.late()
        for name in self._told.keys() - late.keys():
            del self._told[name]
        for name, text in late.items():
            task = self._work.tasks[name]
            if name not in self._told:
                self._told[name] = task.status_text, now, 0.0
                self._work.bus.notice(f"{name}: {text}; {LATE_ADVICE}")
            before, began, last = self._told[name]
            entry = self._work.pending_progress(name)
            is_news = entry is not None and LATE_ADVICE not in entry.text
            before = entry.text if entry is not None and is_news else before
            if is_news or now - last >= _GROWTH * (now - began):
                self._told[name] = before, began, now
                share = task.percentage_complete if entry is None else entry.percentage
                said = "; ".join(filter(None, [before, text, LATE_ADVICE]))
                self._work.tell_progress(Progress(name, share, said))
