"""Which steps start first when the durations of all are known: the longest path first.

What a run takes at the least is its longest path: steps that wait for each other, from
the first to the last. If the ready step with the longest path to the end starts first,
that path waits for no place to run in while others still can.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping

from msgspec import Struct

from ptsflow.core.plan import Plan, PlanStep, named_by


class Rank(Struct, frozen=True):
    """When a task of a step starts among those that are ready: the least rank first."""

    #: Of a task by itself.
    own: int
    #: Of an item whose item-wise chain has begun: before all others of its priority.
    begun: int


def ranks(plan: Plan, durations: Mapping[str, float]) -> dict[str, Rank]:
    """Return by step when its tasks start among those that are ready.

    By priority, then by the longest path to the end. The steps of an item-wise chain are
    ranked as one, by its first step.

    Args:
        plan: the plan.
        durations: how long one task of each step takes. Without any, or if the workflow
            says `order = "plan"`, the priority alone counts.
    """
    if not durations or plan.order == "plan":
        return {s.name: Rank(-s.priority, -s.priority) for s in plan.steps}
    paths = paths_to_end(plan, durations)
    for step in plan.steps:
        source = plan.by_name.get(step.each or "")
        if source is not None and source.each is not None:
            paths[step.name] = paths[source.name]
    places = {
        path: n for n, path in enumerate(sorted(set(paths.values()), reverse=True))
    }
    # One more than there are places: the first of each priority is for begun chains.
    apart = len(places) + 1
    return {
        step.name: Rank(
            own=-step.priority * apart + 1 + places[paths[step.name]],
            begun=-step.priority * apart,
        )
        for step in plan.steps
    }


def paths_to_end(plan: Plan, durations: Mapping[str, float]) -> dict[str, float]:
    """Return by step how long the longest path takes from its beginning to the end.

    In proportion to the number of steps and of the names by which they wait.
    """
    found: dict[str, float] = {}
    #: The longest path of those that wait for a step by its name.
    behind: dict[str, float] = defaultdict(float)
    #: By length of barrier, the longest path of the steps that have it.
    barred: dict[int, float] = defaultdict(float)
    #: The longest path of the steps whose barrier holds the step that is looked at.
    longest = 0.0
    for step in reversed(plan.steps):
        longest = max(longest, barred[step.index + 1])
        after = max(longest, behind[step.name])
        path = found[step.name] = durations.get(step.name, 0.0) + after
        _tell(step, path, behind, barred)
    return found


def _tell(
    step: PlanStep, path: float, behind: dict[str, float], barred: dict[int, float]
) -> None:
    """Note the path of a step with all that it waits for."""
    for name in named_by(step):
        behind[name] = max(behind[name], path)
    if step.above:
        barred[step.above] = max(barred[step.above], path)
