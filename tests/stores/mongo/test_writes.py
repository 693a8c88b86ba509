"""What the store in MongoDB asks of the server, and how it has it confirmed."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from msgspec.structs import replace

from ptsflow.core.model import Progress, Status, Stop, TaskRecord
from ptsflow.errors import StoreUnavailable
from ptsflow.stores.mongo import connection
from ptsflow.stores.mongo.documents import INLINE_LIMIT
from ptsflow.stores.mongo.store import MongoStore
from tests.stores.making import LEASE, drop, ended, filled, held, new, one, swap
from tests.stores.test_contract_runs import begun
from tests.support.databases import listening, new_database_url, raw_database

pytestmark = pytest.mark.mongod


@pytest.mark.parametrize(
    "options",
    [
        "",
        "w=0",
        "w=1",
        "w=1&journal=false&wtimeoutMS=1",
        "journal=false",
        "retryWrites=false",
        "readPreference=secondaryPreferred&readConcernLevel=available",
    ],
)
def test_every_write_is_journaled_by_a_majority_whatever_the_url_says(
    server: str, options: str
) -> None:
    url = new_database_url(server, options)
    with raw_database(url), listening() as ear:
        store = MongoStore(url)
        uid = filled(store, "a", "b", "c")
        record = held(store, uid)
        store.renew(uid, record.fence, LEASE)
        run = begun(record)
        store.save(record, run)
        big = f'"{"x" * INLINE_LIMIT}"'
        a, b, _ = store.tasks(uid)
        running = replace(a, version=2, fence=1, status=Status.RUNNING, result=big)
        store.commit(uid, [swap(a, fence=1, **_given(running)), drop(b)], fence=1)
        store.touch(uid, [Progress("a", 5.0, "")], fence=1)
        store.ask_to_stop(uid, 1, Stop.NOW)
        store.release(record, run)
        store.number_run(uid, 1, 1, told_at=1)
        store.tell(uid, 1, None)
        store.delete(uid)
        store.close()

    writes = [command for command in ear.commands if "writeConcern" in command]
    assert {"insert", "update", "delete", "findAndModify", "createIndexes"} <= {
        next(iter(command)) for command in writes
    }
    reads = {"find", "getMore", "aggregate", "listCollections"}
    for command in ear.commands:
        if next(iter(command)) not in reads:
            assert command["writeConcern"]["w"] == "majority"
            assert command["writeConcern"]["j"] is True
        else:
            assert command.get("$readPreference") in (None, {"mode": "primary"})
            assert command.get("readConcern") in (None, {})


def _given(task: TaskRecord) -> dict[str, Any]:
    return {"status": task.status, "result": task.result}


def test_finishing_one_task_and_starting_the_next_is_one_round_trip(
    url: str,
) -> None:
    with listening() as ear:
        store = MongoStore(url)
        uid = filled(store, "a", "b")
        held(store, uid)
        a, b = store.tasks(uid)
        ear.commands.clear()
        store.commit(
            uid,
            [
                swap(a, fence=1, status=Status.DONE, result="1"),
                swap(b, fence=1, status=Status.RUNNING),
            ],
            fence=1,
        )
        store.close()

    assert ear.names == ["update"]
    assert len(ear.commands[0]["updates"]) == 2


def test_a_batch_that_no_task_guards_is_a_write_between_two_looks_at_the_lease(
    url: str,
) -> None:
    with listening() as ear:
        store = MongoStore(url)
        uid = filled(store, "a")
        held(store, uid)
        finish = swap(one(store, uid, "a"), fence=1, status=Status.DONE)
        store.commit(uid, [finish], fence=1)
        done = one(store, uid, "a")
        ear.commands.clear()
        store.commit(uid, [swap(done, status=Status.PENDING)], fence=1)
        assert ear.names == ["find", "update", "find"]
        ear.commands.clear()
        store.commit(uid, [new(f"t{i}", fence=1) for i in range(100)], fence=1)
        assert ear.names == ["findAndModify", "insert", "find", "listCollections"]
        store.close()


def test_an_attempt_is_entered_by_the_very_update_that_ends_it(url: str) -> None:
    with listening() as ear:
        store = MongoStore(url)
        uid = filled(store, "a", "b", "c", "d")
        held(store, uid)
        batch = [swap(task, fence=1) for task in store.tasks(uid)]
        ear.commands.clear()
        first = [ended(change, 1) for change in batch[:3]]
        store.commit(uid, [*first, ended(batch[3], 2)], fence=1)
        store.close()

    assert ear.names == ["update"]
    alike, other = ear.commands[0]["updates"]
    assert alike["q"]["name"] == {"$in": ["a", "b", "c"]}
    assert other["q"]["name"] == "d"
    pushed = alike["u"]["$push"]["ledger"]
    assert pushed["$slice"] == -20
    assert [entry["number"] for entry in pushed["$each"]] == [1]


def test_no_task_is_read_with_its_ledger(url: str) -> None:
    with listening() as ear:
        store = MongoStore(url)
        uid = filled(store, "a")
        ear.commands.clear()
        store.tasks(uid)
        store.tasks(uid, payloads=True)
        store.next_open(uid)
        store.close()

    bare, *with_payloads = [command["projection"] for command in ear.commands]
    assert "ledger" not in bare
    assert bare["name"] is True
    assert [shown["ledger"] for shown in with_payloads] == [0, 0]


def test_looking_for_a_word_reads_nothing_else(url: str) -> None:
    with listening() as ear:
        store = MongoStore(url)
        uid = filled(store)
        held(store, uid)
        ear.commands.clear()
        store.stop_asked(uid, 1)
        store.close()

    (find,) = ear.commands
    assert find["projection"] == {"name": True, "stop_asked": True}


def test_only_what_changed_is_written_and_progress(url: str) -> None:
    with listening() as ear:
        store = MongoStore(url)
        uid = filled(store, "a")
        held(store, uid)
        ear.commands.clear()
        store.commit(uid, [swap(one(store, uid, "a"), fence=1, attempt=1)], fence=1)
        store.close()

    (update,) = ear.commands[-1]["updates"]
    (stage,) = update["u"]
    _, changed, as_it_was = stage["$replaceWith"]["$cond"]
    assert as_it_was == "$$ROOT"
    assert changed["$mergeObjects"] == [
        "$$ROOT",
        {
            "$literal": {
                "version": 2,
                "fence": 1,
                "attempt": 1,
                "percentage_complete": 0.0,
                "status_text": "",
            }
        },
    ]


def test_ten_thousand_tasks_are_written_and_read_in_few_round_trips(url: str) -> None:
    with listening() as ear:
        store = MongoStore(url)
        uid = filled(store)
        ear.commands.clear()
        changes = [new(f"load[{i}]", position=i) for i in range(10_000)]
        store.commit(uid, changes, fence=None)
        assert ear.names.count("insert") == 2
        assert len(ear.names) <= 5
        ear.commands.clear()
        assert len(store.tasks(uid)) == 10_000
        # The last round trip finds out that there are no more.
        assert ear.names == ["find", "getMore", "getMore"]
        store.close()


@pytest.mark.parametrize("are_granted", [True, False])
def test_all_batches_are_read_whether_or_not_a_thread_is_granted_for_the_next(
    store: MongoStore, monkeypatch: pytest.MonkeyPatch, *, are_granted: bool
) -> None:
    monkeypatch.setattr(connection, "_READ_AT_ONCE", 2)
    if not are_granted:
        monkeypatch.setattr(threading.Thread, "start", _refuse)
    uid = filled(store, *"abcde")

    assert [task.name for task in store.tasks(uid)] == list("abcde")
    monkeypatch.undo()


@pytest.mark.parametrize(
    "wrong", [RuntimeError("can't start new thread"), MemoryError()]
)
def test_a_call_that_is_granted_no_thread_or_memory_is_one_to_make_again(
    store: MongoStore, monkeypatch: pytest.MonkeyPatch, wrong: Exception
) -> None:
    def refuse(_: threading.Thread) -> None:
        raise wrong

    monkeypatch.setattr(threading.Thread, "start", refuse)
    with pytest.raises(StoreUnavailable) as caught:
        store.sibling()
    monkeypatch.undo()
    again = store.sibling()
    uid = filled(again, "a")
    again.close()

    assert caught.value.may_pass
    assert [task.name for task in store.tasks(uid)] == ["a"]


def _refuse(_: threading.Thread) -> None:
    raise RuntimeError("can't start new thread")
