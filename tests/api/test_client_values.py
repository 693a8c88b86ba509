"""The values that tasks keep come back exactly as they were given."""

from __future__ import annotations

import math
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from uuid import UUID

import pytest

from ptsflow.client import Container
from tests.api.conftest import only_task

AT = datetime(2011, 9, 30, 13, 5, 7, 123_000, tzinfo=UTC)


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
