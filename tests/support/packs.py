"""Tasks packed as a store packs the items of wide fan-outs, however few they are."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from operator import attrgetter

from ptsflow.core.model import TaskRecord
from ptsflow.core.pack import IDENTITY, Pack, divided, packed
from ptsflow.core.packed import Tasks, tasks_of
from ptsflow.stores.memory.store import MemoryStore


def pack(items: Sequence[TaskRecord]) -> Pack:
    """Pack items of one step that are done."""
    fields = TaskRecord.__struct_fields__
    return packed({name: [getattr(task, name) for task in items] for name in fields})


def with_packs(tasks: Iterable[TaskRecord]) -> Tasks:
    """Return tasks with all packed that may be."""
    single, groups = divided(list(tasks), attrgetter(*IDENTITY), least=1)
    return tasks_of(single, map(pack, groups))


class PackingStore(MemoryStore):
    """A store in memory that packs what a run reads of it."""

    def table(self, uid: str) -> Tasks:
        """Return all tasks by name, packed where they may be."""
        return with_packs(self.tasks(uid))
