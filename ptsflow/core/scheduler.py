"""Which tasks may start now, which wait, and whether the run is over.

The schedule is told what happened (`settle`, `wait`, `expand`) and asked what is next
(`take`). A call costs in proportion to what it changes, never to the size of the
container: the ten-thousandth item is scheduled as fast as the first.

A step is *satisfied* when all its tasks are complete and its failures, if any, are
accepted (`optional`, `tolerate`). A step that waits for one that settles otherwise is
blocked: its tasks stay pending. Steps that always run start when nothing else can.
`barriers` says which steps are open; here an open step's tasks start, item by item where
the step is chained behind another fan-out. An item whose chain has begun goes on before
another chain begins.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence

from ptsflow.core.barriers import Barriers
from ptsflow.core.longest_path import ranks
from ptsflow.core.model import Status, item_names
from ptsflow.core.plan import Plan, PlanStep
from ptsflow.core.ready_queue import ReadyQueue
from ptsflow.core.step_state import StepState, states_of


class Schedule:
    """The state of a run as far as order is concerned.

    Args:
        plan: the plan of the run.
        only: the steps and items to run alone, if not all.
        durations: how long a task of each step usually takes, where that is known.
    """

    def __init__(
        self,
        plan: Plan,
        only: Iterable[str] | None = None,
        durations: Mapping[str, float] | None = None,
    ) -> None:
        self.plan = plan
        self._ready = ReadyQueue(plan.limits, ranks(plan, durations or {}))
        self.steps = states_of(plan, self._ready.lane_of)
        #: Status of every task that is complete, by name.
        self.complete: dict[str, Status] = {}
        #: Fan-out steps whose list is stored and not yet taken in by `expand`.
        self.to_expand: deque[str] = deque()
        #: Items to skip, because the item before them in the chain has no result.
        self.to_skip: deque[str] = deque()
        self.running: set[str] = set()
        self.is_finished = False
        self.is_stopping = False
        self._only = None if only is None else frozenset(only)
        self._owner_of = {
            name: state for name, state in self.steps.items() if not state.step.each
        }
        #: Tasks that earlier runs began and did not complete.
        self._begun: frozenset[str] = frozenset()
        self._running_already: frozenset[str] = frozenset()
        self._waiting: list[tuple[int, str]] = []
        self._waits: dict[str, int] = {}
        self._barriers = Barriers(plan)
        self._always = False

    # -- what is known at the start ------------------------------------------

    def load(
        self,
        complete: dict[str, Status],
        waiting: dict[str, int],
        begun: Iterable[str] = (),
        running: Iterable[str] = (),
    ) -> None:
        """Begin with what earlier runs completed or began, and what waits until when.

        Args:
            complete: the status of each complete task.
            waiting: when each waiting task is due.
            begun: the tasks that were begun and are not complete.
            running: the tasks that run already: they are taken as soon as they are ready.
        """
        self._begun = frozenset(begun)
        self._running_already = frozenset(running)
        self.complete = complete
        self._waits.update(waiting)
        self._open(self._barriers.at_start())
        for name, state in self.steps.items():
            if state.items is not None and name in complete:
                self._count(state, name, complete[name])

    # -- what happens ---------------------------------------------------------

    def expand(
        self,
        name: str,
        keys: Sequence[str],
        names_of: Callable[[str, Sequence[str]], list[str]] = item_names,
    ) -> None:
        """Take in the items of a fan-out step, and of those chained behind it.

        Args:
            name: the step.
            keys: of its items, in order.
            names_of: returns the names of a step's items, by their keys.
        """
        state = self.steps[name]
        state.items = items = names_of(name, keys)
        self._owner_of.update(dict.fromkeys(items, state))
        stand = list(map(self.complete.get, items))
        # What is chained behind has no items yet that these could let start.
        state.unsettled = stand.count(None)
        state.failed += stand.count(Status.FAILED)
        if state.is_open and state.unsettled:
            self._offer_all(state, items)
        if not state.unsettled:
            self._settle_step(state)
        # Only now: what is chained behind looks at what became of the items above.
        for follower in state.followers:
            self.expand(follower.step.name, keys, names_of)

    def refuse(self, name: str) -> None:
        """A fan-out step's list cannot be used: the step has failed."""
        state = self.steps[name]
        state.items = [name]
        state.unsettled = 1
        self._owner_of[name] = state
        self.complete[name] = Status.FAILED
        self._count(state, name, Status.FAILED)
        if state.satisfied:
            # It is optional: what is chained behind it has nothing to do.
            for follower in state.followers:
                self.expand(follower.step.name, ())

    def settle(self, task: str, status: Status) -> None:
        """A task is complete."""
        self.complete[task] = status
        state = self._owner_of[task]
        self._leave(task, state)
        self._count(state, task, status)

    def wait(self, task: str, due: int) -> None:
        """A task is tried again at `due`."""
        self._leave(task, self._owner_of[task])
        heapq.heappush(self._waiting, (due, task))

    def interrupted(self, task: str) -> None:
        """A task was stopped; it is for the next run."""
        self._leave(task, self._owner_of[task])

    def finish(self) -> None:
        """A step said that the rest is not needed; what runs may end."""
        self.is_finished = True
        self._ready.clear()
        self._waiting.clear()
        self.to_expand.clear()

    # -- what is next -----------------------------------------------------------

    def take(self, free: int, now: int) -> list[str]:
        """Return up to `free` tasks to start now, in the order of `ready`."""
        if self.is_stopping:
            return []
        while self._waiting and self._waiting[0][0] <= now:
            _, task = heapq.heappop(self._waiting)
            state = self._owner_of[task]
            self._line_up(state, task, state.place_of(task), has_begun=True)
        taken = self._ready.take(free)
        self.running.update(taken)
        return taken

    def next_due(self) -> int | None:
        """Return when the first waiting task is due, if any waits."""
        return self._waiting[0][0] if self._waiting and not self.is_stopping else None

    def is_idle(self) -> bool:
        """Whether nothing runs and nothing will by itself."""
        if self.running or self.to_skip:
            return False
        if self.is_stopping:
            return True
        return not (self._ready.count or self._waiting or self.to_expand)

    def start_always(self) -> bool:
        """Open the steps that always run; False where that was done before."""
        if self._always or self.is_stopping:
            return False
        self._always = True
        self._open(self._barriers.open_always())
        return True

    # -- how it ended -----------------------------------------------------------

    def succeeded(self) -> bool:
        """Whether nothing of it is left to do, and all failures are accepted."""
        usual = self.plan.usual
        if self.is_finished:
            rest = self.plan.steps[usual:]
            return all(self.steps[step.name].satisfied for step in rest)
        return all(state.satisfied for state in self.steps.values())

    def failed_steps(self) -> list[str]:
        """Return the steps whose failures are not accepted, in order."""
        return [
            name
            for name, state in self.steps.items()
            if state.failed and not state.accepts_failures()
        ]

    def items(self, step: str) -> list[str]:
        """Return the names of a step's tasks in order; none before they are known."""
        return self.steps[step].items or []

    def done_items(self, step: str) -> list[str]:
        """Return the names of those that are done."""
        return [t for t in self.items(step) if self.complete.get(t) is Status.DONE]

    def is_expanded(self, step: str) -> bool:
        """Whether the tasks of a step are known, and were not refused as a whole."""
        return self.steps[step].items not in (None, [step])

    def may_run(self, step: str, task: str) -> bool:
        """Whether this run may start a task of a step."""
        only = self._only
        return step in self.steps and (only is None or step in only or task in only)

    def source_of(self, task: str) -> tuple[PlanStep, int]:
        """Return the step of a task, and the task's place among its items."""
        state = self._owner_of[task]
        return state.step, state.place_of(task)

    def knows(self, task: str) -> bool:
        """Whether the task is one of this plan's, as far as its items are known."""
        return task in self._owner_of

    def unknown(self, tasks: Mapping[str, object]) -> set[str]:
        """Return the names of the tasks that it does not know."""
        if len(tasks) == len(self._owner_of):  # It knows only what is there.
            return set()
        return tasks.keys() - self._owner_of.keys()

    # -- inside ---------------------------------------------------------------

    def _leave(self, task: str, state: StepState) -> None:
        if task in self.running:
            self.running.remove(task)
            if state.lane.wants:
                self._ready.give_back(state.lane)

    def _count(self, state: StepState, task: str, status: Status) -> None:
        state.unsettled -= 1
        if status is Status.FAILED:
            state.failed += 1
        if state.followers and state.step.each is not None:
            self._pass_on(state, task, status)
        if state.unsettled == 0:
            self._settle_step(state)

    def _pass_on(self, state: StepState, task: str, status: Status) -> None:
        """Let the items behind this one start, or see them skipped."""
        for follower in state.followers:
            if follower.items is None or not follower.is_open:
                continue
            place = state.place_of(task)
            self._offer_behind(state, follower, place, status)

    def _offer_all(self, state: StepState, items: Sequence[str]) -> None:
        """Make the items of an open step ready, where the items before them let them."""
        complete = self.complete
        parent = self.steps[state.step.each] if state.step.each else None
        if parent is None or parent.step.each is None:
            for place, item in enumerate(items):
                if item not in complete:
                    self._make_ready(state, item, place)
            return
        for place, before in enumerate(parent.items or ()):
            status = complete.get(before)
            if status is not None:
                self._offer_behind(parent, state, place, status)

    def _offer_behind(
        self, parent: StepState, state: StepState, place: int, status: Status
    ) -> None:
        item = (state.items or [])[place]
        if item in self.complete:
            return
        if status is Status.DONE:
            self._make_ready(state, item, place)
        elif status is Status.SKIPPED or parent.step.optional or parent.satisfied:
            self.to_skip.append(item)

    def _make_ready(self, state: StepState, task: str, place: int = 0) -> None:
        if self.is_finished and not state.step.always:
            return
        if self._only is not None and not self.may_run(state.step.name, task):
            return
        due = self._waits.get(task)
        if task in self._running_already:
            self.running.add(task)
            self._ready.use(state.lane)
        elif due is None:
            self._line_up(state, task, place, has_begun=task in self._begun)
        else:
            heapq.heappush(self._waiting, (due, task))

    def _line_up(
        self, state: StepState, task: str, place: int, *, has_begun: bool
    ) -> None:
        root, index = state.root, state.step.index
        if root is None or (root is state and not has_begun):
            self._ready.add(task, state.lane, index, place)
        else:
            within = place * len(self.plan.steps) + index
            chain = root.since, root.step.index, within
            self._ready.go_on(task, state.lane, chain)

    def _settle_step(self, state: StepState) -> None:
        step = state.step
        state.satisfied = state.accepts_failures()
        if state.satisfied and state.failed and not step.optional:
            self._skip_behind(state)
        self._open(self._barriers.settle(step, is_satisfied=state.satisfied))

    def _skip_behind(self, state: StepState) -> None:
        """The failed items of `state` are accepted: nothing comes for those behind."""
        for follower in state.followers:
            if not follower.is_open or follower.items is None:
                continue
            for before, item in zip(state.items or [], follower.items, strict=True):
                failed = self.complete.get(before) is Status.FAILED
                if failed and item not in self.complete:
                    self.to_skip.append(item)

    def _open(self, names: Iterable[str]) -> None:
        for name in names:
            state = self.steps[name]
            step = state.step
            state.is_open = True
            state.since = self._ready.turn
            if self.is_finished and not step.always:
                continue
            if step.each is None:
                if name not in self.complete:
                    self._make_ready(state, name)
            elif state.items is not None:
                self._offer_all(state, state.items)
            elif self.steps[step.each].step.each is None:
                self.to_expand.append(name)
