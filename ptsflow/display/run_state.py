"""The state of a run, folded from its events: counts, active tasks, failed tasks.

The cost of an event does not depend on the number of tasks: counts are adjusted, never
made anew. Several threads may write and read a board at once, under `lock`.
"""

from __future__ import annotations

import heapq
import itertools
import threading
from collections.abc import Iterable, Mapping, Sequence

from ptsflow.core import counts
from ptsflow.core.changed_code import changed
from ptsflow.core.insight import Glance, Outlook
from ptsflow.core.model import (
    ContainerRecord,
    Progress,
    Status,
    StepSummary,
    Tally,
    TaskRecord,
    progressed,
    without_payloads,
)
from ptsflow.core.pack import Pack
from ptsflow.core.packed import parts_of
from ptsflow.core.plan import awaited
from ptsflow.display.step_board import StepBoard
from ptsflow.events import (
    Event,
    OutlookChanged,
    Progressed,
    RunEnded,
    RunEnding,
    RunStarted,
    Stopping,
    TaskChanged,
)

#: The most failed tasks that a summary names.
KEPT_FAILED = 10
#: The most failed tasks of a step that are kept with their errors; others are counted.
_KEPT_OF_A_STEP = 50
#: The most of the slowest tasks that are kept.
_KEPT_SLOW = 3


