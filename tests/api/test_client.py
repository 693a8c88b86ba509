"""What a client of task containers can do, on every kind of store."""

from __future__ import annotations

import math
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

import ptsflow
from ptsflow.client import Client, Container, Task
from ptsflow.errors import ContainerNotFound
from ptsflow.model import Status
from tests.stores.making import Ticker

AT = datetime(2011, 9, 30, 13, 5, 7, 123_000, tzinfo=UTC)
#: What the clock of these tests shows.
NOW = datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC)
EVERYTHING = {
    "task_data": [None, True, 2**70, 1.5, "ü\0", (1, 2), {"$": 1, "a.b": {3}}],
    "processing_data": {"at": AT, "bytes": b"\0\xff", "path": Path("a/b")},
}
#: Every field that can be set, with a value that is not its default.
FIELDS: dict[str, object] = {
    "percentage_complete": 12.5,
    "status_text": "3 of 7 files",
    "task_data": EVERYTHING["task_data"],
    "processing_data": EVERYTHING["processing_data"],
    "invoke_count": 7,
    "last_invoked_at": AT,
    "task_ended_at": AT + timedelta(milliseconds=1),
    "task_duration_ms": 2**40,
    "leased_till": AT + timedelta(days=1),
    "max_retries": 0,
    "delay_between_retries": 0.25,
    "result": Decimal("1.10"),
    "error": "OSError: no route",
}


def only_task(container: Container) -> Task:
    (task,) = container.get_tasks()
    return task


# -- containers ----------------------------------------------------------------------


def test_a_container_is_made_once(client: Client, name: str) -> None:
    first, was_made = client.get_or_create_task_container(name)
    second, was_made_again = client.get_or_create_task_container(name)

    assert (was_made, was_made_again) == (True, False)
    assert first.name == second.name == name


def test_an_absent_container_is_none(client: Client, name: str) -> None:
    assert client.get_task_container(name) is None


def test_a_container_is_found_by_its_name(client: Client, name: str) -> None:
    client.get_or_create_task_container(name)[0].add_task("download")
    found = client.get_task_container(name)

    assert found is not None
    assert only_task(found).name == "download"


def test_containers_are_listed_oldest_first(
    client: Client, name: str, clock: Ticker
) -> None:
    made = [f"{name} {letter}" for letter in "bca"]
    for each in made:
        clock.now += 1
        client.get_or_create_task_container(each)
    listed = [each.name for each in client.get_task_containers()]

    assert [each for each in listed if each in made] == made


def test_deleting_a_container_says_whether_there_was_one(
    client: Client, name: str
) -> None:
    client.get_or_create_task_container(name)

    assert client.delete_task_container(name) is True
    assert client.delete_task_container(name) is False
    assert client.get_task_container(name) is None


def test_a_deleted_container_made_again_has_no_tasks(client: Client, name: str) -> None:
    client.get_or_create_task_container(name)[0].add_task("download")
    client.delete_task_container(name)
    container, was_made = client.get_or_create_task_container(name)

    assert was_made
    assert container.get_tasks() == []


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("x" * 200, id="200 bytes"),
        pytest.param("é" * 100, id="200 bytes of UTF-8"),
        pytest.param("a.b/$c", id="what MongoDB has a use for"),
        pytest.param("'; DROP TABLE tasks; --", id="SQL"),
        pytest.param("line\nbreak\x1b[31m", id="control characters"),
        pytest.param(" ", id="a space"),
    ],
)
def test_any_text_is_a_name(client: Client, container: Container, text: str) -> None:
    client.delete_task_container(text)
    other, was_made = client.get_or_create_task_container(text)
    container.add_task(text, task_data=1)
    container.update_task(text, task_data=2)
    found = container.get_task(text)

    assert was_made
    assert other.name == text
    assert found is not None
    assert (found.name, found.task_data) == (text, 2)
    assert container.delete_task(text) == found
    assert client.delete_task_container(text)


# -- tasks ---------------------------------------------------------------------------


