"""Packs of done items: what lies in them, which items they take, how they are made.

A record takes about 440 bytes. Of a million items that are done, a run that resumes needs
little more than their keys, so those of a wide fan-out step lie in columns: a pack. A
record is made of an item when it is asked for.
"""

from __future__ import annotations

from array import array
from collections import defaultdict
from collections.abc import (
    Callable,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
)
from itertools import chain, islice, pairwise, repeat
from operator import attrgetter, itemgetter, lt
from typing import Any, TypeVar

from msgspec.structs import replace

from ptsflow.core.model import (
    PAYLOADS,
    Cause,
    Status,
    TaskRecord,
    item_name,
    item_names,
)

T = TypeVar("T")

#: Fewer items that are read together are not packed.
LEAST = 256

#: Sorts tasks as they are listed.
in_order = attrgetter("position", "name")

#: What says whether an item may be packed, and with which others: see `divided`.
IDENTITY = ("name", "step", "key", "status", "cause")

#: The fields of an item that the others of its pack need not have alike.
_VARYING = tuple(
    name
    for name in TaskRecord.__struct_fields__
    if name not in IDENTITY and name not in PAYLOADS
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
            self._names = item_names(self.step, self.keys)
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


def divided(
    batch: list[T], identity: Callable[[T], Iterable[Any]], *, least: int = LEAST
) -> tuple[list[T], list[list[T]]]:
    """Return those of a batch of tasks that are not packed, and those of each pack.

    Args:
        batch: tasks as a store reads them.
        identity: returns the values of `IDENTITY`, status and cause as texts.
        least: how many make a pack.
    """
    single: list[T] = []
    by_step: defaultdict[str, list[T]] = defaultdict(list)
    done, none = Status.DONE.value, Cause.NONE.value
    for task in batch:
        name, step, key, status, cause = identity(task)
        is_quiet = status == done and cause == none and key is not None
        if is_quiet and name == f"{step}[{key}]":
            by_step[step].append(task)
        else:
            single.append(task)
    for some in by_step.values():
        if len(some) < least:
            single += some
    return single, [some for some in by_step.values() if len(some) >= least]


def packed(columns: Mapping[str, Sequence[Any]]) -> Pack:
    """Pack items that `divided` says make a pack.

    Args:
        columns: by field the values of all items in one order, without payloads; a field
            that is not there has its default.
    """
    given = [name for name in _VARYING if name in columns]
    first = {name: columns[name][0] for name in ("name", "step", "key", *given)}
    varying = {
        name: _compact(columns[name])
        for name in given
        if not _is_constant(columns[name])
    }
    pattern = TaskRecord(status=Status.DONE, **first)
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


def joined(packs: Sequence[Pack]) -> Pack:
    """Return the packs of one step as one."""
    first = packs[0]
    if len(packs) == 1:
        return first
    keys = list(chain.from_iterable(pack.keys for pack in packs))
    varying: dict[str, Sequence[Any]] = {}
    for field in _VARYING:
        value = getattr(first.pattern, field)
        if any(
            field in pack.varying or getattr(pack.pattern, field) != value
            for pack in packs
        ):
            every = chain.from_iterable(pack.each(field) for pack in packs)
            varying[field] = _compact(list(every))
    return Pack(first.pattern, keys, varying)
