"""The store in MongoDB while servers freeze and die, and networks drop everything."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from pymongo.database import Database

from ptsflow.core.model import Progress, Stop
from ptsflow.errors import StoreUnavailable
from ptsflow.stores.mongo.store import MongoStore
from tests.stores.making import (
    LEASE,
    chunk,
    filled,
    held,
    names,
    new,
    one,
    owner,
    schedule,
    swap,
)
from tests.stores.mongo.tcp_proxy import TcpProxy
from tests.support.databases import Raw, new_database_url
from tests.support.mongod import Mongod, running, start_mongod
from tests.support.processes import free_port

pytestmark = pytest.mark.mongod

#: In seconds: more than a deadline of 400 ms takes even on a busy machine, and less
#: than the deadline of a URL that names none.
_SOON = 4


@pytest.fixture
def server(mongod: Mongod) -> str:
    return mongod.url


@pytest.fixture(scope="module")
def own_mongod() -> Iterator[Mongod]:
    """Return a server that a test may freeze."""
    with running() as server:
        yield server


def test_a_frozen_server_is_given_up_at_the_deadline(own_mongod: Mongod) -> None:
    url = new_database_url(own_mongod.url)
    uid = _filled(url)
    store = MongoStore(f"{url}timeoutMS=400")
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
        "runs": store.runs,
        "tell": lambda: store.tell(uid, 1, None),
        "outlooks": lambda: store.outlooks([uid]),
        "schedules": store.schedules,
        "swap_schedule": lambda: store.swap_schedule(None, schedule()),
        "recent": store.recent,
        "glance": lambda: store.glance(uid),
        "page": lambda: store.page(uid),
        "origins": lambda: store.origins(uid, ["one"]),
        "spans": lambda: store.spans(uid, "one"),
        "ledgers": lambda: store.ledgers(uid, ["one"]),
        "numbered_runs": lambda: store.numbered_runs("Feed"),
        "number_run": lambda: store.number_run(uid, 1, 1, told_at=0),
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

    assert {name: took[name] for name in took if took[name] > _SOON} == {}


def test_without_a_deadline_in_the_url_it_is_five_seconds(own_mongod: Mongod) -> None:
    store = MongoStore(new_database_url(own_mongod.url))
    own_mongod.freeze()
    try:
        took = _time_to_give_up(lambda: store.container("feed"))
    finally:
        own_mongod.thaw()

    assert 4 < took < 60
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

    assert time.monotonic() - began < _SOON


def test_a_network_that_drops_everything_is_given_up_too(
    database: Database[Raw], proxy: TcpProxy
) -> None:
    url = f"mongodb://127.0.0.1:{proxy.port}/{database.name}"
    uid = _filled(url)
    opened = MongoStore(f"{url}?timeoutMS=400")
    proxy.swallow(everything=True)
    took = _time_to_give_up(lambda: opened.commit(uid, [new("two")], fence=None))
    proxy.swallow(everything=False)
    opened.close()

    assert took < _SOON


def test_an_answer_that_comes_after_the_deadline_is_given_up_and_the_write_is_known(
    database: Database[Raw], proxy: TcpProxy
) -> None:
    url = f"mongodb://127.0.0.1:{proxy.port}/{database.name}"
    uid = _filled(url)
    opened = MongoStore(f"{url}?timeoutMS=400")
    held(opened, uid)
    batch = [new("two", fence=1)]
    proxy.hold_answers(hold=True)
    took = _time_to_give_up(lambda: opened.commit(uid, batch, fence=1))
    proxy.hold_answers(hold=False)
    opened.close()
    again = MongoStore(url)
    again.commit(uid, batch, fence=1)

    assert took < _SOON
    assert names(again, uid) == ["one", "two"]
    again.close()


def _filled(url: str) -> str:
    """Return the uid of a container with a task, made without any hurry."""
    store = MongoStore(url)
    uid = filled(store, "one")
    store.close()
    return uid


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
