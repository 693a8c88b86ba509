"""The arguments of bodies: stored results, items and processing data.

Small results stay in memory with their tasks. All that is not in memory is read from the
store, in one query for all the bodies that a turn starts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from msgspec import UNSET

from ptsflow import codec
from ptsflow.core.model import Status, TaskRecord
from ptsflow.core.plan import Plan, PlanStep, item_keys
from ptsflow.core.scheduler import Schedule
from ptsflow.errors import StoredValueError
from ptsflow.executors.attempt import Argument, Element, Value, Values
from ptsflow.workflow.handle import TaskHandle


class Arguments:
    """Finds the arguments of tasks that start.

    Args:
        plan: the plan of the workflow.
        schedule: knows the items of each step and their order.
        tasks: the live tasks by name.
        read: reads tasks with their payloads from the store.
    """

    def __init__(
        self,
        plan: Plan,
        schedule: Schedule,
        tasks: Mapping[str, TaskRecord],
        read: Callable[[Iterable[str]], list[TaskRecord]],
    ) -> None:
        self._plan = plan
        self._schedule = schedule
        self._tasks = tasks
        self._read = read
        #: By fan-out step, the elements of the list that it fans out over.
        self._elements: dict[str, list[Element]] = {}
        #: The tasks that the last query returned, by name.
        self._loaded: dict[str, TaskRecord] = {}

    def keys(self, step: PlanStep) -> list[str]:
        """Return the keys of a fan-out step's items, from the stored list.

        Raises:
            StoredValueError: the result of the step's source is not a list.
            InvalidValue: the list cannot be made into keys.
        """
        source = self._plan.by_name[step.each or ""]
        self._fetch(self._missing([source.name]))
        text = self._result(source.name)
        # A source that was skipped, or failed and is optional, has no result: then there
        # are no items. A source that is done without a result most likely lacks a return.
        is_done = self._tasks[source.name].status is Status.DONE
        tree = codec.parse(text or "null") if is_done else []
        found = codec.elements(tree, source.returns)
        if found is None:
            raise StoredValueError(
                f"{step.name}: each={source.name} needs a list from {source.name}, "
                f"found {text or 'None'!s:.80}; return a list there"
            )
        trees, hint = found
        self._elements[step.name] = [Element(tree, hint) for tree in trees]
        return item_keys(step, [codec.from_tree(tree, hint) for tree in trees])

    def load(self, names: Sequence[str]) -> None:
        """Read all payloads that the tasks `names` need and that are not in memory."""
        wanted = [name for name in names if self._tasks[name].processing_data is UNSET]
        for name in names:
            wanted += self._missing(self._sources(name))
        self._fetch(wanted)

    def saved(self, name: str) -> str | None:
        """Return the processing data of a task, after `load`."""
        task = self._tasks[name]
        if task.processing_data is UNSET:
            task = self._loaded.get(name, task)
        return None if task.processing_data is UNSET else task.processing_data

    def of(self, name: str, handle: TaskHandle) -> dict[str, Argument]:
        """Return what each parameter of a task's method receives, after `load`."""
        step, index = self._schedule.source_of(name)
        arguments: dict[str, Argument] = {}
        for binding in step.bindings:
            if binding.kind == "task":
                arguments[binding.parameter] = handle
            elif binding.kind == "item":
                arguments[binding.parameter] = self._item(step, index)
            else:
                source = self._plan.by_name[binding.step]
                arguments[binding.parameter] = self._whole(source)
        return arguments

    def _item(self, step: PlanStep, index: int) -> Value | Element:
        source = self._plan.by_name[step.each or ""]
        if source.each is not None:
            before = self._schedule.items(source.name)[index]
            return Value(self._result(before), source.returns)
        return self._elements[step.name][index]

    def _whole(self, source: PlanStep) -> Value | Values:
        if source.each is None:
            return Value(self._result(source.name), source.returns)
        names = self._schedule.done_items(source.name)
        return Values([self._result(name) or "null" for name in names], source.returns)

    def _sources(self, name: str) -> Iterable[str]:
        """Yield the tasks whose results a task receives."""
        step, index = self._schedule.source_of(name)
        for binding in step.bindings:
            if binding.kind == "result":
                source = self._plan.by_name[binding.step]
                if source.each is None:
                    yield source.name
                else:
                    yield from self._schedule.done_items(source.name)
            elif binding.kind == "item" and step.name not in self._elements:
                yield self._schedule.items(step.each or "")[index]

    def _result(self, name: str) -> str | None:
        """Return a task's stored result; None if the task is not done or has none."""
        task = self._tasks.get(name)
        if task is None or task.status is not Status.DONE:
            return None
        if task.result is UNSET:
            task = self._loaded[name]
        return None if task.result is UNSET else task.result

    def _missing(self, names: Iterable[str]) -> list[str]:
        """Return those of the tasks `names` whose results are not in memory."""
        tasks = self._tasks
        return [n for n in names if n in tasks and tasks[n].result is UNSET]

    def _fetch(self, names: Sequence[str]) -> None:
        self._loaded = {}
        if names:
            found = self._read(dict.fromkeys(names))
            self._loaded = {task.name: task for task in found}
