"""The store in MongoDB and the process that it is opened in."""

from __future__ import annotations

import os
import warnings

import mongoengine
import pytest
from pymongo.database import Database

from ptsflow.errors import StoreError
from ptsflow.stores.mongo.store import MongoStore
from tests.stores.making import filled, names
from tests.support.databases import Raw
from tests.support.processes import python

pytestmark = pytest.mark.mongod


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


_OPEN_AND_CLOSE = """
import gc, sys, threading, time, warnings
from ptsflow.stores.mongo.store import MongoStore
from tests.stores.making import filled
warnings.simplefilter("always")
before = threading.active_count()
store = MongoStore(sys.argv[1])
stores = [store, store.sibling()]
filled(store, "one")
for each in (store, *stores):
    each.close()
del store, stores, each
gc.collect()
end = time.monotonic() + 60
while threading.active_count() > before and time.monotonic() < end:
    time.sleep(0.01)
print(threading.active_count() - before)
"""


def test_opening_and_closing_leaves_nothing_to_warn_of(url: str) -> None:
    done = python("-c", _OPEN_AND_CLOSE, url)

    assert (done.stdout, done.stderr) == ("0\n", "")


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


#: Says how many threads of pymongo live on when pymongo has waited for them.
_AT_THE_END = """
import atexit, sys, threading
# What is registered first is called last.
atexit.register(lambda: print(sum("pymongo" in t.name for t in threading.enumerate())))
from ptsflow.stores.mongo.store import MongoStore
store = MongoStore(sys.argv[1])
assert threading.active_count() > 1
"""


@pytest.mark.parametrize("end", ["store.close()", "keep = store"])
def test_a_process_ends_without_waiting_for_the_threads_of_closed_stores_alone(
    url: str, end: str
) -> None:
    done = python("-c", _AT_THE_END + end, url)

    assert (done.stdout != "0\n") == (end == "store.close()")
    assert end != "store.close()" or done.stderr == ""
