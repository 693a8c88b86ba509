"""What is true of the store in MongoDB alone, on a server that works."""

from __future__ import annotations

import gc
import os
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import mongoengine
import pytest
from bson import ObjectId
from msgspec.structs import replace
from pymongo import monitoring
from pymongo.database import Database
from pymongo.errors import WriteError

from ptsflow.core.model import ContainerRecord, Progress, Status, Stop, TaskRecord
from ptsflow.errors import (
    Conflict,
    ContainerBusy,
    ContainerNotFound,
    LeaseLost,
    StoreDamaged,
    StoreError,
    StoreFull,
)
from ptsflow.stores.mongo.changes import Writer
from ptsflow.stores.mongo.documents import (
    INLINE_LIMIT,
    ContainerDocument,
    TaskDocument,
)
from ptsflow.stores.mongo.store import MongoStore
from tests.stores.making import (
    LEASE,
    chunk,
    drop,
    ended,
    filled,
    held,
    names,
    new,
    one,
    owner,
    swap,
)
from tests.stores.mongo_fixtures import (
    Raw,
    listening,
    new_database_url,
    raw_database,
)
from tests.support.wording import THEIRS, Message

pytestmark = pytest.mark.mongod


@pytest.fixture(params=["mongod_url", "mongod_rs_url"])
def server(request: pytest.FixtureRequest) -> str:
    return str(request.getfixturevalue(request.param))


@pytest.fixture
def database(server: str) -> Iterator[Database[Raw]]:
    """Open a database of this test's own, behind the store's back."""
    with raw_database(new_database_url(server)) as opened:
        yield opened


@pytest.fixture
def url(server: str, database: Database[Raw]) -> str:
    """Name that database; it is dropped after the test."""
    address, _, query = server.partition("?")
    return f"{address.rstrip('/')}/{database.name}?{query}"


@pytest.fixture
def store(url: str) -> Iterator[MongoStore]:
    """Open a store that goes by the server's clock."""
    opened = MongoStore(url)
    yield opened
    opened.close()


@pytest.fixture
def other(store: MongoStore) -> Iterator[MongoStore]:
    sibling = store.sibling()
    yield sibling
    sibling.close()


# -- what it promises of every write ---------------------------------------------


@pytest.mark.parametrize(
    "options",
    [
        "",
        "w=0",
        "w=1",
        "w=1&journal=false&wtimeoutMS=1",
        "journal=false",
        "retryWrites=false",
        "readPreference=secondaryPreferred&readConcernLevel=available",
    ],
)
def test_every_write_is_journaled_by_a_majority_whatever_the_url_says(
    server: str, options: str
) -> None:
    url = new_database_url(server, options)
    with raw_database(url), listening() as ear:
        store = MongoStore(url)
        uid = filled(store, "a", "b", "c")
        record = held(store, uid)
        store.renew(uid, record.fence, LEASE)
        store.save(record)
        big = f'"{"x" * INLINE_LIMIT}"'
        a, b, _ = store.tasks(uid)
        running = replace(a, version=2, fence=1, status=Status.RUNNING, result=big)
        store.commit(uid, [swap(a, fence=1, **_given(running)), drop(b)], fence=1)
        store.touch(uid, [Progress("a", 5.0, "")], fence=1)
        store.ask_to_stop(uid, 1, Stop.NOW)
        store.release(record)
        store.delete(uid)
        store.close()

    writes = [command for command in ear.commands if "writeConcern" in command]
    assert {"insert", "update", "delete", "findAndModify", "createIndexes"} <= {
        next(iter(command)) for command in writes
    }
    reads = {"find", "getMore", "aggregate"}
    for command in ear.commands:
        if next(iter(command)) not in reads:
            assert command["writeConcern"]["w"] == "majority"
            assert command["writeConcern"]["j"] is True
        else:
            assert command.get("$readPreference") in (None, {"mode": "primary"})
            assert command.get("readConcern") in (None, {})


def _given(task: TaskRecord) -> dict[str, Any]:
    return {"status": task.status, "result": task.result}


