"""What a client refuses: each with an error of its own, and one line that says all."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

import ptsflow
from ptsflow.client import Client, Container
from ptsflow.clock import to_millis
from ptsflow.errors import (
    ContainerBusy,
    InvalidCount,
    InvalidFlag,
    InvalidName,
    InvalidPercentage,
    InvalidText,
    InvalidTime,
    InvalidValue,
    NotStorable,
    StoreURLError,
    TaskExists,
    TaskNotFound,
    TooLarge,
    UnknownField,
)
from ptsflow.lease import this_process
from ptsflow.model import ContainerRecord, Status
from ptsflow.stores.base import Store
from tests.stores.making import ROOT, Ticker, owner

#: What no store can have a say in is tried on one.
one_store = pytest.mark.parametrize("kind", ["memory"], indirect=True)

Act = Callable[[Container], object]


class Name(str):
    """A str that would not come back as what it is."""

    __slots__ = ()


class Unspeakable:
    def __repr__(self) -> str:
        raise RuntimeError("no words")


NAMES = [
    pytest.param("", "found an empty one", id="empty"),
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


def said(expected: type[Exception], act: Callable[[], object]) -> str:
    with pytest.raises(InvalidValue) as refused:
        act()

    assert type(refused.value) is expected
    return str(refused.value)


# -- names ---------------------------------------------------------------------------


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
    without = " without NUL" if "x00" in found else ""

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
    without = " without NUL" if "x00" in found else ""

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


# -- fields --------------------------------------------------------------------------

FIELDS = (
    "name, is_complete, has_failed, percentage_complete, status_text, task_data, "
    "processing_data, invoke_count, last_invoked_at, task_ended_at, task_duration_ms, "
    "leased_till, max_retries, delay_between_retries, result, error"
)


@one_store
@pytest.mark.parametrize(
    ("field", "problem"),
    [
        pytest.param(
            "precentage_complete",
            "is not a field of a task (did you mean 'percentage_complete'?)",
            id="misspelt",
        ),
        pytest.param("zzz", "is not a field of a task", id="unknown"),
        pytest.param("status", "is derived (did you mean 'status_text'?)", id="status"),
        pytest.param("step", "is derived", id="step"),
        pytest.param("key", "is derived", id="key"),
        pytest.param("version", "is not a field of a task", id="of the record"),
    ],
)
def test_a_field_that_cannot_be_set_is_refused(
    container: Container, field: str, problem: str
) -> None:
    before = container.add_task("a")
    given: dict[str, Any] = {field: 1}
    lines = [
        said(UnknownField, lambda: container.add_task("b", **given)),
        said(UnknownField, lambda: container.update_task("a", **given)),
    ]

    assert lines == [
        f"container {container.name!r}, task {task!r}: {field!r} {problem}; "
        f"there are {FIELDS}"
        for task in "ba"
    ]
    assert container.get_tasks() == [before]


PERCENTAGE = "must be a number from 0 to 100"
FLAG = "must be True or False"
WHOLE = "must be a whole number from 0 to 9007199254740991"
SECONDS = "must be a number of seconds from 0 to 1000000000"
AWARE = "must be a datetime with a time zone, or None"
YEARS = "must be in the years 1 to 9999 of UTC"
NAIVE = datetime(2011, 9, 30)  # noqa: DTZ001 - the point of it
EAST = timezone(timedelta(hours=14))
WEST = timezone(timedelta(hours=-12))
REFUSED: list[tuple[str, object, type[Exception], str]] = [
    (
        "percentage_complete",
        float("nan"),
        InvalidPercentage,
        f"{PERCENTAGE}, found nan",
    ),
    (
        "percentage_complete",
        float("inf"),
        InvalidPercentage,
        f"{PERCENTAGE}, found inf",
    ),
    ("percentage_complete", -1, InvalidPercentage, f"{PERCENTAGE}, found -1"),
    ("percentage_complete", 101, InvalidPercentage, f"{PERCENTAGE}, found 101"),
    ("percentage_complete", 100.1, InvalidPercentage, f"{PERCENTAGE}, found 100.1"),
    ("percentage_complete", "5", InvalidPercentage, f"{PERCENTAGE}, found '5'"),
    ("percentage_complete", True, InvalidPercentage, f"{PERCENTAGE}, found True"),
    ("percentage_complete", None, InvalidPercentage, f"{PERCENTAGE}, found None"),
    ("is_complete", 1, InvalidFlag, f"{FLAG}, found 1"),
    ("is_complete", None, InvalidFlag, f"{FLAG}, found None"),
    ("has_failed", "no", InvalidFlag, f"{FLAG}, found 'no'"),
    ("invoke_count", -1, InvalidCount, f"{WHOLE}, found -1"),
    ("invoke_count", 1.0, InvalidCount, f"{WHOLE}, found 1.0"),
    ("invoke_count", None, InvalidCount, f"{WHOLE}, found None"),
    ("max_retries", True, InvalidCount, f"{WHOLE}, found True"),
    ("max_retries", 2**53, InvalidCount, f"{WHOLE}, found 9007199254740992"),
    ("task_duration_ms", -5, InvalidCount, f"{WHOLE}, found -5"),
    ("delay_between_retries", -0.5, InvalidCount, f"{SECONDS}, found -0.5"),
    ("delay_between_retries", "30", InvalidCount, f"{SECONDS}, found '30'"),
    ("delay_between_retries", None, InvalidCount, f"{SECONDS}, found None"),
    ("delay_between_retries", float("nan"), InvalidCount, f"{SECONDS}, found nan"),
    ("delay_between_retries", 10**5000, InvalidCount, f"{SECONDS}, found <int>"),
    ("last_invoked_at", NAIVE, InvalidTime, f"{AWARE}, found {NAIVE!r}"),
    ("task_ended_at", 1317340800, InvalidTime, f"{AWARE}, found 1317340800"),
    ("leased_till", "2011-09-30", InvalidTime, f"{AWARE}, found '2011-09-30'"),
    ("leased_till", NAIVE.date(), InvalidTime, f"{AWARE}, found {NAIVE.date()!r}"),
    (
        "leased_till",
        datetime.max.replace(tzinfo=WEST),
        InvalidTime,
        f"{YEARS}, found {repr(datetime.max.replace(tzinfo=WEST))[:40]}…",
    ),
    (
        "task_ended_at",
        datetime.min.replace(tzinfo=EAST),
        InvalidTime,
        f"{YEARS}, found {repr(datetime.min.replace(tzinfo=EAST))[:40]}…",
    ),
    ("status_text", None, InvalidText, "must be a str, found None"),
    ("status_text", 5, InvalidText, "must be a str, found 5"),
    ("status_text", Unspeakable(), InvalidText, "must be a str, found <Unspeakable>"),
    ("status_text", "\ud800", InvalidText, r"is no valid text: '\ud800'"),
    ("error", b"no", InvalidText, "must be a str, found b'no'"),
    ("error", "\udcff", InvalidText, r"is no valid text: '\udcff'"),
]


@one_store
@pytest.mark.parametrize(
    ("field", "value", "error", "problem"),
    [pytest.param(*row, id=f"{row[0]} {row[3][-30:]}") for row in REFUSED],
)
def test_a_value_that_does_not_fit_its_field_is_refused(
    container: Container,
    field: str,
    value: object,
    error: type[Exception],
    problem: str,
) -> None:
    before = container.add_task("a")
    given: dict[str, Any] = {field: value, "max_retries": 9} | {field: value}
    lines = [
        said(error, lambda: container.add_task("b", **given)),
        said(error, lambda: container.update_task("a", **given)),
    ]

    assert lines == [
        f"container {container.name!r}, task {task!r}: {field} {problem}"
        for task in "ba"
    ]
    assert container.get_tasks() == [before]


@one_store
@pytest.mark.parametrize(
    "fields",
    [
        pytest.param({"has_failed": True}, id="has_failed alone"),
        pytest.param({"has_failed": True, "is_complete": False}, id="both"),
    ],
)
def test_a_task_that_is_not_complete_cannot_have_failed(
    container: Container, fields: dict[str, Any]
) -> None:
    before = container.add_task("a")
    lines = [
        said(InvalidFlag, lambda: container.add_task("b", **fields)),
        said(InvalidFlag, lambda: container.update_task("a", **fields)),
    ]

    assert lines == [
        f"container {container.name!r}, task {task!r}: has_failed=True is for a task "
        "that is complete; give is_complete=True with it"
        for task in "ba"
    ]
    assert container.get_tasks() == [before]


@one_store
def test_a_complete_task_cannot_be_opened_as_failed(container: Container) -> None:
    container.add_task("a", is_complete=True)
    line = said(
        InvalidFlag,
        lambda: container.update_task("a", is_complete=False, has_failed=True),
    )

    assert line.endswith("give is_complete=True with it")


# -- data ----------------------------------------------------------------------------


@one_store
@pytest.mark.parametrize("field", ["task_data", "processing_data", "result"])
@pytest.mark.parametrize(
    ("value", "problem"),
    [
        pytest.param(
            {"files": [1, {2: 3}]},
            "files[1]: expected only str for keys, found an int, 2; store a list of "
            "pairs, e.g. list(d.items())",
            id="a key that is no str",
        ),
        pytest.param(
            {"at": float("nan")},
            "at: nan is not a finite number; store None or a text instead",
            id="NaN",
        ),
        pytest.param(
            [object()],
            "[0]: an object (class builtins.object) cannot be stored; store its data as "
            "a dict, or make it a dataclass",
            id="an object",
        ),
    ],
)
def test_data_that_cannot_be_stored_is_refused_with_its_path(
    container: Container, field: str, value: object, problem: str
) -> None:
    before = container.add_task("a")
    given: dict[str, Any] = {field: value}
    lines = [
        said(NotStorable, lambda: container.add_task("b", **given)),
        said(NotStorable, lambda: container.update_task("a", **given)),
    ]

    assert lines == [
        f"container {container.name!r}, task {task!r}: {field}: {problem}"
        for task in "ba"
    ]
    assert container.get_tasks() == [before]


@one_store
def test_data_over_8_mib_is_refused(container: Container) -> None:
    line = said(
        TooLarge, lambda: container.add_task("a", task_data="x" * (8 * 1024 * 1024 - 1))
    )

    assert line == (
        f"container {container.name!r}, task 'a': task_data: 8.1 MiB of JSON text is "
        "over the limit of 8 MiB; write it to a file and return the file's path"
    )
    assert container.get_tasks() == []


# -- leases --------------------------------------------------------------------------


@one_store
@pytest.mark.parametrize(
    ("seconds", "found"),
    [
        pytest.param(0, "0", id="0"),
        pytest.param(-1, "-1", id="negative"),
        pytest.param(float("nan"), "nan", id="NaN"),
        pytest.param(float("inf"), "inf", id="infinite"),
        pytest.param(1e300, "1e+300", id="beyond all dates"),
        pytest.param(10**5000, "<int>", id="beyond all floats"),
        pytest.param("60", "'60'", id="a text"),
        pytest.param(True, "True", id="a flag"),
        pytest.param(None, "None", id="None"),
    ],
)
def test_a_lease_of_no_possible_length_is_refused(
    container: Container, seconds: Any, found: str
) -> None:
    before = container.add_task("a")
    line = said(InvalidCount, lambda: container.lease_next_task(seconds))

    assert line == (
        f"container {container.name!r}: lease_next_task expects a number of seconds "
        f"above 0, up to 1000000000, found {found}"
    )
    assert container.get_tasks() == [before]


@pytest.mark.parametrize("seconds", [0.000_1, 1_000_000_000])
def test_the_shortest_and_the_longest_lease_are_leases(
    container: Container, seconds: float
) -> None:
    container.add_task("a")

    assert container.lease_next_task(seconds) is not None
    assert container.lease_next_task(seconds) is None


# -- while a runner holds the container ----------------------------------------------

ACTS = [
    pytest.param(lambda c: c.add_task("b"), id="add_task"),
    pytest.param(lambda c: c.update_task("a", status_text="x"), id="update_task"),
    pytest.param(lambda c: c.update_task("a", name="b"), id="rename"),
    pytest.param(lambda c: c.delete_task("a"), id="delete_task"),
    pytest.param(lambda c: c.lease_next_task(), id="lease_next_task"),
]


def held(store: Store, name: str, *, here: bool = False) -> ContainerRecord:
    """Hold the container as another host's runner does, or as this process."""
    record = store.container(name)
    assert record is not None
    by = this_process(store.now) if here else owner("other", store.now())
    claimed = store.claim(record.uid, by, 60_000)
    assert claimed is not None
    return claimed


