"""Done items of wide fan-out steps, packed: in columns, a record made when it is asked for.

A record takes about 440 bytes. Of a million items that are done, a run that resumes needs
little more than their keys, so they lie packed. A mapping of tasks may have packs beside
its records; who reads it by name, or changes a task, sees records alone.
"""

from __future__ import annotations

from array import array
from collections.abc import (
    Callable,
    Collection,
    Iterable,
    Iterator,
    Mapping,
    MutableMapping,
    Sequence,
)
from itertools import chain, islice, pairwise, repeat
from operator import attrgetter, itemgetter, lt
from typing import Any, overload

from msgspec.structs import replace

from ptsflow.core.model import TaskRecord, item_name

#: Tasks as a run works on them, by name: a dict, or a `PackedTasks`.
Tasks = MutableMapping[str, TaskRecord]

#: Fewer items that are read together are not packed.
LEAST = 256

#: Sorts tasks as they are listed.
in_order = attrgetter("position", "name")

_FIELDS = tuple(
    name
    for name in TaskRecord.__struct_fields__
    if name not in ("name", "step", "key", "status", "cause")
)


class Pack:
    """Items of one step that are done, without a cause and without loaded payloads.

    Args:
        pattern: one of the items.
        keys: the keys of all of them.
        varying: the fields in which they differ from the pattern, besides name and key,
            each with the values in the order of `keys`.
    """

    __slots__ = ("_names", "_places", "keys", "pattern", "varying")

    def __init__(
        self,
        pattern: TaskRecord,
        keys: list[str],
        varying: Mapping[str, Sequence[Any]],
    ) -> None:
        self.pattern = pattern
        self.keys = keys
        self.varying = varying
        #: The names of the items, and their places by key; made when first asked for.
        self._names: list[str] | None = None
        self._places: dict[str, int] | None = None

    def __len__(self) -> int:
        return len(self.keys)

    @property
    def step(self) -> str:
        """The step of the items."""
        return self.pattern.step

    @property
    def names(self) -> list[str]:
        """The names of the items."""
        if self._names is None:
            step = self.step
            self._names = [item_name(step, key) for key in self.keys]
        return self._names

    def different(self, field: str) -> Sequence[Any]:
        """Return the values of a field, each at least once."""
        return self.varying.get(field) or (getattr(self.pattern, field),)

    def each(self, field: str) -> Iterable[Any]:
        """Return the value of a field of each item."""
        found = self.varying.get(field)
        return (
            repeat(getattr(self.pattern, field), len(self)) if found is None else found
        )

    def value(self, field: str, place: int) -> Any:
        """Return the value of a field of one item."""
        values = self.varying.get(field)
        return getattr(self.pattern, field) if values is None else values[place]

    def bounds(self) -> tuple[int, int]:
        """Return the first and the last position, once the pack is sorted."""
        positions = self.different("position")
        return positions[0], positions[-1]

    def place_of(self, key: str) -> int | None:
        """Return the place of the item with that key, or None."""
        if self._places is None:
            self._places = {key: place for place, key in enumerate(self.keys)}
        return self._places.get(key)

    def record(self, place: int) -> TaskRecord:
        """Return the record of an item."""
        key = self.keys[place]
        cells = {field: values[place] for field, values in self.varying.items()}
        return replace(self.pattern, name=item_name(self.step, key), key=key, **cells)

    def records(self) -> Iterator[TaskRecord]:
        """Yield the records of the items."""
        return map(self.record, range(len(self)))

    def sorted(self) -> Pack:
        """Return the pack with its items in the order in which tasks are listed."""
        positions = list(self.each("position"))
        if all(map(lt, positions, islice(positions, 1, None))):
            return self
        order = sorted(range(len(self)), key=positions.__getitem__)
        if any(positions[a] == positions[b] for a, b in pairwise(order)):
            names = self.names
            order.sort(key=lambda place: (positions[place], names[place]))
        pick = itemgetter(*order)
        varying = {field: _compact(pick(all_)) for field, all_ in self.varying.items()}
        return Pack(self.pattern, list(pick(self.keys)), varying)


