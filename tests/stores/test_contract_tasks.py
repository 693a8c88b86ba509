"""What `stores/base.py` says of tasks, on every store."""

from __future__ import annotations

import unicodedata

import pytest
from msgspec import UNSET
from msgspec.structs import replace

from ptsflow.core.model import Cause, Change, Progress, Status, Tally, TaskRecord
from ptsflow.core.texts import hash_of
from ptsflow.errors import Conflict, ContainerNotFound, LeaseLost
from ptsflow.stores.base import Store
from tests.stores.making import drop, filled, held, names, new, one, swap

MIB = 1 << 20


def test_a_task_is_read_as_it_was_written(store: Store) -> None:
    uid = filled(store)
    task = TaskRecord(
        name="load[a]",
        step="load",
        key="a",
        position=7,
        status=Status.SKIPPED,
        version=1,
        fence=0,
        attempt=2,
        invoke_count=3,
        percentage_complete=33.3,
        status_text="half\nway",
        due=1,
        began_at=2,
        last_invoked_at=3,
        task_ended_at=4,
        task_duration_ms=5,
        leased_till=6,
        max_retries=0,
        delay_between_retries=0.1,
        error="ValueError: no",
        cause=Cause.UPSTREAM,
        code_version="v2",
        task_data='{"a": 1}',
        processing_data="null",
        result='"é\\u0000"',
    )
    store.commit(uid, [Change(None, task)], fence=None)

    assert store.tasks(uid, payloads=True) == [task]
    assert store.tasks(uid) == [
        replace(task, task_data=UNSET, processing_data=UNSET, result=UNSET)
    ]


@pytest.mark.parametrize("value", [0, -0.0, 100, 1e-300, 99.99999999999999, 1e17])
def test_a_figure_keeps_its_value_whatever_its_type(store: Store, value: float) -> None:
    uid = filled(store)
    change = new("one", percentage_complete=value, delay_between_retries=value)
    store.commit(uid, [change], fence=None)

    assert one(store, uid, "one").percentage_complete == value
    assert one(store, uid, "one").delay_between_retries == value


def test_payloads_not_given_in_an_insert_are_none(store: Store) -> None:
    uid = filled(store, "one")
    task = one(store, uid, "one", payloads=True)

    assert (task.task_data, task.processing_data, task.result) == (None, None, None)


def test_only_changed_payloads_are_written(store: Store) -> None:
    uid = filled(store)
    given = new("one", task_data="1", processing_data="2", result="3")
    store.commit(uid, [given], fence=None)
    blind = one(store, uid, "one")
    store.commit(uid, [swap(blind, result='"new"')], fence=None)
    seen = one(store, uid, "one", payloads=True)
    store.commit(uid, [swap(seen, processing_data=None)], fence=None)
    store.commit(uid, [swap(one(store, uid, "one"))], fence=None)
    task = one(store, uid, "one", payloads=True)

    assert (task.task_data, task.processing_data, task.result) == ("1", None, '"new"')


def test_three_payloads_of_eight_mib_fit_in_one_task(store: Store) -> None:
    uid = filled(store)
    big = {
        field: f'"{letter * (8 * MIB - 2)}"'
        for field, letter in (
            ("task_data", "t"),
            ("processing_data", "p"),
            ("result", "r"),
        )
    }
    store.commit(uid, [new("one", **big)], fence=None)
    store.commit(
        uid, [swap(one(store, uid, "one"), percentage_complete=1.0)], fence=None
    )
    task = one(store, uid, "one", payloads=True)

    assert {field: getattr(task, field) for field in big} == big


_NAMES = [
    "v1.2",
    "$where",
    "$name",
    "a/b",
    "load[x.y]",
    "%00",
    " ",
    "'; DROP TABLE tasks; --",
    "\U0001f469\u200d\U0001f467",
    "\u202e\u05e9\u05dc\u05d5\u05dd",
    unicodedata.normalize("NFC", "café"),
    unicodedata.normalize("NFD", "café"),
    "Download",
    "download",
    "é" * 100,
]