def test_finishing_one_task_and_starting_the_next_is_one_round_trip(
    url: str,
) -> None:
    with listening() as ear:
        store = MongoStore(url)
        uid = filled(store, "a", "b")
        held(store, uid)
        a, b = store.tasks(uid)
        ear.commands.clear()
        store.commit(
            uid,
            [
                swap(a, fence=1, status=Status.DONE, result="1"),
                swap(b, fence=1, status=Status.RUNNING),
            ],
            fence=1,
        )
        store.close()

    assert ear.names == ["update"]
    assert len(ear.commands[0]["updates"]) == 2


def test_a_batch_that_no_task_guards_is_a_write_between_two_looks_at_the_lease(
    url: str,
) -> None:
    with listening() as ear:
        store = MongoStore(url)
        uid = filled(store, "a")
        held(store, uid)
        finish = swap(one(store, uid, "a"), fence=1, status=Status.DONE)
        store.commit(uid, [finish], fence=1)
        done = one(store, uid, "a")
        ear.commands.clear()
        store.commit(uid, [swap(done, status=Status.PENDING)], fence=1)
        assert ear.names == ["find", "update", "find"]
        ear.commands.clear()
        store.commit(uid, [new(f"t{i}", fence=1) for i in range(100)], fence=1)
        assert ear.names == ["findAndModify", "insert", "find"]
        store.close()


def test_an_attempt_is_entered_by_the_very_update_that_ends_it(url: str) -> None:
    with listening() as ear:
        store = MongoStore(url)
        uid = filled(store, "a", "b", "c", "d")
        held(store, uid)
        batch = [swap(task, fence=1) for task in store.tasks(uid)]
        ear.commands.clear()
        first = [ended(change, 1) for change in batch[:3]]
        store.commit(uid, [*first, ended(batch[3], 2)], fence=1)
        store.close()

    assert ear.names == ["update"]
    alike, other = ear.commands[0]["updates"]
    assert alike["q"]["name"] == {"$in": ["a", "b", "c"]}
    assert other["q"]["name"] == "d"
    pushed = alike["u"]["$push"]["ledger"]
    assert pushed["$slice"] == -20
    assert [entry["number"] for entry in pushed["$each"]] == [1]


def test_no_task_is_read_with_its_ledger(url: str) -> None:
    with listening() as ear:
        store = MongoStore(url)
        uid = filled(store, "a")
        ear.commands.clear()
        store.tasks(uid)
        store.tasks(uid, payloads=True)
        store.next_open(uid)
        store.close()

    assert [command["projection"]["ledger"] for command in ear.commands] == [0, 0, 0]


def test_a_ledger_that_nobody_wrote_is_damage_of_its_own(
    url: str, database: Database[Raw]
) -> None:
    store = MongoStore(url)
    uid = filled(store, "a")
    store.commit(uid, [ended(swap(one(store, uid, "a")), 1)], fence=None)
    (raw,) = database["ptsflow_tasks"].find()
    assert raw["ledger"][0]["began_at"].tzinfo is not None
    database["ptsflow_tasks"].update_one({}, {"$set": {"ledger": [{"number": "x"}]}})

    assert one(store, uid, "a", payloads=True).version == 2
    assert store.next_open(uid) is not None
    with pytest.raises(StoreDamaged) as caught:
        store.attempts(uid, "a")
    assert str(caught.value) == Message(
        "expected the ledger of task 'a' in MongoDB as ptsflow writes it, found "
        f"something else: {THEIRS}; restore it from a backup"
    )
    store.close()


def test_looking_for_a_word_reads_nothing_else(url: str) -> None:
    with listening() as ear:
        store = MongoStore(url)
        uid = filled(store)
        held(store, uid)
        ear.commands.clear()
        store.stop_asked(uid, 1)
        store.close()

    (find,) = ear.commands
    assert find["projection"] == {"name": True, "stop_asked": True}


def test_a_word_for_the_holder_that_nobody_wrote_is_damage(
    store: MongoStore, database: Database[Raw]
) -> None:
    uid = filled(store)
    held(store, uid)
    database["ptsflow_containers"].update_one({}, {"$set": {"stop_asked": "later"}})

    with pytest.raises(StoreDamaged) as caught:
        store.stop_asked(uid, 1)
    assert str(caught.value) == Message(
        "expected container 'feed' in MongoDB as ptsflow writes it, found something "
        f"else: {THEIRS}; restore it from a backup"
    )


