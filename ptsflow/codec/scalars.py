"""Values that JSON has no form for, each written as an object with a tag.

`{"$": "decimal", "v": "1.10"}`. What is read is accepted only if writing it again gives
the same tree: the parsers used here take more forms than the one that was written.
"""

from __future__ import annotations

import binascii
import contextlib
from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta, timezone, tzinfo
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

from ptsflow.codec.misfit import Misfit, quote

#: Integers from minus this to one less are JSON numbers: what every reader keeps exact.
SMALL = 2**63

_UNREADABLE = (
    ValueError,
    TypeError,
    LookupError,
    ArithmeticError,
    AttributeError,
    OSError,
)


def surrogate_in(text: str) -> int | None:
    """Return where half of a surrogate pair stands: it is no character, and no UTF-8."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        return error.start
    return None


def check_text(text: str) -> None:
    """Refuse a text that has no UTF-8."""
    index = surrogate_in(text)
    if index is not None:
        raise Misfit(
            f"a text with the lone surrogate {quote(text[index])} at index {index} "
            "cannot be stored; store bytes, e.g. os.fsencode(...) of it"
        )


def write(value: object) -> dict[str, Any] | None:
    """Return the tagged tree of a value, or None if its type is none of these."""
    writer = _WRITERS.get(type(value))
    return None if writer is None else writer(value)


def read(tag: str, tree: dict[str, Any]) -> object:
    """Return the value of a tagged tree that `write` made.

    Raises:
        Misfit: `write` did not make it.
    """
    try:
        value = _READERS[tag](tree)
        if write(value) == tree:
            return value
    except _UNREADABLE:
        pass
    raise Misfit(
        f"the {tag} cannot be read from {quote(tree.get('v'))}; reset the step"
    )


def _write_datetime(value: datetime) -> dict[str, Any]:
    return _write_moment("datetime", value, value.tzinfo)


def _write_time(value: time) -> dict[str, Any]:
    return _write_moment("time", value, value.tzinfo)


def _write_moment(
    tag: str, value: datetime | time, zone: tzinfo | None
) -> dict[str, Any]:
    tree: dict[str, Any] = {"$": tag}
    zone = _fixed(zone)
    if zone is None or zone is UTC:
        tree["v"] = value.replace(tzinfo=zone).isoformat()
    else:
        tree["v"] = value.replace(tzinfo=None).isoformat()
        tree |= _write_zone(zone)
    if value.fold:
        tree["fold"] = 1
    return tree


def _write_zone(zone: tzinfo) -> dict[str, Any]:
    if type(zone) is timezone:
        offset, *name = zone.__getinitargs__()  # type: ignore[attr-defined] # not in typeshed
        tree: dict[str, Any] = {"offset": _parts(offset)}
        for text in name:
            check_text(text)
            tree["name"] = text
        return tree
    key = getattr(zone, "key", None)
    if type(zone) is _zone_info() and key is not None:
        return {"zone": key}
    raise Misfit(
        f"the time zone {quote(zone)} cannot be stored; "
        "use datetime.timezone or zoneinfo.ZoneInfo with a key"
    )


def _fixed(zone: tzinfo | None) -> tzinfo | None:
    """Return a library's zone as a `timezone` if it has one offset for all dates.

    Such a zone tells its offset without a date. Any other zone is returned as it is.
    """
    if zone is None or type(zone) in {timezone, _zone_info()}:
        return zone
    with contextlib.suppress(Exception):  # the zone may be a user's code
        offset = zone.utcoffset(None)
        if offset is not None:
            return timezone(offset)
    return zone


def _zone_info() -> type[Any]:
    from zoneinfo import ZoneInfo  # noqa: PLC0415 - 2 ms, rarely needed

    return ZoneInfo


def _read_datetime(tree: dict[str, Any]) -> datetime:
    value = datetime.fromisoformat(tree["v"])
    if {"zone", "offset"} & tree.keys():
        value = value.replace(tzinfo=_read_zone(tree))
    return value.replace(fold=tree.get("fold", 0))


def _read_time(tree: dict[str, Any]) -> time:
    value = time.fromisoformat(tree["v"])
    if {"zone", "offset"} & tree.keys():
        value = value.replace(tzinfo=_read_zone(tree))
    return value.replace(fold=tree.get("fold", 0))


def _read_zone(tree: dict[str, Any]) -> tzinfo:
    if "offset" in tree:
        offset = timedelta(*tree["offset"])
        return timezone(offset, tree["name"]) if "name" in tree else timezone(offset)
    return _zone_info()(tree["zone"])  # type: ignore[no-any-return] # a class from a function


def _parts(value: timedelta) -> list[int]:
    return [value.days, value.seconds, value.microseconds]


def _write_decimal(value: Decimal) -> dict[str, Any]:
    if not value.is_finite():
        raise Misfit(f"{value} is not a finite number; store None or a text instead")
    return {"$": "decimal", "v": str(value)}


def _write_path(value: Path) -> dict[str, Any]:
    text = str(value)
    check_text(text)
    return {"$": "path", "v": text}


def _read_int(tree: dict[str, Any]) -> int:
    value = int(tree["v"], 16)
    if -SMALL <= value < SMALL:
        raise ValueError(value)
    return value


_WRITERS: dict[type, Callable[[Any], dict[str, Any]]] = {
    # Hexadecimal: decimal digits beyond 4300 are refused by Python, and take long.
    int: lambda value: {"$": "int", "v": hex(value)},
    bytes: lambda value: {
        "$": "bytes",
        "v": binascii.b2a_base64(value, newline=False).decode("ascii"),
    },
    datetime: _write_datetime,
    date: lambda value: {"$": "date", "v": value.isoformat()},
    time: _write_time,
    timedelta: lambda value: {"$": "timedelta", "v": _parts(value)},
    Decimal: _write_decimal,
    UUID: lambda value: {"$": "uuid", "v": str(value)},
    type(Path()): _write_path,
}

_READERS: dict[str, Callable[[dict[str, Any]], object]] = {
    "int": _read_int,
    "bytes": lambda tree: binascii.a2b_base64(tree["v"]),
    "datetime": _read_datetime,
    "date": lambda tree: date.fromisoformat(tree["v"]),
    "time": _read_time,
    "timedelta": lambda tree: timedelta(*tree["v"]),
    "decimal": lambda tree: Decimal(tree["v"]),
    "uuid": lambda tree: UUID(tree["v"]),
    "path": lambda tree: Path(tree["v"]),
}

#: The types of scalars; nobody can change a value of theirs.
FIXED = frozenset({type(None), bool, float, str, *_WRITERS})
#: The tags that `read` knows.
SCALARS = frozenset(_READERS)