def test_names_are_kept_apart_to_the_byte(store: Store) -> None:
    container, _ = store.create("$feed.of/💥")
    uid = container.uid
    changes = [new(name, result=f'"{i}"') for i, name in enumerate(_NAMES)]
    store.commit(uid, changes, fence=None)

    assert names(store, uid) == _NAMES
    for i, name in enumerate(_NAMES):
        assert one(store, uid, name, payloads=True).result == f'"{i}"'
    store.commit(uid, [swap(task) for task in store.tasks(uid)], fence=None)
    store.commit(uid, [drop(task) for task in store.tasks(uid)], fence=None)
    assert names(store, uid) == []


def test_tasks_of_some_names_come_by_position_too(store: Store) -> None:
    uid = filled(store, "c", "a", "b")

    found = store.tasks(uid, iter(["b", "absent", "c", "b"]))
    assert [task.name for task in found] == ["c", "b"]
    assert store.tasks(uid, []) == []


def test_tasks_of_two_containers_do_not_mix(store: Store) -> None:
    uid = filled(store, "one")
    second, _ = store.create("second")
    store.commit(second.uid, [new("one", result="2")], fence=None)
    store.delete(uid)

    assert one(store, second.uid, "one", payloads=True).result == "2"


def test_the_store_gives_positions_after_all_others(store: Store, other: Store) -> None:
    uid = filled(store, "a", "b")
    other.commit(uid, [new("c"), new("x", position=50), new("d")], fence=None)
    store.commit(uid, [new("e"), new("first", position=-1)], fence=None)

    listed = names(store, uid)
    assert [name for name in listed if name != "x"] == [
        "a",
        "b",
        "c",
        "d",
        "e",
        "first",
    ]
    assert listed.index("x") < listed.index("e")
    positions = [task.position for task in store.tasks(uid)]
    assert len(set(positions)) == 7
    assert min(positions) >= 0


def test_a_position_that_is_given_is_kept(store: Store) -> None:
    uid = filled(store)
    store.commit(uid, [new("b", position=1), new("a", position=0)], fence=None)
    store.commit(uid, [swap(one(store, uid, "a"), position=9)], fence=None)

    assert [(t.name, t.position) for t in store.tasks(uid)] == [("b", 1), ("a", 9)]


def test_the_first_open_task_is_the_next(store: Store) -> None:
    uid = filled(store)
    changes = [
        new("done", status=Status.DONE),
        new("failed", status=Status.FAILED),
        new("skipped", status=Status.SKIPPED),
        new("waiting", status=Status.WAITING, leased_till=20, task_data="1"),
        new("running", status=Status.RUNNING, leased_till=10),
        new("pending"),
    ]
    store.commit(uid, changes, fence=None)
    asked = {at: store.next_open(uid, unleased_at=at) for at in (None, 9, 10, 19, 20)}

    assert {at: task and task.name for at, task in asked.items()} == {
        None: "waiting",
        9: "pending",
        10: "running",
        19: "running",
        20: "waiting",
    }
    assert asked[None] == one(store, uid, "waiting", payloads=True)


def test_a_task_leaves_and_joins_the_open_ones_as_its_status_says(store: Store) -> None:
    uid = filled(store, "one")
    store.commit(uid, [swap(one(store, uid, "one"), status=Status.DONE)], fence=None)
    assert store.next_open(uid) is None
    store.commit(uid, [swap(one(store, uid, "one"), status=Status.PENDING)], fence=None)

    assert store.next_open(uid) == one(store, uid, "one", payloads=True)


def test_a_rename_keeps_everything_else(store: Store) -> None:
    uid = filled(store)
    store.commit(uid, [new("old", result='"kept"'), new("last")], fence=None)
    before = one(store, uid, "old", payloads=True)
    store.commit(uid, [swap(one(store, uid, "old"), name="new")], fence=None)

    assert names(store, uid) == ["new", "last"]
    assert one(store, uid, "new", payloads=True) == replace(
        before, name="new", version=2
    )


