"""The items of fan-out steps: made when their list is stored, dropped when it lacks them.

Many items are inserted in bites, one in each turn of the loop: no commit holds the store
for long, and between two of them the run stays ready to stop. The schedule is told the
items with the last bite, so none of them starts before all are stored. If the runner dies
between two bites, the next run inserts what is missing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain, count
from operator import eq

from msgspec.structs import replace

from ptsflow.core import texts, transitions
from ptsflow.core.model import Cause, Status, TaskRecord, item_name, item_names
from ptsflow.core.pack import Pack
from ptsflow.core.packed import pack_of
from ptsflow.core.plan import Plan, PlanStep
from ptsflow.core.resume import new_task, position_of
from ptsflow.core.scheduler import Schedule
from ptsflow.errors import InvalidValue, LeaseLost, StoredValueError, StoreError
from ptsflow.executors import attempt
from ptsflow.runner.arguments import Arguments
from ptsflow.runner.unit_of_work import UnitOfWork

#: How many items are inserted in one turn.
_BITE = 1_000


class _Insertion:
    """A fan-out step whose items are being inserted."""

    __slots__ = ("keys", "left", "step")

    def __init__(
        self, step: PlanStep, keys: Sequence[str], left: Iterator[None]
    ) -> None:
        self.step = step
        self.keys = keys
        #: Each item that it yields has been staged.
        self.left = left


class Expansion:
    """Turns stored lists into tasks; only for the thread that holds the turn.

    Args:
        plan: the plan of the workflow.
        schedule: is told the items of each step.
        work: the tasks of the container.
        arguments: reads the stored lists.
    """

    def __init__(
        self, plan: Plan, schedule: Schedule, work: UnitOfWork, arguments: Arguments
    ) -> None:
        self._plan = plan
        self._schedule = schedule
        self._work = work
        self._arguments = arguments
        self._insertion: _Insertion | None = None
        #: How many more items this turn may insert.
        self._room = _BITE

    def begin_turn(self) -> None:
        """Allow another bite."""
        self._room = _BITE

    @property
    def has_room(self) -> bool:
        """Whether this turn may insert further items; else they wait for the next."""
        return self._room > 0

    def expand(self) -> None:
        """Make the items of all fan-out steps whose lists are stored now, up to a bite."""
        queue = self._schedule.to_expand
        while queue and self._room > 0:
            step = self._plan.by_name[queue[0]]
            begun = self._insertion
            if begun is None or begun.step is not step:
                try:
                    keys = self._arguments.keys(step)
                except (StoreError, LeaseLost):
                    raise
                except Exception as error:  # noqa: BLE001 - key= is a user's code
                    queue.popleft()
                    self._refuse(step, error)
                    continue
                begun = _Insertion(step, keys, self._inserted(step, keys))
            self._insertion = begun
            for _ in begun.left:
                self._room -= 1
                if self._room <= 0:
                    return
            self._insertion = None
            queue.popleft()
            self._schedule.expand(step.name, begun.keys, self._names_of)

    def _names_of(self, step: str, keys: Sequence[str]) -> list[str]:
        """Return the names that the items' records have: a million are kept once."""
        tasks = self._work.tasks
        pack = pack_of(tasks, step)
        if pack is None:
            return [tasks[name].name for name in item_names(step, keys)]
        if pack.keys == keys:
            return pack.names
        names = dict(zip(pack.keys, pack.names, strict=True))
        return [names.get(key) or tasks[item_name(step, key)].name for key in keys]

    def _inserted(self, step: PlanStep, keys: list[str]) -> Iterator[None]:
        """Stage the items of a step, and of those chained behind it, one after the other."""
        return chain(
            self._staged(step, keys),
            *(
                self._inserted(follower, keys)
                for follower in self._plan.steps
                if follower.each == step.name
            ),
        )

    def _staged(self, step: PlanStep, keys: list[str]) -> Iterator[None]:
        work, arguments = self._work, self._arguments
        is_of_element = step.name in arguments.of_elements
        fence, holder = work.container.fence, work.container.owner
        ran_by = "" if holder is None else holder.process
        tasks = work.tasks
        pack = pack_of(tasks, step.name)
        if pack is not None and _is_whole(pack, step, keys):
            return
        for index, key in enumerate(keys):
            if pack is not None and _is_in(pack, step, index, key):
                continue
            task = tasks.get(item_name(step.name, key))
            if task is not None and task.key is not None:
                keys[index] = task.key  # One object of the two equal ones is kept.
            if (
                task is not None
                and task.is_complete
                and task.position == position_of(step, index)
            ):
                continue
            made_from = arguments.element_hash(step, index) if is_of_element else 0
            new = new_task(
                step,
                fence=fence,
                ran_by=ran_by,
                key=key,
                index=index,
                made_from=made_from,
            )
            if task is None:
                work.stage(None, new)
                yield
            elif after := _moved(task, new):
                work.stage(task, after)
                yield

    def _refuse(self, step: PlanStep, error: BaseException) -> None:
        known = isinstance(error, (InvalidValue, StoredValueError))
        text = str(error) if known else attempt.describe(error, step)
        # If the step did not fan out in an earlier run, there is a task of its name.
        before = self._work.tasks.get(step.name)
        task = new_task(step, fence=self._work.container.fence)
        failed = replace(
            task,
            version=1 if before is None else before.version + 1,
            status=Status.FAILED,
            error=texts.cut(text, texts.ERROR_LIMIT),
            task_ended_at=self._work.clock(),
        )
        self._work.stage(before, failed)
        self._schedule.refuse(step.name)

    def tidy(self, now: int) -> None:
        """Leave no open task in a container that is complete, nor an item of an old list."""
        schedule = self._schedule
        if not schedule.succeeded():
            return
        for name in sorted(schedule.unknown(self._work.tasks)):
            task = self._work.tasks[name]
            if not task.step:
                continue
            if task.step not in self._plan.by_name:
                self._leave_out(task, now)
            elif not task.is_complete or (
                task.key is not None and schedule.is_expanded(task.step)
            ):
                # The item is not in the list of its step any more.
                self._work.drop(task)

    def _leave_out(self, task: TaskRecord, now: int) -> None:
        if not task.is_complete:
            why = "its step is not in the workflow any more"
            after = transitions.skip(
                task,
                now=now,
                fence=self._work.container.fence,
                cause=Cause.REMOVED,
                why=why,
            )
            self._work.stage(task, after)


def _is_whole(pack: Pack, step: PlanStep, keys: list[str]) -> bool:
    """Whether a pack has exactly the items of a list, each where a new one would be."""
    places = count(position_of(step, 0))
    return pack.keys == keys and all(map(eq, pack.each("position"), places))


def _is_in(pack: Pack, step: PlanStep, index: int, key: str) -> bool:
    """Whether a pack has an item of a list where a new one would be."""
    place = pack.place_of(key)
    is_there = place is not None and pack.value("position", place)
    return is_there == position_of(step, index)


def _moved(task: TaskRecord, new: TaskRecord) -> TaskRecord | None:
    """Return an item of an earlier run as the list has it now; None if nothing changed."""
    known = task.made_from > 0 and new.made_from > 0 and not task.is_complete
    is_other = known and task.made_from != new.made_from
    if task.position == new.position and not is_other:
        return None
    return replace(
        task,
        position=new.position,
        made_from=new.made_from if is_other else task.made_from,
        version=task.version + 1,
        fence=new.fence,
    )
