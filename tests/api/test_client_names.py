"""What a client refuses as a name, and which names are taken."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from ptsflow.client import Client, Container
from ptsflow.errors import InvalidName, InvalidValue, TaskExists, TaskNotFound

#: What no store can have a say in is tried on one.
one_store = pytest.mark.parametrize("kind", ["memory"], indirect=True)


class Name(str):
    """A str that would not come back as what it is."""

    __slots__ = ()


NAMES = [
    pytest.param("", "found an empty one", id="empty"),
    pytest.param("   ", "found '   '", id="spaces"),
    pytest.param("\t\n", r"found '\t\n'", id="tab and newline"),
    pytest.param("x" * 201, f"found 201 bytes: {'x' * 40!r}...", id="201 bytes"),
    pytest.param(
        "é" * 101, f"found 202 bytes: {'é' * 40!r}...", id="202 bytes of UTF-8"
    ),
    pytest.param(None, "found None (NoneType)", id="None"),
    pytest.param(5, "found 5 (int)", id="an int"),
    pytest.param(b"a", "found b'a' (bytes)", id="bytes"),
    pytest.param(Name("a"), "found 'a' (Name)", id="a subclass"),
    pytest.param("a\0b", r"found 'a\x00b'", id="NUL"),
    pytest.param("\ud800", r"found '\ud800', which is no valid text", id="a surrogate"),
]


def allowed(found: str) -> str:
    """Return what the line says of a name beside its size."""
    if "x00" in found:
        return " without NUL"
    blank = found.startswith(("found ' ", r"found '\t"))
    return " that are not all blank" if blank else ""


def said(expected: type[Exception], act: Callable[[], object]) -> str:
    with pytest.raises(InvalidValue) as refused:
        act()

    assert type(refused.value) is expected
    return str(refused.value)


@one_store
@pytest.mark.parametrize(("value", "found"), NAMES)
@pytest.mark.parametrize(
    "method",
    ["get_or_create_task_container", "get_task_container", "delete_task_container"],
)
def test_what_is_no_name_of_a_container_is_refused(
    client: Client, method: str, value: Any, found: str
) -> None:
    before = len(client.get_task_containers())
    line = said(InvalidName, lambda: getattr(client, method)(value))
    without = allowed(found)

    assert line == (
        f"the name of a container must be a str of 1 to 200 bytes{without}, {found}"
    )
    assert len(client.get_task_containers()) == before


@one_store
@pytest.mark.parametrize(("value", "found"), NAMES)
@pytest.mark.parametrize(
    "act",
    [
        pytest.param(lambda c, value: c.add_task(value), id="add_task"),
        pytest.param(lambda c, value: c.update_task(value, max_retries=1), id="update"),
        pytest.param(lambda c, value: c.update_task("a", name=value), id="rename"),
        pytest.param(lambda c, value: c.get_task(value), id="get_task"),
        pytest.param(lambda c, value: c.delete_task(value), id="delete_task"),
    ],
)
def test_what_is_no_name_of_a_task_is_refused(
    container: Container, act: Any, value: object, found: str
) -> None:
    before = container.add_task("a")
    line = said(InvalidName, lambda: act(container, value))
    without = allowed(found)

    assert line == (
        f"container {container.name!r}: the name of a task must be a str of 1 to 200 "
        f"bytes{without}, {found}"
    )
    assert container.get_tasks() == [before]


def test_a_name_that_is_taken_is_refused(container: Container) -> None:
    before = [container.add_task("a", task_data=1), container.add_task("b")]
    lines = {
        said(TaskExists, lambda: container.add_task("a", task_data=2)),
        said(TaskExists, lambda: container.update_task("b", name="a", task_data=2)),
    }
    line = (
        f"container {container.name!r}: a task 'a' is there already; "
        "choose another name, or update that one"
    )

    assert lines == {line}
    assert container.get_tasks() == before


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        pytest.param("downlaod", " (did you mean 'download'?)", id="a near one"),
        pytest.param("x", "", id="another one"),
    ],
)
def test_a_task_that_is_not_there_cannot_be_updated(
    container: Container, name: str, hint: str
) -> None:
    container.add_task("download")

    with pytest.raises(TaskNotFound) as refused:
        container.update_task(name, status_text="x")
    assert str(refused.value) == (
        f"container {container.name!r}: there is no task {name!r}{hint}; add it first"
    )
    assert isinstance(refused.value, LookupError)
