"""The state of one step of a run: counts, running, waiting and failed tasks."""

from __future__ import annotations

from collections.abc import Iterable

from ptsflow.core import counts
from ptsflow.core.model import Status, StepSummary, Tally, TaskRecord


class StepBoard:
    """The state of one step, or of all tasks that belong to no step of the plan."""

    __slots__ = (
        "begun",
        "counted_as",
        "counts",
        "ended",
        "failed",
        "running",
        "single",
        "sum",
        "summary",
        "waiting",
    )

    def __init__(self, summary: StepSummary, counted_as: str | None = None) -> None:
        self.summary = summary
        #: The step of its tasks; "" if it stands for a client's own task.
        self.counted_as = summary.name if counted_as is None else counted_as
        self.counts: dict[Status, int] = dict.fromkeys(Status, 0)
        #: The sum of the percentages of all its tasks.
        self.sum = 0.0
        #: Tasks in the order in which they began.
        self.running: dict[str, TaskRecord] = {}
        #: Tasks that wait for another attempt, in the order in which they came to.
        self.waiting: dict[str, TaskRecord] = {}
        self.failed: dict[str, TaskRecord] = {}
        #: The last record of a step that does not fan out.
        self.single: TaskRecord | None = None
        self.begun: int | None = None
        self.ended: int | None = None

    @property
    def is_active(self) -> bool:
        """Whether a task of it runs, or waits for another attempt."""
        return bool(self.running or self.waiting)

    @property
    def total(self) -> int:
        """How many tasks it has."""
        return sum(self.counts.values())

    @property
    def took_ms(self) -> int | None:
        """How long it took, as far as it is known; of a single task, its body alone."""
        if self.begun is None or self.ended is None:
            return None
        if self.single is not None:
            return self.single.task_duration_ms
        return max(0, self.ended - self.begun)

    @property
    def percentage(self) -> float:
        """The mean of its tasks' percentages."""
        total = self.total
        return self.sum / total if total else 0.0

    @property
    def is_settled(self) -> bool:
        """Whether it has tasks and all are complete."""
        unfinished = sum(
            n for status, n in self.counts.items() if not status.is_complete
        )
        return unfinished == 0 and self.total > 0

    @property
    def status(self) -> Status:
        """One status for all its tasks."""
        by_status = self.counts
        for status in (Status.RUNNING, Status.WAITING):
            if by_status[status]:
                return status
        if not self.is_settled:
            return Status.PENDING
        if not counts.is_accepted(self.summary, by_status[Status.FAILED], self.total):
            return Status.FAILED
        return Status.DONE if by_status[Status.DONE] else self._other()

    def _other(self) -> Status:
        return Status.FAILED if self.counts[Status.FAILED] else Status.SKIPPED

    def tallies(self) -> Iterable[Tally]:
        """Return its counts; the sum of percentages stands at the first of them."""
        total = self.sum
        for status, count in self.counts.items():
            if count:
                yield Tally(self.counted_as, status, count, total)
                total = 0.0

    def stretch(self, begun: Iterable[int | None], ended: Iterable[int | None]) -> None:
        """Note when some of its tasks began and ended, as far as they did."""
        for at in begun:
            if at is not None and (self.begun is None or at < self.begun):
                self.begun = at
        for at in ended:
            if at is not None and (self.ended is None or at > self.ended):
                self.ended = at
