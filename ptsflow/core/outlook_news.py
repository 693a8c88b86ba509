"""Whether an outlook says something else than the one that was told before it."""

from __future__ import annotations

from ptsflow.core.insight import Outlook

#: How far the end has to move, as a share of what is left; and the percentage, in points.
_TELLING_SHARE = 0.03
_TELLING_POINTS = 1.0


def is_news(outlook: Outlook, told: Outlook | None) -> bool:
    """Whether an outlook is worth a write.

    Args:
        outlook: what is expected.
        told: what was told last; None if nothing was.
    """
    if told is None or (outlook.eta_at is None) != (told.eta_at is None):
        return True
    if outlook.percentage >= told.percentage + _TELLING_POINTS:
        return True
    if outlook.eta_at is None or told.eta_at is None:
        return False
    left = max(0, outlook.eta_at - outlook.at)
    return abs(outlook.eta_at - told.eta_at) > _TELLING_SHARE * left
