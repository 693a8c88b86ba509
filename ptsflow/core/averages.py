"""Averages. The module `statistics` takes longer to import than a short run may."""

from __future__ import annotations

import math
from collections.abc import Iterable


def median(values: Iterable[float]) -> float:
    """Return the middle one of some values, or the mean of the two in the middle."""
    ordered = sorted(values)
    middle = len(ordered) // 2
    if len(ordered) % 2:
        return ordered[middle]
    return (ordered[middle - 1] + ordered[middle]) / 2


def fmean(values: Iterable[float]) -> float:
    """Return the arithmetic mean of some values."""
    listed = list(values)
    return math.fsum(listed) / len(listed)
