"""Which steps open when a step has settled.

A step opens when the steps in its `needs` are satisfied, and so is its barrier: the first
`above` steps of the plan. The barriers keep one number: how many steps, from the first on,
are satisfied without a gap. So a barrier of 10,000 steps costs as much as one of two.

Steps that always run open only after `open_always`. One of them waits for another until
the other has settled, also if the other has failed.
"""

from __future__ import annotations

from collections import defaultdict

from ptsflow.core.plan import Plan, PlanStep


class Barriers:
    """What the steps of a plan still wait for."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        #: For each step, how many entries of `needs` it waits for, and one for its barrier.
        self._missing: dict[str, int] = {}
        self._dependents: dict[str, list[PlanStep]] = defaultdict(list)
        #: By length of barrier: the steps that have a barrier of this length.
        self._behind: dict[int, list[PlanStep]] = defaultdict(list)
        #: Steps that hold up no barrier: satisfied, or `always` and settled.
        self._passed: set[str] = set()
        #: Length of the longest prefix of the plan whose steps have all passed.
        self._prefix = 0
        self._always = False
        for step in plan.steps:
            has_barrier = step.above is not None and step.above > 0
            self._missing[step.name] = len(step.needs) + has_barrier
            for name in step.needs:
                self._dependents[name].append(step)
            if step.above:
                self._behind[step.above].append(step)

    def at_start(self) -> list[str]:
        """Return the steps that wait for nothing, but for those that always run."""
        usual = self._plan.steps[: self._plan.usual]
        return [step.name for step in usual if not self._missing[step.name]]

    def settle(self, step: PlanStep, *, is_satisfied: bool) -> list[str]:
        """Return the steps that open now that all tasks of `step` are complete."""
        if not (is_satisfied or step.always):
            return []
        opened: list[str] = []
        if is_satisfied:
            for dependent in self._dependents[step.name]:
                self._one_less(dependent, opened)
        self._passed.add(step.name)
        self._advance(opened)
        return opened

    def open_always(self) -> list[str]:
        """Return the steps that open now that nothing else can start."""
        usual = self._plan.usual
        rest = self._plan.steps[usual:]
        opened = [step.name for step in rest if step.above == usual]
        self._always = True
        self._prefix = max(self._prefix, usual)
        self._advance(opened)
        return opened

    def _advance(self, opened: list[str]) -> None:
        """Move the prefix on, and open the steps whose barrier it passes."""
        steps = self._plan.steps
        while self._prefix < len(steps):
            step = steps[self._prefix]
            if step.name not in self._passed or (step.always and not self._always):
                return
            self._prefix += 1
            for waiting in self._behind.get(self._prefix, ()):
                if not waiting.always:
                    self._one_less(waiting, opened)
                elif self._always:
                    opened.append(waiting.name)

    def _one_less(self, step: PlanStep, opened: list[str]) -> None:
        self._missing[step.name] -= 1
        if self._missing[step.name] == 0 and not step.always:
            opened.append(step.name)
