"""What can be read of a store some of whose rows are damaged: all that is not damaged.

Only screens read so. A run refuses to go on in a container that has a damaged task.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Any, cast

from ptsflow.client.looking import look_at
from ptsflow.core.insight import Glance, Spans
from ptsflow.core.model import ContainerRecord, Status, Tally, TaskRecord
from ptsflow.display.look import Look
from ptsflow.errors import StoreDamaged
from ptsflow.stores.base import ALL, Store
from ptsflow.stores.looks import Order
from ptsflow.stores.memory import looks
from ptsflow.stores.memory.tasks import Shelf


class PartialLook(Look, frozen=True, kw_only=True, dict=True):
    """A look at a container that has damaged tasks: they are left out."""

    #: What is said of each damaged task.
    damaged: Sequence[str]
    #: The container with the tasks that could be read.
    shelf: Shelf


class SoundReads:
    """Reads a store as it is but for one container, of which damaged tasks are left out.

    Args:
        store: the store.
        shelf: the container with the tasks that could be read.
    """

    def __init__(self, store: Store, shelf: Shelf) -> None:
        self._store, self._shelf = store, shelf

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def tasks(
        self, uid: str, names: Iterable[str] | None = None, *, payloads: bool = False
    ) -> list[TaskRecord]:
        """Return all sound tasks of the container, or those of `names` that exist."""
        if names is None:
            return self._shelf.in_order()
        return self._store.tasks(uid, names, payloads=payloads)

    def glance(self, _uid: str, active: int = 50, failed: int = 50) -> Glance:
        """Return what a screen shows of the container."""
        return looks.glance(self._shelf, active, failed)

    def page(  # noqa: PLR0913 - as stores have it
        self,
        _uid: str,
        step: str | None = None,
        status: Status | None = None,
        part: str | None = None,
        *,
        order: Order = "position",
        offset: int = 0,
        limit: int = 200,
        total: int | None = None,
    ) -> tuple[list[TaskRecord], int]:
        """Return some tasks of the container, and how many there are in all."""
        found = looks.page(self._shelf, step, status, part, order)
        count = len(found) if total is None else total
        return found[offset : offset + limit], count

    def origins(self, _uid: str, steps: Collection[str]) -> Sequence[TaskRecord]:
        """Return the tasks of steps, with the fields of `ORIGIN` alone."""
        return looks.origins(self._shelf, steps)

    def spans(self, _uid: str, step: str) -> Spans:
        """Return when the last attempts of a step's tasks ran, as far as they began."""
        return looks.spans(self._shelf, step)


def readable(store: Store, look: object) -> Store:
    """Return a store from which all is read that a look shows."""
    if not isinstance(look, PartialLook):
        return store
    return cast("Store", SoundReads(store, look.shelf))


def damage_of(look: Look) -> Sequence[str]:
    """Return what is said of each damaged task of a container."""
    return look.damaged if isinstance(look, PartialLook) else ()


def look_at_what_is_sound(
    store: Store, record: ContainerRecord, items: int = 50
) -> Look:
    """Return how a container stands; where tasks are damaged a `PartialLook`."""
    try:
        return look_at(store, record, items)
    except StoreDamaged as error:
        tasks, damaged = _sound_tasks(store, record.uid)
        shelf = Shelf(record)
        shelf.tasks = {task.name: task for task in tasks}
        look = look_at(cast("Store", SoundReads(store, shelf)), record, items)
        fields = {name: getattr(look, name) for name in Look.__struct_fields__}
        return PartialLook(**fields, damaged=damaged or [str(error)], shelf=shelf)


def _sound_tasks(store: Store, uid: str) -> tuple[list[TaskRecord], list[str]]:
    """Return the tasks that can be read, and what is said of the others."""
    damaged: list[str] = []
    return _read(store, uid, store.names(uid), damaged), damaged


def _read(
    store: Store, uid: str, names: Sequence[str], damaged: list[str]
) -> list[TaskRecord]:
    """Read all at once; where one of them is damaged, each half by itself."""
    try:
        return store.tasks(uid, names) if names else []
    except StoreDamaged as error:
        if len(names) == 1:
            damaged.append(str(error))
            return []
        half = len(names) // 2
        first = _read(store, uid, names[:half], damaged)
        return first + _read(store, uid, names[half:], damaged)


def sound_tallies(
    store: Store, uids: Iterable[str]
) -> tuple[dict[str, Sequence[Tally]], dict[str, str]]:
    """Return the tasks of containers counted, and what is said of those with damaged tasks.

    Args:
        store: where they are.
        uids: the containers; one with a damaged task is only in the second mapping.
    """
    uids = list(uids)
    try:
        return dict(store.tallies(uids)) if uids else {}, {}
    except StoreDamaged as error:
        if len(uids) == 1:
            return {}, {uids[0]: str(error)}
        half = len(uids) // 2
        found, damaged = sound_tallies(store, uids[:half])
        more, too = sound_tallies(store, uids[half:])
        return found | more, damaged | too


def sound_failed(store: Store, record: ContainerRecord, limit: int) -> list[TaskRecord]:
    """Return the failed tasks of a container, as far as they can be read."""
    look = look_at_what_is_sound(store, record)
    found, _ = readable(store, look).page(record.uid, status=Status.FAILED, limit=limit)
    return found


def sound_containers(store: Store, damaged: list[str]) -> Sequence[ContainerRecord]:
    """Return all containers that can be read, the newest last.

    Args:
        store: where they are.
        damaged: what is said of each of the others is added to it.
    """
    try:
        return store.containers()
    except StoreDamaged:
        return store.recent(ALL, damaged=damaged)[::-1]
