"""`Report`: how a run went, and the tasks of its container with their results."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, Self

from msgspec import Struct

from ptsflow import codec
from ptsflow.client.task import Task, task_of
from ptsflow.core.model import ContainerRecord, TaskRecord
from ptsflow.core.names import listed, similar
from ptsflow.core.plan import Plan
from ptsflow.errors import RunFailed, TaskNotFound
from ptsflow.stores.base import Store

#: The most failed tasks that an error names.
_MOST_NAMED = 5


class Report:
    """How a run ended. Tasks and results are read from the store when they are asked for.

    Attributes:
        ok: whether the container is complete, or all that was asked for is.
        container: the container's name.
        errors: the error of each task that failed, by its name and in order.
    """

    def __init__(
        self,
        *,
        ok: bool,
        record: ContainerRecord,
        errors: dict[str, str],
        plan: Plan,
        done_items: Callable[[str], list[str]],
        opened: Callable[[], AbstractContextManager[Store]],
    ) -> None:
        self.ok = ok
        self.container = record.name
        self.errors = errors
        self._record = record
        self._plan = plan
        self._done_items = done_items
        self._opened = opened

    def __repr__(self) -> str:
        return f"<report of {self.container!r}: {'ok' if self.ok else 'failed'}>"

    @property
    def failed(self) -> list[str]:
        """The names of the tasks that failed, in order."""
        return list(self.errors)

    def raise_for_failure(self) -> Self:
        """Return this report, unless the run failed.

        Raises:
            RunFailed: the container is not complete, nor all that was asked for.
        """
        if self.ok:
            return self
        named = [
            f"{name}: {''.join(error.splitlines()[:1])}"
            for name, error in list(self.errors.items())[:_MOST_NAMED]
        ]
        if len(self.errors) > _MOST_NAMED:
            named.append(f"and {len(self.errors) - _MOST_NAMED} more")
        what = "; ".join(named) or "not all of its steps could run"
        raise RunFailed(
            f"container {self.container!r} failed: {what}", self.container, self.errors
        )

    @property
    def tasks(self) -> list[Task]:
        """All tasks of the container, by the plan's order."""
        with self._opened() as store:
            records = store.tasks(self._record.uid, payloads=True)
        hints = {step.name: step.returns for step in self._plan.steps}
        return [task_of(record, hints.get(record.step, Any)) for record in records]

    def result(self, step: str) -> Any:
        """Return the result of a step; of a fan-out step, the results of its done items.

        Args:
            step: the step's name, or the name of one item, such as `download[songs.tbz]`.

        Raises:
            TaskNotFound: there is no such step or task.
        """
        planned = self._plan.by_name.get(step)
        fans_out = planned is not None and planned.each is not None
        # The store may also have items of earlier runs, which the list has no more.
        names = self._done_items(step) if fans_out else [step]
        with self._opened() as store:
            tasks = store.tasks(self._record.uid, names, payloads=True)
        values = {task.name: self._value(task) for task in tasks}
        if fans_out:
            return [values[name] for name in names if name in values]
        if not values:
            raise TaskNotFound(
                f"container {self.container!r}: there is no step {step!r}"
                f"{similar(step, self._plan.by_name)}; "
                f"it has {listed(self._plan.by_name, step)}"
            )
        return values[step]

    def _value(self, task: TaskRecord) -> Any:
        step = self._plan.by_name.get(task.step)
        text = task.result if isinstance(task.result, str) else "null"
        return codec.decode(text, Any if step is None else step.returns)


class Halt(Struct, frozen=True):
    """What stopped a run."""

    #: The signal that did, or as if by which it was stopped.
    number: int
    #: "cancel" or "its timeout"; "" for a signal.
    by: str = ""

    def __str__(self) -> str:
        import signal  # noqa: PLC0415 - 1 ms, only for a run that was stopped

        return f"stopped by {self.by or signal.Signals(self.number).name}"


class Stopped(BaseException):
    """A signal ended the run. The state is recorded, and the next run continues.

    Not an `Exception`, as KeyboardInterrupt is none.
    """

    def __init__(self, halt: Halt, report: Report) -> None:
        super().__init__(halt.number)
        self.halt = halt
        self.number = halt.number
        self.report = report

    def for_caller(self) -> KeyboardInterrupt | SystemExit:
        """Return what `ptsflow.run` raises: SystemExit has 128 and the signal's number."""
        import signal  # noqa: PLC0415 - 1 ms, only for a run that a signal ended

        if self.number == signal.SIGINT:
            return KeyboardInterrupt()
        return SystemExit(128 + self.number)
