"""The store in MongoDB where the answer to a call that was carried out gets lost."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from msgspec.structs import replace
from pymongo.database import Database

from ptsflow.core.model import Progress, Status, Stop
from ptsflow.errors import Conflict, ContainerNotFound, LeaseLost, StoreUnavailable
from ptsflow.stores.mongo.documents import INLINE_LIMIT
from ptsflow.stores.mongo.store import MongoStore
from tests.stores.making import (
    LEASE,
    attempt,
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
from tests.stores.mongo.tcp_proxy import TcpProxy
from tests.support.databases import Raw
from tests.support.mongod import Mongod

pytestmark = pytest.mark.mongod

_LARGE = f'"{"x" * INLINE_LIMIT}"'


@pytest.fixture
def server(mongod: Mongod) -> str:
    return mongod.url


@pytest.fixture
def store(database: Database[Raw], proxy: TcpProxy) -> Iterator[MongoStore]:
    """Open a store whose answers may get lost on the way."""
    opened = MongoStore(f"mongodb://127.0.0.1:{proxy.port}/{database.name}")
    yield opened
    opened.close()


def _twice(proxy: TcpProxy, request: bytes, call: Callable[[], Any]) -> Any:
    """Lose the answer to a call, and return what the same call says after that."""
    proxy.lose_the_answer_to(request)
    with pytest.raises(StoreUnavailable):
        call()
    assert proxy.has_lost
    return call()


def test_the_maker_of_a_container_is_told_so_though_the_answer_was_lost(
    store: MongoStore, proxy: TcpProxy
) -> None:
    record, is_new = _twice(proxy, b"insert", lambda: store.create("feed"))

    assert is_new
    assert store.containers() == [record]
    assert store.create("feed") == (record, False)


def test_a_claim_whose_answer_was_lost_is_recognised(
    store: MongoStore, proxy: TcpProxy
) -> None:
    uid = filled(store, "one")
    record = _twice(proxy, b"findAndModify", lambda: store.claim(uid, owner(), LEASE))

    assert record is not None
    assert record.fence == 1
    store.commit(uid, [swap(one(store, uid, "one"), fence=1)], fence=1)


def test_a_claim_is_made_good_where_the_answer_to_the_stamping_was_lost(
    store: MongoStore, proxy: TcpProxy
) -> None:
    uid = filled(store, "one")
    held(store, uid, "a")
    stale = one(store, uid, "one")
    stamping = b"update\0\x0e\0\0\0ptsflow_tasks"
    record = _twice(
        proxy, stamping, lambda: store.claim(uid, owner("b"), LEASE, dead=1)
    )

    assert record is not None
    assert record.fence == 2
    with pytest.raises(LeaseLost):
        store.commit(uid, [swap(stale, fence=1)], fence=1)


def test_a_renewal_a_save_and_a_release_may_be_made_again(
    store: MongoStore, proxy: TcpProxy
) -> None:
    uid = filled(store, "one")
    record = held(store, uid)
    changed = replace(record, status=Status.DONE, workflow="Import")

    assert _twice(proxy, b"update", lambda: store.renew(uid, 1, LEASE))
    _twice(proxy, b"findAndModify", lambda: store.save(changed))
    assert _twice(proxy, b"update", lambda: store.release(changed))
    after = store.container("feed")
    assert after == replace(changed, owner=None, leased_till=None)


def test_a_deletion_whose_answer_was_lost_is_finished(
    store: MongoStore, proxy: TcpProxy, database: Database[Raw]
) -> None:
    uid = filled(store, "one")

    assert _twice(proxy, b"ptsflow_containers", lambda: store.delete(uid))
    assert database["ptsflow_tasks"].count_documents({}) == 0
    assert not store.delete(uid)


def test_a_runners_batch_whose_answer_was_lost_is_recognised(
    store: MongoStore, proxy: TcpProxy, database: Database[Raw]
) -> None:
    uid = filled(store, "a", "b", "c")
    held(store, uid)
    a, b, c = store.tasks(uid)
    batch = [
        swap(a, fence=1, status=Status.RUNNING),
        swap(b, fence=1, name="bb", result=_LARGE),
        drop(c),
        new("d", fence=1),
    ]
    _twice(proxy, b"updates", lambda: store.commit(uid, batch, fence=1))

    assert [(t.name, t.version) for t in store.tasks(uid)] == [
        ("a", 2),
        ("bb", 2),
        ("d", 1),
    ]
    assert one(store, uid, "bb", payloads=True).result == _LARGE
    assert database["ptsflow_payloads"].count_documents({}) == 1


def test_an_attempt_is_entered_once_though_the_answer_was_lost(
    store: MongoStore, proxy: TcpProxy
) -> None:
    uid = filled(store, "a", "b", "c")
    held(store, uid)
    a, b, c = store.tasks(uid)
    batch = [
        ended(swap(a, fence=1), 1),
        ended(swap(b, fence=1), 1),
        ended(swap(c, fence=1, name="cc", status=Status.FAILED), 2),
        ended(new("d", fence=1), 3),
    ]
    _twice(proxy, b"updates", lambda: store.commit(uid, batch, fence=1))

    assert [store.attempts(uid, name) for name in ("a", "b", "cc", "d")] == [
        [attempt(1)],
        [attempt(1)],
        [attempt(2)],
        [attempt(3)],
    ]


def test_a_word_for_the_holder_may_be_left_again(
    store: MongoStore, proxy: TcpProxy
) -> None:
    uid = filled(store)
    held(store, uid)

    assert _twice(proxy, b"update", lambda: store.ask_to_stop(uid, 1, Stop.GENTLY))
    assert store.stop_asked(uid, 1) is Stop.GENTLY


def test_lines_whose_answer_was_lost_are_put_once(
    store: MongoStore, proxy: TcpProxy
) -> None:
    uid = filled(store)
    logs = store.logs()
    chunks = [chunk("one"), chunk("two", number=1)]
    _twice(proxy, b"insert", lambda: logs.put(uid, chunks))
    logs.put(uid, [chunk("three", number=2)])

    assert [each.number for each in logs.read(uid)[0]] == [0, 1, 2]
    logs.close()


def test_a_clients_task_does_not_outlive_the_container_though_the_answer_was_lost(
    store: MongoStore, proxy: TcpProxy, database: Database[Raw]
) -> None:
    uid = filled(store)
    proxy.lose_the_answer_to(b"insert")
    with pytest.raises(StoreUnavailable):
        store.commit(uid, [new("late")], fence=None)
    # As if the deletion had looked for tasks before that one arrived.
    database["ptsflow_containers"].delete_many({})

    with pytest.raises(ContainerNotFound):
        store.commit(uid, [new("late")], fence=None)
    assert database["ptsflow_tasks"].count_documents({}) == 0


@pytest.mark.parametrize(
    ("request_", "stored"),
    [
        pytest.param(b"insert", ["a", "b", "c"], id="after the inserts"),
        pytest.param(b"findAndModify", ["a", "b", "c"], id="before the inserts"),
    ],
)
def test_a_clients_new_tasks_are_recognised_as_its_own(
    store: MongoStore, proxy: TcpProxy, request_: bytes, stored: list[str]
) -> None:
    uid = filled(store, "a")
    batch = [new("b"), new("c")]
    _twice(proxy, request_, lambda: store.commit(uid, batch, fence=None))

    assert names(store, uid) == stored
    with pytest.raises(Conflict):
        store.commit(uid, batch, fence=None)


def test_a_clients_swap_and_deletion_are_recognised_as_its_own(
    store: MongoStore, proxy: TcpProxy
) -> None:
    uid = filled(store, "a", "b")
    a, b = store.tasks(uid)
    batch = [swap(a, status=Status.DONE), drop(b)]
    _twice(proxy, b"updates", lambda: store.commit(uid, batch, fence=None))

    assert [(t.name, t.version) for t in store.tasks(uid)] == [("a", 2)]
    with pytest.raises(Conflict):
        store.commit(uid, batch, fence=None)


def test_a_clients_write_is_recognised_though_a_runner_claimed_since(
    store: MongoStore, proxy: TcpProxy
) -> None:
    uid = filled(store, "a")
    batch = [new("b")]
    proxy.lose_the_answer_to(b"insert")
    with pytest.raises(StoreUnavailable):
        store.commit(uid, batch, fence=None)
    held(store, uid)
    store.commit(uid, batch, fence=None)

    assert names(store, uid) == ["a", "b"]


def test_another_clients_equal_write_is_not_taken_for_ones_own(
    store: MongoStore, mongod: Mongod
) -> None:
    uid = filled(store, "one")
    change = swap(one(store, uid, "one"), leased_till=5)
    other = store.sibling()
    # The request never reaches the server, and the other client is faster then.
    with mongod.fail("update", closeConnection=True), pytest.raises(StoreUnavailable):
        store.commit(uid, [change], fence=None)
    other.commit(uid, [change], fence=None)
    other.close()

    with pytest.raises(Conflict):
        store.commit(uid, [change], fence=None)


def test_progress_whose_answer_was_lost_is_written_again(
    store: MongoStore, proxy: TcpProxy
) -> None:
    uid = filled(store, "one")
    held(store, uid)
    start = swap(one(store, uid, "one"), fence=1, status=Status.RUNNING)
    store.commit(uid, [start], fence=1)
    progress = [Progress("one", 50.0, "half")]
    _twice(proxy, b"updates", lambda: store.touch(uid, progress, fence=1))

    assert one(store, uid, "one").percentage_complete == 50.0


@pytest.mark.parametrize("code", [64, 91])
def test_a_write_that_no_majority_confirmed_is_recognised(
    store: MongoStore, mongod: Mongod, code: int
) -> None:
    uid = filled(store, "one")
    held(store, uid)
    change = swap(one(store, uid, "one"), fence=1, status=Status.RUNNING)
    batch = [ended(change, 1)]
    problem = {"code": code, "errmsg": "waiting for replication timed out"}
    with mongod.fail("update", writeConcernError=problem):
        with pytest.raises(StoreUnavailable) as caught:
            store.commit(uid, batch, fence=1)
        assert one(store, uid, "one").version == 2
        store.commit(uid, batch, fence=1)

    assert store.attempts(uid, "one") == [attempt(1)]
    assert str(caught.value) == (
        f"MongoDB at {store._link.place} did not finish the call: waiting for "
        f"replication timed out; try again"
    )


def test_a_taken_name_that_no_majority_confirmed_is_no_conflict_yet(
    store: MongoStore, mongod: Mongod
) -> None:
    uid = filled(store, "one")
    problem = {"code": 64, "errmsg": "waiting for replication timed out"}
    with mongod.fail("insert", writeConcernError=problem):
        with pytest.raises(StoreUnavailable):
            store.commit(uid, [new("one")], fence=None)
        with pytest.raises(Conflict):
            store.commit(uid, [new("one")], fence=None)
