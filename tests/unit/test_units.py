"""Amounts that people write, in seconds and in bytes."""

from __future__ import annotations

import math

import pytest

from ptsflow.workflow.units import seconds, size


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (1, 1.0),
        (0.5, 0.5),
        ("90s", 90.0),
        ("250ms", 0.25),
        ("1.5m", 90.0),
        ("2h", 7200.0),
        ("1h30m", 5400.0),
        ("1d 2h", 93600.0),
        (" 2 h ", 7200.0),
        (0, None),
        (-1, None),
        ("0s", None),
        (True, None),
        (math.inf, None),
        (math.nan, None),
        (None, None),
        ("", None),
        ("2", None),
        ("h", None),
        ("2 hours", None),
        ("-2h", None),
        ("2h and a bit", None),
        ([], None),
    ],
)
def test_a_duration_is_seconds_or_a_text(value: object, expected: float | None) -> None:
    assert seconds(value) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (1, 1),
        ("100B", 100),
        ("512MB", 512 * 10**6),
        ("2GB", 2 * 10**9),
        ("2GiB", 2 * 2**30),
        ("1.5 KiB", 1536),
        ("3kb", 3000),
        (0, None),
        (-5, None),
        (1.5, None),
        (True, None),
        (None, None),
        ("", None),
        ("512", None),
        ("MB", None),
        ("0.1B", None),
        ("2TB", None),
        ("-2GB", None),
    ],
)
def test_a_size_is_bytes_or_a_text(value: object, expected: int | None) -> None:
    assert size(value) == expected
