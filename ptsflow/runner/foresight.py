"""What a run expects: looked at by the driver's thread now and then, not at each change.

A look takes in what changed since the last one, and plays the rest in virtual time. Looks
take at most half a percent of a run: the longer one took, the later is the next one.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from msgspec.structs import replace

from ptsflow.core import history
from ptsflow.core.history import LEARNED_FROM, Profile
from ptsflow.core.insight import Outlook, RunStatus
from ptsflow.core.model import Progress, TaskRecord
from ptsflow.core.plan import Plan
from ptsflow.core.scheduler import Schedule
from ptsflow.core.texts import one_line
from ptsflow.errors import StoreUnavailable
from ptsflow.events import OutlookChanged
from ptsflow.host.clock import since_boot
from ptsflow.runner.event_bus import Bus
from ptsflow.runner.telling import Telling
from ptsflow.stores.base import Store

if TYPE_CHECKING:
    from ptsflow.core.durations import Durations
    from ptsflow.core.run_observer import RunObserver
    from ptsflow.core.run_progress import RunProgress

#: Seconds until the first look, where earlier runs tell how long the steps take.
_FIRST_AFTER = 0.9
#: Seconds between two looks; the fewest, where the end that was expected passes before;
#: and how many times longer than a look it is until the next one.
_EVERY = 5.0
_LEAST = 1.0
_TIMES_ITS_COST = 200
#: The largest percentage that is told because most of the usual time is over. More is told
#: by tasks alone; so is all once a step failed, as its time will be needed again.
_MOST_FORETOLD = 99.0


def learned(store: Store, workflow: str) -> Profile:
    """Return what is usual for a workflow, by the runs that completed a container."""
    rows = store.runs(workflow, limit=LEARNED_FROM, status=RunStatus.DONE)
    return history.profile(rows)


def learned_by_run(store: Store, workflow: str, bus: Bus) -> Profile:
    """Return what is usual; where that cannot be read, listeners are told, and nothing is.

    Raises:
        StoreUnavailable: the store is away.
    """
    try:
        return learned(store, workflow)
    except StoreUnavailable:
        raise
    except Exception as error:  # noqa: BLE001 - no run fails because of its history.
        bus.notice(f"nothing is learned of earlier runs: {one_line(error)}")
        return Profile()


class Foresight:
    """What one run expects.

    Args:
        plan: the plan of the run.
        profile: what is usual for its workflow.
        telling: what the store was told of the run, and is told.
        only: the steps and items to run alone, if not all.
        began_at: when the run began.
        percentage: how much of the container was complete then.
    """

    def __init__(
        self,
        plan: Plan,
        profile: Profile,
        telling: Telling,
        *,
        only: Iterable[str] | None,
        began_at: int,
        percentage: float,
    ) -> None:
        self.telling = telling
        #: What earlier runs let expect when: the time, and the end.
        self.ends: list[tuple[int, int]] = []
        self._plan = plan
        self._profile = profile
        self._only = only
        self._began_at = began_at
        self._percentage = percentage
        self._durations: Durations | None = None
        self._observer: RunObserver | None = None
        #: What the last look found, until the outlook is made of it.
        self._progress: RunProgress | None = None
        self._look_at = since_boot() + (_FIRST_AFTER if profile.runs else _EVERY)
        self._took = 0.0
        #: The largest percentage that time alone may tell.
        self._most = _MOST_FORETOLD
        #: What listeners were told last.
        self._passed_on: Outlook | None = None
        self._is_off = False

    def durations(self) -> Mapping[str, float]:
        """Return how long a task of each step usually takes; none if no run tells."""
        return self._usual().by_step if self._profile.runs else {}

    def report(
        self, tasks: Mapping[str, TaskRecord], said: Iterable[Progress], at: int
    ) -> None:
        """Running tasks said how much of them is done."""
        if not self._is_off:
            self._observing().report(tasks, said, at)

    def pass_on(self, bus: Bus, at: int) -> None:
        """Tell listeners what the store was told since the last call."""
        told, problem = self.telling.told, self.telling.problem
        if problem is not None and not self._is_off:
            self.give_up(problem, bus)
        if told is not None and told is not self._passed_on:
            self._passed_on = told
            if bus:
                bus.emit(OutlookChanged(at=at, outlook=told))

    def look(
        self, schedule: Schedule, tasks: Mapping[str, TaskRecord], percentage: float
    ) -> None:
        """If it is time to, see how the tasks stand; for the thread that has the turn."""
        if self._is_off or since_boot() < self._look_at:
            return
        began = time.perf_counter()
        progress = self._observing().look(schedule, tasks)
        told = self.telling.percentage
        progress.percentage = max(progress.percentage, told, percentage)
        self._progress = progress
        self._most = 0.0 if schedule.failed_steps() else _MOST_FORETOLD
        self._took = time.perf_counter() - began

    def expect(self, jobs: int, now: int) -> None:
        """Have the store told what is expected, if there was a look since the last call.

        Args:
            jobs: how many bodies may run at once.
            now: the time.
        """
        progress, self._progress = self._progress, None
        if progress is None:
            return
        from ptsflow.core.outlook import outlook  # noqa: PLC0415 - not in a short run

        began = time.perf_counter()
        found = outlook(
            self._plan, progress, self._profile, jobs=jobs, now=now, only=self._only
        )
        if found is not None:
            most = max(self._most, progress.percentage)
            percentage = min(found.percentage, most)
            self.telling.propose(replace(found, percentage=percentage))
            if found.eta_at is not None and found.runs:
                self.ends.append((found.at, found.eta_at))
        self._took += time.perf_counter() - began
        pause = _EVERY
        if found is not None and found.eta_at is not None:
            pause = min(_EVERY, max(_LEAST, (found.eta_at - now) / 1000))
        self._look_at = since_boot() + max(pause, _TIMES_ITS_COST * self._took)

    def give_up(self, error: Exception, bus: Bus) -> None:
        """Expect nothing any more, and say why: no run fails because of that."""
        self._is_off, self._progress = True, None
        bus.notice(f"nothing is said of when the run will be over: {one_line(error)}")

    def _usual(self) -> Durations:
        if self._durations is None:
            from ptsflow.core.durations import Durations  # noqa: PLC0415 - see `expect`

            self._durations = Durations(self._plan, self._profile)
        return self._durations

    def _observing(self) -> RunObserver:
        if self._observer is None:
            from ptsflow.core.run_observer import RunObserver  # noqa: PLC0415

            self._observer = RunObserver(
                self._plan,
                self._usual(),
                began_at=self._began_at,
                percentage=self._percentage,
            )
        return self._observer
