"""What a store knows of schedules, and which ticks of one are due by it."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Collection, Iterable, Sequence
from operator import attrgetter

from ptsflow.client.looking import runs_back, seen
from ptsflow.core.due import DueTicks, Tick, completed, due, first_in
from ptsflow.core.insight import RunStatus, ScheduleRecord
from ptsflow.core.model import ContainerRecord, Status
from ptsflow.core.ticks import ticks
from ptsflow.host.clock import to_datetime, to_millis
from ptsflow.stores.base import Store
from ptsflow.workflow.cron import Cron
from ptsflow.workflow.schedule import at, declared, kept
from ptsflow.workflow.workflow import Workflow

#: How many names are looked for in the history one by one, and how many among the
#: containers.
_FEW, _MANY = 20, 1_000


def swapped(
    store: Store,
    workflow: str,
    decide: Callable[[ScheduleRecord | None], ScheduleRecord | None],
) -> ScheduleRecord | None:
    """Change the schedule of a workflow; return it as it is kept.

    Args:
        store: where it is kept.
        workflow: the name of the workflow.
        decide: returns what to keep instead of what is there; None to leave that.
    """
    while True:
        kept_now = {each.workflow: each for each in store.schedules()}
        before = kept_now.get(workflow)
        after = decide(before)
        if after is None or after == before:
            return before
        if store.swap_schedule(before, after):
            return after


class ScheduledWorkflow:
    """A workflow class with its schedule, as a store has it.

    Args:
        kind: the class.
        cron: its schedule.
        since: ticks back to this time are wanted on purpose.
    """

    def __init__(
        self, kind: type[Workflow], cron: Cron, since: int | None = None
    ) -> None:
        self.kind = kind
        self.cron = cron
        self._since = since
        #: The ticks from one moment to another that were asked for last.
        self._window: list[Tick] = []
        self._first, self._last = 0, -1

    def keep(self, store: Store, now: int) -> ScheduleRecord:
        """Keep the schedule in the store, as the class declares it now; return it."""
        given = declared(self.kind, self.cron, to_datetime(now))
        stored = swapped(store, given.workflow, lambda before: kept(before, given))
        return given if stored is None else stored

    def ticks(self, first: int, last: int) -> list[Tick]:
        """Return the ticks from one moment to another, and the containers they name."""
        if first < self._first or not first <= self._last <= last:
            self._window, self._last = [], first - 1
        passed = bisect_left(self._window, first, key=attrgetter("at"))
        self._window = self._window[passed:] + self._between(self._last, last)
        self._first, self._last = first, last
        return self._window

    def _between(self, after: int, last: int) -> list[Tick]:
        expression, zone = self.cron.expression, self.cron.zone
        return [
            Tick(to_millis(moment), at(self.kind, self.cron, moment).container_name)
            for moment in ticks(expression, zone, to_datetime(after), to_datetime(last))
        ]

    def next_tick(self, now: int) -> int | None:
        """Return the first tick after a moment; None if none will come."""
        ahead = ticks(self.cron.expression, self.cron.zone, to_datetime(now))
        found = next(ahead, None)
        return None if found is None else to_millis(found)

    def look(
        self,
        store: Store,
        schedule: ScheduleRecord,
        now: int,
        *,
        tried: Collection[str] = (),
        mine: str | None = None,
    ) -> DueTicks:
        """Return what is due now.

        Args:
            store: where the containers are.
            schedule: the schedule as it is kept.
            now: the time.
            tried: names of containers that are not to be run again.
            mine: the name of the container that this process holds.
        """
        first = first_in(schedule, now, self._since)
        window = self.ticks(first, now)
        containers = self._containers(store, window)
        leased_at = store.now()  # Leases are measured by the store's clock.
        held = {
            record.name
            for record in containers.values()
            if record.name != mine and _is_held(store, record, leased_at)
        }
        elsewhere = self._elsewhere(store, containers)
        held |= {tick.name for tick in elsewhere}
        gone = [tick.name for tick in window if tick.name not in containers]
        return due(
            schedule,
            window,
            now=now,
            containers=containers,
            held=held,
            elsewhere=elsewhere,
            done=self._done(store, gone),
            tried=tried,
        )

    def _containers(
        self, store: Store, window: Sequence[Tick]
    ) -> dict[str, ContainerRecord]:
        """Return the containers that ticks name: the newest at once, a few one by one."""
        newest = store.recent(2 * len(window) + _FEW, workflow=self.kind.__name__)
        found = {record.name: record for record in newest}
        names = {tick.name for tick in window}
        # A container that no run has begun yet has no workflow.
        others = names - found.keys()
        if len(others) > _MANY:
            found |= {each.name: each for each in store.containers(plans=False)}
        else:
            each_one = map(store.container, others)
            found |= {record.name: record for record in each_one if record is not None}
        return {name: record for name, record in found.items() if name in names}

    def _elsewhere(self, store: Store, known: Collection[str]) -> list[Tick]:
        """Return the ticks of other containers that a live runner still has."""
        found = []
        now = store.now()
        running = store.recent(_FEW, workflow=self.kind.__name__, status=Status.RUNNING)
        for record in running:
            if record.name not in known and _is_held(store, record, now):
                runs = store.runs(self.kind.__name__, record.name, limit=1)
                tick = runs[0].tick if runs else None
                if tick is not None:
                    found.append(Tick(tick, record.name))
        return found

    def _done(self, store: Store, names: Iterable[str]) -> set[str]:
        """Return which of the containers that are gone a run completed."""
        names = list(names)
        workflow, done = self.kind.__name__, RunStatus.DONE
        if len(names) > _FEW:
            return completed(runs_back(store, workflow, status=done))
        found = [
            run
            for name in names
            for run in store.runs(workflow, name, limit=1, status=done)
        ]
        return completed(found)


def _is_held(store: Store, record: ContainerRecord, now: int) -> bool:
    """Whether a live runner has a container that is not done."""
    if record.status is Status.DONE:
        return False
    return seen(store, record, now).is_leased(now)
