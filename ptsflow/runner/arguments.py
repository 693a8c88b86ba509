"""The arguments of bodies: stored results, items and processing data.

Small results stay in memory with their tasks. All that is not in memory is read from the
store, in one query for all the bodies that a turn starts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from msgspec import UNSET
from msgspec.structs import replace

from ptsflow import codec
from ptsflow.core.model import Status, TaskRecord, item_name
from ptsflow.core.packed import pack_of
from ptsflow.core.plan import Binding, Plan, PlanStep, item_keys
from ptsflow.core.scheduler import Schedule
from ptsflow.core.sources import combined, given_by, misfit
from ptsflow.core.texts import hash_of
from ptsflow.errors import StoredValueError
from ptsflow.executors.values import Argument, Element, Shared, Value, Values
from ptsflow.workflow.handle import TaskHandle

#: The least size of a result that is kept for further bodies, and the most that all kept
#: ones have, in characters.
_KEPT_FROM = 512
_KEPT_CHARS = 16 * 1024 * 1024


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
        #: By fan-out step, the elements of the list that it fans out over, as parsed JSON,
        #: and what each of them is read as.
        self._elements: dict[str, tuple[Sequence[Any], Any]] = {}
        self._without_sources = {s.name for s in plan.steps if not s.sources}
        #: The steps that are given an element of a stored list alone. Their tasks have its
        #: hash from the beginning.
        self.of_elements = {s.name for s in plan.steps if _is_of_elements(plan, s)}
        #: By step, its parameters that are made from other steps, with those.
        self._sources_of: dict[str, list[tuple[Binding, PlanStep]]] = {}
        #: By fan-out step whose results are joined, the hash of all of them.
        self._joined: dict[str, int] = {}
        #: By step, its result as all items of the steps that receive it whole are given it.
        self._kept: dict[str, Value | Values] = {}
        self._kept_chars = 0
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
            again = misfit(source.name, f"return a list, then reset {source.name}")
            raise StoredValueError(
                f"{step.name}: each={source.name} needs a list from {source.name}, "
                f"found {text or 'None'!s:.80}; {again}"
            )
        trees, hint = found
        self._elements[step.name] = trees, hint
        items = [codec.from_tree(tree, hint) for tree in trees]
        return item_keys(
            step, items, lambda key: item_name(step.name, key) in self._tasks
        )

    def made_from(self, task: TaskRecord) -> int:
        """Return the hash of the results that a task is given now; 0 if it is given none.

        Its sources have settled. No result is read for it.
        """
        if task.step in self._without_sources:
            return 0
        step, index = self._schedule.source_of(task.name)
        sources = self._sources_of.get(step.name)
        if sources is None:
            by_name = self._plan.by_name
            sources = [
                (binding, by_name[step.source_of(binding)]) for binding in step.sources
            ]
            self._sources_of[step.name] = sources
        return combined([self._hash_of(step, index, *source) for source in sources])

    def _hash_of(
        self, step: PlanStep, index: int, binding: Binding, source: PlanStep
    ) -> int:
        if binding.kind == "item":
            if source.each is None:
                return self.element_hash(step, index)
            return given_by(self._tasks[self._schedule.items(source.name)[index]])
        if source.each is None:
            return given_by(self._tasks.get(source.name))
        # Ten thousand items may be given one joined list: its hash is made once.
        found = self._joined.get(source.name)
        if found is None:
            items = self._schedule.done_items(source.name)
            pack = pack_of(self._tasks, source.name)
            if pack is not None and pack.names == items:
                hashes = list(pack.each("result_hash"))
            else:
                hashes = [self._tasks[item].result_hash for item in items]
            found = combined(hashes)
            self._joined[source.name] = found
        return found

    def element_hash(self, step: PlanStep, index: int) -> int:
        """Return the hash of an element of the stored list that a step fans out over."""
        return hash_of(repr(self._elements[step.name][0][index]))

    def load(self, names: Sequence[str]) -> None:
        """Read all payloads that the tasks `names` need and that are not in memory."""
        self._forget_kept()
        wanted: list[str] = []
        for name in names:
            task = self._tasks[name]
            if task.processing_data is UNSET:
                wanted.append(name)
            step = task.step
            if step not in self._without_sources and not (
                step in self.of_elements and step in self._elements
            ):
                wanted += self._missing(self._sources(name))
        self._fetch(wanted)

    def release(self) -> None:
        """Forget what `load` read: from now on it belongs to the bodies."""
        self._loaded = {}

    def saved(self, name: str) -> str | None:
        """Return the processing data of a task, after `load`."""
        task = self._tasks[name]
        if task.processing_data is UNSET:
            task = self._loaded.get(name, task)
        return None if task.processing_data is UNSET else task.processing_data

    def of(self, name: str, handle: TaskHandle) -> dict[str, Argument]:
        """Return what each parameter of a task's method receives, after `load`."""
        arguments: dict[str, Argument] = {}
        if not self._plan.by_name[self._tasks[name].step].bindings:
            return arguments
        step, index = self._schedule.source_of(name)
        for binding in step.bindings:
            if binding.kind == "task":
                arguments[binding.parameter] = handle
            elif binding.kind == "item":
                arguments[binding.parameter] = self._item(step, index)
            else:
                source = self._plan.by_name[binding.step]
                whole = self._whole if step.each is None else self._kept_whole
                arguments[binding.parameter] = whole(source)
        return arguments

    def _item(self, step: PlanStep, index: int) -> Value | Element:
        source = self._plan.by_name[step.each or ""]
        if source.each is not None:
            before = self._schedule.items(source.name)[index]
            return Value(self._result(before), source.returns)
        trees, hint = self._elements[step.name]
        return Element(trees[index], hint)

    def _whole(self, source: PlanStep) -> Value | Values:
        if source.each is None:
            return Value(self._result(source.name), source.returns)
        names = self._schedule.done_items(source.name)
        return Values([self._result(name) or "null" for name in names], source.returns)

    def _kept_whole(self, source: PlanStep) -> Value | Values:
        """Return the result of a settled step for one of many bodies that are given it."""
        if source.name in self._kept:
            # The one that was wanted last is the last.
            kept = self._kept[source.name] = self._kept.pop(source.name)
            return kept
        found = self._whole(source)
        size = found.size()
        if _KEPT_FROM <= size <= _KEPT_CHARS:
            found = self._kept[source.name] = replace(found, shared=Shared())
            self._kept_chars += size
        return found

    def _forget_kept(self) -> None:
        """Forget the results that were not wanted for longest, if all are too large."""
        while self._kept_chars > _KEPT_CHARS:
            kept = self._kept.pop(next(iter(self._kept)))
            self._kept_chars -= kept.size()

    def _sources(self, name: str) -> Iterable[str]:
        """Yield the tasks whose results a task receives."""
        step, index = self._schedule.source_of(name)
        for binding in step.bindings:
            if binding.kind == "result":
                source = self._plan.by_name[binding.step]
                if step.each is not None and source.name in self._kept:
                    continue
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
        return [n for n in names if (t := tasks.get(n)) and t.result is UNSET]

    def _fetch(self, names: Sequence[str]) -> None:
        self._loaded = {}
        if names:
            found = self._read(dict.fromkeys(names))
            self._loaded = {task.name: task for task in found}


def _is_of_elements(plan: Plan, step: PlanStep) -> bool:
    kinds = [binding.kind for binding in step.sources]
    return kinds == ["item"] and plan.by_name[step.each or ""].each is None
