"""The store in MongoDB while servers freeze, die and refuse, and answers get lost."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace
from pymongo.database import Database

from ptsflow.core.model import Progress, Status, Stop
from ptsflow.errors import (
    Conflict,
    ContainerNotFound,
    LeaseLost,
    StoreError,
    StoreFull,
    StoreUnavailable,
)
from ptsflow.stores.mongo.documents import INLINE_LIMIT
from ptsflow.stores.mongo.store import MongoStore
from tests.mongod import Mongod, free_port, running, start_mongod
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
from tests.stores.mongo_fixtures import Raw, new_database_url, raw_database
from tests.stores.tcp_proxy import TcpProxy
from tests.support.wording import THEIRS, Message

pytestmark = pytest.mark.mongod

_LARGE = f'"{"x" * INLINE_LIMIT}"'


@pytest.fixture
def url(mongod: Mongod) -> str:
    return new_database_url(mongod.url)


@pytest.fixture
def database(url: str) -> Iterator[Database[Raw]]:
    with raw_database(url) as opened:
        yield opened


@pytest.fixture
def proxy(mongod: Mongod) -> Iterator[TcpProxy]:
    opened = TcpProxy(mongod.port)
    yield opened
    opened.close()


@pytest.fixture
def store(database: Database[Raw], proxy: TcpProxy) -> Iterator[MongoStore]:
    """Open a store whose answers may get lost on the way."""
    opened = MongoStore(f"mongodb://127.0.0.1:{proxy.port}/{database.name}")
    yield opened
    opened.close()


# -- answers that get lost ------------------------------------------------------------


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
    record = _twice(
        proxy, b"ptsflow_tasks", lambda: store.claim(uid, owner("b"), LEASE, dead=1)
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
    _twice(proxy, b"update", lambda: store.save(changed))
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


# -- what the server's errors mean ------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "kind", "text"),
    [
        *(
            pytest.param(code, StoreUnavailable, text, id=str(code))
            for code, text in {
                50: "did not finish the call: {}; try again",
                89: "did not finish the call: {}; try again",
                91: "cannot be reached: {}; check that mongod runs there and that the "
                "network lets it through",
                112: "did not finish the call: {}; try again",
                189: "cannot be reached: {}; check that mongod runs there and that the "
                "network lets it through",
                10107: "cannot be reached: {}; check that mongod runs there and that "
                "the network lets it through",
                11600: "cannot be reached: {}; check that mongod runs there and that "
                "the network lets it through",
                11602: "cannot be reached: {}; check that mongod runs there and that "
                "the network lets it through",
            }.items()
        ),
        pytest.param(14031, StoreFull, "has no room left: {}; free some there"),
        pytest.param(
            8000, StoreError, "refused the call: {} (code 8000); check its log"
        ),
    ],
)
def test_an_error_of_the_server_says_whether_to_try_again(
    store: MongoStore, mongod: Mongod, code: int, kind: type[StoreError], text: str
) -> None:
    uid = filled(store, "one")
    held(store, uid)
    batch = [swap(one(store, uid, "one"), fence=1)]
    with mongod.fail("update", errorCode=code), pytest.raises(StoreError) as caught:
        store.commit(uid, batch, fence=1)

    assert type(caught.value) is kind
    said = str(caught.value)
    place = store._link.place
    assert said == Message(f"MongoDB at {place} {text.format(THEIRS)}")
    store.commit(uid, batch, fence=1)


@pytest.mark.parametrize("code", [91, 189, 10107, 11600, 11602])
def test_a_replica_set_that_changes_its_primary_is_not_even_noticed(
    mongod_rs: Mongod, code: int
) -> None:
    url = new_database_url(mongod_rs.url)
    with raw_database(url):
        store = MongoStore(url)
        uid = filled(store, "one")
        held(store, uid)
        with mongod_rs.fail("update", "find", errorCode=code):
            store.commit(uid, [swap(one(store, uid, "one"), fence=1)], fence=1)

        assert one(store, uid, "one").version == 2
        store.close()


# -- servers that freeze and die ------------------------------------------------------------


@pytest.fixture(scope="module")
def own_mongod() -> Iterator[Mongod]:
    """Return a server that a test may freeze."""
    with running() as server:
        yield server


def test_a_frozen_server_is_given_up_at_the_deadline(own_mongod: Mongod) -> None:
    url = new_database_url(own_mongod.url, "timeoutMS=400")
    store = MongoStore(url)
    uid = filled(store, "one")
    record = held(store, uid)
    task = one(store, uid, "one")
    logs = store.logs()
    logs.put(uid, [chunk("one")])
    calls: dict[str, Callable[[], object]] = {
        "now": store.now,
        "create": lambda: store.create("new"),
        "container": lambda: store.container("feed"),
        "containers": store.containers,
        "delete": lambda: store.delete(uid),
        "claim": lambda: store.claim(uid, owner("b"), LEASE),
        "renew": lambda: store.renew(uid, 1, LEASE),
        "save": lambda: store.save(record),
        "release": lambda: store.release(record),
        "tasks": lambda: store.tasks(uid),
        "next_open": lambda: store.next_open(uid),
        "commit": lambda: store.commit(uid, [swap(task, fence=1)], fence=1),
        "client": lambda: store.commit(uid, [new("two")], fence=None),
        "touch": lambda: store.touch(uid, [Progress("one", 1.0, "")], fence=1),
        "tallies": lambda: store.tallies([uid]),
        "ask_to_stop": lambda: store.ask_to_stop(uid, 1, Stop.NOW),
        "stop_asked": lambda: store.stop_asked(uid, 1),
        "attempts": lambda: store.attempts(uid, "one"),
        "put": lambda: logs.put(uid, [chunk("two", number=1)]),
        "read": lambda: logs.read(uid),
        "trim": lambda: logs.trim(uid, "load", 1, 0, 0),
        "forget": lambda: logs.forget(uid),
        "logs": store.logs,
        "sibling": store.sibling,
    }
    own_mongod.freeze()
    try:
        took = {name: _time_to_give_up(call) for name, call in calls.items()}
        began = time.monotonic()
        store.close()
        logs.close()
        took["close"] = time.monotonic() - began
    finally:
        own_mongod.thaw()

    assert {name: took[name] for name in took if took[name] > 1.5} == {}


def test_without_a_deadline_in_the_url_it_is_five_seconds(own_mongod: Mongod) -> None:
    store = MongoStore(new_database_url(own_mongod.url))
    own_mongod.freeze()
    try:
        took = _time_to_give_up(lambda: store.container("feed"))
    finally:
        own_mongod.thaw()

    assert 4 < took < 8
    assert store.container("feed") is None
    store.close()


def test_a_store_is_closed_at_once_though_its_server_froze(own_mongod: Mongod) -> None:
    store = MongoStore(new_database_url(own_mongod.url))
    filled(store, "one")
    own_mongod.freeze()
    began = time.monotonic()
    try:
        store.close()
    finally:
        own_mongod.thaw()

    assert time.monotonic() - began < 3


def test_a_network_that_drops_everything_is_given_up_too(
    store: MongoStore, proxy: TcpProxy
) -> None:
    uid = filled(store, "one")
    opened = MongoStore(f"{store.url}?timeoutMS=400")
    proxy.swallow(everything=True)
    took = _time_to_give_up(lambda: opened.commit(uid, [new("two")], fence=None))
    proxy.swallow(everything=False)
    opened.close()

    assert took < 1.5


def _time_to_give_up(call: Callable[[], object]) -> float:
    began = time.monotonic()
    with pytest.raises(StoreUnavailable, match=r"^MongoDB at 127\.0\.0\.1:"):
        call()
    return time.monotonic() - began


def test_a_store_goes_on_when_the_server_is_back(tmp_path: Path) -> None:
    server = start_mongod(tmp_path, free_port())
    store = MongoStore(f"{server.url}/x?timeoutMS=1000")
    try:
        uid = filled(store, "one")
        server.kill()
        with pytest.raises(StoreUnavailable) as caught:
            store.tasks(uid)
        server = start_mongod(tmp_path, server.port)

        assert str(caught.value).startswith(
            f"MongoDB at 127.0.0.1:{server.port} cannot be reached: "
        )
        assert names(store, uid) == ["one"]
    finally:
        store.close()
        server.kill()


def test_what_was_acknowledged_survives_kill_9_of_the_server(tmp_path: Path) -> None:
    server = start_mongod(tmp_path, free_port())
    url = f"{server.url}/x?timeoutMS=1000"
    try:
        for turn in range(4):
            store = MongoStore(url)
            uid = store.create(f"turn {turn}")[0].uid
            acknowledged: list[str] = []
            writer = threading.Thread(target=_add_all, args=(store, uid, acknowledged))
            writer.start()
            while len(acknowledged) <= 5 and writer.is_alive():
                time.sleep(0.01)
            time.sleep(0.05 * turn)
            server.kill()
            writer.join()
            store.close()
            server = start_mongod(tmp_path, server.port)
            after = MongoStore(url)
            kept = set(names(after, uid))
            after.close()

            assert len(acknowledged) > 5
            assert set(acknowledged) - kept == set()
            assert len(kept) <= len(acknowledged) + 1
    finally:
        server.kill()


def _add_all(store: MongoStore, uid: str, acknowledged: list[str]) -> None:
    """Add tasks until the server is gone."""
    held(store, uid)
    for i in range(100_000):
        try:
            store.commit(uid, [new(f"t{i}", fence=1, position=i)], fence=1)
        except StoreUnavailable:
            return
        acknowledged.append(f"t{i}")
