"""Replays recordings: what was known at a moment of a run, and what was foretold then."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import msgspec
from msgspec.structs import replace

from ptsflow.core import counts, history
from ptsflow.core.durations import Durations
from ptsflow.core.insight import Outlook, RunRecord, RunStatus
from ptsflow.core.model import (
    Attempt,
    ContainerRecord,
    Ending,
    Owner,
    Status,
    StepSummary,
    TaskRecord,
)
from ptsflow.core.outlook import outlook
from ptsflow.core.plan import Plan
from ptsflow.core.run_progress import RunProgress
from tests.bench.recordings import Moment, Recording

#: Between the beginnings of two runs, in milliseconds.
APART = 1_000_000_000


class Foretold(msgspec.Struct):
    """What the methods say at one moment of a run, in milliseconds until its end."""

    #: The share of the run's time that is gone.
    share: float
    left: float
    naive: float
    weights: float
    last: float
    ours: Outlook | None
    #: What is said to be complete, by equal weights.
    naive_percentage: float


class Replay:
    """One run as it goes on.

    Args:
        plan: of its workflow.
        recording: the run.
        rows: the runs before it, newest last.
    """

    def __init__(
        self, plan: Plan, recording: Recording, rows: Sequence[RunRecord]
    ) -> None:
        self.plan = plan
        self.recording = recording
        self.began_at = (len(rows) + 1) * APART
        self.profile = history.profile(rows)
        self._last = None if not rows else _took(rows[-1])
        learned = history.weights(plan.steps, self.profile)
        self._equal = [StepSummary(name=step.name) for step in plan.steps]
        self._learned = [replace(s, weight=learned[s.name]) for s in self._equal]
        self.tasks = {
            s.name: TaskRecord(name=s.name, step=s.name)
            for s in plan.steps
            if not s.each
        }
        self.ledgers: dict[str, list[Attempt]] = defaultdict(list)
        self.places: dict[str, int] = {}
        self.progress = RunProgress(
            plan,
            Durations(plan, self.profile),
            began_at=self.began_at,
        )
        self._moments = iter(recording.moments)
        self._next = next(self._moments, None)

    def foretold(self, share: float) -> Foretold:
        """Go on until a share of the run's time is gone; return what is said then."""
        elapsed = share * self.recording.took
        self._go_on(elapsed)
        tallies = counts.tallies_of(self.tasks.values())
        equal = counts.percentage(self._equal, tallies)
        learned = counts.percentage(self._learned, tallies)
        told = outlook(
            self.plan,
            self.progress,
            self.profile,
            jobs=self.recording.jobs,
            now=self.began_at + round(elapsed),
        )
        if told is not None:
            self.progress.percentage = told.percentage
        return Foretold(
            share=share,
            left=self.recording.took - elapsed,
            naive=elapsed * (100 - equal) / max(equal, 0.01),
            weights=elapsed * (100 - learned) / max(learned, 0.01),
            last=max(0.0, (self._last or 0) - elapsed),
            ours=told,
            naive_percentage=equal,
        )

    def row(self, errors: tuple[float | None, ...] = ()) -> RunRecord:
        """Go on to the end; return the record of the run."""
        self._go_on(self.recording.took)
        owner = Owner(id="", host="", boot="", pid=1, started=1, since=self.began_at)
        container = ContainerRecord(
            uid=str(self.began_at),
            name="c",
            workflow=self.plan.workflow,
            plan=tuple(self._learned),
            status=Status.DONE,
            owner=owner,
            fence=1,
        )
        begun = history.begun(container, now=self.began_at, jobs=self.recording.jobs)
        row = history.record_of(
            replace(begun, outlook_errors=errors),
            container,
            self.tasks.values(),
            self.ledgers,
            now=self.began_at + self.recording.took,
            status=RunStatus.DONE,
        )
        assert row.steps
        return row

    def _go_on(self, elapsed: float) -> None:
        while self._next is not None and self._next.at <= elapsed:
            self._change(self._next)
            self._next = next(self._moments, None)

    def _change(self, moment: Moment) -> None:
        task, at = self.tasks[moment.task], self.began_at + moment.at
        if moment.status is Status.RUNNING and moment.percentage:
            self.tasks[task.name] = replace(task, percentage_complete=moment.percentage)
            self.progress.report(task.name, moment.percentage, at)
            return
        match moment.status:
            case Status.RUNNING:
                task = replace(
                    task,
                    status=Status.RUNNING,
                    last_invoked_at=at,
                    percentage_complete=0.0,
                    invoke_count=task.invoke_count + 1,
                )
            case Status.WAITING:
                due = self.began_at + moment.due
                self.ledgers[task.name].append(_failed(task, at))
                task = replace(task, status=Status.WAITING, due=due)
            case status:
                task = replace(
                    task, status=status, task_ended_at=at, percentage_complete=100.0
                )
        self.tasks[task.name] = task
        place = self.places.get(task.name, 0)
        self.progress.take_in(task, place, by_this_run=True)
        if task.status is Status.DONE and task.key is None:
            self._expand(task.name)

    def _expand(self, source: str) -> None:
        items = self.recording.items
        for step in self.plan.steps:
            if step.each == source and step.name in items:
                self.progress.expand(step.name, items[step.name])
                for name, keys in items.items():
                    if (
                        self.progress.families[name]
                        is self.progress.families[step.name]
                    ):
                        self._add(name, keys)

    def _add(self, step: str, keys: Sequence[str]) -> None:
        for place, key in enumerate(keys):
            name = f"{step}[{key}]"
            self.tasks[name] = TaskRecord(name=name, step=step, key=key)
            self.places[name] = place


def _failed(task: TaskRecord, at: int) -> Attempt:
    return Attempt(
        number=task.invoke_count,
        began_at=task.last_invoked_at or at,
        ended_at=at,
        ending=Ending.FAILED,
    )


def _took(row: RunRecord) -> int:
    return (row.ended_at or 0) - row.began_at
