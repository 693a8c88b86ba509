"""How long the tasks of a run usually take, by the history."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

from ptsflow.core.history import Profile
from ptsflow.core.model import TaskRecord
from ptsflow.core.plan import Plan


class Durations:
    """What is usual for the tasks of a plan; times are in milliseconds.

    Args:
        plan: the plan of the run.
        profile: what is usual for its workflow.
    """

    def __init__(self, plan: Plan, profile: Profile) -> None:
        self._steps = {step.name: profile.step(step.name) for step in plan.steps}
        means = [entry.mean_ms for entry in self._steps.values() if entry is not None]
        #: How long one task of each step takes; none if no run tells of any.
        self.by_step: dict[str, float] = {}
        #: Of the tasks of a step that no run tells of.
        self._unknown = math.fsum(means) / len(means) if means else 0.0
        if means:
            self.by_step = {name: self.of_plain(name) for name in self._steps}

    def of(self, task: TaskRecord) -> float:
        """Return how long a task takes."""
        if task.key is None:
            return self.of_plain(task.step)
        found = self.by_key(task.step).get(task.key)
        return self.of_others(task.step) if found is None else found

    def of_plain(self, step: str) -> float:
        """Return how long a step takes that does not fan out."""
        entry = self._steps[step]
        return self._unknown if entry is None else entry.mean_ms

    def of_others(self, step: str) -> float:
        """Return how long an item takes of whose key no run tells."""
        entry = self._steps[step]
        return self._unknown if entry is None else entry.other_ms

    def by_key(self, step: str) -> Mapping[str, float]:
        """Return how long the items of a step take whose keys are known."""
        entry = self._steps[step]
        return {} if entry is None else entry.keys

    def known(
        self, steps: Iterable[str], keys: Sequence[str]
    ) -> dict[str, dict[int, float]]:
        """Return by step how long the items take of which runs tell, by their places."""
        found: dict[str, dict[int, float]] = {}
        for step in steps:
            by_key = self.by_key(step)
            found[step] = {
                place: by_key[key] for place, key in enumerate(keys) if key in by_key
            }
        return found

    def count(self, step: str) -> int:
        """Return how many items a step has."""
        entry = self._steps[step]
        return 1 if entry is None else entry.count

    def loss(self, step: str) -> float:
        """Return what failed attempts take of the time of good ones: a share."""
        entry = self._steps[step]
        return 0.0 if entry is None else entry.loss
