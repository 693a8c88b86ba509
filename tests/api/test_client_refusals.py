"""What a client refuses to keep: each with an error of its own that says all in a line."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

import ptsflow
from ptsflow.client import Container
from ptsflow.errors import (
    InvalidCount,
    InvalidFlag,
    InvalidPercentage,
    InvalidText,
    InvalidTime,
    InvalidValue,
    NotStorable,
    StoreURLError,
    TooLarge,
    UnknownField,
)
from ptsflow.host.clock import to_millis
from tests.stores.making import Ticker

#: What no store can have a say in is tried on one.
one_store = pytest.mark.parametrize("kind", ["memory"], indirect=True)


class Unspeakable:
    def __repr__(self) -> str:
        raise RuntimeError("no words")


def said(expected: type[Exception], act: Callable[[], object]) -> str:
    with pytest.raises(InvalidValue) as refused:
        act()

    assert type(refused.value) is expected
    return str(refused.value)


# -- fields ---------------------------------------------------------------------------


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


# -- data -----------------------------------------------------------------------------


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


# -- leases ---------------------------------------------------------------------------


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


# -- connecting -----------------------------------------------------------------------


def test_an_empty_url_is_not_the_default(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    with pytest.raises(StoreURLError) as refused:
        ptsflow.connect("")
    assert str(refused.value) == (
        "store URL: expected sqlite:///FILE, mongodb://HOST/DATABASE, "
        "mongodb+srv://HOST/DATABASE or memory:, found nothing; give one of these"
    )
    assert list(tmp_path.iterdir()) == []


def test_the_fixture_shows_the_time_that_messages_name(clock: Ticker) -> None:
    assert clock.now == to_millis(datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC))
