"""What bodies logged and printed, on every kind of store."""

from __future__ import annotations

from collections.abc import Iterator
from threading import Thread

import pytest

from ptsflow.core.model import LEDGER_LENGTH, LogChunk, LogLine
from ptsflow.stores.base import LogStore, Store
from tests.stores.making import chunk, filled, held


@pytest.fixture
def logs(store: Store) -> Iterator[LogStore]:
    opened = store.logs()
    yield opened
    opened.close()


def texts(logs: LogStore, uid: str, **which: object) -> list[str]:
    chunks, _ = logs.read(uid, **which)  # type: ignore[arg-type] # Keywords of `read`.
    return [line.text for each in chunks for line in each.lines]


def test_lines_are_kept_as_they_were_put(store: Store, logs: LogStore) -> None:
    uid = filled(store)
    put = LogChunk(
        task="load[$a.b]",
        attempt=3,
        number=7,
        lines=(
            LogLine(at=1_700_000_000_123, level="WARNING", text="slow\t$host ☃\0"),
            LogLine(at=1_700_000_000_124, level="", text=""),
        ),
    )
    logs.put(uid, [put, chunk("two")])

    assert logs.read(uid)[0] == [put, chunk("two")]


def test_other_connections_see_them_at_once(
    store: Store, other: Store, logs: LogStore
) -> None:
    uid = filled(store)
    others = other.logs()
    logs.put(uid, [chunk("one")])
    others.put(uid, [chunk("two", number=1)])

    assert texts(logs, uid) == texts(others, uid) == ["one", "two"]
    others.close()


def test_where_nothing_was_put_nothing_is_read(store: Store, logs: LogStore) -> None:
    uid = filled(store)
    other = store.create("other")[0].uid
    assert logs.read(uid) == ([], None)
    logs.put(other, [chunk("one")])

    assert logs.read(uid) == ([], None)
    assert logs.read("nobody's") == ([], None)


def test_nothing_may_be_put(store: Store, logs: LogStore) -> None:
    uid = filled(store)
    logs.put(uid, [])

    assert logs.read(uid) == ([], None)


def test_tasks_and_attempts_are_read_by_themselves(
    store: Store, logs: LogStore
) -> None:
    uid = filled(store)
    for task, attempt in (("load", 1), ("unpack", 1), ("load", 2), ("unpack", 2)):
        logs.put(uid, [chunk(f"{task} {attempt}", task=task, attempt=attempt)])

    assert texts(logs, uid, task="load") == ["load 1", "load 2"]
    assert texts(logs, uid, task="load", attempt=2) == ["load 2"]
    assert texts(logs, uid, attempt=1) == ["load 1", "unpack 1"]
    assert texts(logs, uid, task="absent") == []


def test_a_mark_leads_on_to_what_was_put_since(store: Store, logs: LogStore) -> None:
    uid = filled(store)
    logs.put(uid, [chunk("one"), chunk("two", number=1)])
    _, mark = logs.read(uid)
    assert logs.read(uid, after=mark) == ([], mark)
    logs.put(uid, [chunk("three", number=2)])
    logs.put(uid, [chunk("four", task="unpack")])

    assert texts(logs, uid, after=mark) == ["three", "four"]
    assert texts(logs, uid, task="unpack", after=mark) == ["four"]
    found, last = logs.read(uid, after=mark)
    assert len(found) == 2
    assert logs.read(uid, after=last) == ([], last)


def test_of_many_chunks_those_that_were_put_last_are_returned(
    store: Store, logs: LogStore
) -> None:
    uid = filled(store)
    logs.put(uid, [chunk("one"), chunk("two", number=1)])
    _, mark = logs.read(uid, newest=1)
    logs.put(uid, [chunk("three", number=2), chunk("four", task="unpack")])

    assert texts(logs, uid, newest=0) == []
    assert texts(logs, uid, newest=3) == ["two", "three", "four"]
    assert texts(logs, uid, newest=9) == ["one", "two", "three", "four"]
    assert texts(logs, uid, task="load", newest=2) == ["two", "three"]
    assert texts(logs, uid, after=mark, newest=1) == ["four"]
    assert texts(logs, uid, after=mark) == ["three", "four"]


