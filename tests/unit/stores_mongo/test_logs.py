from __future__ import annotations

import pytest
from bson import ObjectId

from ptsflow.core.model import LEDGER_LENGTH, LogChunk
from ptsflow.errors import StoreDamaged
from ptsflow.stores.mongo.logs import MongoLogs
from ptsflow.stores.mongo.store import MongoStore
from tests.stores.making import chunk
from tests.unit.stores_mongo.conftest import Collections

UID = str(ObjectId())


@pytest.fixture
def logs(mocked: MongoStore) -> MongoLogs:
    return mocked.logs()


def texts(chunks: list[LogChunk]) -> list[str]:
    return [line.text for each in chunks for line in each.lines]


def test_chunks_are_read_in_the_order_in_which_they_were_put(logs: MongoLogs) -> None:
    logs.put(UID, [chunk("one"), chunk("two", number=1)])
    logs.put(UID, [chunk("three", task="a")])

    assert texts(logs.read(UID)[0]) == ["one", "two", "three"]


def test_what_was_put_after_a_mark_is_read_from_there_on(logs: MongoLogs) -> None:
    logs.put(UID, [chunk("one")])
    mark = logs.read(UID)[1]
    assert logs.read(UID, after=mark) == ([], mark)
    logs.put(UID, [chunk("two", number=1)])

    assert texts(logs.read(UID, after=mark)[0]) == ["two"]
    assert texts(logs.read(UID, after="no mark")[0]) == ["one", "two"]


def test_chunks_of_one_task_or_one_attempt_can_be_asked_for(logs: MongoLogs) -> None:
    logs.put(UID, [chunk("a1", task="a"), chunk("a2", task="a", attempt=2)])
    logs.put(UID, [chunk("b1", task="b")])
    logs.put(str(ObjectId()), [chunk("other", task="a")])

    assert texts(logs.read(UID, task="a")[0]) == ["a1", "a2"]
    assert texts(logs.read(UID, task="a", attempt=2)[0]) == ["a2"]
    assert texts(logs.read(UID, attempt=1)[0]) == ["a1", "b1"]


def test_the_middle_of_an_attempt_is_trimmed_and_nothing_else(logs: MongoLogs) -> None:
    numbers = range(5)
    logs.put(UID, [chunk(str(number), number=number) for number in numbers])
    logs.put(UID, [chunk("another attempt", attempt=2, number=2)])
    logs.put(UID, [chunk("another task", task="a", number=2)])
    logs.trim(UID, "load", 1, 1, 3)

    kept = ["0", "4", "another attempt", "another task"]
    assert texts(logs.read(UID)[0]) == kept


def test_attempts_that_the_ledger_forgot_lose_their_lines(logs: MongoLogs) -> None:
    logs.put(UID, [chunk("1"), chunk("2", attempt=2), chunk("a", task="a")])
    logs.put(UID, [chunk("last", attempt=LEDGER_LENGTH + 1)])

    assert texts(logs.read(UID)[0]) == ["2", "a", "last"]


def test_a_container_is_forgotten_with_all_its_lines(logs: MongoLogs) -> None:
    other = str(ObjectId())
    logs.put(UID, [chunk("one")])
    logs.put(other, [chunk("two")])
    logs.forget(UID)

    assert logs.read(UID) == ([], None)
    assert texts(logs.read(other)[0]) == ["two"]


def test_lines_that_ptsflow_never_writes_are_damaged(
    logs: MongoLogs, database: Collections
) -> None:
    logs.put(UID, [chunk("one")])
    database("ptsflow_logs").update_one({}, {"$set": {"lines": "[[1"}})

    with pytest.raises(StoreDamaged):
        logs.read(UID)