def test_a_deleted_task_made_again_has_nothing_of_the_old_one(store: Store) -> None:
    uid = filled(store)
    store.commit(uid, [new("one", result="1")], fence=None)
    store.commit(uid, [drop(one(store, uid, "one"))], fence=None)
    store.commit(uid, [new("one")], fence=None)

    assert one(store, uid, "one", payloads=True).result is None


# -- conflicts -----------------------------------------------------------------


def _refused(store: Store, uid: str, change: Change, fence: int | None = None) -> str:
    before = store.tasks(uid, payloads=True)
    with pytest.raises(Conflict) as caught:
        store.commit(uid, [change], fence=fence)
    assert store.tasks(uid, payloads=True) == before
    return str(caught.value)


def test_a_task_that_moved_on_is_not_swapped(store: Store) -> None:
    uid = filled(store, "one")
    stale = one(store, uid, "one")
    store.commit(uid, [swap(stale)], fence=None)
    message = (
        "container 'feed': task 'one' changed since it was read: expected version 1 "
        "of fence 0, found version 2 of fence 0; read it again"
    )

    assert _refused(store, uid, swap(stale)) == message
    assert _refused(store, uid, drop(stale)) == message


@pytest.mark.parametrize("status", [Status.PENDING, Status.DONE])
def test_a_task_made_anew_is_not_swapped_for_who_read_the_former_one(
    store: Store, status: Status
) -> None:
    uid = filled(store, "one")
    former = one(store, uid, "one")
    store.commit(uid, [swap(former, name="zero")], fence=None)
    store.commit(uid, [new("one", status=status)], fence=None)
    found = one(store, uid, "one")

    assert (former.version, former.fence) == (found.version, found.fence)
    for change in (
        drop(former),
        swap(former, status_text="seen"),
        swap(former, status_text="seen", result='"new"'),
        swap(former, name="two"),
        swap(former, position=former.position + 7),
    ):
        assert _refused(store, uid, change) == (
            "container 'feed': task 'one' was made anew since it was read; "
            "read it again"
        )


def test_a_task_written_under_another_fence_is_not_swapped(store: Store) -> None:
    uid = filled(store, "one")
    record = held(store, uid)
    store.commit(uid, [swap(one(store, uid, "one"), fence=1)], fence=1)
    store.release(record)
    wrong = replace(one(store, uid, "one"), fence=0)

    assert _refused(store, uid, swap(wrong)) == (
        "container 'feed': task 'one' changed since it was read: expected version 2 "
        "of fence 0, found version 2 of fence 1; read it again"
    )


def test_a_taken_name_is_not_inserted(store: Store) -> None:
    uid = filled(store, "one")
    message = "container 'feed': the task name 'one' is taken; choose another one"

    assert _refused(store, uid, new("one")) == message
    held(store, uid)
    assert _refused(store, uid, new("one", fence=1, step="load"), 1) == message


def test_a_task_is_not_renamed_to_a_taken_name(store: Store) -> None:
    uid = filled(store, "one", "two")

    assert _refused(store, uid, swap(one(store, uid, "one"), name="two")) == (
        "container 'feed': task 'one' cannot be renamed: 'two' is taken; choose another"
    )


def test_a_task_that_was_deleted_is_not_swapped(store: Store) -> None:
    uid = filled(store, "one")
    gone = one(store, uid, "one")
    store.commit(uid, [drop(gone)], fence=None)
    message = (
        "container 'feed': task 'one' was deleted since it was read; read them again"
    )

    assert _refused(store, uid, swap(gone)) == message
    assert _refused(store, uid, drop(gone)) == message
    assert _refused(store, uid, swap(gone, name="two")) == message


@pytest.mark.parametrize("fence", [None, 1])
def test_a_deleted_container_takes_no_tasks(store: Store, fence: int | None) -> None:
    uid = filled(store)
    store.delete(uid)

    with pytest.raises(ContainerNotFound) as caught:
        store.commit(uid, [new("one", fence=fence or 0)], fence=fence)

    assert str(caught.value) == (
        f"the container with the uid {uid} was deleted; get or create it again"
    )
    assert store.tasks(uid) == []