@pytest.mark.parametrize("act", ACTS)
def test_a_container_that_a_live_runner_holds_is_not_changed(
    client: Client, container: Container, act: Act
) -> None:
    before = container.add_task("a")
    held(client.store, container.name)

    with pytest.raises(ContainerBusy) as refused:
        act(container)
    assert str(refused.value) == (
        f"container {container.name!r} is run by pid 42 on box since 2023-11-14 22:13:20 "
        "UTC, its lease lasts until 22:14:20 UTC; wait until it has ended, or "
        "stop it there"
    )
    assert container.get_tasks() == [before]


def test_a_container_that_a_live_runner_holds_is_not_deleted(
    client: Client, container: Container
) -> None:
    held(client.store, container.name)

    with pytest.raises(ContainerBusy, match="is run by pid 42 on box"):
        client.delete_task_container(container.name)
    assert client.get_task_container(container.name) is not None


@pytest.mark.parametrize("act", ACTS)
def test_a_container_is_free_again_when_the_lease_has_ended(
    client: Client, container: Container, clock: Ticker, act: Act
) -> None:
    before = container.add_task("a")
    held(client.store, container.name)
    clock.now += 60_000
    act(container)

    assert container.get_tasks() != [before]


def test_reading_is_free_while_a_runner_holds_the_container(
    client: Client, container: Container
) -> None:
    added = container.add_task("a")
    held(client.store, container.name)
    container.refresh()

    assert container.get_tasks() == [added]
    assert container.get_task("a") == container.get_next_task() == added
    assert not container.is_complete


