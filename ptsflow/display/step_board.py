"""The state of one step of a run: its counts, its active tasks and its failed tasks."""

from __future__ import annotations

from collections.abc import Iterable

from ptsflow.core import counts
from ptsflow.core.model import Status, StepSummary, Tally, TaskRecord


class StepBoard:
    """The state of one step, or of all tasks that belong to no step of the plan."""

    __slots__ = (
        "active",
        "begun",
        "counts",
        "ended",
        "failed",
        "single",
        "sum",
        "summary",
    )

    def __init__(self, summary: StepSummary) -> None:
        self.summary = summary
        self.counts: dict[Status, int] = dict.fromkeys(Status, 0)
        #: The sum of the percentages of all its tasks.
        self.sum = 0.0
        #: Running and waiting tasks, in the order in which they became so.
        self.active: dict[str, TaskRecord] = {}
        self.failed: dict[str, TaskRecord] = {}
        #: The last record of a step that does not fan out.
        self.single: TaskRecord | None = None
        self.begun: int | None = None
        self.ended: int | None = None

    @property
    def total(self) -> int:
        """How many tasks it has."""
        return sum(self.counts.values())

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
                yield Tally(self.summary.name, status, count, total)
                total = 0.0

    def stretch(self, begun: Iterable[int | None], ended: Iterable[int | None]) -> None:
        """Note when some of its tasks began and ended, as far as they did."""
        for at in begun:
            if at is not None and (self.begun is None or at < self.begun):
                self.begun = at
        for at in ended:
            if at is not None and (self.ended is None or at > self.ended):
                self.ended = at
