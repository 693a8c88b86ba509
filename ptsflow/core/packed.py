"""The tasks of a container with a wide fan-out: records, and packs beside them.

Whoever reads a task by name, or changes one, sees records alone.
"""

from __future__ import annotations

import contextlib
from collections import defaultdict
from collections.abc import (
    Callable,
    Collection,
    Iterable,
    Iterator,
    Mapping,
    MutableMapping,
    Sequence,
)
from itertools import chain
from operator import attrgetter, itemgetter
from typing import Any, overload

from ptsflow.core.model import Cause, Status, TaskRecord
from ptsflow.core.pack import IDENTITY, Pack, divided, in_order, joined, packed

#: Tasks as a run works on them, by name: a dict, or a `PackedTasks`.
Tasks = MutableMapping[str, TaskRecord]

_POSITION = attrgetter("position")


class PackedTasks(MutableMapping[str, TaskRecord]):
    """All tasks of a container by name, some of them in packs.

    A packed task that is replaced or deleted makes records of its step's whole pack.

    Args:
        records: the tasks that are not packed, by name.
        packs: the packs by step.
    """

    def __init__(self, records: dict[str, TaskRecord], packs: dict[str, Pack]) -> None:
        self.records = records
        self.packs = packs

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


class Listing(Sequence[TaskRecord]):
    """Tasks as they are listed, some of them in packs.

    Args:
        records: the tasks that are not packed, as they are listed.
        packs: one for each step that has packed items.
    """

    def __init__(self, records: Sequence[TaskRecord], packs: tuple[Pack, ...]) -> None:
        self.records = records
        self.packs = packs

    def __len__(self) -> int:
        return len(self.records) + sum(map(len, self.packs))

    @overload
    def __getitem__(self, place: int) -> TaskRecord: ...

    @overload
    def __getitem__(self, place: slice) -> list[TaskRecord]: ...

    def __getitem__(self, place: int | slice) -> TaskRecord | list[TaskRecord]:
        found = chain(self.records, *(pack.records() for pack in self.packs))
        return sorted(found, key=in_order)[place]

    def __iter__(self) -> Iterator[TaskRecord]:
        return iter(self[:])


def listing(tasks: Mapping[str, TaskRecord]) -> Sequence[TaskRecord]:
    """Return tasks as they are listed."""
    records, packs = parts_of(tasks)
    found = sorted(records, key=_POSITION)
    return Listing(found, packs) if packs else found


def parts_of(
    tasks: Mapping[str, TaskRecord] | Iterable[TaskRecord],
) -> tuple[Collection[TaskRecord], tuple[Pack, ...]]:
    """Return the records among tasks, and the packs beside them."""
    if isinstance(tasks, Listing):
        return tasks.records, tasks.packs
    if isinstance(tasks, PackedTasks):
        return list(tasks.records.values()), tuple(tasks.packs.values())
    return list(tasks.values() if isinstance(tasks, Mapping) else tasks), ()


def records_of(tasks: Mapping[str, TaskRecord]) -> Mapping[str, TaskRecord]:
    """Return the tasks that are not packed, by name."""
    return tasks.records if isinstance(tasks, PackedTasks) else tasks


def pack_of(tasks: Mapping[str, TaskRecord], step: str) -> Pack | None:
    """Return the pack of a step, if there is one."""
    return tasks.packs.get(step) if isinstance(tasks, PackedTasks) else None


def tasks_of(records: Iterable[TaskRecord], packs: Iterable[Pack] = ()) -> Tasks:
    """Return tasks by name.

    Args:
        records: the tasks that are not packed, in the order in which they are listed.
        packs: any number for each step.
    """
    by_step: defaultdict[str, list[Pack]] = defaultdict(list)
    for pack in packs:
        by_step[pack.step].append(pack)
    by_name = {task.name: task for task in records}
    if not by_step:
        return by_name
    whole = {step: joined(some).sorted() for step, some in by_step.items()}
    return PackedTasks(by_name, whole)


#: What says of what results tasks were made: the first are those of `IDENTITY`.
ORIGIN = (*IDENTITY, "position", "made_from", "result_hash")
_identity = itemgetter(*map(ORIGIN.index, IDENTITY))


def origins_of(cells: Iterable[list[tuple[Any, ...]]]) -> Sequence[TaskRecord]:
    """Return tasks that have the fields of `ORIGIN` alone, as they are listed.

    Args:
        cells: the values of these fields in tasks, in batches.

    Raises:
        ValueError: one is no status, or no cause.
    """
    records, packs = list[TaskRecord](), list[Pack]()
    for batch in cells:
        single, groups = divided(batch, _identity)
        for some in groups:
            packs.append(
                packed(dict(zip(ORIGIN, zip(*some, strict=True), strict=True)))
            )
        for row in single:
            fields = dict(zip(ORIGIN, row, strict=True))
            fields |= {"status": Status(row[3]), "cause": Cause(row[4])}
            records.append(TaskRecord(**fields))
    return listing(tasks_of(sorted(records, key=in_order), packs))


def opened(
    records: Collection[TaskRecord],
    packs: Collection[Pack],
    is_kept: Callable[[Pack], bool],
) -> tuple[Collection[TaskRecord], list[Pack]]:
    """Make records of packs; return all records as they are listed, and the other packs."""
    kept = [pack for pack in packs if is_kept(pack)]
    if len(kept) == len(packs):
        return records, kept
    found = list(records)
    for pack in packs:
        if pack not in kept:
            found += pack.records()
    return sorted(found, key=in_order), kept
