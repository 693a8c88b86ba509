"""Values to JSON text and back, exact both ways for a closed set of types.

| value                                        | its tree                              |
|----------------------------------------------|---------------------------------------|
| None, bool, small int, float, str, list, dict | the same                             |
| tuple, set, frozenset                        | `{"$": "tuple", "v": [...]}`          |
| a dict that has the key "$"                  | `{"$": "dict", "v": {...}}`           |
| bytes, datetime, Decimal and other scalars   | `{"$": "bytes", "v": "..."}`          |
| an instance of a class                       | `{"$": "dataclass", "n": "X", "v": {...}}` |

Types are exact: a subclass would come back as its base, and is refused. The name of a
class is stored to be compared, never to be imported: the annotation leads to the class.
"""

from __future__ import annotations

import json
import math
from typing import Any

import msgspec

from ptsflow.codec.classes import NOUNS
from ptsflow.codec.copies import copies_of
from ptsflow.codec.hints import Unresolved, hints_of
from ptsflow.codec.misfit import TOO_DEEP, Misfit, Tree, Value, quote
from ptsflow.codec.places import place_of
from ptsflow.codec.reading import COLLECTIONS, read
from ptsflow.codec.scalars import SMALL
from ptsflow.codec.writing import ROOM, NoRoom, Writer, text_of
from ptsflow.errors import NotStorable, StoredValueError, TooLarge

__all__ = [
    "LIMIT",
    "Unresolved",
    "copies_of",
    "decode",
    "elements",
    "encode",
    "from_tree",
    "hints_of",
    "parse",
    "peek",
    "to_tree",
]

#: The largest encoded value, in bytes of UTF-8.
LIMIT = 8 * 1024 * 1024

_MIB = 1024 * 1024
_STACK = "it is too deep for what is left of the stack; store a flatter value"


def encode(value: object, hint: object = Any, *, what: str = "value") -> str:
    """Return `value` as JSON text.

    Args:
        value: of the closed set.
        hint: the annotation that leads to the classes of the instances in it.
        what: what error messages call it.

    Raises:
        NotStorable: something in it would not come back as it is.
        TooLarge: the text is over `LIMIT` bytes.
    """
    if value is None:
        return "null"
    text = text_of(to_tree(value, hint, what))
    if len(text) > LIMIT:
        raise _too_large(what, f"{math.ceil(len(text) / _MIB * 10) / 10:g} MiB")
    return text.decode()


def decode(text: str, hint: object = Any) -> Value:
    """Return the value that `encode` made `text` of, with the same `hint`.

    Raises:
        StoredValueError: `encode` did not make it, or its classes have changed.
    """
    return None if text == "null" else from_tree(parse(text), hint)


def peek(text: str, hint: object = Any) -> Value:
    """Return a value for people to look at.

    As `decode`, but an instance whose class the annotation does not lead to, as in a
    screen that knows no user code, is a dict of its fields, or the name of a member.

    Raises:
        StoredValueError: `encode` did not make the text.
    """
    try:
        return decode(text, hint)
    except StoredValueError:
        return from_tree(_without_classes(parse(text)))


def _without_classes(tree: Tree) -> Tree:
    if type(tree) is list:
        return [_without_classes(element) for element in tree]
    if type(tree) is not dict:
        return tree
    tag = tree.get("$")
    if tag in NOUNS:
        return _without_classes(tree["v"])
    if tag in ("set", "frozenset"):  # dicts of fields have no hash
        return _without_classes(tree["v"])
    return {key: _without_classes(item) for key, item in tree.items()}


def to_tree(value: object, hint: object = Any, what: str = "value") -> Tree:
    """Return `value` as `encode` does, but as a tree of what JSON knows.

    Raises:
        NotStorable: something in it would not come back as it is.
        TooLarge: its text would be far over `LIMIT` bytes.
    """
    try:
        return Writer().tree(value, place_of(hint), 0)
    except Misfit as misfit:
        raise NotStorable(misfit.line(what)) from None
    except RecursionError:
        raise NotStorable(f"{what}: {_STACK}") from None
    except NoRoom:
        raise _too_large(what, f"more than {ROOM // _MIB} MiB") from None


def from_tree(tree: Tree, hint: object = Any) -> Value:
    """Return the value of a tree, every container in it made anew.

    Raises:
        StoredValueError: `to_tree` did not make it, or its classes have changed.
    """
    kind = type(tree)
    if (kind is int and -SMALL <= tree < SMALL) or (kind is str and tree.isascii()):
        return tree
    try:
        return read(tree, place_of(hint), 0)
    except Misfit as misfit:
        raise StoredValueError(misfit.line("stored value")) from None
    except RecursionError:
        raise StoredValueError(f"stored value: {_STACK}") from None


def parse(text: str) -> Tree:
    """Return the tree of a JSON text.

    Raises:
        StoredValueError: it is not JSON, or has a key twice in one object.
    """
    try:
        if text[:1] == '"':
            # Most large texts are one string. It has no keys, and msgspec reads it faster.
            return _read_str(text)
        is_whole = text.isdigit() and text.isascii() and text[0] != "0"
        return int(text) if is_whole else _parser.decode(text)
    except RecursionError:
        raise StoredValueError(f"stored value: {TOO_DEEP}") from None
    except (ValueError, msgspec.DecodeError) as error:
        raise StoredValueError(
            f"stored value: expected the JSON text of a value, found {quote(text)} "
            f"({str(error)[:80]}); reset the step"
        ) from None


def elements(tree: Tree, hint: object = Any) -> tuple[list[Tree], object] | None:
    """Return the trees of a list's, tuple's or set's elements, and the hint to read each.

    Return None where the tree is of something else.
    """
    if type(tree) is dict and str(tree.get("$")) in COLLECTIONS:
        tree = tree.get("v")
    return (tree, place_of(hint).elements) if type(tree) is list else None


def _unique(pairs: list[tuple[str, Tree]]) -> dict[str, Tree]:
    tree = dict(pairs)
    if len(tree) != len(pairs):
        raise ValueError("a key stands twice in one object")
    return tree


def _no_number(name: str) -> float:
    raise ValueError(f"{name} is no number of JSON")


_read_str = msgspec.json.Decoder(str).decode
_parser = json.JSONDecoder(object_pairs_hook=_unique, parse_constant=_no_number)


def _too_large(what: str, size: str) -> TooLarge:
    return TooLarge(
        f"{what}: {size} of JSON text is over the limit of {LIMIT // _MIB} MiB; "
        "write it to a file and return the file's path"
    )
