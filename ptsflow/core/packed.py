"""The tasks of a container with a wide fan-out: records, and packs beside them.

Whoever reads a task by name, or changes one, sees records alone.
"""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterator, MutableMapping, Sequence
from itertools import chain
from typing import overload

from ptsflow.core.model import TaskRecord
from ptsflow.core.packing import Pack, Packing, in_order


class PackedTasks(Packing, MutableMapping[str, TaskRecord]):
    """All tasks of a container by name, some of them in packs.

    A packed task that is replaced or deleted makes records of its step's whole pack.

    Args:
        packs: the packs by step.
        records: the tasks that are not packed, by name.
    """

    def __init__(self, packs: dict[str, Pack], records: dict[str, TaskRecord]) -> None:
        self.packs = packs
        self.records = records

    def __getitem__(self, name: str) -> TaskRecord:
        task = self.records.get(name)
        if task is None:
            pack, place = self._place(name)
            task = pack.record(place)
        return task

    def __setitem__(self, name: str, task: TaskRecord) -> None:
        self._unpack(name)
        self.records[name] = task

    def __delitem__(self, name: str) -> None:
        self._unpack(name)
        del self.records[name]

    def __iter__(self) -> Iterator[str]:
        return chain(self.records, *(pack.names for pack in self.packs.values()))

    def __len__(self) -> int:
        return len(self.records) + sum(map(len, self.packs.values()))

    def _place(self, name: str) -> tuple[Pack, int]:
        """Return where a packed task lies, or raise KeyError."""
        step, _, rest = name.partition("[")
        pack = self.packs.get(step)
        place = pack.place_of(rest[:-1]) if pack and rest.endswith("]") else None
        if pack is None or place is None:
            raise KeyError(name)
        return pack, place

    def _unpack(self, name: str) -> None:
        if name not in self.records:
            with contextlib.suppress(KeyError):
                pack, _ = self._place(name)
                del self.packs[pack.step]
                self.records.update((task.name, task) for task in pack.records())

    def unpacked(self) -> Collection[TaskRecord]:
        """Return the tasks that are not packed."""
        return list(self.records.values())

    def listed(self) -> Listing:
        """Return the tasks as they are listed."""
        return Listing(dict(self.packs), sorted(self.records.values(), key=in_order))


class Listing(Packing, Sequence[TaskRecord]):
    """Tasks as they are listed, some of them in packs.

    Args:
        packs: the packs by step.
        records: the tasks that are not packed, as they are listed.
    """

    def __init__(self, packs: dict[str, Pack], records: Sequence[TaskRecord]) -> None:
        self.packs = packs
        self.records = records

    def __len__(self) -> int:
        return len(self.records) + sum(map(len, self.packs.values()))

    @overload
    def __getitem__(self, place: int) -> TaskRecord: ...

    @overload
    def __getitem__(self, place: slice) -> list[TaskRecord]: ...

    def __getitem__(self, place: int | slice) -> TaskRecord | list[TaskRecord]:
        found = chain(self.records, *(pack.records() for pack in self.packs.values()))
        return sorted(found, key=in_order)[place]

    def __iter__(self) -> Iterator[TaskRecord]:
        return iter(self[:])

    def unpacked(self) -> Sequence[TaskRecord]:
        """Return the tasks that are not packed."""
        return self.records

    def listed(self) -> Listing:
        """Return the tasks as they are listed."""
        return self
