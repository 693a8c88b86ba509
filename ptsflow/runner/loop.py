"""The loop: drain what came in, decide, commit once, launch.

`Loop.turn` is the whole of it. Results that came in become changes; the schedule says
what is next; the finish of a step and the start of the next ones are one durable
commit; only then do bodies start. Whoever brings a result in takes the turn, one at a
time, so that a thread that ends a body goes on with the next one by itself.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Sequence

from msgspec import Struct
from msgspec.structs import replace

from ptsflow.core import attempt_ledger, transitions
from ptsflow.core.model import (
    Cause,
    ContainerRecord,
    Ending,
    LogLine,
    Progress,
    Status,
    TaskRecord,
)
from ptsflow.core.outcome import apply_outcome, interrupted, ledger_entry
from ptsflow.core.plan import Executor as Place
from ptsflow.core.plan import Plan, PlanStep
from ptsflow.core.resume import finisher, new_task
from ptsflow.core.scheduler import Schedule
from ptsflow.errors import (
    InvalidValue,
    LeaseLost,
    Signal,
    StoredValueError,
    StoreError,
)
from ptsflow.executors import attempt
from ptsflow.executors.attempt import Call
from ptsflow.runner.arguments import Inputs
from ptsflow.runner.mailbox import Ended, Saving
from ptsflow.runner.options import default_jobs
from ptsflow.runner.unit_of_work import Records
from ptsflow.stores.base import Store
from ptsflow.workflow.handle import TaskHandle, Watch
from ptsflow.workflow.workflow import Workflow, fresh

#: How many more are handed out than a cluster makes at a time, so that none waits.
_SPARE = 4
#: How many are handed out at a time unless it is said: each takes a thread here.
_MOST = 256

#: Takes what the body of a task logged in an attempt.
Log = Callable[[str, int, Sequence[LogLine]], None]


class Job(Struct, frozen=True):
    """A body to run."""

    task: str
    call: Call


class Loop:
    """The state of one run, and its one way forward: `turn`.

    Not thread-safe but for `arrived` and `progressed`: callers take turns under `lock`.
    """

    def __init__(
        self,
        *,
        workflow: Workflow,
        plan: Plan,
        records: Records,
        jobs: int | None,
        only: Iterable[str] | None = None,
        executor: Place = "thread",
    ) -> None:
        self.workflow = workflow
        self._fresh = fresh(workflow)
        self.plan = plan
        self.records = records
        self.tasks = records.tasks
        self.clock = records.clock
        self.bus = records.bus
        self.jobs = jobs or default_jobs()
        #: Whether nobody said how many.
        self._is_open = jobs is None
        #: Where bodies run whose step does not say it.
        self.executor = executor
        #: Where what bodies log goes.
        self.log: Log | None = None
        self.lock = threading.Lock()
        self.schedule = Schedule(plan, only)
        #: What came in since the last turn; bodies' threads append to it.
        self.arrived: deque[Ended | Saving] = deque()
        #: Called, by bodies' threads, when progress or something else has come in.
        self.on_progress: Callable[[], None] = lambda: None
        self.on_arrival: Callable[[], object] = lambda: None
        self.is_cancelled = False
        self.is_over = False
        self.failure: BaseException | None = None
        owner = records.container.owner
        self._ran_by = "" if owner is None else owner.process
        self.inputs = Inputs(plan, self.schedule, self.tasks, records.read)
        self._begin()

    def _begin(self) -> None:
        tasks = self.tasks.values()
        complete = {t.name: t.status for t in tasks if t.is_complete}
        waiting = {t.name: t.due for t in tasks if t.due is not None}
        self.schedule.load(complete, waiting)
        ending = finisher(tasks)
        if ending is not None:
            self._finish(ending, self.clock())

    # -- called from bodies' threads --------------------------------------------

    def progressed(self, name: str, percentage: float, text: str) -> None:
        """Note progress; written at the next flush."""
        entry = Progress(name, percentage, text)
        progress = self.records.progress
        is_news = name not in progress
        progress[name] = entry
        # Only now: whoever is woken looks at what there is.
        if is_news:
            self.on_progress()

    def save(self, name: str, text: str) -> None:
        """Save processing data; durable when this returns."""
        saving = Saving(name, text)
        self.arrived.append(saving)
        self.on_arrival()
        saving.settled.wait()
        if not saving.kept:
            raise LeaseLost(
                f"container {self.container.name!r}: the checkpoint of {name} was not "
                "saved, as the run or the attempt had ended; run again"
            )

    def logged(self, name: str, lines: Sequence[LogLine]) -> None:
        """Keep what a body logged or printed; written when it suits."""
        if self.log is not None:
            self.log(name, self.tasks[name].invoke_count, lines)

    # -- the loop -----------------------------------------------------------------

    @property
    def container(self) -> ContainerRecord:
        """The container as this run holds it."""
        return self.records.container

    @property
    def store(self) -> Store:
        """Where it is kept."""
        return self.records.store

    def make_room(self, room: int) -> None:
        """Hand out at a time what a cluster has room for, unless it is said how much.

        Args:
            room: how many bodies it can run at the same time.
        """
        if self._is_open:
            self.jobs = max(self.jobs, min(room + _SPARE, _MOST))

    def turn(self) -> list[Job]:
        """Drain, decide, commit; return the jobs to launch."""
        now = self.clock()
        self._drain(now)
        started: list[str] = []
        while not self.is_over:
            # What is skipped may be the last that another fan-out waits for.
            while self.schedule.to_expand or self.schedule.to_skip:
                self._expand()
                self._skip(now)
            started += self._start(now)
            if not self.schedule.is_idle():
                break
            if not self.schedule.start_always():
                self.is_over = True
                self._tidy(now)
        self.records.commit()
        return self._jobs(started)

    def show_progress(self) -> None:
        """Tell those who listen how far the running tasks are."""
        self.records.show_progress(self.schedule.running)

    def flush_progress(self) -> None:
        """Write progress that came in, in one write; not a commit."""
        self.records.flush_progress(self.schedule.running)

    def stop(self) -> None:
        """Start nothing more; what runs is told, and may end."""
        self.is_cancelled = True
        self.schedule.is_stopping = True

    def interrupt(self) -> None:
        """Record what runs as interrupted; its results are not waited for."""
        self.stop()
        now = self.clock()
        self._drain(now)
        for name in list(self.schedule.running):
            task = self.records.caught_up(name)
            step = self.plan.by_name[task.step]
            ended = attempt_ledger.ended(task, Ending.INTERRUPTED, now=now)
            after = interrupted(task, step, now=now)
            self.records.stage(task, after, ended)
            self.schedule.interrupted(name)
        self.is_over = True
        self.records.commit()

    def fail(self, error: BaseException) -> None:
        """The run cannot go on."""
        self.failure = self.failure or error
        self.is_over = True
        self.is_cancelled = True
        self.let_go()

    def let_go(self) -> None:
        """The run is over: nothing that came in since is recorded, nobody waits."""
        self.records.let_go(self.arrived)

    def _jobs(self, names: Sequence[str]) -> list[Job]:
        if not names:
            return []
        self.inputs.load(names)
        return [Job(name, self._call(name)) for name in names]

    def _call(self, name: str) -> Call:
        task = self.tasks[name]
        step, _ = self.schedule.source_of(name)
        handle = TaskHandle(
            self.container.name,
            task,
            saved=self.inputs.saved(name),
            reporter=self,
            cancelled=lambda: self.is_cancelled,
            watch=_watch(step),
            folder=lambda: self.records.workdirs.path_of(task),
        )
        return Call(
            workflow=self._fresh(),
            step=step,
            arguments=self.inputs.arguments(name, handle),
            handle=handle,
            attempt=task.attempt,
            began_at=task.began_at or 0,
            clock=self.clock,
        )

    # -- drain --------------------------------------------------------------------

    def _drain(self, now: int) -> None:
        while self.arrived:
            message = self.arrived.popleft()
            task = self.records.caught_up(message.task)
            if isinstance(message, Ended):
                self._settle(task, message, now)
            elif task.status is Status.RUNNING:
                self.records.save(message, task)
            else:
                # From a thread that the body started, and that outlived it.
                message.settled.set()

    def _settle(self, running: TaskRecord, message: Ended, now: int) -> None:
        task, outcome = running, message.outcome
        if message.ran_by:
            task = replace(task, ran_by=message.ran_by)
        step = self.plan.by_name[task.step]
        after = apply_outcome(
            task,
            outcome,
            step,
            now=now,
            is_needless=self.schedule.is_finished and not step.always,
        )
        self.records.stage(running, after, ledger_entry(task, outcome, now=now))
        if after.status is Status.WAITING:
            self.schedule.wait(task.name, after.due or now)
            return
        if after.status is Status.PENDING:
            self.schedule.interrupted(task.name)
            return
        self.schedule.settle(task.name, after.status)
        if after.cause is Cause.FINISH and after.status is Status.DONE:
            self._finish(after, now)

    def _finish(self, ending: TaskRecord, now: int) -> None:
        """The rest is not needed: skip all that did not start."""
        self.schedule.finish()
        container = self.records.container
        self.records.container = replace(container, finish_reason=ending.status_text)
        usual = {step.name for step in self.plan.steps[: self.plan.usual]}
        # Also items that an earlier run made, whose list nobody will ask for any more.
        for task in list(self.tasks.values()):
            is_open = not task.is_complete and task.status is not Status.RUNNING
            if is_open and task.step in usual:
                self._skip_task(task, now, Cause.FINISH, f"{ending.name} finished")

    # -- decide -------------------------------------------------------------------

    def _expand(self) -> None:
        queue = self.schedule.to_expand
        while queue:
            step = self.plan.by_name[queue.popleft()]
            try:
                keys = self.inputs.keys(step)
            except (StoreError, LeaseLost):
                raise
            except (Exception, Signal) as error:  # noqa: BLE001 - key= is a user's code
                self._refuse(step, error)
            else:
                self._insert_items(step, keys)

    def _insert_items(self, step: PlanStep, keys: Sequence[str]) -> None:
        fence = self.container.fence
        place: dict[str, int] = {}
        for name, key, item in self.schedule.expand(step.name, keys):
            index = place[name] = place.get(name, -1) + 1
            owner = self.plan.by_name[name]
            new = new_task(
                owner, fence=fence, ran_by=self._ran_by, key=key, index=index
            )
            task = self.tasks.get(item)
            if task is None:
                self.records.stage(None, new)
            elif task.position != new.position:
                # The list is another one now, or in another order.
                moved = {"position": new.position, "version": task.version + 1}
                self.records.stage(task, replace(task, fence=fence, **moved))

    def _refuse(self, step: PlanStep, error: BaseException) -> None:
        known = isinstance(error, (InvalidValue, StoredValueError))
        text = str(error) if known else attempt.describe(error, step)
        # A step that did not fan out before may have left a record of its own.
        before = self.tasks.get(step.name)
        task = new_task(step, fence=self.container.fence)
        failed = replace(
            task,
            version=1 if before is None else before.version + 1,
            status=Status.FAILED,
            error=transitions.cut(text, transitions.ERROR_LIMIT),
            task_ended_at=self.clock(),
        )
        self.records.stage(before, failed)
        self.schedule.refuse(step.name)

    def _skip(self, now: int) -> None:
        queue = self.schedule.to_skip
        while queue:
            task = self.tasks[queue.popleft()]
            if not task.is_complete:
                step, index = self.schedule.source_of(task.name)
                before = self.schedule.items(step.each or "")[index]
                why = f"{before} has no result"
                self._skip_task(task, now, Cause.UPSTREAM, why)
                self.schedule.settle(task.name, Status.SKIPPED)

    def _skip_task(self, task: TaskRecord, now: int, cause: Cause, why: str) -> None:
        fence = self.container.fence
        self.records.stage(
            task, transitions.skip(task, now=now, fence=fence, cause=cause, why=why)
        )

    def _start(self, now: int) -> list[str]:
        free = self.jobs - len(self.schedule.running)
        names = self.schedule.take(free, now)
        fence = self.container.fence
        for name in names:
            task = self.tasks[name]
            started = transitions.start(task, now=now, fence=fence, ran_by=self._ran_by)
            self.records.stage(task, started)
        return names

    def _tidy(self, now: int) -> None:
        """Nothing is left open in a container that is complete."""
        if not self.schedule.succeeded():
            return
        for task in list(self.tasks.values()):
            if task.is_complete or not task.step or self.schedule.knows(task.name):
                continue
            if task.step in self.plan.by_name:
                # An item that is not in its step's list any more.
                self.records.drop(task)
            else:
                why = "its step is not in the workflow any more"
                self._skip_task(task, now, Cause.REMOVED, why)


def _watch(step: PlanStep) -> Watch | None:
    if step.timeout is None and step.stall is None:
        return None
    return Watch(step.timeout, step.stall)
