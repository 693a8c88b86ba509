"""What changed in a run since the last look, taken into the `RunProgress` of an outlook.

A look compares the versions of tasks, so that nothing is done when a task changes: a run of
100,000 short tasks pays for its looks alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from msgspec import Struct

from ptsflow.core.durations import Durations
from ptsflow.core.model import Progress, Status, TaskRecord
from ptsflow.core.packed import records_of
from ptsflow.core.plan import Plan
from ptsflow.core.run_progress import RunProgress
from ptsflow.core.scheduler import Schedule


class _Reports(Struct):
    """What one attempt of a task said first and last: how much is done, and when."""

    attempt: int
    first: tuple[float, int]
    last: tuple[float, int]


class RunObserver:
    """Looks at the tasks of a run now and then.

    Args:
        plan: the plan of the run.
        durations: how long its tasks usually take.
        began_at: when the run began.
        percentage: the largest percentage that was told of the container by then.
    """

    def __init__(
        self, plan: Plan, durations: Durations, *, began_at: int, percentage: float
    ) -> None:
        self._plan = plan
        self._durations = durations
        self._began_at = began_at
        self._first_percentage = percentage
        self._reports: dict[str, _Reports] = {}
        self._begin()

    def _begin(self) -> None:
        self._progress = RunProgress(
            self._plan,
            self._durations,
            began_at=self._began_at,
            percentage=self._first_percentage,
        )
        #: By step, the list of its tasks at the last look, and the version of each.
        self._lists: dict[str, Sequence[str]] = {}
        self._versions: dict[str, list[int]] = {}

    def report(
        self, tasks: Mapping[str, TaskRecord], said: Iterable[Progress], at: int
    ) -> None:
        """Running tasks said how much of them is done."""
        for entry in said:
            attempt, found = tasks[entry.name].invoke_count, (entry.percentage, at)
            known = self._reports.get(entry.name)
            if known is None or known.attempt != attempt:
                known = self._reports[entry.name] = _Reports(attempt, found, found)
            if known.last[0] != entry.percentage:
                known.last = found

    def look(self, schedule: Schedule, tasks: Mapping[str, TaskRecord]) -> RunProgress:
        """Return what became of the tasks so far.

        Args:
            schedule: knows the tasks of each step.
            tasks: the tasks by name.
        """
        lists = {step.name: schedule.items(step.name) for step in self._plan.steps}
        if any(known is not lists[step] for step, known in self._lists.items()):
            self._begin()  # A fan-out has another list.
        for step, items in lists.items():
            if items:
                self._lists[step] = items
                self._take_in(schedule, step, items, tasks)
        self._progress.is_finished = schedule.is_finished
        for name, said in list(self._reports.items()):
            is_over = tasks[name].invoke_count != said.attempt
            if is_over or name not in schedule.running:
                del self._reports[name]
                continue
            for percentage, at in (said.first, said.last):
                self._progress.report(name, percentage, at)
        return self._progress

    def _take_in(
        self,
        schedule: Schedule,
        step: str,
        items: Sequence[str],
        tasks: Mapping[str, TaskRecord],
    ) -> None:
        progress, versions = self._progress, self._versions.get(step)
        is_new = versions is None
        if versions is None:
            versions = self._versions[step] = [0] * len(items)
            family = progress.families.get(step)
            if family and not family.is_expanded and schedule.is_expanded(step):
                progress.expand(step, [item[len(step) + 1 : -1] for item in items])
        found = map(records_of(tasks).get, items)
        packed: list[int] = []
        for place, task in enumerate(found):
            if task is None:
                packed.append(place)
                continue
            if task.version == versions[place]:
                continue
            versions[place] = task.version
            if not is_new or task.status is not Status.PENDING:
                since = task.last_invoked_at or 0
                by_this_run = since >= self._began_at
                progress.take_in(task, place, by_this_run=by_this_run)
        if is_new and packed:
            progress.families[step].finish(step, packed)
