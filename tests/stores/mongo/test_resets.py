"""The store in MongoDB while connections are reset: within requests and between them."""

from __future__ import annotations

import random
import socket
import threading
import time
from collections.abc import Callable, Iterator

import pytest
from pymongo.database import Database
from pymongo.errors import OperationFailure

from ptsflow.core.model import Status
from ptsflow.errors import StoreError, StoreUnavailable
from ptsflow.stores.mongo.connection import Connection
from ptsflow.stores.mongo.store import MongoStore
from tests.stores.making import (
    LEASE,
    attempt,
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
from tests.support.databases import Raw, new_database_url
from tests.support.mongod import Mongod
from tests.support.waiting import PATIENCE

pytestmark = pytest.mark.mongod


@pytest.fixture
def server(mongod: Mongod) -> str:
    return mongod.url


@pytest.fixture
def store(database: Database[Raw], proxy: TcpProxy) -> Iterator[MongoStore]:
    """Open a store whose connections may be reset."""
    opened = MongoStore(f"mongodb://127.0.0.1:{proxy.port}/{database.name}")
    yield opened
    opened.close()


def _until_done(call: Callable[[], object]) -> int:
    """Repeat a call until it is answered; return how often it was not."""
    failures, end = 0, time.monotonic() + PATIENCE
    while time.monotonic() < end:
        try:
            call()
        except StoreUnavailable:
            failures += 1
        else:
            return failures
    pytest.fail("the store never answered again")


def test_a_connection_through_the_proxy_is_reset_and_not_closed(
    proxy: TcpProxy,
) -> None:
    with socket.create_connection(("127.0.0.1", proxy.port), timeout=20) as connection:
        while proxy.reset() == 0:
            pass
        with pytest.raises(ConnectionResetError):
            connection.recv(1)


def test_a_request_that_was_cut_in_the_middle_is_made_once_by_the_next_call(
    store: MongoStore, proxy: TcpProxy
) -> None:
    uid = filled(store, "a", "b")
    requests: list[tuple[bytes, Callable[[], object]]] = [
        (b"findAndModify", lambda: store.claim(uid, owner(), LEASE)),
        (b"update", lambda: store.renew(uid, 1, LEASE)),
    ]
    for request, call in requests:
        proxy.cut(request)
        assert _until_done(call) == 1
        assert proxy.has_cut
    batch = [
        ended(swap(one(store, uid, "a"), fence=1, status=Status.DONE), 1),
        new("c", fence=1),
    ]
    proxy.cut(b"updates")
    assert _until_done(lambda: store.commit(uid, batch, fence=1)) == 1

    assert [(t.name, t.version) for t in store.tasks(uid)] == [
        ("a", 2),
        ("b", 1),
        ("c", 1),
    ]
    assert store.attempts(uid, "a") == [attempt(1)]
    record = store.container("feed")
    assert record is not None
    assert record.fence == 1


def test_connections_that_were_reset_between_requests_are_made_anew(
    store: MongoStore, proxy: TcpProxy
) -> None:
    uid = filled(store, "a")
    held(store, uid)
    for number in range(10):
        assert proxy.reset() > 0
        batch = [new(f"t{number}", fence=1, position=number + 1)]
        assert _until_done(lambda batch=batch: store.commit(uid, batch, fence=1)) <= 2  # type: ignore[misc]

    assert names(store, uid) == ["a", *(f"t{number}" for number in range(10))]


def test_what_is_written_while_connections_are_reset_all_the_time_is_there_once(
    store: MongoStore, proxy: TcpProxy
) -> None:
    uid = filled(store)
    held(store, uid)
    is_over, pause = threading.Event(), random.Random(22)  # noqa: S311

    def storm() -> None:
        # Now and then there is time enough for a request, on any machine.
        while not is_over.wait(pause.expovariate(1 / 0.02)):
            proxy.reset()

    thread = threading.Thread(target=storm)
    thread.start()
    failures = 0
    try:
        for number in range(60):
            batch = [ended(new(f"t{number}", fence=1, position=number), 1)]
            failures += _until_done(lambda b=batch: store.commit(uid, b, fence=1))  # type: ignore[misc]
    finally:
        is_over.set()
        thread.join()

    assert failures > 0
    assert names(store, uid) == [f"t{number}" for number in range(60)]
    assert all(store.attempts(uid, f"t{n}") == [attempt(1)] for n in range(60))


@pytest.mark.parametrize(
    ("url", "kind"), [("mongod_url", StoreUnavailable), ("mongod_rs_url", StoreError)]
)
def test_a_transaction_number_that_pymongo_sent_by_mistake_is_a_call_to_try_again(
    request: pytest.FixtureRequest, url: str, kind: type[StoreError]
) -> None:
    """Pymongo sends one to a standalone server, which refuses it, after a reset."""
    connection = Connection(new_database_url(request.getfixturevalue(url)))
    error = connection.translated(OperationFailure("no numbers", 20))
    connection.close()

    assert type(error) is kind