@pytest.mark.parametrize("act", ACTS)
def test_a_dead_runner_of_this_host_holds_nothing(
    client: Client, container: Container, act: Act
) -> None:
    before = container.add_task("a")
    _die_holding(client.store, container.name)
    act(container)
    record = client.store.container(container.name)

    assert container.get_tasks() != [before]
    assert record is not None
    assert (record.owner, record.status) == (None, Status.PENDING)


def test_what_a_dead_runner_of_this_host_held_can_be_deleted(
    client: Client, container: Container
) -> None:
    _die_holding(client.store, container.name)

    assert client.delete_task_container(container.name)


def test_a_live_runner_of_this_host_is_not_taken_for_dead(
    client: Client, container: Container
) -> None:
    held(client.store, container.name, here=True)

    with pytest.raises(ContainerBusy):
        container.add_task("a")


def _die_holding(store: Store, name: str) -> None:
    """Leave the container held by a process of this host that has ended."""
    ended = subprocess.Popen([sys.executable, "-c", ""], cwd=ROOT)
    ended.wait()
    record = store.container(name)
    assert record is not None
    dead = replace(this_process(store.now), pid=ended.pid, started=1)
    assert store.claim(record.uid, dead, 60_000) is not None


# -- connecting ----------------------------------------------------------------------


def test_an_empty_url_is_not_the_default(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    with pytest.raises(StoreURLError) as refused:
        ptsflow.connect("")
    assert str(refused.value) == (
        "store URL: expected sqlite:///FILE, mongodb://HOST/DATABASE or memory:, found "
        "nothing; give one of these"
    )
    assert list(tmp_path.iterdir()) == []


def test_the_fixture_shows_the_time_that_messages_name(clock: Ticker) -> None:
    assert clock.now == to_millis(datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC))
