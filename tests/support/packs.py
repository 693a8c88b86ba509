"""Tasks packed as a store packs the items of wide fan-outs, however few they are."""

from __future__ import annotations

from collections.abc import Iterable

from ptsflow.core.model import Cause, Status, TaskRecord, item_name
from ptsflow.core.packed import Pack, Tasks, packed, tasks_of
from ptsflow.stores.memory.store import MemoryStore

FIELDS = TaskRecord.__struct_fields__


def pack(items: list[TaskRecord]) -> Pack:
    """Pack items of one step that are done."""
    columns = {name: [getattr(task, name) for task in items] for name in FIELDS}
    return packed(items[0], columns)


def with_packs(tasks: Iterable[TaskRecord]) -> Tasks:
    """Return tasks with all packed that may be."""
    single: list[TaskRecord] = []
    by_step: dict[str, list[TaskRecord]] = {}
    for task in tasks:
        if (
            task.status is Status.DONE
            and task.cause is Cause.NONE
            and task.key is not None
            and task.name == item_name(task.step, task.key)
        ):
            by_step.setdefault(task.step, []).append(task)
        else:
            single.append(task)
    return tasks_of(single, map(pack, by_step.values()))


class PackingStore(MemoryStore):
    """A store in memory that packs what a run reads of it."""

    def table(self, uid: str) -> Tasks:
        """Return all tasks by name, packed where they may be."""
        return with_packs(self.tasks(uid))
