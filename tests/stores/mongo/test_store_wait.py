"""Opening a MongoDB store while the server is away."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator

import pytest

from ptsflow.errors import StoreUnavailable
from ptsflow.host.clock import since_boot
from ptsflow.stores import open_store
from ptsflow.stores.store_wait import StoreWait
from tests.support.databases import new_database_url
from tests.support.mongod import Mongod, running
from tests.support.processes import free_port


@pytest.fixture(scope="module")
def own_replica_set() -> Iterator[Mongod]:
    """Return a replica set of one that may lose its primary."""
    with running(replica_set=True) as server:
        yield server


class Told:
    """What was said, and what is done when it is said."""

    def __init__(self, act: Callable[[], object] = bool) -> None:
        self._act = act
        self.texts: list[str] = []

    def __call__(self, text: str) -> None:
        self.texts.append(text)
        self._act()


@pytest.mark.mongod
def test_a_replica_set_without_a_primary_is_waited_for_and_that_is_said_at_once(
    own_replica_set: Mongod,
) -> None:
    url = new_database_url(own_replica_set.url, "timeoutMS=60000")
    own_replica_set.command("replSetStepDown", 600, force=True)
    # There is a primary again only after it was said that there is none.
    told = Told(lambda: own_replica_set.command("replSetFreeze", 0))
    store = open_store(url, wait=StoreWait(60, told))
    _, is_new = store.create("feed")
    store.close()

    assert is_new
    (text,) = told.texts
    assert text.startswith("waiting for the store: MongoDB at 127.0.0.1:")


def test_a_server_that_stays_away_is_given_up() -> None:
    told = Told()
    began = since_boot()
    with pytest.raises(StoreUnavailable):
        open_store(
            f"mongodb://127.0.0.1:{free_port()}/x?timeoutMS=300",
            wait=StoreWait(1.5, told),
        )

    assert len(told.texts) == 1
    assert 1.5 <= since_boot() - began < 20


@pytest.mark.parametrize("code", [socket.EAI_NONAME, socket.EAI_AGAIN])
def test_an_unknown_host_is_not_waited_for(
    monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    def fail(*_args: object, **_kwargs: object) -> None:
        raise socket.gaierror(code, "unknown")

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    told = Told()
    began = since_boot()
    with pytest.raises(StoreUnavailable):
        open_store("mongodb://feeds.example/x", wait=StoreWait(30, told))

    assert told.texts == []
    assert since_boot() - began < 25