def test_a_new_task_has_the_defaults(container: Container) -> None:
    expected = Task(
        name="download",
        is_complete=False,
        has_failed=False,
        percentage_complete=0.0,
        status_text="",
        task_data=None,
        processing_data=None,
        invoke_count=0,
        last_invoked_at=None,
        task_ended_at=None,
        task_duration_ms=None,
        leased_till=None,
        max_retries=3,
        delay_between_retries=30.0,
        status=Status.PENDING,
        result=None,
        error=None,
    )

    assert container.add_task("download") == expected
    assert only_task(container) == expected


def test_a_task_is_frozen(container: Container) -> None:
    task = container.add_task("download")

    with pytest.raises(AttributeError):
        task.status_text = "changed"  # type: ignore[misc]


@pytest.mark.parametrize("field", FIELDS)
def test_each_field_can_be_given_to_add_task(container: Container, field: str) -> None:
    added = container.add_task("download", **{field: FIELDS[field]})
    container.add_task("plain")
    found, plain = container.get_tasks()

    assert found == added
    assert getattr(found, field) == FIELDS[field]
    assert all(
        getattr(found, other) == getattr(plain, other)
        for other in FIELDS.keys() - {field}
    )


@pytest.mark.parametrize("field", FIELDS)
def test_each_field_can_be_given_to_update_task(
    container: Container, field: str
) -> None:
    before = container.add_task("download")
    updated = container.update_task("download", **{field: FIELDS[field]})

    assert only_task(container) == updated
    assert getattr(updated, field) == FIELDS[field]
    assert all(
        getattr(updated, other) == getattr(before, other)
        for other in FIELDS.keys() - {field}
    )


def test_all_fields_can_be_given_at_once(container: Container) -> None:
    added = container.add_task("a", is_complete=True, has_failed=True, **FIELDS)

    assert only_task(container) == added
    assert {field: getattr(added, field) for field in FIELDS} == FIELDS
    assert (added.is_complete, added.has_failed) == (True, True)


def test_what_may_be_none_can_be_none_again(container: Container) -> None:
    blank = container.add_task("blank")
    container.add_task("a", **FIELDS)
    nullable = [field for field in FIELDS if getattr(blank, field) is None]
    updated = container.update_task("a", **dict.fromkeys(nullable))

    assert container.get_task("a") == updated
    assert [getattr(updated, field) for field in nullable] == [None] * 8


def test_tasks_are_listed_in_the_order_added(container: Container) -> None:
    names = [f"task {number * 7 % 10}" for number in range(10)]
    for name in names:
        container.add_task(name)
    container.update_task("task 7", status_text="changed")
    container.update_task("task 4", name="renamed")
    container.delete_task("task 1")
    container.add_task("task 1")
    listed = [task.name for task in container.get_tasks()]
    names[names.index("task 4")] = "renamed"
    names.remove("task 1")

    assert listed == [*names, "task 1"]


def test_an_absent_task_is_none(container: Container) -> None:
    assert container.get_task("download") is None
    assert container.delete_task("download") is None


def test_a_deleted_task_is_returned_as_it_was(container: Container) -> None:
    added = container.add_task("download", task_data={"url": "x"}, invoke_count=2)

    assert container.delete_task("download") == added
    assert container.get_tasks() == []


def test_a_deleted_task_can_be_added_again(container: Container) -> None:
    container.add_task("download", processing_data={"offset": 3}, is_complete=True)
    container.delete_task("download")
    again = container.add_task("download")

    assert only_task(container) == again
    assert (again.processing_data, again.status) == (None, Status.PENDING)


def test_a_renamed_task_keeps_everything_else(container: Container) -> None:
    added = container.add_task("a", is_complete=True, has_failed=True, **FIELDS)
    renamed = container.update_task("a", name="b", status_text="now b")

    assert container.get_task("a") is None
    assert only_task(container) == renamed
    assert renamed.name == "b"
    assert {f: getattr(renamed, f) for f in FIELDS if f != "status_text"} == {
        f: getattr(added, f) for f in FIELDS if f != "status_text"
    }


