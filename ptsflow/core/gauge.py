"""How much of a container is complete, kept up to date one change of a task at a time."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from ptsflow.core.model import StepSummary, Tally, TaskRecord

#: How far the percentage may be off by rounding.
_ROUNDING = 1e-6


class Gauge:
    """The value of `counts.percentage`; a change costs the same in a large container.

    Args:
        plan: the plan that the container keeps.
        tallies: its tasks, counted by step and status.
    """

    def __init__(self, plan: Sequence[StepSummary], tallies: Iterable[Tally]) -> None:
        self._weights = {step.name: step.weight for step in plan}
        #: By step, how many tasks it has, and the sum of their percentages.
        self._counts = dict.fromkeys(self._weights, 0)
        self._percents = dict.fromkeys(self._weights, 0.0)
        self._total = math.fsum(self._weights.values())
        self._done = 0.0
        for tally in tallies:
            self._count(tally.step, tally.count, tally.percentage)
        #: The value before the first of the last changes that took from it; None if none
        #: did. Whoever reads it sets it back.
        self.peak: float | None = None

    @property
    def value(self) -> float:
        """The percentage, 0 to 100."""
        return _percentage(self._done, self._total)

    def put(self, task: TaskRecord) -> None:
        """Take in that a task is made."""
        step, percent = task.step, task.percentage_complete
        if step in self._counts and not percent and not self._percents[step]:
            # Nothing of the step is complete, so neither is more or less of the whole.
            self._counts[step] += 1
        else:
            self._count_noting(step, 1, percent)

    def drop(self, task: TaskRecord) -> None:
        """Take in that a task is deleted."""
        self._count_noting(task.step, -1, -task.percentage_complete)

    def move(self, step: str, percent: float) -> None:
        """Take in that a task of a step has so many percent more than before."""
        if percent < 0 and self.peak is None:
            self.peak = self.value
        if step in self._weights:
            self._percents[step] += percent
            self._done += self._weights[step] * percent / self._counts[step]
        elif not step:
            self._done += percent

    def _count_noting(self, step: str, count: int, percent: float) -> None:
        done, total = self._done, self._total
        self._count(step, count, percent)
        if self.peak is not None or (self._done >= done and self._total == total):
            return
        before = _percentage(done, total)
        if self.value < before - _ROUNDING:
            self.peak = before

    def _count(self, step: str, count: int, percent: float) -> None:
        weight = self._weights.get(step)
        if weight is None:
            if not step:  # Each of a client's own tasks is worth as much as a step.
                self._total += count
                self._done += percent
            return
        before, all_before = self._percents[step], self._counts[step]
        after = self._percents[step] = before + percent
        all_after = self._counts[step] = all_before + count
        if before:
            self._done -= weight * before / all_before
        if after and all_after:
            self._done += weight * after / all_after


def _percentage(done: float, total: float) -> float:
    return min(100.0, done / total) if total else 100.0