def test_of_a_batch_with_a_conflict_nothing_is_kept(store: Store, kind: str) -> None:
    if kind.startswith("mongod"):
        pytest.skip("MongoDB swaps each task by itself.")
    uid = filled(store, "a", "b")
    a, b = store.tasks(uid)
    store.commit(uid, [swap(b)], fence=None)
    before = store.tasks(uid, payloads=True)
    batch = [swap(a, result="1"), new("c"), swap(b)]

    with pytest.raises(Conflict):
        store.commit(uid, batch, fence=None)
    assert store.tasks(uid, payloads=True) == before
    store.commit(uid, [new("d")], fence=None)
    assert one(store, uid, "d").position == 2


def test_a_batch_committed_again_under_its_fence_is_recognised(store: Store) -> None:
    uid = filled(store, "a", "b", "c")
    held(store, uid)
    a, b, c = store.tasks(uid)
    batch = [
        swap(a, fence=1, status=Status.RUNNING, result='"a"'),
        swap(b, fence=1, name="bb"),
        drop(c),
        new("d", fence=1, result='"d"'),
    ]
    store.commit(uid, batch, fence=1)
    store.touch(uid, [Progress("a", 40.0, "on the way")], fence=1)
    once = store.tasks(uid, payloads=True)
    store.commit(uid, batch, fence=1)

    assert store.tasks(uid, payloads=True) == once
    assert names(store, uid) == ["a", "bb", "d"]


@pytest.mark.parametrize("result", [None, '"r"'])
def test_of_alike_changes_those_that_were_made_are_recognised_and_the_others_made(
    store: Store, result: str | None
) -> None:
    uid = filled(store)
    held(store, uid)
    made = [new(f"t{n}", fence=1, position=n, task_data=None) for n in range(6)]
    store.commit(uid, made[1:3], fence=1)
    store.commit(uid, made, fence=1)
    swaps = [
        swap(task, fence=1, status=Status.RUNNING, result=result)
        for task in store.tasks(uid)
    ]
    store.commit(uid, swaps[2:5], fence=1)
    store.commit(uid, swaps, fence=1)

    # SQLite compares the number of the tasks whenever all are read.
    found = store.tasks(uid, payloads=True)
    assert [(t.name, t.version, t.status, t.result) for t in found] == [
        (f"t{n}", 2, Status.RUNNING, result) for n in range(6)
    ]


def test_of_alike_changes_the_one_that_does_not_fit_is_named(
    store: Store, kind: str
) -> None:
    uid = filled(store, *"abcde")
    tasks = store.tasks(uid)
    store.commit(uid, [swap(tasks[3])], fence=None)
    before = store.tasks(uid)

    with pytest.raises(Conflict, match="task 'd' changed since it was read"):
        store.commit(uid, [swap(t, status_text="x") for t in tasks], fence=None)
    if not kind.startswith("mongod"):  # It swaps each task by itself.
        assert store.tasks(uid) == before


def test_an_empty_batch_still_asks_for_the_lease(store: Store) -> None:
    uid = filled(store)
    store.commit(uid, [], fence=None)

    with pytest.raises(LeaseLost):
        store.commit(uid, [], fence=1)


# -- progress and counts ---------------------------------------------------------


def test_progress_moves_no_version_and_is_kept(store: Store) -> None:
    uid = filled(store, "one", "two")
    held(store, uid)
    start = [swap(t, fence=1, status=Status.RUNNING) for t in store.tasks(uid)]
    store.commit(uid, start, fence=1)
    before = one(store, uid, "one", payloads=True)
    progress = [Progress("one", 10.0, "a"), Progress("one", 65.5, "3 of 7 files")]
    store.touch(uid, progress, fence=1)

    assert one(store, uid, "one", payloads=True) == replace(
        before, percentage_complete=65.5, status_text="3 of 7 files"
    )
    assert one(store, uid, "two").percentage_complete == 0
    store.commit(uid, [swap(before, status=Status.DONE)], fence=1)
    assert one(store, uid, "one").status is Status.DONE


