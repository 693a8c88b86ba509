"""Amounts that people write: `"2h"`, `"1h30m"`, `"512MB"`."""

from __future__ import annotations

import math
import re
import sys

from ptsflow.core.numbers import is_number, is_whole

_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_BYTES = {"B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9} | {
    "KIB": 2**10,
    "MIB": 2**20,
    "GIB": 2**30,
}
# Patterns are compiled when they are first used: most workflows have no use for them.
_PART = r"\s*(\d+(?:\.\d+)?)\s*(ms|s|m|h|d)"
_SIZE = r"(?i)\s*(\d+(?:\.\d+)?)\s*([KMG]i?B|B)\s*"


def milliseconds(value: object) -> int | None:
    """Return what `seconds` does in milliseconds, 1 at the least."""
    found = seconds(value)
    return None if found is None else max(1, round(found * 1000))


def seconds(value: object) -> float | None:
    """Return a number of seconds, or a text such as "90s" or "1h30m", in seconds.

    Return None where it is neither, or not above 0 and finite.
    """
    found: float | None = None
    if is_number(value, 0, sys.float_info.max):
        found = float(value)
    elif isinstance(value, str):
        parts = re.findall(_PART, value)
        if parts and not re.sub(_PART, "", value).strip():
            found = sum(float(number) * _SECONDS[unit] for number, unit in parts)
    return found if found is not None and 0 < found < math.inf else None


def size(value: object) -> int | None:
    """Return a number of bytes, or a text such as "512MB" or "2GiB", in bytes.

    Return None where it is neither, or not above 0.
    """
    found: int | None = None
    if is_whole(value):
        found = value
    elif isinstance(value, str) and (match := re.fullmatch(_SIZE, value)):
        found = int(float(match[1]) * _BYTES[match[2].upper()])
    return found if found is not None and found > 0 else None