class PackedTasks(MutableMapping[str, TaskRecord]):
    """All tasks of a container by name, some of them in packs.

    A packed task that is replaced or deleted makes records of its step's whole pack.

    Args:
        records: the tasks that are not packed, in the order in which they are listed.
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

    def __contains__(self, name: object) -> bool:
        return name in self.records or (isinstance(name, str) and self._is_packed(name))

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

    def _is_packed(self, name: str) -> bool:
        try:
            self._place(name)
        except KeyError:
            return False
        return True

    def _unpack(self, name: str) -> None:
        if name not in self.records and self._is_packed(name):
            pack = self.packs.pop(name.partition("[")[0])
            self.records.update((task.name, task) for task in pack.records())


class Listing(Sequence[TaskRecord]):
    """Tasks as they are listed, some of them in packs."""

    def __init__(self, records: Sequence[TaskRecord], packs: Iterable[Pack]) -> None:
        self.records = records
        self.packs = tuple(packs)

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
    found = sorted(records, key=attrgetter("position"))
    return Listing(found, packs) if packs else found


def parts_of(
    tasks: Mapping[str, TaskRecord] | Iterable[TaskRecord],
) -> tuple[Collection[TaskRecord], Collection[Pack]]:
    """Return the records among tasks, and the packs beside them."""
    if isinstance(tasks, Listing):
        return tasks.records, tasks.packs
    if isinstance(tasks, PackedTasks):
        return list(tasks.records.values()), list(tasks.packs.values())
    if isinstance(tasks, Mapping):
        return list(tasks.values()), ()
    return list(tasks), ()


def tasks_of(records: Iterable[TaskRecord], packs: Iterable[Pack] = ()) -> Tasks:
    """Return tasks by name.

    Args:
        records: the tasks that are not packed, in the order in which they are listed.
        packs: any number for each step.
    """
    by_name = {task.name: task for task in records}
    by_step: dict[str, list[Pack]] = {}
    for pack in packs:
        by_step.setdefault(pack.step, []).append(pack)
    if not by_step:
        return by_name
    joined = {step: _joined(some).sorted() for step, some in by_step.items()}
    return PackedTasks(by_name, joined)


def pack_of(tasks: Mapping[str, TaskRecord], step: str) -> Pack | None:
    """Return the pack of a step, if there is one."""
    return tasks.packs.get(step) if isinstance(tasks, PackedTasks) else None


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


def packed(pattern: TaskRecord, columns: Mapping[str, Sequence[Any]]) -> Pack:
    """Pack items that may be packed and are of one step.

    Args:
        pattern: the first of them.
        columns: the values of all fields, by field, in one order; names, status and what
            else all items of a pack have alike may be left out.
    """
    varying = {
        field: _compact(columns[field])
        for field in _FIELDS
        if field in columns and not _is_constant(columns[field])
    }
    return Pack(pattern, list(columns["key"]), varying)


def _is_constant(values: Sequence[Any]) -> bool:
    first = values[0]
    return bool(first == values[-1] and values.count(first) == len(values))


def _compact(values: Sequence[Any]) -> Sequence[Any]:
    """Return values in less memory: numbers without objects, equal texts as one object."""
    try:
        return array("q", values)
    except TypeError:  # Not all of them are whole numbers.
        alike: dict[Any, Any] = {}
        return [alike.setdefault(value, value) for value in values]


def _joined(packs: Sequence[Pack]) -> Pack:
    """Return the packs of one step as one."""
    first = packs[0]
    if len(packs) == 1:
        return first
    keys = list(chain.from_iterable(pack.keys for pack in packs))
    varying: dict[str, Sequence[Any]] = {}
    for field in _FIELDS:
        value = getattr(first.pattern, field)
        if any(
            field in pack.varying or getattr(pack.pattern, field) != value
            for pack in packs
        ):
            every = chain.from_iterable(pack.each(field) for pack in packs)
            varying[field] = _compact(list(every))
    return Pack(first.pattern, keys, varying)
