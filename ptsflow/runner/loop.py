"""The loop of a run: drain what arrived, decide, commit once, launch.

`Loop.turn` is the whole of it. Outcomes that arrived become changes; the schedule says
which tasks start; the end of one step and the start of the next ones are one durable
commit; only then do bodies start.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence

from msgspec.structs import replace

from ptsflow.core import attempt_ledger, transitions
from ptsflow.core.model import Cause, ContainerRecord, Ending, Status, TaskRecord
from ptsflow.core.outcome import interrupted, settled
from ptsflow.core.packed import parts_of
from ptsflow.core.plan import Plan
from ptsflow.core.resume import finisher
from ptsflow.core.scheduler import Schedule
from ptsflow.core.sources import confirmed, is_current
from ptsflow.executors.attempt import Call
from ptsflow.executors.placement import Placement
from ptsflow.host.clock import since_boot
from ptsflow.runner.arguments import Arguments
from ptsflow.runner.expansion import Expansion
from ptsflow.runner.foresight import Foresight
from ptsflow.runner.mailbox import Mailbox, TaskOutcome
from ptsflow.runner.unit_of_work import UnitOfWork
from ptsflow.stores.base import Store
from ptsflow.workflow.handle import TaskHandle, Watch
from ptsflow.workflow.workflow import Workflow


class Loop:
    """The state of a run, and its one way forward: `turn`.

    Only the thread that holds `lock` may call what changes the loop. `stop`, `fail` and
    `abandon` may be called from any thread.

    Args:
        copy_of_workflow: returns the workflow object for an attempt.
        plan: its plan.
        work: the tasks of the container.
        mailbox: where bodies hand in what they have.
        placement: says how many bodies may run at a time.
        foresight: says how long steps usually take, and what the run expects.
        only: the steps to run; None for all.
    """

    def __init__(  # noqa: PLR0913 - made in one place, all by keyword
        self,
        *,
        copy_of_workflow: Callable[[], Workflow],
        plan: Plan,
        work: UnitOfWork,
        mailbox: Mailbox,
        placement: Placement,
        foresight: Foresight,
        only: Iterable[str] | None = None,
    ) -> None:
        self.plan = plan
        self.work = work
        self.tasks = work.tasks
        self.clock = work.clock
        self.bus = work.bus
        self.mailbox = mailbox
        self.placement = placement
        self.lock = threading.Lock()
        self.foresight = foresight
        self.schedule = Schedule(plan, only, foresight.durations())
        self.is_over = False
        self.failure: BaseException | None = None
        self._copy_of_workflow = copy_of_workflow
        owner = work.container.owner
        self._ran_by = "" if owner is None else owner.process
        self._arguments = Arguments(plan, self.schedule, self.tasks, work.read)
        self._expansion = Expansion(plan, self.schedule, work, self._arguments)
        self._begin()

    def _begin(self) -> None:
        tasks, packs = parts_of(self.tasks)
        # A task in doubt has its turn as if it were not complete: see `_start`.
        complete = {
            t.name: t.status
            for t in tasks
            if t.is_complete
            and not (t.is_in_doubt and self.schedule.may_run(t.step, t.name))
        }
        waiting = {t.name: t.due for t in tasks if t.due is not None}
        begun = {t.name for t in tasks if t.invoke_count and t.name not in complete}
        for pack in packs:
            complete.update(dict.fromkeys(pack.names, Status.DONE))
        self.schedule.load(complete, waiting, begun)
        ending = finisher(tasks)
        if ending is not None:
            self._finish(ending, self.clock())

    # -- the run --------------------------------------------------------------------

    @property
    def container(self) -> ContainerRecord:
        """The container as this run holds it."""
        return self.work.container

    @property
    def store(self) -> Store:
        """The store that keeps the container."""
        return self.work.store

    def is_stopping(self) -> bool:
        """Whether nothing more starts, and bodies are told to end."""
        return self.schedule.is_stopping

    def must_not_begin(self) -> bool:
        """Whether bodies must not begin, even if the start of their task was recorded.

        True if the run is being stopped, or if the lease may have ended. The lease ends
        if this process was frozen after the start was recorded: another runner may have
        the task.
        """
        return self.schedule.is_stopping or since_boot() >= self.work.deadline()

    def turn(self) -> list[Call]:
        """Drain, decide, commit; return the attempts to launch."""
        now = self.clock()
        self._drain(now)
        started, expansion = list[str](), self._expansion
        to_skip, to_expand = self.schedule.to_skip, self.schedule.to_expand
        if to_expand:
            expansion.begin_turn()
        while not self.is_over:
            # A skipped task may be the last one that another fan-out waits for.
            while to_skip or (to_expand and expansion.has_room):
                expansion.expand()
                self._skip(now)
            started += self._start(now)
            if to_expand and not expansion.has_room and not self.schedule.is_stopping:
                self.mailbox.wake()
                break
            if to_skip or (to_expand and expansion.has_room):
                continue
            if not self.schedule.is_idle():
                break
            if not self.schedule.start_always():
                self.is_over = True
                expansion.tidy(now)
        self.work.commit()
        return self._calls(started)

    def show_progress(self) -> None:
        """Tell listeners how far the running tasks are."""
        self.work.show_progress(self.schedule.running)

    def write_progress(self) -> None:
        """Write the progress of the running tasks, in one write that is no commit."""
        said = self.work.write_progress(self.schedule.running)
        self.foresight.report(self.tasks, said, self.clock())

    def stop(self) -> None:
        """Start nothing more, and tell running bodies to end; they are waited for."""
        self.schedule.is_stopping = True

    def interrupt(self) -> None:
        """Record the running tasks as interrupted, and wait for no outcome any more."""
        self.stop()
        now = self.clock()
        self._drain(now)
        for name in list(self.schedule.running):
            task = self.work.with_progress(name)
            ended = attempt_ledger.ended(task, Ending.INTERRUPTED, now=now)
            after = interrupted(task, self.plan.by_name[task.step], now=now)
            self.work.stage(task, after, ended)
            self.schedule.interrupted(name)
        self.is_over = True
        self.work.commit()

    def leave_running(self, error: str) -> None:
        """Record that the attempts of running tasks do not count: the run is over.

        Args:
            error: why it cannot be recorded how they ended, for the ledger.
        """
        now = self.clock()
        with self.lock:
            for task in parts_of(self.tasks)[0]:
                step = self.plan.by_name.get(task.step)
                if step is not None and task.status is Status.RUNNING:
                    after = interrupted(task, step, now=now)
                    ended = attempt_ledger.ended(
                        task, Ending.INTERRUPTED, now=now, error=error
                    )
                    self.work.stage(task, after, ended)
            self.work.commit()

    def fail(self, error: BaseException) -> None:
        """End the run with an error, which the driver raises. From any thread."""
        self.failure = self.failure or error
        self.is_over = True
        self.stop()
        self.abandon()
        self.mailbox.wake()

    def abandon(self) -> None:
        """Record nothing more; bodies that wait for a checkpoint raise `LeaseLost`."""
        self.work.abandon()

    def _calls(self, names: Sequence[str]) -> list[Call]:
        if not names:
            return []
        self._arguments.load(names)
        calls = [self._call(name) for name in names]
        self._arguments.release()
        return calls

    def _call(self, name: str) -> Call:
        task = self.tasks[name]
        step = self.plan.by_name[task.step]
        is_limited = step.timeout is not None or step.stall is not None
        handle = TaskHandle(
            self.work.container.name,
            task,
            saved=self._arguments.saved(name),
            reporter=self.mailbox,
            cancelled=self.is_stopping,
            watch=Watch(step.timeout, step.stall) if is_limited else None,
            folder=lambda: self.work.workdirs.path_of(task),
        )
        if step.retry.renew_on_checkpoint:
            self.work.renewable[name] = (task.attempt, handle.saved)
        return Call(
            workflow=self._copy_of_workflow(),
            step=step,
            arguments=self._arguments.of(name, handle),
            handle=handle,
            attempt=task.attempt,
            began_at=task.began_at or 0,
            clock=self.clock,
        )

    # -- drain --------------------------------------------------------------------

    def _drain(self, now: int) -> None:
        arrived = self.mailbox.arrived
        while arrived:
            message = arrived.popleft()
            task = self.work.with_progress(message.task)
            if isinstance(message, TaskOutcome):
                self._settle(task, message, now)
            elif task.status is Status.RUNNING:
                self.work.save(message, task)
            else:
                # The body started a thread, which saves although the body has ended.
                message.is_settled.set()

    def _settle(self, running: TaskRecord, message: TaskOutcome, now: int) -> None:
        task = replace(running, ran_by=message.ran_by) if message.ran_by else running
        step = self.plan.by_name[task.step]
        after, ended = settled(
            task,
            message.outcome,
            step,
            now=now,
            took_ms=message.took_ms,
            workflow_finished=self.schedule.is_finished and not step.always,
        )
        self.work.stage(running, after, ended)
        if step.retry.renew_on_checkpoint:
            self.work.renewable.pop(task.name, None)
        if after.status is Status.WAITING:
            self.schedule.wait(task.name, after.due or now)
        elif after.status is Status.PENDING:
            self.schedule.interrupted(task.name)
        else:
            self.schedule.settle(task.name, after.status)
            if after.cause is Cause.FINISH and after.status is Status.DONE:
                self._finish(after, now)

    def _finish(self, ending: TaskRecord, now: int) -> None:
        """Skip all tasks that have not started, as a step finished the workflow."""
        self.schedule.finish()
        self.work.container = replace(self.container, finish_reason=ending.status_text)
        usual = {step.name for step in self.plan.steps[: self.plan.usual]}
        # Also items of earlier runs, whose step is not expanded any more.
        for task in parts_of(self.tasks)[0]:
            is_open = not task.is_complete and task.status is not Status.RUNNING
            if is_open and task.step in usual:
                self._skip_task(task, now, Cause.FINISH, f"{ending.name} finished")

    # -- decide -------------------------------------------------------------------

    def _skip(self, now: int) -> None:
        queue = self.schedule.to_skip
        while queue:
            task = self.tasks[queue.popleft()]
            if task.name in self.schedule.complete:
                continue
            if task.is_complete:  # It is in doubt.
                task = self._forget(task)
            step, index = self.schedule.source_of(task.name)
            why = f"{self.schedule.items(step.each or '')[index]} has no result"
            self._skip_task(task, now, Cause.UPSTREAM, why)
            self.schedule.settle(task.name, Status.SKIPPED)

    def _skip_task(self, task: TaskRecord, now: int, cause: Cause, why: str) -> None:
        fence = self.container.fence
        after = transitions.skip(task, now=now, fence=fence, cause=cause, why=why)
        self.work.stage(task, after)

    def _start(self, now: int) -> list[str]:
        started, has_settled = list[str](), True
        tasks, arguments, fence = self.tasks, self._arguments, self.work.container.fence
        while has_settled:
            has_settled = False
            free = self.placement.jobs - len(self.schedule.running)
            for name in self.schedule.take(free, now):
                task = tasks[name]
                made_from = task.made_from
                if made_from <= 0 or task.step not in arguments.of_elements:
                    made_from = arguments.made_from(task)
                if task.made_from < 0:
                    task = self._settled_doubt(task, made_from)
                    if task.is_complete:
                        has_settled = True
                        continue
                after = transitions.start(
                    task, now=now, fence=fence, ran_by=self._ran_by, made_from=made_from
                )
                self.work.stage(task, after)
                started.append(name)
        return started

    def _settled_doubt(self, task: TaskRecord, made_from: int) -> TaskRecord:
        """Return a task in doubt as current, or as forgotten, so that it starts."""
        if not is_current(task, made_from):
            return self._forget(task)
        after = confirmed(task, fence=self.container.fence)
        self.work.stage(task, after)
        self.schedule.settle(task.name, task.status)
        return after

    def _forget(self, task: TaskRecord) -> TaskRecord:
        """Return a task in doubt as one that nothing was made of yet."""
        after = transitions.reset(task, fence=self.container.fence)
        self.work.stage(task, after, attempt_ledger.last(task))
        return after