def test_a_mark_survives_the_connection_that_gave_it(
    store: Store, other: Store, logs: LogStore
) -> None:
    uid = filled(store)
    logs.put(uid, [chunk("one")])
    _, mark = logs.read(uid)
    logs.put(uid, [chunk("two", number=1)])
    others = other.logs()

    assert texts(others, uid, after=mark) == ["two"]
    others.close()


def test_a_mark_survives_what_it_marked(store: Store, logs: LogStore) -> None:
    uid = filled(store)
    logs.put(uid, [chunk("one"), chunk("two", number=1)])
    _, mark = logs.read(uid)
    logs.trim(uid, "load", 1, 0, 1)
    logs.put(uid, [chunk("three", number=2)])

    assert texts(logs, uid, after=mark) == ["three"]


@pytest.mark.parametrize("mark", ["", "x", "-1", "0", "1.", "1.x", "½", "9" * 40])
def test_a_mark_that_nobody_gave_breaks_nothing(
    store: Store, logs: LogStore, mark: str
) -> None:
    uid = filled(store)
    logs.put(uid, [chunk("one")])

    assert texts(logs, uid, after=mark) in ([], ["one"])


def test_lines_stay_in_the_order_in_which_they_were_put(
    store: Store, logs: LogStore
) -> None:
    uid = filled(store)
    for start in range(0, 300, 100):
        logs.put(uid, [chunk(str(i), number=i) for i in range(start, start + 100)])

    assert texts(logs, uid) == [str(i) for i in range(300)]


def test_the_middle_of_an_attempt_can_be_dropped(store: Store, logs: LogStore) -> None:
    uid = filled(store)
    other = store.create("other")[0].uid
    for each in (uid, other):
        for attempt in (1, 2):
            logs.put(
                each,
                [chunk(f"{attempt}.{i}", attempt=attempt, number=i) for i in range(5)],
            )
    logs.put(uid, [chunk("unpack", task="unpack", number=2)])
    logs.trim(uid, "load", 1, 1, 3)
    logs.trim(uid, "load", 3, 0, 9)

    assert texts(logs, uid, task="load", attempt=1) == ["1.0", "1.4"]
    assert len(texts(logs, uid, attempt=2)) == 5
    assert texts(logs, uid, task="unpack") == ["unpack"]
    assert len(texts(logs, other)) == 10


def test_only_the_last_attempts_of_a_task_are_kept(
    store: Store, logs: LogStore
) -> None:
    uid = filled(store)
    other = store.create("other")[0].uid
    for where, task in ((uid, "load"), (uid, "unpack"), (other, "load")):
        for attempt in (1, 2, 3):
            logs.put(where, [chunk(str(attempt), task=task, attempt=attempt)])
    logs.put(uid, [chunk("new", attempt=LEDGER_LENGTH + 2)])

    assert texts(logs, uid, task="load") == ["3", "new"]
    assert texts(logs, uid, task="unpack") == ["1", "2", "3"]
    assert texts(logs, other) == ["1", "2", "3"]


def test_the_lines_of_a_container_go_with_it(
    store: Store, other: Store, logs: LogStore
) -> None:
    uid = filled(store)
    kept = store.create("other")[0].uid
    logs.put(uid, [chunk("one")])
    logs.put(kept, [chunk("two")])

    assert other.delete(uid)
    assert texts(logs, uid) == []
    assert texts(logs, kept) == ["two"]
    assert texts(logs, filled(store)) == []


def test_a_container_that_is_held_keeps_its_lines(store: Store, logs: LogStore) -> None:
    uid = filled(store)
    held(store, uid)
    logs.put(uid, [chunk("one")])

    assert not store.delete(uid)
    assert texts(logs, uid) == ["one"]


def test_a_container_can_be_forgotten(store: Store, logs: LogStore) -> None:
    uid = filled(store)
    kept = store.create("other")[0].uid
    logs.forget(uid)
    logs.put(uid, [chunk("one")])
    logs.put(kept, [chunk("two")])
    logs.forget(uid)

    assert logs.read(uid) == ([], None)
    assert texts(logs, kept) == ["two"]


def test_lines_are_put_from_another_thread(store: Store) -> None:
    uid = filled(store)
    logs = store.logs()

    def put() -> None:
        for number in range(20):
            logs.put(uid, [chunk(str(number), number=number)])

    writer = Thread(target=put)
    writer.start()
    for name in range(20):
        store.create(f"c{name}")
    writer.join()

    assert texts(logs, uid) == [str(number) for number in range(20)]
    logs.close()
    logs.close()
