"""What a client does with task containers and tasks, on every kind of store."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from ptsflow import Status
from ptsflow.client import Client, Container
from ptsflow.client.task import Task
from tests.api.conftest import only_task
from tests.stores.making import Ticker

AT = datetime(2011, 9, 30, 13, 5, 7, 123_000, tzinfo=UTC)
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


# -- containers -----------------------------------------------------------------------


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
        pytest.param(" a ", id="spaces around it"),
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


# -- tasks ----------------------------------------------------------------------------


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