def test_late_progress_is_dropped(store: Store) -> None:
    uid = filled(store, "one")
    held(store, uid)
    store.commit(uid, [swap(one(store, uid, "one"), fence=1)], fence=1)
    before = store.tasks(uid, payloads=True)
    store.touch(uid, [Progress("one", 5.0, ""), Progress("absent", 5.0, "")], fence=1)
    store.touch(uid, [], fence=1)

    assert store.tasks(uid, payloads=True) == before


def test_progress_in_a_deleted_container_is_a_lost_lease(store: Store) -> None:
    uid = filled(store, "one")
    store.delete(uid)

    with pytest.raises(LeaseLost):
        store.touch(uid, [Progress("one", 5.0, "")], fence=1)


def test_tasks_are_counted_by_step_and_status(store: Store) -> None:
    uid = filled(store)
    changes = [
        new("a", step="load", status=Status.DONE, percentage_complete=100.0),
        new("b", step="load", status=Status.RUNNING, percentage_complete=25.0),
        new("c", step="load", status=Status.RUNNING, percentage_complete=50.5),
        new("d"),
    ]
    store.commit(uid, changes, fence=None)
    empty, _ = store.create("empty")
    tallies = store.tallies(iter([empty.uid, uid]))

    assert tallies.keys() == {uid, empty.uid}
    assert tallies[empty.uid] == []
    assert len(tallies[uid]) == 3
    for tally in (
        Tally("load", Status.DONE, 1, 100.0),
        Tally("load", Status.RUNNING, 2, 75.5),
        Tally("", Status.PENDING, 1, 0.0),
    ):
        assert tally in tallies[uid]


def test_five_thousand_tasks_are_one_batch(store: Store) -> None:
    uid = filled(store)
    store.commit(uid, [new(f"load[{i}]", step="load") for i in range(5000)], fence=None)
    held(store, uid)
    tasks = store.tasks(uid)
    store.commit(
        uid,
        [swap(task, fence=1, status=Status.DONE, result="1") for task in tasks],
        fence=1,
    )

    assert names(store, uid) == [f"load[{i}]" for i in range(5000)]
    assert store.tallies([uid])[uid] == [Tally("load", Status.DONE, 5000, 0.0)]
    assert store.next_open(uid) is None


def test_the_payload_of_a_task_goes_along_when_it_is_renamed_in_the_same_batch(
    store: Store,
) -> None:
    uid = filled(store)
    made = new("a", position=0, task_data="[1]", result="[2]")
    assert made.after
    renamed = swap(replace(made.after, result=UNSET), name="b")
    store.commit(uid, [made, renamed], fence=None)

    [task] = store.tasks(uid, ["b"], payloads=True)
    assert (task.task_data, task.result) == ("[1]", "[2]")


def test_a_task_made_again_in_the_same_batch_has_no_payload_of_the_old_one(
    store: Store,
) -> None:
    uid = filled(store)
    old = new("a", position=0, task_data="[1]", result="[2]")
    assert old.after
    store.commit(uid, [old, drop(old.after), new("a", result="[3]")], fence=None)

    [task] = store.tasks(uid, ["a"], payloads=True)
    assert (task.task_data, task.result) == (None, "[3]")


@pytest.mark.parametrize("text", ['"long"', '"\u00e9"', "[1,2]"])
@pytest.mark.parametrize("hashed", ["{}", "another"], ids=["known", "unknown"])
def test_a_result_is_read_whether_or_not_its_hash_is_known(
    store: Store, text: str, hashed: str
) -> None:
    uid = filled(store)
    known = hash_of(hashed.format(text))
    store.commit(uid, [new("a", result=text, result_hash=known)], fence=None)
    saved = swap(one(store, uid, "a"), processing_data=text)
    store.commit(uid, [saved], fence=None)

    [task] = store.tasks(uid, ["a"], payloads=True)
    assert (task.result, task.processing_data) == (text, text)
