"""The queue of containers that wait for a worker, as every store keeps it."""

from __future__ import annotations

from contextlib import closing

from msgspec.structs import replace

from ptsflow.core.work_queue import QueueEntry
from ptsflow.stores.base import Store
from tests.stores.making import LEASE, Ticker, held

NOW = 1_700_000_000_000
FEED = ["Feed"]


def submitted(store: Store, name: str, **fields: object) -> QueueEntry:
    """Make a container and put it into the queue."""
    record, _ = store.create(name)
    entry = QueueEntry(uid=record.uid, container=name, workflow="Feed", at=NOW)
    entry = replace(entry, **fields)
    store.queue.put(entry)
    return entry


def test_a_store_into_which_nobody_put_anything_has_an_empty_queue(
    store: Store,
) -> None:
    assert store.queue.due(FEED, NOW) == []
    assert not store.queue.remove("17")
    record, _ = store.create("feed")
    assert store.delete(record.uid)


def test_what_was_put_into_the_queue_is_there_until_it_is_removed(
    store: Store, other: Store
) -> None:
    entry = submitted(store, "a", by="vm:17", priority=-3, not_before=NOW)
    assert other.queue.due(FEED, NOW) == [entry]

    assert other.queue.remove(entry.uid)
    assert store.queue.due(FEED, NOW) == []
    assert not store.queue.remove(entry.uid)


def test_what_was_submitted_later_is_not_removed(store: Store) -> None:
    entry = submitted(store, "a")

    assert not store.queue.remove(entry.uid, until=NOW - 1)
    assert store.queue.due(FEED, NOW) == [entry]
    assert store.queue.remove(entry.uid, until=NOW)
    assert store.queue.due(FEED, NOW) == []


def test_a_container_is_in_the_queue_once_as_it_was_put_there_last(
    store: Store,
) -> None:
    first = submitted(store, "a")
    again = replace(first, priority=5, at=NOW + 1)
    store.queue.put(again)
    store.queue.put(again)

    assert store.queue.due(FEED, NOW) == [again]


def test_the_queue_is_ordered_by_priority_and_then_by_time(store: Store) -> None:
    late = submitted(store, "late", at=NOW + 9)
    early = submitted(store, "early", at=NOW + 1)
    low = submitted(store, "low", at=NOW, priority=-1)
    high = submitted(store, "high", at=NOW + 10, priority=2)
    twin = submitted(store, "twin", at=NOW + 9)

    assert store.queue.due(FEED, NOW) == [high, early, late, twin, low]
    assert store.queue.due(FEED, NOW, limit=2) == [high, early]


def test_what_is_not_to_be_begun_yet_and_other_workflows_are_left_out(
    store: Store,
) -> None:
    soon = submitted(store, "soon", not_before=NOW + 1)
    theirs = submitted(store, "theirs", workflow="os:system", at=NOW - 1)

    assert store.queue.due(FEED, NOW) == []
    assert store.queue.due(FEED, NOW + 1) == [soon]
    assert store.queue.due([], NOW + 1) == []
    assert store.queue.due(["os:system", "Feed"], NOW + 1, 1) == [theirs]


def test_a_container_that_is_deleted_leaves_the_queue(
    store: Store, clock: Ticker
) -> None:
    entry = submitted(store, "a")
    held(store, entry.uid)
    assert not store.delete(entry.uid)
    assert store.queue.due(FEED, NOW) == [entry]

    clock.now += LEASE
    assert store.delete(entry.uid)
    assert store.queue.due(FEED, NOW) == []
    assert store.create("a")[0].uid != entry.uid


def test_a_sibling_sees_the_same_queue(store: Store) -> None:
    with closing(store.sibling()) as sibling:
        entry = submitted(sibling, "a")
        assert store.queue.due(FEED, NOW) == [entry]
