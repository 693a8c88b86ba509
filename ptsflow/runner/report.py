"""What `ptsflow.run` returns: how it went, and the tasks with their results."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

from ptsflow import codec
from ptsflow.client.task import Task, task_of
from ptsflow.core.model import ContainerRecord, TaskRecord
from ptsflow.core.plan import Plan
from ptsflow.errors import TaskNotFound, similar
from ptsflow.stores.base import Store


class Report:
    """How a run ended. Tasks and results are read from the store when asked for.

    Attributes:
        ok: whether the container is complete, or all that was asked for is.
        container: the container's name.
        failed: the names of the tasks that failed, in order.
    """

    def __init__(
        self,
        *,
        ok: bool,
        record: ContainerRecord,
        failed: list[str],
        plan: Plan,
        done_items: Callable[[str], list[str]],
        opened: Callable[[], AbstractContextManager[Store]],
    ) -> None:
        self.ok = ok
        self.container = record.name
        self.failed = failed
        self._record = record
        self._plan = plan
        self._done_items = done_items
        self._opened = opened

    def __repr__(self) -> str:
        return f"<report of {self.container!r}: {'ok' if self.ok else 'failed'}>"

    @property
    def tasks(self) -> list[Task]:
        """All tasks of the container, by the plan's order."""
        with self._opened() as store:
            records = store.tasks(self._record.uid, payloads=True)
        hints = {step.name: step.returns for step in self._plan.steps}
        return [task_of(record, hints.get(record.step, Any)) for record in records]

    def result(self, step: str) -> Any:
        """Return what a step handed on: of a fan-out, the results of its done items.

        A task's own name, such as `download[songs.tbz]`, gives that item's.

        Raises:
            TaskNotFound: there is no such step or task.
        """
        planned = self._plan.by_name.get(step)
        fans_out = planned is not None and planned.each is not None
        # Not all that are stored: an earlier run may have had other items.
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
                f"it has {', '.join(self._plan.by_name)}"
            )
        return values[step]

    def _value(self, task: TaskRecord) -> Any:
        step = self._plan.by_name.get(task.step)
        text = task.result if isinstance(task.result, str) else "null"
        return codec.decode(text, Any if step is None else step.returns)


class Stopped(BaseException):
    """A signal ended the run; the state is recorded, running again continues."""

    def __init__(self, number: int, report: Report) -> None:
        super().__init__(number)
        self.number = number
        self.report = report