def test_a_task_may_be_renamed_to_its_own_name(container: Container) -> None:
    container.add_task("a")

    assert container.update_task("a", name="a", status_text="x").status_text == "x"


def test_two_tasks_swap_names_over_a_third(container: Container) -> None:
    container.add_task("a", task_data=1)
    container.add_task("b", task_data=2)
    for old, new in [("a", "c"), ("b", "a"), ("c", "b")]:
        container.update_task(old, name=new)

    assert [(t.name, t.task_data) for t in container.get_tasks()] == [
        ("b", 1),
        ("a", 2),
    ]


# -- values --------------------------------------------------------------------------


@pytest.mark.parametrize(
    "moment",
    [
        pytest.param(datetime(1, 1, 1, tzinfo=UTC), id="the first"),
        pytest.param(
            datetime(1969, 12, 31, 23, 59, 59, 999_000, tzinfo=UTC), id="1969"
        ),
        pytest.param(AT, id="milliseconds"),
        pytest.param(
            datetime(9999, 12, 31, 23, 59, 59, 999_000, tzinfo=UTC), id="last"
        ),
    ],
)
def test_date_times_are_exact_to_the_millisecond(
    container: Container, moment: datetime
) -> None:
    container.add_task("download", last_invoked_at=moment)
    found = only_task(container).last_invoked_at

    assert found == moment
    assert found is not None
    assert found.tzinfo is UTC


def test_date_times_of_other_zones_come_back_as_utc(container: Container) -> None:
    zone = timezone(timedelta(hours=5, minutes=30))
    given = datetime(2011, 9, 30, 1, 2, 3, 4_999, tzinfo=zone)
    container.add_task("download", task_ended_at=given)

    assert only_task(container).task_ended_at == datetime(
        2011, 9, 29, 19, 32, 3, 4_000, tzinfo=UTC
    )


@pytest.mark.parametrize(
    "value",
    [
        pytest.param([], id="an empty list"),
        pytest.param({}, id="an empty dict"),
        pytest.param("", id="an empty text"),
        pytest.param(0, id="zero"),
        pytest.param(False, id="False"),
        pytest.param(-(2**200), id="a very large int"),
        pytest.param(5e-324, id="the smallest float"),
        pytest.param("\0 \u2028 \U0001f600", id="a text of odd characters"),
        pytest.param({"a.b": 1, "$set": {"$": 2}, "": 3}, id="keys that databases use"),
        pytest.param((1, [2, {3}], frozenset({4})), id="nested collections"),
        pytest.param([date(2011, 9, 30), timedelta(days=-1)], id="dates"),
        pytest.param([UUID(int=5), Decimal("-0.10")], id="scalars"),
        pytest.param([[[[[[[[[[]]]]]]]]]], id="depth"),
        pytest.param("x" * (8 * 1024 * 1024 - 2), id="8 MiB of JSON"),
    ],
)
def test_data_comes_back_as_it_was(container: Container, value: object) -> None:
    container.add_task("download", task_data=value, processing_data=value)
    found = only_task(container)

    assert repr(found.task_data) == repr(value)
    assert repr(found.processing_data) == repr(value)


def test_data_read_twice_is_made_anew(container: Container) -> None:
    given = {"files": ["a"]}
    added = container.add_task("download", task_data=given)
    given["files"].append("b")
    added.task_data["files"].append("c")

    assert only_task(container).task_data == {"files": ["a"]}


def test_texts_are_kept_and_long_ones_cut_in_the_middle(container: Container) -> None:
    exact = "ü\0" * 2000
    container.add_task("exact", status_text=exact, error=exact)
    container.add_task("long", status_text="a" * 3000 + "b" * 3000)
    kept, long = container.get_tasks()

    assert (kept.status_text, kept.error) == (exact, exact)
    assert len(long.status_text) <= 4000
    assert long.status_text.startswith("aaa")
    assert " ... " in long.status_text
    assert long.status_text.endswith("bbb")


