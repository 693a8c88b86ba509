"""Records of which no two fields are alike, whatever fields a record has."""

from __future__ import annotations

from enum import Enum
from types import NoneType, UnionType
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

from msgspec import Struct, UnsetType

R = TypeVar("R", bound=Struct)

#: As many as there are members of an enum, or truth values in a record.
_COUNT = 6


def variants(kind: type[R], base: int = 0) -> list[R]:
    """Return records of a kind that differ from each other in every field.

    No two fields of one record are equal, but truth values: of two of these, some
    record has one of them true and the other false.

    Args:
        kind: the class of the records.
        base: another one makes records that differ from these in every field, but for
            enums and truth values.
    """
    hints = get_type_hints(kind)
    flags = [name for name, hint in hints.items() if hint is bool]
    assert len(flags) <= _COUNT
    return [
        kind(
            **{
                name: number == flags.index(name)
                if hint is bool
                else _value(hint, name, place, base + number)
                for place, (name, hint) in enumerate(hints.items(), 1)
            }
        )
        for number in range(_COUNT)
    ]


def _value(hint: Any, name: str, place: int, number: int) -> Any:
    if get_origin(hint) in (Union, UnionType):
        meant = [each for each in get_args(hint) if each not in (NoneType, UnsetType)]
        return _value(meant[number % len(meant)], name, place, number)
    if get_origin(hint) is tuple:
        return tuple(_values(get_args(hint)[0], name, place, number))
    if get_origin(hint) is dict:
        return {f"{name} {number}": _value(get_args(hint)[1], name, place, number)}
    if issubclass(hint, Enum):
        return list(hint)[number % len(hint)]
    if issubclass(hint, Struct):
        return variants(hint, number)[number % _COUNT]
    distinct = {str: f"{name} {number}", int: 100 * number + place}
    return {**distinct, float: 100 * number + place + 0.5}[hint]


def _values(hint: Any, name: str, place: int, number: int) -> list[Any]:
    if isinstance(hint, type) and issubclass(hint, Struct):
        return list(variants(hint, number))
    return [_value(hint, f"{name} {letter}", place, number) for letter in "ab"]