def test_lines_wait_for_the_primary_alone(url: str) -> None:
    with listening() as ear:
        store = MongoStore(url)
        uid = filled(store)
        logs = store.logs()
        ear.commands.clear()
        logs.put(uid, [chunk("one"), chunk("two", number=1)])
        logs.put(uid, [chunk("three", attempt=21)])
        logs.close()
        store.close()

    assert ear.names == ["createIndexes"] * 2 + ["insert", "insert", "delete"]
    for command in ear.commands:
        assert command["writeConcern"] == {"w": 1, "j": False}


def test_lines_are_put_in_order_by_the_server(
    store: MongoStore, database: Database[Raw]
) -> None:
    uid = filled(store)
    logs = store.logs()
    logs.put(uid, [chunk("one")])
    # As if the clock of who put it had been ahead.
    (raw,) = database["ptsflow_logs"].find()
    database["ptsflow_logs"].delete_one({})
    database["ptsflow_logs"].insert_one(raw | {"_id": ObjectId(b"\xff" * 12)})
    _, mark = logs.read(uid)
    logs.put(uid, [chunk("two", number=1)])

    assert [each.number for each in logs.read(uid)[0]] == [0, 1]
    assert [each.number for each in logs.read(uid, after=mark)[0]] == [1]
    logs.close()


def test_lines_that_nobody_put_are_damage(
    store: MongoStore, database: Database[Raw]
) -> None:
    uid = filled(store)
    logs = store.logs()
    logs.put(uid, [chunk("one")])
    database["ptsflow_logs"].update_one({}, {"$set": {"lines": "[[1"}})

    with pytest.raises(StoreDamaged) as caught:
        logs.read(uid)
    assert str(caught.value) == Message(
        "expected log lines of task 'load' in MongoDB as ptsflow writes it, found "
        f"something else: {THEIRS}; restore it from a backup"
    )
    logs.close()


class Meddler(monitoring.CommandListener):
    """Does something once, just before tasks are inserted."""

    def __init__(self, act: Callable[[], object]) -> None:
        self.act: Callable[[], object] | None = act

    def started(self, event: monitoring.CommandStartedEvent) -> None:
        if event.command.get("insert") == "ptsflow_tasks" and self.act is not None:
            act, self.act = self.act, None
            act()

    def succeeded(self, event: monitoring.CommandSucceededEvent) -> None:
        """Do nothing."""

    def failed(self, event: monitoring.CommandFailedEvent) -> None:
        """Do nothing."""


@pytest.mark.parametrize("by_runner", [False, True])
def test_an_insert_that_meets_a_deletion_leaves_nothing(
    store: MongoStore, url: str, database: Database[Raw], *, by_runner: bool
) -> None:
    uid = filled(store, "a")
    fence = held(store, uid).fence if by_runner else None

    def delete() -> None:
        database["ptsflow_containers"].update_one({}, {"$set": {"owner": None}})
        assert store.delete(uid)

    meddler = Meddler(delete)
    listeners = monitoring._LISTENERS.command_listeners
    monitoring.register(meddler)
    writer = MongoStore(url)
    listeners.remove(meddler)
    batch = [new("b", fence=fence or 0, result=f'"{"x" * INLINE_LIMIT}"')]

    with pytest.raises(ContainerNotFound):
        writer.commit(uid, batch, fence=fence)
    assert meddler.act is None
    assert database["ptsflow_tasks"].count_documents({}) == 0
    assert database["ptsflow_payloads"].count_documents({}) == 0
    writer.close()


def test_only_what_changed_is_written_and_progress(url: str) -> None:
    with listening() as ear:
        store = MongoStore(url)
        uid = filled(store, "a")
        held(store, uid)
        ear.commands.clear()
        store.commit(uid, [swap(one(store, uid, "a"), fence=1, attempt=1)], fence=1)
        store.close()

    (update,) = ear.commands[-1]["updates"]
    assert update["u"] == {
        "$set": {
            "version": 2,
            "fence": 1,
            "attempt": 1,
            "percentage_complete": 0.0,
            "status_text": "",
        }
    }


