"""Words and figures of screens, and the JSON of records."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import UNSET

from ptsflow import codec
from ptsflow.core import counts
from ptsflow.core.model import Cause, Status, StepSummary, Tally
from ptsflow.display import as_json
from ptsflow.display import format as fmt
from ptsflow.display.format import Piece
from tests.unit.screens import container, task


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        pytest.param("plain · ✔ 日本 e\u0301", "plain · ✔ 日本 e\u0301", id="text"),
        pytest.param("a\x1b[31mb", r"a\x1b[31mb", id="escape"),
        pytest.param("a\nb\r\tc", r"a\nb\r\tc", id="lines"),
        pytest.param("\x9b2J\x7f\x00", r"\x9b2J\x7f\x00", id="other controls"),
        pytest.param("a\u202eb\u2066c", r"a\u202eb\u2066c", id="turned around"),
        pytest.param("a\u2028b\ufeff", r"a\u2028b\ufeff", id="line separators"),
        pytest.param("\ud800", r"\ud800", id="half a pair"),
        pytest.param("\U000e0041", r"\U000e0041", id="tags"),
        pytest.param("[red]x[/red]", "[red]x[/red]", id="markup"),
    ],
)
def test_controls_are_escaped_and_text_is_kept(text: str, shown: str) -> None:
    assert fmt.clean(text) == shown


@given(st.text(), st.integers(1, 40))
def test_what_is_cut_fits_and_is_a_beginning(text: str, width: int) -> None:
    shown = fmt.cut(fmt.clean(text), width)

    assert fmt.cells(shown) <= width
    assert fmt.clean(text).startswith(shown.removesuffix("…"))


@given(st.lists(st.text("ab日", max_size=9)), st.integers(1, 30))
def test_a_cut_line_fits(texts: list[str], width: int) -> None:
    line = [Piece(text) for text in texts]

    shown = "".join(piece.text for piece in fmt.cut_line(line, width))

    whole = "".join(texts)
    assert fmt.cells(shown) <= width
    assert shown == whole or shown.endswith("…")


@pytest.mark.parametrize(
    ("ms", "text"),
    [
        (None, ""),
        (3, "3ms"),
        (99, "99ms"),
        (1_440, "1.4s"),
        (9_940, "9.9s"),
        (9_960, "10s"),
        (59_600, "1m00s"),
        (192_000, "3m12s"),
        (7_500_000, "2h05m"),
        (360_000_000, "4d04h"),
        (-5, "0ms"),
    ],
)
def test_durations(ms: int | None, text: str) -> None:
    assert fmt.duration(ms) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0%"), (99.99, "99%"), (100, "100%"), (99.9999999, "100%"), (33.3, "33%")],
)
def test_percentages_are_rounded_down(value: float, text: str) -> None:
    assert fmt.percent(value) == text


@pytest.mark.parametrize(
    ("due", "text"),
    [
        (None, "now"),
        (1_000, "now"),
        (1_001, "in 1 s"),
        (13_000, "in 12 s"),
        (301_000, "in 5m00s"),
    ],
)
def test_countdowns(due: int | None, text: str) -> None:
    assert fmt.countdown(due, 1_000) == text


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        pytest.param({}, "", id="pending"),
        pytest.param({"status": Status.RUNNING, "attempt": 1}, "", id="first try"),
        pytest.param(
            {"status": Status.RUNNING, "attempt": 2, "status_text": "3 of 7"},
            "try 2/4  3 of 7",
            id="second try",
        ),
        pytest.param(
            {"status": Status.RUNNING, "attempt": 9}, "try 9/9", id="beyond the budget"
        ),
        pytest.param(
            {
                "status": Status.WAITING,
                "attempt": 1,
                "due": 12_000,
                "error": "OSError: x\ny",
            },
            r"try 2/4 in 12 s  OSError: x\ny",
            id="waiting",
        ),
        pytest.param(
            {"status": Status.WAITING, "due": 5_000, "status_text": "not posted"},
            "again in 5 s  not posted",
            id="put off",
        ),
        pytest.param(
            {"status": Status.FAILED, "attempt": 5, "error": "E: x"},
            "after 5 tries  E: x",
            id="failed",
        ),
        pytest.param(
            {"status": Status.FAILED, "attempt": 1, "error": "E: x"},
            "after 1 try  E: x",
            id="at once",
        ),
        pytest.param(
            {"status": Status.SKIPPED, "status_text": "empty"}, "empty", id="skipped"
        ),
        pytest.param({"status": Status.DONE, "status_text": "7 of 7"}, "", id="done"),
        pytest.param(
            {
                "status": Status.DONE,
                "status_text": "nothing new",
                "cause": Cause.FINISH,
            },
            "nothing new",
            id="finished",
        ),
        pytest.param({"error": "the runner died"}, "the runner died", id="crashed"),
    ],
)
def test_what_is_said_of_a_task(fields: dict[str, Any], text: str) -> None:
    assert fmt.what(task("t", **fields), 0) == text


def test_a_bar_is_full_only_at_100() -> None:
    assert fmt.text_of(fmt.bar(0, 4)) == "────"
    assert fmt.text_of(fmt.bar(99, 4)) == "━━━╸"
    assert fmt.text_of(fmt.bar(100, 4)) == "━━━━"


def test_every_symbol_has_a_form_in_ascii() -> None:
    text = "".join(fmt.SYMBOLS.values()) + fmt.text_of(fmt.bar(30)) + "…│├└"

    assert text.translate(fmt.ASCII).isascii()


# -- JSON -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "rendered"),
    [
        pytest.param((1, (2,)), [1, [2]], id="tuple"),
        pytest.param({3, 1, 2}, [1, 2, 3], id="set"),
        pytest.param(frozenset({"b", "a"}), ["a", "b"], id="frozenset"),
        pytest.param(b"\x00\xff", "AP8=", id="bytes"),
        pytest.param(Decimal("1.10"), "1.10", id="decimal"),
        pytest.param(Path("/a/b"), "/a/b", id="path"),
        pytest.param(UUID(int=1), "00000000-0000-0000-0000-000000000001", id="uuid"),
        pytest.param(date(2011, 9, 30), "2011-09-30", id="date"),
        pytest.param(datetime(2011, 9, 30, 13), "2011-09-30T13:00:00", id="naive"),  # noqa: DTZ001 - meant
        pytest.param(
            datetime(2011, 9, 30, 13, tzinfo=UTC), "2011-09-30T13:00:00Z", id="UTC"
        ),
        pytest.param(
            datetime(2011, 9, 30, tzinfo=timezone(timedelta(hours=2))),
            "2011-09-30T00:00:00+02:00",
            id="offset",
        ),
        pytest.param(timedelta(minutes=1.5), 90.0, id="timedelta"),
        pytest.param(2**64, "18446744073709551616", id="large int"),
        pytest.param(16**9999, hex(16**9999), id="enormous int"),
        pytest.param(
            {"$": 1, "a": (1,)}, {"$": 1, "a": [1]}, id="a dict with a dollar"
        ),
        pytest.param([None, True, 1.5, "x"], [None, True, 1.5, "x"], id="as they are"),
    ],
)
def test_stored_values_are_rendered(value: object, rendered: object) -> None:
    assert as_json.value(codec.encode(value)) == rendered


@pytest.mark.parametrize(
    ("text", "rendered"),
    [
        (None, None),
        (UNSET, None),
        ('{"$":"dataclass","n":"X","v":{"a":{"$":"tuple","v":[1]}}}', {"a": [1]}),
        ('{"$":"enum","n":"Colour","v":"RED"}', "RED"),
        ('{"$":"datetime","v":"nonsense"}', {"$": "datetime", "v": "nonsense"}),
        ("{broken", "{broken"),
        ('{"$":[],"v":1}', {"$": [], "v": 1}),
    ],
)
def test_classes_that_are_not_here_and_garbage_are_rendered(
    text: Any, rendered: object
) -> None:
    assert as_json.value(text) == rendered


def test_no_control_character_is_printed_raw() -> None:
    text = as_json.dumps(as_json.task(task("a\x1b\u202e\x9b", status_text="\n")))

    assert text.isascii()
    assert text.isprintable()
    assert json.loads(text)["name"] == "a\x1b\u202e\x9b"


@pytest.mark.parametrize(
    ("ms", "text"),
    [
        (None, None),
        (0, "1970-01-01T00:00:00.000Z"),
        (1_700_000_000_001, "2023-11-14T22:13:20.001Z"),
    ],
)
def test_times_are_iso_8601_in_utc(ms: int | None, text: str | None) -> None:
    assert as_json.when(ms) == text


def test_an_owner_whose_lease_has_ended_is_none() -> None:
    held = as_json.container(container(), [], now=59_999)
    ended = as_json.container(container(), [], now=60_000)

    assert held["owner"] == {
        "host": "hostA",
        "pid": 4711,
        "since": "1970-01-01T00:00:00.000Z",
        "until": "1970-01-01T00:01:00.000Z",
    }
    assert ended["owner"] is None


def test_the_percentage_is_by_the_weights_of_steps() -> None:
    plan = (StepSummary(name="a", weight=3), StepSummary(name="b"))
    tallies = [Tally("a", Status.DONE, 1, 100.0), Tally("b", Status.PENDING, 1, 0.0)]

    assert counts.percentage_of(container(plan=plan), tallies, None) == 75.0
