"""The items of fan-out steps: made when their list is stored, dropped when it lacks them."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec.structs import replace

from ptsflow.core import texts, transitions
from ptsflow.core.model import Cause, Status, TaskRecord
from ptsflow.core.plan import Plan, PlanStep
from ptsflow.core.resume import new_task
from ptsflow.core.scheduler import Schedule
from ptsflow.errors import InvalidValue, LeaseLost, StoredValueError, StoreError
from ptsflow.executors import attempt
from ptsflow.runner.arguments import Arguments
from ptsflow.runner.unit_of_work import UnitOfWork


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

    def expand(self) -> None:
        """Make the items of all fan-out steps whose lists are stored now."""
        queue = self._schedule.to_expand
        while queue:
            step = self._plan.by_name[queue.popleft()]
            try:
                keys = self._arguments.keys(step)
            except (StoreError, LeaseLost):
                raise
            except Exception as error:  # noqa: BLE001 - key= is a user's code
                self._refuse(step, error)
            else:
                self._insert_items(step, keys)

    def _insert_items(self, step: PlanStep, keys: Sequence[str]) -> None:
        fence = self._work.container.fence
        holder = self._work.container.owner
        ran_by = "" if holder is None else holder.process
        hashes = self._arguments.element_hashes(step)
        place: dict[str, int] = {}
        for name, key, item in self._schedule.expand(step.name, keys):
            index = place[name] = place.get(name, -1) + 1
            owner = self._plan.by_name[name]
            made_from = hashes[index] if hashes and name == step.name else 0
            new = new_task(
                owner,
                fence=fence,
                ran_by=ran_by,
                key=key,
                index=index,
                made_from=made_from,
            )
            task = self._work.tasks.get(item)
            if task is None:
                self._work.stage(None, new)
            elif after := _moved(task, new):
                self._work.stage(task, after)

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
