"""Numbers as people declare them: a bool, which is an int to Python, is none."""

from __future__ import annotations

import math
from typing import TypeGuard


def is_whole(
    value: object, least: float = -math.inf, most: float = math.inf
) -> TypeGuard[int]:
    """Whether a value is a whole number from `least` to `most`."""
    is_int = isinstance(value, int) and not isinstance(value, bool)
    return is_int and least <= value <= most  # type: ignore[operator] # an int


def is_number(
    value: object, least: float = -math.inf, most: float = math.inf
) -> TypeGuard[float]:
    """Whether a value is an int or a float from `least` to `most`; NaN never is."""
    return is_whole(value, least, most) or (
        isinstance(value, float) and least <= value <= most
    )


def is_amount(value: object) -> bool:
    """Whether a value is a finite number, of whatever type, and not negative."""
    try:
        return math.isfinite(value) and value >= 0  # type: ignore[arg-type, operator]
    except TypeError:
        return False