def test_the_error_of_a_task_is_kept_as_long_as_a_runner_keeps_it(
    container: Container,
) -> None:
    error = "e" * 16_000
    container.add_task("download", error=error)

    assert only_task(container).error == error


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        pytest.param(0, 0.0, id="0"),
        pytest.param(100, 100.0, id="100"),
        pytest.param(33.3, 33.3, id="a float"),
        pytest.param(-0.0, 0.0, id="minus 0"),
    ],
)
def test_a_percentage_is_a_number_from_0_to_100(
    container: Container, given: float, kept: float
) -> None:
    container.add_task("download", percentage_complete=given)
    found = only_task(container).percentage_complete

    assert (found, math.copysign(1, found)) == (kept, 1.0)


# -- completing ----------------------------------------------------------------------


def test_completing_a_task_ends_it_at_100_percent(
    container: Container, clock: Ticker
) -> None:
    container.add_task("download", percentage_complete=65)
    container.lease_next_task(60)
    clock.now += 1_234
    task = container.update_task("download", is_complete=True)

    assert only_task(container) == task
    assert (task.status, task.percentage_complete) == (Status.DONE, 100.0)
    assert task.task_ended_at == NOW + timedelta(milliseconds=1_234)
    assert (task.task_duration_ms, task.leased_till) == (1_234, None)


@pytest.mark.parametrize(
    "fields",
    [
        pytest.param({"percentage_complete": 40}, id="the percentage"),
        pytest.param({"task_ended_at": AT}, id="the end"),
        pytest.param({"task_duration_ms": 5}, id="the duration"),
        pytest.param({"leased_till": AT}, id="the lease"),
    ],
)
def test_what_is_given_with_is_complete_is_kept(
    container: Container, fields: dict[str, Any]
) -> None:
    container.add_task("download")
    container.lease_next_task(60)
    task = container.update_task("download", is_complete=True, **fields)

    assert {field: getattr(task, field) for field in fields} == fields


def test_a_task_can_be_added_complete(container: Container) -> None:
    task = container.add_task("download", is_complete=True)

    assert (task.status, task.percentage_complete) == (Status.DONE, 100.0)
    assert task.task_ended_at == NOW


def test_a_failed_task_is_complete(container: Container) -> None:
    container.add_task("download")
    task = container.update_task("download", is_complete=True, has_failed=True)

    assert (task.status, task.is_complete, task.has_failed) == ("failed", True, True)
    assert container.is_complete
    assert container.status is Status.FAILED


def test_a_complete_task_can_be_said_to_have_failed_and_not(
    container: Container,
) -> None:
    container.add_task("download", is_complete=True)
    failed = container.update_task("download", has_failed=True)
    fine = container.update_task("download", has_failed=False)

    assert (failed.status, fine.status) == (Status.FAILED, Status.DONE)


def test_a_task_opened_again_has_not_ended(container: Container) -> None:
    container.add_task("download", is_complete=True, has_failed=True)
    task = container.update_task("download", is_complete=False)

    assert only_task(container) == task
    assert (task.status, task.has_failed) == (Status.PENDING, False)
    assert (task.task_ended_at, task.task_duration_ms) == (None, None)
    assert not container.is_complete


def test_completing_a_complete_task_again_does_not_move_its_end(
    container: Container, clock: Ticker
) -> None:
    first = container.add_task("download", is_complete=True, percentage_complete=40)
    clock.now += 1_000
    second = container.update_task("download", is_complete=True)

    assert second.task_ended_at == first.task_ended_at
    assert (first.percentage_complete, second.percentage_complete) == (40.0, 100.0)


