"""What pages show of schedules: the next ticks, pauses, and what is late."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import islice

from msgspec import Struct

from ptsflow.client.overdue import overdue_of, ticks_from
from ptsflow.core.insight import ScheduleRecord
from ptsflow.core.overdue import Overdue
from ptsflow.display.late import late_in_words, paused_in_words, policy_in_words
from ptsflow.host.clock import since_boot
from ptsflow.stores.base import Store

#: How many of the next ticks are shown.
_NEXT = 3
#: For how long what is late is believed, in seconds: to find it takes some reads.
_FOR = 10.0


class ScheduleLook(Struct, frozen=True, kw_only=True):
    """How the schedule of a workflow stands."""

    policy: str
    next_at: Sequence[int]
    #: Who paused it, and why; "" if it is not paused.
    paused: str
    late: Sequence[str]


class LateOnes:
    """Knows what is late in a store; asks again after some seconds."""

    def __init__(self) -> None:
        self._found: Mapping[str, Sequence[Overdue]] = {}
        self._asked_at: float | None = None

    def of(self, store: Store, now: int) -> Mapping[str, Sequence[Overdue]]:
        """Return what is late, by workflow."""
        if self._asked_at is None or since_boot() - self._asked_at > _FOR:
            found = {s.workflow: overdue_of(store, s, now) for s in store.schedules()}
            self._found = {name: late for name, late in found.items() if late}
            self._asked_at = since_boot()
        return self._found


def look_at_schedule(store: Store, workflow: str, now: int) -> ScheduleLook | None:
    """Return how the schedule of a workflow stands; None if it has none."""
    of_name = [each for each in store.schedules() if each.workflow == workflow]
    return _look(store, of_name[0], now) if of_name else None


def _look(store: Store, schedule: ScheduleRecord, now: int) -> ScheduleLook:
    is_paused = schedule.paused_at is not None
    return ScheduleLook(
        policy=policy_in_words(schedule),
        next_at=list(islice(ticks_from(schedule, now + 1), _NEXT)),
        paused=paused_in_words(schedule, now) if is_paused else "",
        late=[late_in_words(late, now) for late in overdue_of(store, schedule, now)],
    )
