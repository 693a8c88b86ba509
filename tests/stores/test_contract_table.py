"""`Store.table` gives a run what `Store.tasks` lists, packed or not, on every store."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from zlib import crc32

import pytest
from msgspec.structs import replace

from ptsflow.core.model import (
    Cause,
    Change,
    Status,
    TaskRecord,
    item_name,
    without_payloads,
)
from ptsflow.core.pack import LEAST
from ptsflow.core.packed import Tasks, listing, parts_of
from ptsflow.stores.base import Store
from ptsflow.stores.mongo import connection
from ptsflow.stores.sqlite import tasks as sqlite_tasks
from tests.stores.making import filled
from tests.stores.variants import variants

#: How many items of a step are done: more than one batch.
WIDE = 900
_MAY_BE_NONE = [
    name for name, kind in TaskRecord.__annotations__.items() if "None" in kind
]


@pytest.fixture
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the stores read some hundred tasks at once."""
    monkeypatch.setattr(sqlite_tasks, "_BATCH", 2 * LEAST)
    monkeypatch.setattr(connection, "_READ_AT_ONCE", 2 * LEAST)


def item(step: str, number: int, like: TaskRecord, **fields: object) -> TaskRecord:
    """Return an item that is done, but for `fields`."""
    own = {"name": item_name(step, f"{number}"), "step": step, "key": f"{number}"}
    quiet = {"status": Status.DONE, "cause": Cause.NONE, "position": number}
    return replace(like, **(own | quiet | fields))


def various(count: int) -> Iterator[TaskRecord]:
    """Yield records that differ in every field; at times one of the values is none."""
    for number in range(count):
        (like, *_) = variants(TaskRecord, number)
        name = _MAY_BE_NONE[number % len(_MAY_BE_NONE)]
        yield replace(like, **{name: None}) if number % 3 == 0 else like


def stored(store: Store, tasks: list[TaskRecord], *clients: str) -> str:
    """Return the uid of a container with these tasks, in whatever order they lie."""
    uid = filled(store, *clients)
    mixed = sorted(tasks, key=lambda task: crc32(task.name.encode()))
    store.commit(uid, [Change(None, task) for task in mixed], fence=None)
    return uid


def packed_of(tasks: Tasks) -> Counter[str]:
    """Return how many items of each step are packed."""
    return Counter({pack.step: len(pack) for pack in parts_of(tasks)[1]})


@pytest.mark.usefixtures("small_batches")
def test_a_table_has_every_field_of_every_task(store: Store, kind: str) -> None:
    (like, *_) = variants(TaskRecord)
    wide = [item("wide", n, like) for n, like in enumerate(various(WIDE))]
    same = [
        item("same", number, like, position=WIDE + number) for number in range(WIDE)
    ]
    uid = stored(store, wide + same, "of a client")

    table = store.table(uid)

    tasks = store.tasks(uid)
    assert tasks[1:] == [without_payloads(task) for task in wide + same]
    assert dict(table) == {task.name: task for task in tasks}
    assert list(listing(table)) == tasks
    for name in ("of a client", "wide[7]", f"same[{WIDE - 1}]"):
        assert table[name] == store.tasks(uid, [name])[0]
    packed = packed_of(table)
    if kind == "memory":
        assert not packed
    else:
        assert min(packed["wide"], packed["same"]) >= LEAST
        assert packed.total() > 2 * LEAST


def test_only_done_items_are_packed(store: Store, kind: str) -> None:
    (like, *_) = variants(TaskRecord)
    others: list[tuple[str, object]] = [
        *(("status", status) for status in Status if status is not Status.DONE),
        *(("cause", cause) for cause in Cause if cause is not Cause.NONE),
        ("name", "renamed"),
        ("step", "other"),
    ]
    wide = [item("wide", number, like) for number in range(LEAST)]
    few = [item("few", n, like, position=LEAST + n) for n in range(LEAST - 1)]
    odd = [
        replace(item("wide", number, like), **{field: value})
        for number, (field, value) in enumerate(others, 3 * LEAST)
    ]
    odd.append(item("wide", 4 * LEAST, like, key=None, name="wide[None]"))
    uid = stored(store, wide + few + odd)

    table = store.table(uid)

    single = (wide if kind == "memory" else []) + few + odd
    assert [task.name for task in parts_of(table)[0]] == [task.name for task in single]
    assert packed_of(table) == ({} if kind == "memory" else {"wide": LEAST})
    assert list(listing(table)) == store.tasks(uid)


def test_items_of_one_position_are_listed_by_name(store: Store) -> None:
    (like, *_) = variants(TaskRecord)
    wide = [item("wide", n, like, position=n // 2) for n in range(2 * LEAST)]
    uid = stored(store, wide)

    assert list(listing(store.table(uid))) == store.tasks(uid)
    assert list(store.table(uid)) == [task.name for task in store.tasks(uid)]


def test_a_table_of_an_absent_container_is_empty(store: Store) -> None:
    uid = filled(store, "one")
    store.delete(uid)

    assert not store.table(uid)