def test_a_container_is_complete_when_its_tasks_are(container: Container) -> None:
    seen = [container.is_complete]
    container.add_task("a")
    seen.append(container.is_complete)
    container.add_task("b", is_complete=True)
    seen.append(container.is_complete)
    container.update_task("a", is_complete=True)
    seen.append(container.is_complete)
    container.add_task("c")
    seen.append(container.is_complete)
    container.delete_task("c")
    seen.append(container.is_complete)
    for name in "ab":
        container.delete_task(name)
    seen.append(container.is_complete)

    assert seen == [True, False, False, True, False, True, True]


def test_a_container_is_as_far_as_its_tasks_are(container: Container) -> None:
    seen = [container.percentage_complete]
    container.add_task("a")
    container.add_task("b")
    seen.append(container.percentage_complete)
    container.update_task("a", percentage_complete=50)
    seen.append(container.percentage_complete)
    container.update_task("b", is_complete=True)
    seen.append(container.percentage_complete)
    container.update_task("a", is_complete=True, has_failed=True)
    seen.append(container.percentage_complete)

    assert seen == [100.0, 0.0, 25.0, 75.0, 100.0]


@pytest.mark.parametrize(
    ("tasks", "status"),
    [
        pytest.param([], Status.DONE, id="no tasks"),
        pytest.param([{}], Status.PENDING, id="a new one"),
        pytest.param([{"is_complete": True}], Status.DONE, id="a complete one"),
        pytest.param(
            [{"is_complete": True}, {"is_complete": True, "has_failed": True}],
            Status.FAILED,
            id="a failed one",
        ),
        pytest.param(
            [{"is_complete": True, "has_failed": True}, {}],
            Status.PENDING,
            id="a failed and a new one",
        ),
    ],
)
def test_the_status_of_a_container_is_that_of_its_tasks(
    container: Container, tasks: list[dict[str, Any]], status: Status
) -> None:
    for number, fields in enumerate(tasks):
        container.add_task(f"task {number}", **fields)

    assert container.status is status


# -- the next task -------------------------------------------------------------------


def test_the_next_task_is_the_first_that_is_not_complete(container: Container) -> None:
    container.add_task("a", is_complete=True)
    container.add_task("b", leased_till=NOW + timedelta(hours=1))
    container.add_task("c")
    following = container.get_next_task()

    assert following is not None
    assert following.name == "b"
    assert following.invoke_count == 0


def test_there_is_no_next_task_where_all_are_complete(container: Container) -> None:
    before = container.get_next_task()
    container.add_task("a", is_complete=True)
    container.add_task("b", is_complete=True, has_failed=True)

    assert before is None
    assert container.get_next_task() is None
    assert container.lease_next_task() is None


def test_leasing_a_task_counts_an_invocation(
    container: Container, clock: Ticker
) -> None:
    container.add_task("download", task_data={"url": "x"}, invoke_count=4)
    clock.now += 5
    task = container.lease_next_task(seconds=2.5)

    assert task is not None
    assert only_task(container) == task
    assert (task.invoke_count, task.task_data) == (5, {"url": "x"})
    assert task.last_invoked_at == NOW + timedelta(milliseconds=5)
    assert task.leased_till == NOW + timedelta(milliseconds=2_505)
    assert task.status is Status.RUNNING
    assert container.status is Status.RUNNING


def test_a_leased_task_is_passed_over_until_its_lease_ends(
    container: Container, clock: Ticker
) -> None:
    for name in "abc":
        container.add_task(name)
    container.update_task("b", is_complete=True)

    def leased() -> tuple[str, int] | None:
        task = container.lease_next_task(60)
        return None if task is None else (task.name, task.invoke_count)

    assert [leased(), leased(), leased()] == [("a", 1), ("c", 1), None]
    clock.now += 59_999
    assert leased() is None
    clock.now += 1
    assert [leased(), leased(), leased()] == [("a", 2), ("c", 2), None]


def test_a_lease_that_is_given_back_can_be_taken_at_once(container: Container) -> None:
    container.add_task("download")
    container.lease_next_task()
    given_back = container.update_task("download", leased_till=None)
    again = container.lease_next_task()

    assert given_back.status is Status.PENDING
    assert again is not None
    assert (again.name, again.invoke_count) == ("download", 2)


