"""Trees to values: one walk, which makes every container anew and trusts nothing."""

from __future__ import annotations

import math
from typing import Any

from ptsflow.codec.classes import NOUNS, put_together
from ptsflow.codec.misfit import (
    Misfit,
    Tree,
    Value,
    a,
    check_depth,
    element_segment,
    key_segment,
    quote,
)
from ptsflow.codec.places import Lead, ValuePlace
from ptsflow.codec.scalars import SCALARS, SMALL, surrogate_in
from ptsflow.codec.scalars import read as read_scalar

#: The collections that have a tag, by it.
COLLECTIONS: dict[str, type[Any]] = {
    "tuple": tuple,
    "set": set,
    "frozenset": frozenset,
}


def read(tree: Tree, place: ValuePlace, depth: int) -> Value:
    """Return the value of a tree that stands at `place`.

    Raises:
        Misfit: it is not a tree that was written, or its classes have changed.
    """
    kind = type(tree)
    if kind is dict:
        value = (_tagged if "$" in tree else _dict)(tree, place, depth)
    elif kind is list:
        value = _list(tree, place, depth)
    elif _is_native(tree, kind):
        value = tree
    else:
        raise _foreign(tree)
    return value


def _is_native(tree: Tree, kind: type) -> bool:
    if kind is str:
        return bool(tree.isascii()) or surrogate_in(tree) is None
    if kind is int:
        return bool(-SMALL <= tree < SMALL)
    return tree is None or kind is bool or (kind is float and math.isfinite(tree))


def _foreign(tree: object) -> Misfit:
    return Misfit(f"{quote(tree)} is not what ptsflow stores; reset the step")


def _list(
    tree: list[Tree], place: ValuePlace, depth: int, kind: type = list
) -> list[Value]:
    check_depth(depth)
    below = place.elements
    found: list[Value] = []
    try:
        for element in tree:
            found.append(read(element, below, depth + 1))  # noqa: PERF401 - its length is the path
    except Misfit as misfit:
        raise misfit.inside(tree, *element_segment(kind, len(found))) from None
    return found


def _dict(tree: dict[str, Tree], place: ValuePlace, depth: int) -> dict[str, Value]:
    check_depth(depth)
    keys, values = place.keys, place.values
    found: dict[str, Value] = {}
    for key, item in tree.items():
        if not _is_native(key, str):
            raise _foreign(key)
        try:
            found[key] = read(item, keys.get(key, values), depth + 1)
        except Misfit as misfit:
            raise misfit.inside(tree, key_segment(key), "dict[str, {}]") from None
    return found


def _tagged(tree: dict[str, Tree], place: ValuePlace, depth: int) -> Value:
    tag, held = tree["$"], tree.get("v")
    if type(tag) is not str:
        raise _foreign(tree)
    if tag in SCALARS:
        return read_scalar(tag, tree)
    if tag in NOUNS and tree.keys() == {"$", "n", "v"} and type(tree["n"]) is str:
        return _instance(tree, _lead(tag, tree["n"], place), place, depth)
    if tree.keys() == {"$", "v"}:
        if tag == "dict" and type(held) is dict and "$" in held:
            return _dict(held, place, depth)
        if tag in COLLECTIONS and type(held) is list:
            return _collection(COLLECTIONS[tag], held, place, depth)
    raise _foreign(tree)


def _collection(
    kind: type[Any], held: list[Tree], place: ValuePlace, depth: int
) -> Value:
    found = _list(held, place, depth, kind)
    try:
        made = kind(found)
    except TypeError:  # An element of a set that has no hash.
        raise _foreign(held) from None
    if len(made) != len(found):
        raise _foreign(held)
    return made


def _lead(tag: str, name: str, place: ValuePlace) -> Lead:
    lead = place.leads.get((tag, name))
    shown = key_segment(name).lstrip(".")
    if lead is None:
        raise Misfit(
            f"{a(shown)} is stored, but the annotation leads to no such {tag}",
            lacks=shown,
            otherwise="reset the step",
        )
    if len(lead.classes) > 1:
        raise Misfit(
            f"{a(shown)} is stored, and the annotation leads to {len(lead.classes)} "
            "classes of that name; rename one of them"
        )
    return lead


def _instance(
    tree: dict[str, Tree], lead: Lead, place: ValuePlace, depth: int
) -> Value:
    check_depth(depth)
    shape, held = lead.shape, tree["v"]
    if shape.kind == "model":
        return put_together(shape, read(held, place, depth + 1))
    if shape.kind == "enum":
        return put_together(shape, held)
    if type(held) is not dict:
        raise _foreign(tree)
    parts = {}
    for name, part in held.items():
        below = lead.fields.get(name)
        try:
            # What no field waits for is refused as such, whatever it holds.
            parts[name] = None if below is None else read(part, below, depth + 1)
        except Misfit as misfit:
            raise misfit.in_field(tree, shape.name, name) from None
    return put_together(shape, parts)
