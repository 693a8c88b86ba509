from __future__ import annotations

import pytest
from pymongo.errors import DuplicateKeyError

from ptsflow.errors import Conflict
from ptsflow.stores.mongo.store import MongoStore
from tests.stores.making import chunk, new
from tests.unit.stores_mongo.conftest import Collections

UNIQUE = {
    "ptsflow_containers": {"name_1"},
    "ptsflow_tasks": {"container_1_name_1"},
}


def test_each_query_has_its_index(mocked: MongoStore, database: Collections) -> None:
    mocked.logs().put(mocked.create("feed")[0].uid, [chunk("one")])
    found = {
        name: [[field for field, _ in index["key"]] for index in indexes.values()]
        for name in ("containers", "tasks", "payloads", "logs")
        if (indexes := database(f"ptsflow_{name}").index_information())
    }

    assert found == {
        "containers": [["_id"], ["name"]],
        "tasks": [["_id"], ["container", "name"], ["container", "position", "name"]],
        "payloads": [["_id"], ["container"]],
        "logs": [
            ["_id"],
            ["container", "mark"],
            ["container", "task", "attempt", "mark"],
        ],
    }


@pytest.mark.usefixtures("mocked")
def test_names_are_unique_and_nothing_else(database: Collections) -> None:
    found = {
        name: {
            key
            for key, index in database(name).index_information().items()
            if index.get("unique")
        }
        for name in UNIQUE
    }

    assert found == UNIQUE


@pytest.mark.usefixtures("mocked")
def test_the_index_of_open_tasks_leaves_out_what_is_complete(
    database: Collections,
) -> None:
    index = database("ptsflow_tasks").index_information()[
        "container_1_position_1_name_1"
    ]

    assert index["partialFilterExpression"] == {"open": True}


def test_a_container_of_a_name_is_made_once(
    mocked: MongoStore, database: Collections
) -> None:
    first, is_new = mocked.create("feed")
    second, is_new_again = mocked.create("feed")

    assert (first, is_new, is_new_again) == (second, True, False)
    with pytest.raises(DuplicateKeyError):
        database("ptsflow_containers").insert_one({"name": "feed"})


def test_a_task_of_a_name_is_added_once(mocked: MongoStore) -> None:
    uid = mocked.create("feed")[0].uid
    mocked.commit(uid, [new("one")], fence=None)

    with pytest.raises(Conflict):
        mocked.commit(uid, [new("one")], fence=None)


def test_opening_once_more_makes_no_index_again(
    mocked: MongoStore, database: Collections
) -> None:
    before = database("ptsflow_tasks").index_information()
    mocked.sibling()

    assert database("ptsflow_tasks").index_information() == before