class Board:
    """All that screens show of a run; a listener of the run's events."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.container: ContainerRecord | None = None
        self.steps: dict[str, StepBoard] = {}
        self.started_at = 0
        self.ended_at: int | None = None
        self.ending: RunEnding | None = None
        #: The error or signal that ended the run; "" if none did.
        self.ended_by = ""
        self.is_stopping = False
        #: When the runner claimed the container; None if no runner is at work in it, 0 if
        #: clients alone use it.
        self.since: int | None = 0
        #: Steps that were complete when the run began.
        self.done_earlier = 0
        #: The steps of a complete container whose code changed since they ran.
        self.changed: list[str] = []
        #: Tasks that this run started, and how many attempts followed their first.
        self.starts = 0
        self.retries = 0
        self.slowest: list[tuple[int, str]] = []
        self.failed_count = 0
        #: What the runner expects; None where it told nothing.
        self.outlook: Outlook | None = None
        #: Tasks that ran since `ran_alone` was asked; two stand for more.
        self._ran = set[str]()
        #: How the tasks stand; of packed items, only of those that changed.
        self._seen: dict[str, tuple[Status, float]] = {}
        #: The steps that have packed items.
        self._packed: set[str] = set()
        self._percentage = 0.0

    def __call__(self, event: Event) -> None:
        """Apply one event."""
        with self.lock:
            match event:
                case RunStarted(container=container, tasks=tasks):
                    self._begin(event.at, container, tasks)
                case TaskChanged(before=before, after=TaskRecord() as after):
                    self._unpack(before)
                    self._change(after)
                case TaskChanged(before=TaskRecord() as before):
                    self._unpack(before)
                    self._remove(before)
                case OutlookChanged(outlook=outlook):
                    self.outlook = outlook
                case Progressed(progress=progress):
                    self._progress(progress)
                case RunEnded() if self.container is not None:
                    self.container = event.container
                    self.ended_at = event.at
                    self.ending = event.how
                    self.ended_by = event.error
                case Stopping():
                    self.is_stopping = True
                case _:
                    pass

    @property
    def plan(self) -> tuple[StepSummary, ...]:
        """The plan that the container keeps."""
        return () if self.container is None else self.container.plan

    @property
    def is_complete(self) -> bool:
        """Whether the container is done; for a client's container, whether all tasks are."""
        if self.container is not None and self.container.workflow is not None:
            return self.container.status is Status.DONE
        return all(step.is_settled for step in self.steps.values())

    @property
    def counts(self) -> Mapping[Status, int]:
        """How many tasks stand in each status."""
        return counts.count_by_status(self.tallies())

    @property
    def percentage(self) -> float:
        """The percentage complete, 0 to 100; never less than it was, or was told."""
        if self.container is not None:
            now = counts.percentage_of(self.container, self.tallies(), None)
            told = 0.0 if self.outlook is None else self.outlook.percentage
            self._percentage = max(self._percentage, told, now)
        return self._percentage

    def count(self, glance: Glance) -> None:
        """Take over how many tasks there are, as not all of them are known."""
        # A client's own tasks are of no step, and all known.
        counted = [tally for tally in glance.tallies if tally.step]
        for name in {tally.step for tally in counted}:
            step = self.steps.setdefault(name, StepBoard(StepSummary(name=name)))
            step.counts, step.sum = dict.fromkeys(Status, 0), 0.0
            step.begun, step.ended = glance.times.get(name, (None, None))
        for tally in counted:
            step = self.steps[tally.step]
            step.counts[tally.status] += tally.count
            step.sum += tally.percentage
        since = self.since or 0
        self.done_earlier = sum(
            step.status is Status.DONE and (step.ended or 0) < since
            for step in self.steps.values()
        )
        self._percentage = 0.0

    def lacking(self, only: Iterable[str]) -> list[str]:
        """Return the steps that are not done and that some steps or items wait for.

        Of a step in the chain of an item, only the item is returned.
        """
        pairs = [
            (name, "") if name in self.steps else name.partition("[")[::2]
            for name in only
        ]
        places = {
            name: place
            for place, (name, step) in enumerate(self.steps.items())
            if not counts.is_satisfied(step.summary, step.counts)
        }
        wanted = [name for name, _ in pairs if places.pop(name, None) is not None]
        keys = {key for _, key in pairs}
        key = keys.pop() if len(keys) == 1 else ""
        found = set[str]()
        while wanted:
            before = awaited(self.steps[wanted[-1]].summary, places)
            if before is None:
                wanted.pop()
            else:
                del places[before]
                found.add(before)
                wanted.append(before)
        return [
            f"{name}[{key}" if key and step.summary.each is not None else name
            for name, step in self.steps.items()
            if name in found
        ]

    def failed(self) -> list[TaskRecord]:
        """Return the first failed tasks, by step."""
        found = [task for step in self.steps.values() for task in step.failed.values()]
        return found[:KEPT_FAILED]

    def ran_alone(self) -> str:
        """Return the only task that ran since the last call; "" if there were others."""
        (name, *others) = self._ran or ("",)
        running = (n for step in self.steps.values() for n in step.running)
        self._ran = set(itertools.islice(running, 2))
        return "" if others else name

    def tallies(self) -> list[Tally]:
        """Return all tasks, counted by step and status."""
        return [entry for step in self.steps.values() for entry in step.tallies()]

    def _begin(
        self, at: int, container: ContainerRecord, tasks: Sequence[TaskRecord]
    ) -> None:
        self.container = container
        owner = container.owner
        if container.workflow is not None:
            self.since = None if owner is None else owner.since
        # Not `at`, so that whoever watches the store sees the run begin then, too.
        self.started_at = at if owner is None else owner.since
        self.steps = {step.name: StepBoard(step) for step in container.plan}
        self._seen.clear()
        self._packed.clear()
        records, packs = parts_of(tasks)
        for task in records:
            self._place(task)
        for pack in packs:
            self._place_pack(pack)
        self.done_earlier = sum(s.status is Status.DONE for s in self.steps.values())
        if container.status is Status.DONE:
            self.changed = list(changed(container.plan, tasks))
        self.starts = self.retries = self.failed_count = 0
        self._percentage = 0.0

    def _place_pack(self, pack: Pack) -> None:
        step = self.step_of(pack.pattern)
        self._packed.add(pack.step)
        step.counts[Status.DONE] += len(pack)
        step.sum += sum(pack.each("percentage_complete"))
        step.stretch(pack.different("last_invoked_at"), pack.different("task_ended_at"))

    def _unpack(self, before: TaskRecord | None) -> None:
        """Note how a packed item stands that is about to change."""
        if before is not None and before.step in self._packed:
            stood = before.status, before.percentage_complete
            self._seen.setdefault(before.name, stood)

    def _change(self, task: TaskRecord) -> None:
        status, _ = self._seen.get(task.name, (Status.PENDING, 0.0))
        self._take_out(task)
        self._place(task)
        if task.status is status:
            return
        if task.status is Status.RUNNING:
            if len(self._ran) <= 1:
                self._ran.add(task.name)
            self.starts += 1
            self.retries += task.attempt > 1
        elif task.status is Status.FAILED:
            self.failed_count += 1
        if task.status is Status.DONE and task.task_duration_ms is not None:
            heapq.heappush(self.slowest, (task.task_duration_ms, task.name))
            if len(self.slowest) > _KEPT_SLOW:
                heapq.heappop(self.slowest)

    def _remove(self, task: TaskRecord) -> None:
        self._take_out(task)
        self._seen.pop(task.name, None)

    def _take_out(self, task: TaskRecord) -> None:
        seen = self._seen.get(task.name)
        if seen is None:
            return
        step = self.step_of(task)
        step.counts[seen[0]] -= 1
        step.sum -= seen[1]
        step.failed.pop(task.name, None)
        # One that goes on as it was keeps its place.
        if task.status is not Status.RUNNING:
            step.running.pop(task.name, None)
        if task.status is not Status.WAITING:
            step.waiting.pop(task.name, None)

    def _place(self, task: TaskRecord) -> None:
        step = self.step_of(task)
        self._seen[task.name] = (task.status, task.percentage_complete)
        step.counts[task.status] += 1
        step.sum += task.percentage_complete
        if task.status is Status.RUNNING:
            step.running[task.name] = without_payloads(task)
        elif task.status is Status.WAITING:
            step.waiting[task.name] = without_payloads(task)
        elif task.status is Status.FAILED and len(step.failed) < _KEPT_OF_A_STEP:
            step.failed[task.name] = without_payloads(task)
        if task.key is None:
            step.single = without_payloads(task)
        step.stretch((task.last_invoked_at,), (task.task_ended_at,))

    def step_of(self, task: TaskRecord) -> StepBoard:
        """Return the step of a task; each of a client's own tasks is a step by itself."""
        name = task.step or task.name
        step = self.steps.get(name)
        if step is None:
            step = StepBoard(StepSummary(name=name), task.step)
            self.steps[name] = step
        return step

    def _progress(self, progress: Iterable[Progress]) -> None:
        for entry in progress:
            seen = self._seen.get(entry.name)
            if seen is None or seen[0] is not Status.RUNNING:
                continue
            step = self.steps[entry.name.partition("[")[0]]
            task = progressed(step.running[entry.name], entry.percentage, entry.text)
            step.running[entry.name] = task
            if task.key is None:
                step.single = task
            step.sum += entry.percentage - seen[1]
            self._seen[entry.name] = (Status.RUNNING, entry.percentage)


def board_of(container: ContainerRecord, tasks: Iterable[TaskRecord], at: int) -> Board:
    """Return the board of a stored container."""
    board = Board()
    board(RunStarted(at=at, container=container, tasks=list(tasks)))
    return board


def board_of_glance(
    container: ContainerRecord,
    glance: Glance,
    at: int,
    outlook: Outlook | None = None,
) -> Board:
    """Return the board of a stored container, as the listener of its run has it.

    Args:
        container: the container; without an owner, no clock of a step runs.
        glance: what the store shows of it.
        at: the time, in milliseconds since the epoch.
        outlook: what the runner told last; None without a live one.
    """
    tasks = [*glance.plain, *glance.active, *glance.failed]
    board = board_of(container, tasks, at)
    board.count(glance)
    board.outlook = outlook
    return board
