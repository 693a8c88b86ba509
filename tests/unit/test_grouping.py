"""Failures and reasons that are the same but for numbers and names."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ptsflow.core.forecast import Forecast
from ptsflow.core.grouping import (
    Failure,
    ForecastGroup,
    group_failures,
    group_forecasts,
    pattern_of,
    split_error,
)


@pytest.mark.parametrize(
    ("message", "pattern"),
    [
        ("bad date '2026-11-22' (row 17)", "bad date '#-#-#' (row #)"),
        ("no such file: 'songs.tbz'", "no such file: '…'"),
        ('key "artist" is missing', 'key "…" is missing'),
        ("can't open it, don't ask", "can't open it, don't ask"),
        ("can't open 'it', don't ask", "can't open '…', don't ask"),
        ("object at 0x7f3a9c", "object at #"),
        ("commit 4a24ace0b1 is gone", "commit # is gone"),
        ("decade and facade are words", "decade and facade are words"),
        ("run 6f1ed002-ab54-41d8-9d7e-1f4f0a8e9c11", "run #"),
        ("10.0.0.1:8080 answered 503 after 1,200.5 s", "#:# answered # after # s"),
        ("first line 1\nsecond line", "first line #"),
        ("", ""),
    ],
)
def test_what_differs_is_cut_out(message: str, pattern: str) -> None:
    assert pattern_of(message) == pattern


@given(st.text())
def test_a_pattern_stays_as_it_is(message: str) -> None:
    assert pattern_of(pattern_of(message)) == pattern_of(message)


@given(st.integers(0), st.integers(0))
def test_numbers_never_tell_messages_apart(one: int, other: int) -> None:
    assert pattern_of(f"row {one} of x") == pattern_of(f"row {other} of x")


@pytest.mark.parametrize(
    ("error", "found"),
    [
        ("ValueError: bad: 3", ("ValueError", "bad: 3")),
        ("httpx.ReadError: \nmore", ("httpx.ReadError", "\nmore")),
        ("no more attempts", ("", "no more attempts")),
        ("see http://x: it says", ("", "see http://x: it says")),
    ],
)
def test_an_error_is_a_class_and_a_message(error: str, found: tuple[str, str]) -> None:
    assert split_error(error) == found


def failure(container: str, task: str, error: str, at: int) -> Failure:
    return Failure(
        container=container, task=task, step=task.partition("[")[0], error=error, at=at
    )


def test_failures_are_grouped_by_step_class_and_message() -> None:
    failures = [
        failure("c1", "load[a]", "ValueError: row 1", 10),
        failure("c1", "load[b]", "ValueError: row 2", 30),
        failure("c2", "load[a]", "ValueError: row 77", 20),
        failure("c2", "load[c]", "KeyError: row 1", 5),
        failure("c3", "check", "ValueError: row 1", 1),
    ]
    first, *rest = group_failures(failures)

    assert (first.step, first.error_type, first.message) == (
        "load",
        "ValueError",
        "row #",
    )
    assert [f.at for f in first.failures] == [30, 20, 10]
    assert first.containers == ["c1", "c2"]
    assert [(g.step, g.error_type) for g in rest] == [
        ("load", "KeyError"),
        ("check", "ValueError"),
    ]


def test_five_hundred_containers_with_three_causes_are_three_groups() -> None:
    causes = ["OSError: host '{}' is down", "ValueError: row {}", "TimeoutError: {} s"]
    failures = [
        failure(
            f"c{n}", f"load[{n}]", causes[n % 3].format(f"x{n}" * (n % 3 == 0) or n), n
        )
        for n in range(500)
    ]
    groups = group_failures(failures)

    assert [len(group.containers) for group in groups] == [167, 167, 166]


def test_like_forecasts_of_a_step_are_one() -> None:
    found = group_forecasts(
        [
            Forecast("list", "skip", "done: its result is kept"),
            Forecast("load[a]", "run", "not run yet"),
            Forecast("load[b]", "retry", "failed before: ValueError: row 1"),
            Forecast("load[c]", "run", "not run yet"),
            Forecast("load[d]", "retry", "failed before: ValueError: row 2"),
            Forecast("store[a]", "run", "not run yet"),
        ]
    )

    assert found == [
        ForecastGroup(
            action="skip", reason="done: its result is kept", names=("list",)
        ),
        ForecastGroup(action="run", reason="not run yet", names=("load[a]", "load[c]")),
        ForecastGroup(
            action="retry",
            reason="failed before: ValueError: row #",
            names=("load[b]", "load[d]"),
        ),
        ForecastGroup(action="run", reason="not run yet", names=("store[a]",)),
    ]
