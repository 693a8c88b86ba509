"""What an error of the MongoDB server means to a caller of the store."""

from __future__ import annotations

import pytest
from pymongo.errors import WriteError

from ptsflow.errors import StoreError, StoreFull, StoreUnavailable
from ptsflow.stores.mongo.store import MongoStore
from tests.stores.making import filled, held, one, swap
from tests.support.databases import new_database_url, raw_database
from tests.support.mongod import Mongod
from tests.support.wording import THEIRS, Message

pytestmark = pytest.mark.mongod


@pytest.fixture
def server(mongod: Mongod) -> str:
    return mongod.url


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
    # After an election the same is sent once more.
    failing = mongod.fail("update", times=2, errorCode=code)
    with failing, pytest.raises(StoreError) as caught:
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


def test_a_full_disk_is_said_in_words(store: MongoStore) -> None:
    error = WriteError("fallocate: No space left on device", 8)
    refused = store._link.translated(error)

    assert type(refused) is StoreFull
    assert str(refused) == (
        f"MongoDB at {store._link.place} has no room left: fallocate: No space left "
        f"on device; free some there"
    )
