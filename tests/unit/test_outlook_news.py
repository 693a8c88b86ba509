"""Which outlooks are worth a write."""

from __future__ import annotations

import pytest

from ptsflow.core.insight import Outlook
from ptsflow.core.outlook_news import is_news

TOLD = Outlook(at=0, percentage=10.0, eta_at=1_000_000)


@pytest.mark.parametrize(
    ("outlook", "expected"),
    [
        (Outlook(at=500_000, percentage=10.9, eta_at=1_010_000), False),
        (Outlook(at=500_000, percentage=10.9, eta_at=1_020_000), True),
        (Outlook(at=500_000, percentage=10.9, eta_at=984_000), True),
        (Outlook(at=500_000, percentage=11.0, eta_at=1_000_000), True),
        (Outlook(at=990_000, percentage=10.0, eta_at=1_001_000), True),
        (Outlook(at=1_200_000, percentage=10.0, eta_at=1_200_000), True),
        (Outlook(at=1, percentage=10.0), True),
    ],
    ids=["less", "later", "sooner", "further", "near the end", "late", "unknown"],
)
def test_what_moved_by_over_three_percent_of_what_is_left(
    outlook: Outlook, *, expected: bool
) -> None:
    assert is_news(outlook, TOLD) is expected
    assert is_news(outlook, None)


def test_what_is_unknown_is_told_once() -> None:
    unknown = Outlook(at=0, percentage=10.0)

    assert not is_news(Outlook(at=9_000, percentage=10.5), unknown)
    assert is_news(Outlook(at=9_000, percentage=10.5, eta_at=10_000), unknown)