def test_a_lease_can_be_prolonged(container: Container, clock: Ticker) -> None:
    container.add_task("download")
    container.lease_next_task(60)
    container.update_task("download", leased_till=NOW + timedelta(minutes=5))
    clock.now += 299_999

    assert container.lease_next_task() is None


# -- containers as they were read ----------------------------------------------------


def test_a_container_that_was_read_is_as_it_was_until_refreshed(
    client: Client, container: Container
) -> None:
    other = client.get_task_container(container.name)
    assert other is not None
    before = (other.is_complete, other.percentage_complete)
    container.add_task("a")
    meanwhile = (other.is_complete, other.percentage_complete)
    other.refresh()

    assert before == meanwhile == (True, 100.0)
    assert (other.is_complete, other.percentage_complete) == (False, 0.0)


def test_tasks_are_always_read_as_they_are(
    client: Client, container: Container
) -> None:
    other = client.get_task_container(container.name)
    assert other is not None
    container.add_task("a")
    container.update_task("a", status_text="changed")

    assert only_task(other).status_text == "changed"


@pytest.mark.parametrize(
    "act",
    [
        pytest.param(lambda c: c.refresh(), id="refresh"),
        pytest.param(lambda c: c.add_task("a"), id="add_task"),
        pytest.param(lambda c: c.update_task("a", status_text="x"), id="update_task"),
    ],
)
def test_a_container_that_was_deleted_says_so(
    client: Client, container: Container, act: Any
) -> None:
    container.add_task("a")
    client.delete_task_container(container.name)
    client.get_or_create_task_container(container.name)

    with pytest.raises(ContainerNotFound) as refused:
        act(container)

    assert str(refused.value) == (
        f"container {container.name!r}: it was deleted; get or create it again"
    )


def test_a_container_that_was_deleted_touches_no_tasks_of_its_successor(
    client: Client, container: Container
) -> None:
    client.delete_task_container(container.name)
    successor, _ = client.get_or_create_task_container(container.name)
    successor.add_task("a")

    assert container.get_tasks() == []
    assert container.delete_task("a") is None
    assert container.lease_next_task() is None
    assert only_task(successor).status is Status.PENDING


# -- connecting ----------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["sqlite"], indirect=True)
def test_a_client_in_a_with_is_closed_and_what_it_wrote_stays(
    url: str, name: str
) -> None:
    with ptsflow.connect(url) as client:
        client.get_or_create_task_container(name)[0].add_task("a")
    client.close()
    with ptsflow.connect(url) as client:
        container = client.get_task_container(name)
        assert container is not None
        assert only_task(container).name == "a"


def test_connect_takes_the_environment_then_the_default(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PTSFLOW_STORE", raising=False)
    with ptsflow.connect() as by_default:
        by_default.get_or_create_task_container("feed")
    monkeypatch.setenv("PTSFLOW_STORE", "sqlite:///other.db")
    with ptsflow.connect() as by_environment:
        absent = by_environment.get_task_container("feed")
    with ptsflow.connect("sqlite:///.ptsflow/ptsflow.db") as by_url:
        present = by_url.get_task_container("feed")

    assert absent is None
    assert present is not None
    assert by_environment.url.endswith("other.db")


def test_the_example_of_the_ancestor_works(url: str, name: str) -> None:
    with ptsflow.connect(url) as client:
        container, _ = client.get_or_create_task_container(name)
        container.add_task("download", task_data={"url": "x"}, max_retries=5)
        container.update_task(
            "download",
            percentage_complete=65,
            status_text="3 of 7 files",
            processing_data={"offset": 123},
        )
        half = container.get_task("download")
        container.update_task("download", is_complete=True)
        done = container.get_task("download")
        deleted = container.delete_task("download")

    assert half is not None
    assert (half.percentage_complete, half.processing_data) == (65.0, {"offset": 123})
    assert done is not None
    assert (done.percentage_complete, done.max_retries) == (100.0, 5)
    assert deleted == done
