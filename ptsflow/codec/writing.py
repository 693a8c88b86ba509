"""Values to trees: one walk, which refuses whatever would not come back as it is."""

from __future__ import annotations

import math
from typing import Any

import msgspec

from ptsflow.codec.classes import Shape, dump, shape_of, take_apart
from ptsflow.codec.misfit import (
    Misfit,
    Tree,
    Value,
    a,
    check_depth,
    element_segment,
    key_segment,
    quote,
    unknown,
)
from ptsflow.codec.places import ValuePlace
from ptsflow.codec.scalars import SMALL, check_text, write

#: How much text a walk may come to: up to there a refusal can give the true size, and
#: beyond it neither memory nor time is spent on a value that is refused anyway.
ROOM = 10 * 1024 * 1024

#: The one form of a tree as JSON, in UTF-8.
text_of = msgspec.json.Encoder().encode


class NoRoom(Exception):
    """The text would come to more than `ROOM`."""


class Writer:
    """One walk over a value; knows how much text it comes to at the least."""

    def __init__(self) -> None:
        self._room = ROOM

    def tree(self, value: Value, place: ValuePlace, depth: int) -> Tree:
        """Return the tree of a value that stands at `place`.

        Raises:
            Misfit: something in it would not come back as it is.
            NoRoom: its text would come to more than `ROOM`.
        """
        kind: type = type(value)
        if kind is str:
            tree: Tree = self._str(value)
        elif kind is dict:
            tree = self._dict(value, place, depth)
        elif kind is list:
            tree = self._list(value, place, depth)
        elif kind is float:
            tree = _finite(value)
        elif value is None or kind is bool or (kind is int and -SMALL <= value < SMALL):
            tree = value
        else:
            tree = self._tagged(value, place, depth)
        return tree

    def _take(self, size: int) -> None:
        self._room -= size
        if self._room < 0:
            raise NoRoom

    def _str(self, value: str) -> str:
        self._take(len(value))
        if not value.isascii():
            check_text(value)
        return value

    def _list(self, value: Value, place: ValuePlace, depth: int) -> list[Tree]:
        check_depth(depth)
        self._take(2 * len(value))
        below = place.elements
        trees: list[Tree] = []
        try:
            for element in value:
                trees.append(self.tree(element, below, depth + 1))  # noqa: PERF401 - its length is the path
        except Misfit as misfit:
            raise misfit.inside(
                value, *element_segment(type(value), len(trees))
            ) from None
        return trees

    def _dict(
        self, value: dict[Any, Any], place: ValuePlace, depth: int
    ) -> dict[str, Tree]:
        check_depth(depth)
        self._take(4 * len(value))
        keys, values = place.keys, place.values
        trees: dict[str, Tree] = {}
        for key, item in value.items():
            if type(key) is not str:
                raise _not_a_key(key)
            try:
                trees[self._str(key)] = self.tree(
                    item, keys.get(key, values), depth + 1
                )
            except Misfit as misfit:
                raise misfit.inside(value, key_segment(key), "dict[str, {}]") from None
        return {"$": "dict", "v": trees} if "$" in trees else trees

    def _tagged(self, value: Value, place: ValuePlace, depth: int) -> dict[str, Tree]:
        kind: type = type(value)
        if kind is tuple or kind is set or kind is frozenset:
            trees = self._list(value, place, depth)
            if kind is not tuple:
                trees.sort(key=text_of)
            return {"$": kind.__name__, "v": trees}
        tree = write(value)
        if tree is not None:
            self._take(len(tree["v"]))
            return tree
        shape = shape_of(kind)
        if shape is None:
            raise unknown(value)
        return self._instance(shape, value, place, depth)

    def _instance(
        self, shape: Shape, value: Value, place: ValuePlace, depth: int
    ) -> dict[str, Tree]:
        lead = place.leads.get((shape.kind, shape.name))
        if lead is None or shape.cls not in lead.classes:
            raise _no_lead(shape, place)
        if len(lead.classes) > 1:
            raise Misfit(
                f"the annotation leads to {len(lead.classes)} classes named "
                f"{shape.name}; rename one of them"
            )
        check_depth(depth)
        if shape.kind == "model":
            dumped = self._model(shape, value, place, depth + 1)
            return {"$": shape.kind, "n": shape.name, "v": dumped}
        parts: Tree = take_apart(shape, value)
        if shape.kind != "enum":
            fields = {}
            for name, part in parts.items():
                try:
                    fields[name] = self.tree(part, lead.fields[name], depth + 1)
                except Misfit as misfit:
                    raise misfit.in_field(value, shape.name, name) from None
            parts = fields
        return {"$": shape.kind, "n": shape.name, "v": parts}

    def _model(self, shape: Shape, value: Value, place: ValuePlace, depth: int) -> Tree:
        room = self._room
        try:
            return self.tree(take_apart(shape, value), place, depth)
        except Misfit:
            # Types of pydantic, such as HttpUrl, have no form here but one in JSON.
            self._room = room
            try:
                return self.tree(dump(shape, value, "json"), place, depth)
            except Misfit:
                self._room = room
            raise


def _finite(value: float) -> float:
    if math.isfinite(value):
        return value
    raise Misfit(f"{value} is not a finite number; store None or a text instead")


def _not_a_key(key: object) -> Misfit:
    return Misfit(
        f"expected only str for keys, found {a(type(key).__name__)}, {quote(key)}; "
        "store a list of pairs, e.g. list(d.items())"
    )


def _no_lead(shape: Shape, place: ValuePlace) -> Misfit:
    problem = f"{a(shape.noun)} cannot be stored "
    if place.unresolved is not None:
        return Misfit(
            f"{problem}under the annotation {quote(place.unresolved)}, in which a name "
            f"cannot be found; define {shape.name} at the top of its module"
        )
    return Misfit(
        f"{problem}without an annotation that says so",
        lacks=shape.name,
        otherwise="store plain data",
    )