# -- the server's clock -------------------------------------------------------------


@pytest.mark.parametrize("hours", [-24, -1, 1, 24])
def test_a_client_with_a_wrong_clock_neither_steals_nor_outlives_a_lease(
    store: MongoStore, other: MongoStore, hours: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    uid = filled(store, "one")
    held(store, uid, "right")
    began = store.now()
    _set_clock(monkeypatch, hours)

    assert other.claim(uid, owner("wrong"), LEASE) is None
    assert other.renew(uid, 1, 300)
    record = other.container("feed")
    assert record is not None
    assert record.leased_till is not None
    assert 300 <= record.leased_till - began < 5_000
    with pytest.raises(ContainerBusy):
        other.commit(uid, [new("two")], fence=None)
    assert not other.delete(uid)
    _until(lambda: store.claim(uid, owner("next"), 300) is not None)
    _until(lambda: other.delete(uid))


def test_containers_are_dated_by_the_server(
    store: MongoStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = store.now()
    _set_clock(monkeypatch, -24)
    container, _ = store.create("feed")

    assert before <= container.created_at <= store.now()
    assert abs(before - time.clock_gettime_ns(time.CLOCK_REALTIME) // 10**6) < 5_000


def _set_clock(monkeypatch: pytest.MonkeyPatch, hours: int) -> None:
    off = hours * 3_600_000_000_000
    right = time.time_ns
    monkeypatch.setattr(time, "time_ns", lambda: right() + off)
    monkeypatch.setattr(time, "time", lambda: (right() + off) / 1e9)


def _until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline


# -- fencing ------------------------------------------------------------------------


def test_a_runner_that_lost_its_lease_is_refused_whatever_it_has_read_since(
    store: MongoStore, other: MongoStore
) -> None:
    uid = filled(store, "open", "done")
    held(store, uid, "a")
    finish = swap(one(store, uid, "done"), fence=1, status=Status.DONE)
    store.commit(uid, [finish], fence=1)
    stale = {task.name: task for task in store.tasks(uid)}
    assert other.claim(uid, owner("b"), LEASE, dead=1) is not None
    before = store.tasks(uid)

    for tasks in (stale, {task.name: task for task in store.tasks(uid)}):
        for change in (
            swap(tasks["open"], fence=1),
            swap(tasks["done"], fence=1, status=Status.PENDING),
            drop(tasks["open"]),
            drop(tasks["done"]),
            new("new", fence=1),
        ):
            with pytest.raises(LeaseLost):
                store.commit(uid, [change], fence=1)
            with pytest.raises(LeaseLost):
                store.commit(uid, [change, swap(tasks["open"], fence=1)], fence=1)
    assert store.tasks(uid) == before


def test_a_stale_runner_is_refused_by_the_task_alone(
    url: str,
) -> None:
    with listening() as ear:
        store = MongoStore(url)
        uid = filled(store, "one")
        held(store, uid, "a")
        stale = one(store, uid, "one")
        store.claim(uid, owner("b"), LEASE, dead=1)
        ear.commands.clear()
        with pytest.raises(LeaseLost):
            store.commit(uid, [swap(stale, fence=1)], fence=1)
        store.close()

    # The write came first and matched nothing; only then did it ask why.
    assert ear.names[0] == "update"
    assert ear.names[1:] == ["find", "find"]


def test_progress_of_a_stale_runner_is_refused(
    store: MongoStore, other: MongoStore
) -> None:
    uid = filled(store, "one")
    held(store, uid, "a")
    start = swap(one(store, uid, "one"), fence=1, status=Status.RUNNING)
    store.commit(uid, [start], fence=1)
    other.claim(uid, owner("b"), LEASE, dead=1)

    with pytest.raises(LeaseLost):
        store.touch(uid, [Progress("one", 99.0, "late")], fence=1)
    assert one(store, uid, "one").percentage_complete == 0


def test_a_claim_that_died_before_it_stamped_the_tasks_is_made_good_by_the_next(
    store: MongoStore, database: Database[Raw]
) -> None:
    uid = filled(store, "one")
    held(store, uid, "a")
    stale = one(store, uid, "one")
    database["ptsflow_containers"].update_one({}, {"$inc": {"fence": 1}})
    third = store.claim(uid, owner("c"), LEASE, dead=2)

    assert third is not None
    with pytest.raises(LeaseLost):
        store.commit(uid, [swap(stale, fence=1)], fence=1)
    store.commit(uid, [swap(stale, fence=3)], fence=3)
    assert one(store, uid, "one").version == 2


def test_a_task_that_a_client_added_during_the_claim_can_be_run(
    store: MongoStore, database: Database[Raw]
) -> None:
    uid = filled(store, "one")
    held(store, uid)
    database["ptsflow_tasks"].update_one({}, {"$set": {"held": None}})
    store.commit(
        uid, [swap(one(store, uid, "one"), fence=1, status=Status.RUNNING)], fence=1
    )
    store.touch(uid, [Progress("one", 5.0, "")], fence=1)

    assert one(store, uid, "one").percentage_complete == 5.0


def test_a_client_that_read_before_a_claim_cannot_write_after_it(
    store: MongoStore, other: MongoStore
) -> None:
    uid = filled(store, "one")
    task = one(store, uid, "one")
    held(store, uid)

    with pytest.raises(ContainerBusy):
        other.commit(uid, [swap(task)], fence=None)
    assert one(store, uid, "one") == task


def test_a_look_at_the_lease_is_no_leave_to_write_after_the_next_claim(
    store: MongoStore,
) -> None:
    uid = filled(store, "one")
    task = one(store, uid, "one")
    held(store, uid, "a")
    store.claim(uid, owner("b"), LEASE, dead=1)

    # What writers do who looked at the container before these claims.
    for writer, seen in ((Writer(None, ObjectId()), 0), (Writer(1), 1)):
        assert not store._tasks.swap(
            ObjectId(uid), [swap(task)], writer, seen, strict=False
        )
    assert one(store, uid, "one") == task


# -- races --------------------------------------------------------------------------

_CROWD = 8


def test_of_many_makers_exactly_one_is_told_that_it_made_the_container(
    store: MongoStore,
) -> None:
    answers = _at_once(store, lambda each, _: each.create("feed"))

    assert len({record.uid for record, _ in answers}) == 1
    assert sorted(is_new for _, is_new in answers) == [False] * (_CROWD - 1) + [True]


def test_of_many_claims_exactly_one_wins(store: MongoStore) -> None:
    uid = filled(store, "one")
    won = _at_once(store, lambda each, i: each.claim(uid, owner(str(i)), LEASE))

    (record,) = [claimed for claimed in won if claimed is not None]
    assert record.fence == 1
    assert store.container("feed") == record


def test_of_many_equal_swaps_by_clients_exactly_one_wins(store: MongoStore) -> None:
    uid = filled(store, "one")
    change = swap(one(store, uid, "one"), invoke_count=1, leased_till=5)
    outcomes = _at_once(store, lambda each, _: _outcome(each, uid, change))

    assert sorted(outcomes) == ["conflict"] * (_CROWD - 1) + ["made"]


def test_of_many_equal_inserts_by_clients_exactly_one_wins(store: MongoStore) -> None:
    uid = filled(store)
    outcomes = _at_once(store, lambda each, _: _outcome(each, uid, new("one")))

    assert sorted(outcomes) == ["conflict"] * (_CROWD - 1) + ["made"]


def test_tasks_added_at_once_get_positions_of_their_own(store: MongoStore) -> None:
    uid = filled(store)

    def add_five(each: MongoStore, i: int) -> None:
        for n in range(5):
            each.commit(uid, [new(f"{i}.{n}")], fence=None)

    _at_once(store, add_five)

    tasks = store.tasks(uid)
    assert len({task.position for task in tasks}) == len(tasks) == 5 * _CROWD
    for i in range(_CROWD):
        mine = [task.name for task in tasks if task.name.startswith(f"{i}.")]
        assert mine == [f"{i}.{n}" for n in range(5)]


def _outcome(store: MongoStore, uid: str, change: Any) -> str:
    try:
        store.commit(uid, [change], fence=None)
    except Conflict:
        return "conflict"
    return "made"


def _at_once(store: MongoStore, call: Callable[[MongoStore, int], Any]) -> list[Any]:
    """Return the answers of a crowd that calls at the same moment."""
    gate = threading.Barrier(_CROWD)
    answers: list[Any] = []

    def run(i: int) -> None:
        sibling = store.sibling()
        gate.wait()
        answers.append(call(sibling, i))
        sibling.close()

    threads = [threading.Thread(target=run, args=(i,)) for i in range(_CROWD)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return answers


# -- large payloads --------------------------------------------------------------------


def _large(letter: str) -> str:
    return f'"{letter * INLINE_LIMIT}"'


def test_a_payload_is_kept_apart_where_it_is_over_one_mib(
    store: MongoStore, database: Database[Raw]
) -> None:
    uid = filled(store)
    fits = f'"{"x" * (INLINE_LIMIT - 2)}"'
    store.commit(
        uid,
        [new("one", task_data=fits, result=_large("x"), processing_data='"é"')],
        fence=None,
    )

    (raw,) = database["ptsflow_tasks"].find()
    assert (raw["task_data"], raw["processing_data"]) == (fits, '"é"')
    (payload,) = database["ptsflow_payloads"].find()
    assert payload == {
        "_id": raw["result"],
        "container": ObjectId(uid),
        "text": _large("x"),
    }
    assert one(store, uid, "one", payloads=True).result == _large("x")
    next_one = store.next_open(uid)
    assert next_one is not None
    assert next_one.result == _large("x")


@pytest.mark.parametrize("text", ["é" * (INLINE_LIMIT // 2 + 1), "x" * INLINE_LIMIT])
def test_the_size_of_a_payload_is_measured_in_bytes(
    store: MongoStore, database: Database[Raw], text: str
) -> None:
    uid = filled(store)
    store.commit(uid, [new("one", result=text)], fence=None)

    apart = database["ptsflow_payloads"].count_documents({})
    assert apart == (len(text.encode()) > INLINE_LIMIT)


def test_a_replaced_payload_does_not_stay(
    store: MongoStore, database: Database[Raw]
) -> None:
    uid = filled(store)
    payloads = database["ptsflow_payloads"]
    store.commit(uid, [new("one", processing_data=_large("a"))], fence=None)
    blind = one(store, uid, "one")
    store.commit(uid, [swap(blind, processing_data=_large("b"))], fence=None)
    assert [each["text"] for each in payloads.find()] == [_large("b")]
    held(store, uid)
    seen = one(store, uid, "one", payloads=True)
    store.commit(uid, [swap(seen, fence=1, processing_data=_large("c"))], fence=1)
    assert [each["text"] for each in payloads.find()] == [_large("c")]
    seen = one(store, uid, "one", payloads=True)
    store.commit(uid, [swap(seen, processing_data="1", name="two")], fence=1)
    assert payloads.count_documents({}) == 0


def test_the_payload_of_a_refused_swap_does_not_stay(
    store: MongoStore, database: Database[Raw]
) -> None:
    uid = filled(store)
    store.commit(uid, [new("one", result=_large("a"))], fence=None)
    stale = replace(one(store, uid, "one"), version=7)
    with pytest.raises(Conflict):
        store.commit(uid, [swap(stale, result=_large("b"))], fence=None)

    assert [e["text"] for e in database["ptsflow_payloads"].find()] == [_large("a")]


def test_deleted_tasks_and_containers_take_their_payloads_along(
    store: MongoStore, database: Database[Raw]
) -> None:
    uid = filled(store)
    payloads = database["ptsflow_payloads"]
    both = [new("one", result=_large("a")), new("two", result=_large("b"))]
    store.commit(uid, both, fence=None)
    store.commit(uid, [drop(one(store, uid, "one"))], fence=None)
    assert [each["text"] for each in payloads.find()] == [_large("b")]
    store.delete(uid)

    assert payloads.count_documents({}) == 0


def test_a_task_that_was_swapped_before_its_payload_was_read_is_read_again(
    store: MongoStore, database: Database[Raw]
) -> None:
    uid = filled(store)
    first = [new("one", result=_large("a")), new("two", result=_large("c"))]
    store.commit(uid, first, fence=None)
    raws = list(database["ptsflow_tasks"].find())
    store.commit(uid, [swap(one(store, uid, "one"), result=_large("b"))], fence=None)
    store.commit(uid, [drop(one(store, uid, "two"))], fence=None)

    (found,) = store._tasks._with_payloads(raws)
    assert (found["name"], found["result"]) == ("one", _large("b"))


def test_a_task_whose_payload_is_missing_is_damaged(
    store: MongoStore, database: Database[Raw]
) -> None:
    uid = filled(store)
    store.commit(uid, [new("one", result=_large("a"))], fence=None)
    database["ptsflow_payloads"].delete_many({})

    with pytest.raises(StoreDamaged) as caught:
        store.tasks(uid, payloads=True)

    assert str(caught.value) == (
        "expected the payloads of task 'one' in MongoDB, found them missing; restore "
        "the database from a backup, or reset the task"
    )


# -- what others put there ---------------------------------------------------------------


def test_words_of_mongodb_are_kept_as_they_are(store: MongoStore) -> None:
    container, _ = store.create('{"$ne": null}')
    hostile = replace(owner("$owner"), host="$name", boot="$$NOW")
    record = store.claim(container.uid, hostile, LEASE)
    assert record is not None
    record = replace(record, workflow="$where", params='{"$gt": ""}')
    store.save(record)

    assert store.container('{"$ne": null}') == record
    assert store.container("$where") is None


@pytest.mark.parametrize("name", [{"$ne": None}, {"$gt": ""}, ["feed"], 1])
def test_a_name_that_is_no_text_finds_nothing(store: MongoStore, name: Any) -> None:
    filled(store, "one")

    assert store.container(name) is None


_OF_ANOTHER = "; use the version of ptsflow that wrote it, or another database"
_OF_BEFORE = (
    ", made by an earlier version of ptsflow; finish what is in it with that version, "
    "or choose another database"
)


@pytest.mark.parametrize(
    ("found", "cure"),
    [
        (1, _OF_BEFORE),
        (3, _OF_ANOTHER),
        (99, _OF_ANOTHER),
        (0, _OF_ANOTHER),
        ("2", _OF_ANOTHER),
        (None, _OF_ANOTHER),
    ],
)
def test_a_store_of_another_schema_is_refused(
    url: str, database: Database[Raw], found: object, cure: str
) -> None:
    database["ptsflow_meta"].insert_one({"_id": "schema", "schema": found})

    with pytest.raises(StoreDamaged) as caught:
        MongoStore(url)

    assert str(caught.value) == (
        f"store {url!r}: expected schema 2, found {found!r}{cure}"
    )
    assert database.list_collection_names() == ["ptsflow_meta"]


def test_a_document_that_is_not_as_it_was_written_is_damaged(
    store: MongoStore, database: Database[Raw]
) -> None:
    uid = filled(store, "one")
    database["ptsflow_tasks"].update_one({}, {"$set": {"status": "sleeping"}})
    database["ptsflow_containers"].update_one({}, {"$set": {"fence": "1"}})

    with pytest.raises(StoreDamaged) as caught:
        store.tasks(uid)
    assert str(caught.value) == Message(
        "expected task 'one' in MongoDB as ptsflow writes it, found something else: "
        f"{THEIRS}; restore it from a backup"
    )
    with pytest.raises(StoreDamaged) as caught:
        store.container("feed")
    assert str(caught.value) == Message(
        "expected container 'feed' in MongoDB as ptsflow writes it, found something "
        f"else: {THEIRS}; restore it from a backup"
    )


def test_a_field_of_a_newer_version_does_no_harm(
    store: MongoStore, database: Database[Raw]
) -> None:
    uid = filled(store, "one")
    before = (store.container("feed"), store.tasks(uid))
    for collection in ("ptsflow_tasks", "ptsflow_containers"):
        database[collection].update_one({}, {"$set": {"colour": "blue"}})

    assert (store.container("feed"), store.tasks(uid)) == before


def test_parameters_over_what_a_document_holds_are_refused(store: MongoStore) -> None:
    record = held(store, filled(store))

    with pytest.raises(StoreError) as caught:
        store.save(replace(record, params="x" * (17 << 20)))

    place = store._link.place
    assert str(caught.value) == (
        f"MongoDB at {place} keeps documents of up to 16 MiB, found a larger one; "
        f"store less in one container's parameters and plan"
    )


def test_a_full_disk_is_said_in_words(store: MongoStore) -> None:
    error = WriteError("fallocate: No space left on device", 8)
    refused = store._link.translated(error)

    assert type(refused) is StoreFull
    assert str(refused) == (
        f"MongoDB at {store._link.place} has no room left: fallocate: No space left "
        f"on device; free some there"
    )


# -- its place in the process ----------------------------------------------------------


def test_the_documents_declare_every_field_of_the_records() -> None:
    assert set(TaskRecord.__struct_fields__) <= set(TaskDocument._fields)
    assert set(ContainerRecord.__struct_fields__) - {"uid"} <= set(
        ContainerDocument._fields
    )


def test_the_indexes_that_queries_go_by_are_there(
    store: MongoStore, database: Database[Raw]
) -> None:
    tasks = database["ptsflow_tasks"].index_information()
    containers = database["ptsflow_containers"].index_information()

    assert containers["name_1"]["unique"]
    assert tasks["container_1_name_1"]["unique"]
    assert tasks["container_1_position_1_name_1"]["partialFilterExpression"] == {
        "open": True
    }
    filled(store, "one")
    plan = database["ptsflow_tasks"].find({"container": 1, "open": True})
    plan = plan.sort([("position", 1), ("name", 1)])
    chosen = str(plan.explain()["queryPlanner"]["winningPlan"])
    assert "container_1_position_1_name_1" in chosen
    assert "SORT" not in chosen


def test_the_users_own_mongoengine_is_left_alone(url: str, mongod_url: str) -> None:
    mine = mongoengine.connect(
        "mine", host=mongod_url, uuidRepresentation="standard", alias="default"
    )
    store = MongoStore(url)
    assert mongoengine.get_connection() is mine
    mongoengine.disconnect_all()
    uid = filled(store, "one")

    assert names(store, uid) == ["one"]
    store.close()
    assert mongoengine.connection._connections == {}


def test_opening_and_closing_leaves_nothing_to_warn_of(
    url: str,
) -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        before = threading.active_count()
        store = MongoStore(url)
        sibling = store.sibling()
        filled(store, "one")
        for each in (store, store, sibling):
            each.close()
        del store, sibling
        gc.collect()

    assert [str(each.message) for each in caught] == []
    _until(lambda: threading.active_count() <= before)


def test_a_closed_store_says_so(store: MongoStore) -> None:
    store.close()

    with pytest.raises(StoreError) as caught:
        store.containers()
    assert str(caught.value) == f"the store {store.url} was closed; open it again"


def test_a_store_is_refused_after_a_fork(store: MongoStore) -> None:
    uid = filled(store, "one")
    reader, writer = os.pipe()
    with warnings.catch_warnings():
        # Python 3.12 and later warn of every fork in a process with threads.
        warnings.simplefilter("ignore")
        child = os.fork()
    if child == 0:
        try:
            store.tasks(uid)
        except StoreError as error:
            os.write(writer, str(error).encode())
        os._exit(0)
    os.waitpid(child, 0)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        said = pipe.read().decode()

    assert said == (
        f"expected the store {store.url} to be used by process {os.getpid()}, which "
        f"opened it, found process {child}; open another after a fork"
    )
    assert names(store, uid) == ["one"]


def test_ten_thousand_tasks_are_read_in_half_a_second(store: MongoStore) -> None:
    uid = filled(store)
    began = time.monotonic()
    changes = [new(f"load[{i}]", position=i) for i in range(10_000)]
    store.commit(uid, changes, fence=None)
    written = time.monotonic()
    tasks = store.tasks(uid)
    read = time.monotonic()

    assert len(tasks) == 10_000
    # Four times what is promised of an idle machine.
    assert written - began < 4 * 1.5
    assert read - written < 4 * 0.5
