"""Where the bodies of each step run, and how many bodies run at a time."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Mapping
from pathlib import Path

from ptsflow.core.model import ContainerRecord
from ptsflow.core.outcome import Interrupted, Outcome
from ptsflow.core.plan import Executor as ExecutorName
from ptsflow.core.plan import Plan, executor_of
from ptsflow.errors import StoreUnavailable
from ptsflow.executors import fork_guard
from ptsflow.executors.attempt import Call
from ptsflow.executors.base import Executor
from ptsflow.executors.threads import ThreadExecutor
from ptsflow.host import container_lock
from ptsflow.host.cpus import usable_cpus
from ptsflow.workflow.workflow import Workflow

#: How many more attempts than a cluster has room for are begun, so that no worker waits.
_SPARE_JOBS = 4
#: How many attempts a cluster gets at a time at most: each takes a thread of the runner.
_MOST_JOBS = 256


def default_jobs() -> int:
    """Return how many bodies run at a time unless a number is given."""
    return min(32, usable_cpus() + 4)


class Placement:
    """The executors of a run, each made when its first attempt begins.

    Args:
        kind: the class of the workflow.
        plan: its plan.
        container: the container that the run holds.
        parameters: the parameters as bodies get them, as JSON text.
        key: names the container on this host: `Store.key_of`.
        executor: where bodies run whose step names no executor.
        jobs: how many bodies may run at a time; None if no number was given.
        on_room: called when more bodies may run than before; from a body's thread.
    """

    def __init__(  # noqa: PLR0913 - made in one place
        self,
        kind: type[Workflow],
        plan: Plan,
        container: ContainerRecord,
        *,
        parameters: Mapping[str, str],
        key: str,
        executor: ExecutorName,
        jobs: int | None,
        on_room: Callable[[], None],
    ) -> None:
        #: How many bodies may run at a time.
        self.jobs = jobs or default_jobs()
        self._jobs_not_given = jobs is None
        self._kind = kind
        self._container = container
        self._parameters = parameters
        self._key = key
        self._on_room = on_room
        self._names = {step.name: executor_of(step, executor) for step in plan.steps}
        self._threads = ThreadExecutor()
        # Processes begin in the folder of the run, whatever folder a body changes to.
        self._folder = _current_folder()
        self._executors: dict[object, Executor] = {}
        self._starting = threading.Lock()

    @property
    def has_busy_threads(self) -> bool:
        """Whether a body runs in a thread of this process."""
        return self._threads.is_busy

    def late(self) -> dict[str, str]:
        """Return the tasks that are overdue in threads, and for how long they are."""
        return self._threads.late()

    def run(self, call: Call, must_not_begin: Callable[[], bool]) -> Outcome:
        """Make an attempt where its step wants it; return how it ended.

        Args:
            call: what the attempt needs.
            must_not_begin: asked right before the body would begin; where it says yes,
                the outcome is `Interrupted`.

        Raises:
            PtsflowError: the executor cannot be had.
        """
        name = self._names[call.step.name]
        if name == "thread":
            return self._threads.run(call, must_not_begin)
        with fork_guard.forking_workers():
            executor = self._executor(name, must_not_begin)
            if executor is None or must_not_begin():
                return Interrupted()
            return executor.run(call)

    def limit_jobs(self, threads: int) -> None:
        """Run no more bodies at a time than there are threads for them."""
        self.jobs = min(self.jobs, threads)

    def stop(self) -> None:
        """End all executors; attempts that they still make are ended at once."""
        with self._starting:
            for executor in self._executors.values():
                executor.stop()
            if self._executors:
                # What became of the folder meanwhile is no matter of the run.
                with contextlib.suppress(StoreUnavailable):
                    container_lock.remove(self._lock_file())

    def _executor(
        self, name: ExecutorName, must_not_begin: Callable[[], bool]
    ) -> Executor | None:
        """Return an executor, made if there is none yet; None if no body may begin."""
        with self._starting:
            executor = self._executors.get(name)
            # An executor that is made after `stop` would never be stopped.
            if executor is None and not must_not_begin():
                executor = self._executors[name] = self._make(name)
                # Bodies beside the runner must not become more than was meant for it.
                if executor.room and set(self._names.values()) == {name}:
                    self._make_room(executor.room)
            return executor

    def _make(self, name: ExecutorName) -> Executor:
        from ptsflow.executors.processes.messages import Setting  # noqa: PLC0415 - rarely needed

        kind, lock = self._kind, self._lock_file()
        setting = Setting(self._container.name, dict(self._parameters))
        if name == "process":
            from ptsflow.executors.processes import pool  # noqa: PLC0415 - rarely needed

            return pool.begin(kind, setting, lock, self._folder)
        from ptsflow.executors.cluster import coordinator  # noqa: PLC0415 - rarely needed

        return coordinator.begin(name, kind, setting, lock)

    def _make_room(self, room: int) -> None:
        """Run as many bodies at a time as the cluster can, unless a number was given."""
        if self._jobs_not_given:
            self.jobs = max(self.jobs, min(room + _SPARE_JOBS, _MOST_JOBS))
            self._on_room()

    def _lock_file(self) -> Path:
        return container_lock.file_of(self._key)


def _current_folder() -> str | None:
    try:
        return str(Path.cwd())
    except OSError:  # it was removed
        return None
