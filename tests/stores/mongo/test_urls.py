"""What the store in MongoDB says of URLs, logins and servers that it cannot use."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from pymongo import MongoClient

from ptsflow.errors import StoreError, StoreUnavailable, StoreURLError
from ptsflow.stores.mongo.store import MongoStore
from ptsflow.stores.store_wait import StoreWait
from ptsflow.stores.url_mask import mask
from tests.stores.making import filled
from tests.support.mongod import Mongod, start_mongod
from tests.support.processes import free_port
from tests.support.wording import THEIRS, Message

pytestmark = pytest.mark.mongod

_MISTAKE = f"a mistake (pymongo: {THEIRS})"


@pytest.mark.parametrize(
    ("url", "shown", "found"),
    [
        pytest.param("mongodb://", "mongodb://", _MISTAKE, id="nothing"),
        pytest.param("mongodb:///x", "mongodb:///x", _MISTAKE, id="no host"),
        pytest.param(
            "mongodb://h:99999/x",
            "mongodb://h:99999/x",
            _MISTAKE,
            id="a port that is none",
        ),
        pytest.param(
            "mongodb://u:se@cret@h/x",
            "mongodb://u:***@h/x",
            _MISTAKE,
            id="a password that is not escaped",
        ),
        pytest.param(
            "mongodb://u:secret@h/x?w=a&foo",
            "mongodb://u:***@h/x?w=a&foo",
            _MISTAKE,
            id="an option without a value",
        ),
        pytest.param(
            "mongodb://u:secret@h/x?readPreference=never",
            "mongodb://u:***@h/x?readPreference=never",
            _MISTAKE,
            id="a value that is none",
        ),
        pytest.param(
            "mongodb://u:secret@h/x?tls=true&tlsCertificateKeyFile=/no/such"
            "&tlsCertificateKeyFilePassword=secret",
            "mongodb://u:***@h/x?tls=true&tlsCertificateKeyFile=/no/such"
            "&tlsCertificateKeyFilePassword=***",
            _MISTAKE,
            id="a certificate that is not there",
        ),
        pytest.param(
            "mongodb://h/a.b",
            "mongodb://h/a.b",
            "a database's name with a dot",
            id="a collection",
        ),
        pytest.param("mongodb://h/a b", "mongodb://h/a b", _MISTAKE, id="a space"),
    ],
)
def test_a_url_that_cannot_be_understood_is_refused(
    url: str, shown: str, found: str
) -> None:
    with pytest.raises(StoreURLError) as caught:
        MongoStore(url)

    assert str(caught.value) == Message(
        f"store URL {shown!r}: expected mongodb://HOST:PORT/DATABASE, found {found}; "
        "correct it"
    )
    assert caught.value.__cause__ is None
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("mongodb://h/x", "mongodb://h/x"),
        ("mongodb://u@h/x", "mongodb://u@h/x"),
        ("mongodb://u:p@h/x?w=1", "mongodb://u:***@h/x?w=1"),
        ("mongodb://:p@h/x", "mongodb://:***@h/x"),
        ("mongodb://u:p@q@h/x", "mongodb://u:***@h/x"),
        ("mongodb://u:p/q@h/x", "mongodb://u:***@h/x"),
        ("mongodb://u:p?q@h/x", "mongodb://u:***@h/x"),
        ("mongodb://u:p?q&r=1@h/x", "mongodb://u:***@h/x"),
        ("mongodb+srv://u:p@h/x", "mongodb+srv://u:***@h/x"),
        (
            "mongodb://u@h/?authMechanismProperties=AWS_SESSION_TOKEN:t,A:b&w=1",
            "mongodb://u@h/?authMechanismProperties=***&w=1",
        ),
        (
            "mongodb://h/?TLSCERTIFICATEKEYFILEPASSWORD=p",
            "mongodb://h/?TLSCERTIFICATEKEYFILEPASSWORD=***",
        ),
        ("mongodb://h/?proxyPassword=p;w=1", "mongodb://h/?proxyPassword=***;w=1"),
    ],
)
def test_secrets_in_a_url_are_not_shown(url: str, shown: str) -> None:
    assert mask(url) == shown


def test_a_server_that_is_not_there_is_named() -> None:
    port = free_port()
    began = time.monotonic()
    with pytest.raises(StoreUnavailable) as caught:
        MongoStore(f"mongodb://u:secret@127.0.0.1:{port}/x?timeoutMS=100")

    assert str(caught.value) == Message(
        f"MongoDB at 127.0.0.1:{port} cannot be reached: {THEIRS}; check that mongod "
        f"runs there and that the network lets it through"
    )
    assert time.monotonic() - began < 4  # five seconds where the URL does not say


def test_a_url_without_a_database_means_one_named_ptsflow(mongod_url: str) -> None:
    store = MongoStore(mongod_url)
    uid = filled(store, "one")
    store.close()

    with MongoClient[dict[str, object]](mongod_url) as client:
        assert client["ptsflow"]["ptsflow_tasks"].count_documents({}) == 1
        client.drop_database("ptsflow")
    assert uid


_PASSWORD = "secret"  # noqa: S105 - of a server that lives for one test.


@pytest.fixture
def locked(tmp_path: Path) -> Iterator[Mongod]:
    """Return a server that asks for a login; user `reader` may only read."""
    server = start_mongod(tmp_path, free_port(), "--auth")
    try:
        roles = {"root": ["root"], "reader": [{"role": "read", "db": "x"}]}
        address = server.url
        for user, granted in roles.items():
            server.command("createUser", user, pwd=_PASSWORD, roles=granted)
            server.url = address.replace("://", "://root:secret@")
        server.url = address
        yield server
    finally:
        server.kill()


def test_a_login_that_is_refused_is_said_in_words(locked: Mongod) -> None:
    place = f"127.0.0.1:{locked.port}"
    told: list[str] = []
    wait = StoreWait(600, told.append)
    with pytest.raises(StoreError) as caught:
        MongoStore(f"mongodb://root:wrong@{place}/x?authSource=admin", wait=wait)
    assert told == []
    assert type(caught.value) is StoreError
    assert str(caught.value) == Message(
        f"MongoDB at {place} refused the login: {THEIRS}; check user, "
        f"password and authSource in the URL "
        f"mongodb://root:***@{place}/x?authSource=admin"
    )

    with pytest.raises(StoreError) as caught:
        MongoStore(f"mongodb://reader:secret@{place}/x?authSource=admin")
    assert str(caught.value) == Message(
        f"MongoDB at {place} refused the call: {THEIRS}; "
        f"give the user the role readWrite on the database x"
    )

    with pytest.raises(StoreError) as caught:
        MongoStore(f"mongodb://{place}/x")
    assert str(caught.value) == Message(
        f"MongoDB at {place} refused the call: {THEIRS}; "
        f"give the user the role readWrite on the database x"
    )


def test_a_login_that_is_right_opens_the_store(locked: Mongod) -> None:
    place = f"127.0.0.1:{locked.port}"
    store = MongoStore(f"mongodb://root:secret@{place}/x?authSource=admin")
    filled(store, "one")
    sibling = store.sibling()

    assert sibling.container("feed") is not None
    assert sibling.url == f"mongodb://root:***@{place}/x?authSource=admin"
    store.close()
    sibling.close()


def test_a_member_that_takes_no_writes_is_refused(tmp_path: Path) -> None:
    server = start_mongod(tmp_path, free_port(), "--replSet", "rs")
    try:
        with pytest.raises(StoreUnavailable) as caught:
            MongoStore(f"{server.url}/x?directConnection=true")
    finally:
        server.kill()

    assert str(caught.value) == (
        f"expected a primary at 127.0.0.1:{server.port}, found a member of a replica "
        f"set that takes no writes; name the primary, or the set with replicaSet="
    )


def test_a_database_is_one_store_however_its_url_is_spelt(mongod_url: str) -> None:
    other = mongod_url.replace("127.0.0.1", "localhost")
    keys = []
    for url in (mongod_url, other):
        store = MongoStore(url)
        keys.append(store.key_of(store.create("feed")[0]))
        store.close()

    assert other != mongod_url
    assert len(set(keys)) == 1
