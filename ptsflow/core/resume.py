"""What a run starts from, given what earlier runs left: from plan and stored tasks.

A task that is done is not repeated, unless a person asked for it (`again`, a changed
`version=`). Steps that always run belong to every run that has work, and run in each.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from msgspec import Struct
from msgspec.structs import replace

from ptsflow.core import attempt_ledger, transitions
from ptsflow.core.counts import accepted_steps
from ptsflow.core.model import (
    Cause,
    Change,
    ContainerRecord,
    Status,
    TaskRecord,
    item_name,
)
from ptsflow.core.pack import Pack
from ptsflow.core.packed import PackedTasks, Tasks, opened, parts_of
from ptsflow.core.plan import Plan, PlanStep
from ptsflow.core.repeated import is_shaped, repeated

#: Room for the items of a step between its position and the next step's.
STRIDE = 10**10


class Resumption(Struct, frozen=True):
    """What to change before anything starts."""

    changes: list[Change]
    #: All tasks as they are then, by name.
    tasks: Tasks
    #: Steps that tasks are stored of and the plan does not have.
    removed: list[str]
    #: Whether the run will start any step that is not one of those always run.
    has_work: bool = True


def resume(
    plan: Plan,
    container: ContainerRecord,
    tasks: Mapping[str, TaskRecord] | Iterable[TaskRecord],
    *,
    now: int,
    again: Iterable[str] = (),
) -> Resumption:
    """Say what a run that holds `container` starts from.

    Of the items that are packed in `tasks`, those that stay as they are stay packed.

    Args:
        plan: the workflow's, as it is now.
        container: held, with the fence of this run; else as it was before it.
        tasks: what is stored.
        now: the time.
        again: steps and items that a person wants run again, with all that waits for
            them.
    """
    ran_by = "" if container.owner is None else container.owner.process
    deciding = _Before(plan, tasks, container, now, again)
    stored = deciding.records
    # Without the many that are done and stay so.
    after: dict[str, TaskRecord | None] = {
        task.name: deciding.next(task) for task in deciding.unsettled()
    }
    for step in plan.steps:
        if step.each is None and step.name not in stored:
            after[step.name] = new_task(step, fence=container.fence, ran_by=ran_by)
    has_work = _has_work(plan, container, after)
    if has_work:
        for step in plan.steps[plan.usual :]:
            task = after.get(step.name, stored.get(step.name))
            if task is not None and task.status in (Status.DONE, Status.SKIPPED):
                # A change moves the version by one, so the stored record is reset.
                again_from = stored.get(step.name, task)
                after[step.name] = transitions.reset(again_from, fence=container.fence)
    changes = [
        Change(before, task, attempt_ledger.between(before, task, now=now))
        for name, task in after.items()
        if (before := stored.get(name)) is not task
    ]
    steps = {task.step for task in after.values() if task is not None and task.step}
    for name, task in after.items():
        if task is None:
            del stored[name]
        else:
            stored[name] = task
    return Resumption(
        # Dependents come first: if a store writes only a part of the batch, the task that
        # causes the other changes is still there, and the next run makes them.
        changes=changes[::-1],
        tasks=PackedTasks(stored, deciding.packs) if deciding.packs else stored,
        removed=sorted(steps - plan.by_name.keys()),
        has_work=has_work,
    )


def new_task(
    step: PlanStep,
    *,
    fence: int,
    ran_by: str = "",
    key: str | None = None,
    index: int = 0,
    made_from: int = 0,
) -> TaskRecord:
    """Return the first record of a step, or of one of its items.

    The record already has the values that its first attempt will most likely write: a row
    that does not grow is written in place.
    """
    return TaskRecord(
        name=step.name if key is None else item_name(step.name, key),
        step=step.name,
        key=key,
        position=position_of(step, index),
        version=1,
        fence=fence,
        max_retries=step.retry.max_retries,
        delay_between_retries=step.retry.delay,
        code_hash=step.code_hash,
        ran_by=ran_by,
        made_from=made_from,
        task_data=None,
        processing_data=None,
        result=None,
    )


def position_of(step: PlanStep, index: int) -> int:
    """Return the position of a new record of a step, or of its `index`-th item."""
    return (step.index + 1) * STRIDE + index


def unknown(task: TaskRecord) -> str:
    """Say that nobody knows what a task that may run at most once has done."""
    return (
        "unknown: it may run at most once and the runner ended while it ran; mark "
        f"{task.name} done, or pending to run it again"
    )


class _Before:
    """The stored tasks, and what each of them becomes."""

    def __init__(
        self,
        plan: Plan,
        tasks: Mapping[str, TaskRecord] | Iterable[TaskRecord],
        container: ContainerRecord,
        now: int,
        again: Iterable[str],
    ) -> None:
        self._plan = plan
        records, packs = opened(*parts_of(tasks), lambda pack: _is_kept(plan, pack))
        adopted = {
            task.name: own for task in records if (own := _own(plan, task)) is not task
        }
        # No packed item runs another version than its step.
        self._repeated = repeated(
            plan, (adopted.get(task.name, task) for task in records), again
        )
        records, packs = opened(
            records, packs, lambda pack: pack.step not in self._repeated
        )
        #: The tasks that are not packed, by position; and the items that stay done.
        self.records = {task.name: task for task in records}
        self.packs = {pack.step: pack for pack in packs}
        self._stored = {**self.records, **adopted} if adopted else self.records
        self._fence = container.fence
        self._now = now
        # A finish holds unless steps are to run again, or its mark was taken off.
        self._is_finished = not self._repeated and finisher(records) is not None
        #: By step that is not repeated, the place of its tasks in the plan.
        self._places = {
            step.name: step.index + 1
            for step in plan.steps
            if step.name not in self._repeated
        }
        #: Steps of a complete container whose failures, if any, were accepted.
        self._passed = set[str]()
        if container.status is Status.DONE and not self._repeated:
            self._passed = (
                set(plan.by_name)
                if self._is_finished
                else accepted_steps(plan.steps, self._stored.values(), packs)
            )

    def unsettled(self) -> list[TaskRecord]:
        """Return the stored tasks without those that are done and stay as they are."""
        done, none, places = Status.DONE, Cause.NONE, self._places
        tasks = self.records.values()
        return [
            stored
            for stored, task in zip(tasks, self._stored.values(), strict=True)
            if task.status is not done
            or task.cause is not none
            or task.made_from < 0
            or places.get(task.step) != task.position // STRIDE
            or task is not stored
        ]

    def next(self, stored: TaskRecord) -> TaskRecord | None:
        """Return what a stored task becomes; itself where nothing changes."""
        task = self._stored[stored.name]
        if not task.step:
            return task  # A client's own.
        step = self._plan.by_name.get(task.step)
        if step is None:
            return self._crashed(task, task.max_retries)
        if not is_shaped(step, task):
            # A fan-out that was refused as a whole, or a step that was declared otherwise.
            return task if task.status is Status.DONE else None
        return self._placed(step, stored, self._decided(step, task))

    def _decided(self, step: PlanStep, task: TaskRecord) -> TaskRecord:
        keys = self._repeated.get(step.name, ())
        if keys is None or task.key in keys:
            is_fresh = task.status is Status.PENDING and task.invoke_count == 0
            return task if is_fresh else transitions.reset(task, fence=self._fence)
        if task.status is Status.RUNNING:
            if step.at_most_once:
                return transitions.lose(
                    task,
                    now=self._now,
                    fence=self._fence,
                    code_version=step.version,
                    error=unknown(task),
                )
            return self._crashed(task, step.retry.max_retries)
        ended = task.task_ended_at
        if task.status is Status.WAITING and ended is not None and ended > self._now:
            return transitions.hasten(task, now=self._now, fence=self._fence)
        if task.cause is Cause.UNKNOWN:
            return task  # Only a person settles it.
        failed = task.status is Status.FAILED and step.name not in self._passed
        if failed or self._is_needed_again(task):
            return transitions.reopen(task, fence=self._fence)
        is_mark = task.status is Status.DONE and task.cause is Cause.FINISH
        if is_mark and not self._is_finished:
            return transitions.carry_on(task, fence=self._fence)
        return task

    def _crashed(self, task: TaskRecord, max_retries: int) -> TaskRecord:
        if task.status is not Status.RUNNING:
            return task
        return transitions.crash(
            task,
            now=self._now,
            fence=self._fence,
            max_retries=max_retries,
            error=f"the runner died while it ran (attempt {max(1, task.attempt)})",
        )

    def _is_needed_again(self, task: TaskRecord) -> bool:
        """Whether the reason why it was skipped is gone."""
        if task.status is not Status.SKIPPED:
            return False
        match task.cause:
            case Cause.UPSTREAM:
                return not self._is_cut_off(task)
            case Cause.FINISH:
                return not self._is_finished
            case cause:
                return cause is Cause.REMOVED

    def _is_cut_off(self, task: TaskRecord) -> bool:
        """Whether an item before it in its chain was skipped by its body, or let fail.

        An item in doubt may have a result yet.
        """
        step = self._plan.by_name[task.step]
        before = self._stored.get(item_name(step.each or "", task.key or ""))
        if before is None or before.is_in_doubt:  # What is packed is done.
            return False
        if before.status is Status.FAILED:
            return before.step in self._passed
        return before.cause is Cause.BODY or (
            before.cause is Cause.UPSTREAM and self._is_cut_off(before)
        )

    def _placed(
        self, step: PlanStep, before: TaskRecord, after: TaskRecord
    ) -> TaskRecord:
        """Return `after` where the plan has its step now."""
        position = position_of(step, after.position % STRIDE)
        if after is before and position == after.position:
            return after
        return replace(
            after, position=position, version=before.version + 1, fence=self._fence
        )


def _is_kept(plan: Plan, pack: Pack) -> bool:
    """Whether packed items stay as they are, unless their step is repeated."""
    step = plan.by_name.get(pack.step)
    return (
        step is not None
        and step.each is not None
        and all(version == step.version for version in pack.different("code_version"))
        and min(pack.different("made_from")) >= 0
        and {place // STRIDE for place in pack.bounds()} == {step.index + 1}
    )


def _own(plan: Plan, task: TaskRecord) -> TaskRecord:
    """Return a task that a client added or renamed as the step's whose name it has."""
    name, bracket, rest = task.name.partition("[")
    key = rest.removesuffix("]") if bracket else None
    if name == task.step and key == task.key:
        return task
    step = plan.by_name.get(name)
    if step is None or bool(bracket) != bool(step.each):
        return task
    return replace(task, step=name, key=key)


def _has_work(
    plan: Plan, container: ContainerRecord, after: dict[str, TaskRecord | None]
) -> bool:
    """Whether this run will start any step that is not one of those always run."""
    tasks = [task for task in after.values() if task is not None]
    if finisher(tasks) is not None:
        return False
    usual = {step.name: step for step in plan.steps[: plan.usual]}
    known = {step.name for step in container.plan}
    # The items of a new fan-out, or of one that was refused, are not known.
    if any(step.each and step.name not in known for step in usual.values()):
        return True
    if any(task is None for task in after.values()):
        return True
    return any(
        task.step in usual and (task.is_in_doubt or not task.is_complete)
        for task in tasks
    )


def finisher(tasks: Iterable[TaskRecord]) -> TaskRecord | None:
    """Return the task that ended the workflow early, if one did."""
    return next(
        (t for t in tasks if t.status is Status.DONE and t.cause is Cause.FINISH), None
    )
