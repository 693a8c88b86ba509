"""What is true of log lines in MongoDB alone."""

from __future__ import annotations

import pytest
from bson import ObjectId
from pymongo.database import Database

from ptsflow.stores.mongo.store import MongoStore
from tests.stores.making import chunk, filled
from tests.support.databases import Raw, listening

pytestmark = pytest.mark.mongod


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

    assert ear.names == ["createIndexes", "insert", "insert", "delete"]
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
