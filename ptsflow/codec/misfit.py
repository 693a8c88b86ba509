"""Why a value is refused: what is wrong, where inside the value, and what to do.

A `Misfit` is raised at the place that does not fit, without the path to that place. Each
level of the value that the error passes on its way out adds its part of the path.
"""

from __future__ import annotations

import types
from collections.abc import Iterable, Iterator
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from pathlib import PurePath
from typing import Any
from uuid import UUID

#: A value of the user's: anything at all.
Value = Any
#: What JSON knows: None, bool, int, float, str, and lists and dicts of these.
Tree = Any

#: The longest piece of somebody's text that is quoted in a message.
_QUOTE = 40
#: The longest path that is given in full.
_PATH = 120

#: How many values may stand inside one another.
DEPTH = 200
TOO_DEEP = (
    f"it is more than {DEPTH} levels deep; store a flatter value, or a file's path"
)
_CYCLE = "it contains itself; store a value that ends"


class Misfit(Exception):
    """One place of a value does not fit.

    Args:
        problem: what was found there, and what to do.
        lacks: the class name that an annotation would have to lead to.
        otherwise: what to do where there can be no such annotation.
    """

    def __init__(
        self, problem: str, *, lacks: str | None = None, otherwise: str = ""
    ) -> None:
        super().__init__(problem)
        self._problem = problem
        self._lacks = lacks
        self._otherwise = otherwise
        self._field: str | None = None
        self._segments: list[str] = []
        self._around: list[object] = []

    def inside(self, around: object, segment: str, form: str) -> Misfit:
        """Note that it lies in `around`, which an annotation of `form` would describe."""
        self._around.append(around)
        self._segments.append(segment)
        if self._lacks is not None and self._field is None:
            self._lacks = form.format(self._lacks)
        return self

    def in_field(self, around: object, owner: str, name: str) -> Misfit:
        """Note that it lies in a field of an `owner`: the field has the annotation."""
        if self._field is None:
            self._field = f"the field {name} of {owner}, e.g. {name}: "
        return self.inside(around, key_segment(name), "{}")

    def line(self, what: str) -> str:
        """Return the whole message, the value being named `what`."""
        segments = list(reversed(self._segments))
        problem = self._problem
        ends = self._cycle()
        if ends is not None:
            segments, problem = segments[:ends], _CYCLE
        elif self._lacks is not None:
            place = self._field or "the step, e.g. -> "
            problem += f"; annotate {place}{self._lacks}, or {self._otherwise}"
        path = "".join(segments).removeprefix(".")
        if len(path) > _PATH:
            path = f"{path[:_PATH]}…"
        return f"{what}: {path}: {problem}" if path else f"{what}: {problem}"

    def _cycle(self) -> int | None:
        # Found only here: a cycle is always deeper than the limit, and looking for one
        # on the way in would cost every value that has none.
        seen = set()
        for depth, around in enumerate(reversed(self._around)):
            if id(around) in seen:
                return depth
            seen.add(id(around))
        return None


def quote(text: object, most: int = _QUOTE) -> str:
    """Return `text` escaped on one line, and cut."""
    try:
        shown = repr(text)
    except Exception:  # noqa: BLE001 - the user's own, or an int of too many digits
        shown = f"<{type(text).__name__}>"
    return shown if len(shown) <= most else f"{shown[:most]}…"


def said(error: Exception) -> str:
    """Return what an error of the user's code says, on one line."""
    return f"{type(error).__name__}: {quote(' '.join(str(error).split()), _PATH)}"


def key_segment(key: str) -> str:
    """Return the part of a path that a key makes."""
    plain = key.isidentifier() and len(key) <= _QUOTE
    return f".{key}" if plain else f"[{quote(key)}]"


def element_segment(kind: type, index: int) -> tuple[str, str]:
    """Return what an element adds to the path, and how its container is annotated."""
    if kind is set or kind is frozenset:
        return "{…}", f"{kind.__name__}[{{}}]"
    return f"[{index}]", "tuple[{}, ...]" if kind is tuple else "list[{}]"


def check_depth(depth: int) -> None:
    """Refuse a container that has `depth` others around it, if that is too many."""
    if depth >= DEPTH:
        raise Misfit(TOO_DEEP)


def a(noun: str) -> str:
    """Return the noun with its article."""
    return f"an {noun}" if noun[:1].lower() in "aeiou" else f"a {noun}"


def unknown(value: object) -> Misfit:
    """Return why a value whose type is outside the closed set is refused."""
    kind = type(value)
    for types_, noun, advice in _ADVICE:
        if isinstance(value, types_):
            return Misfit(f"{a(noun or kind.__name__)} cannot be stored; {advice}")
    libraries = {base.__module__.partition(".")[0] for base in kind.__mro__}
    if "numpy" in libraries:
        return Misfit(
            f"{a(kind.__name__)} of numpy cannot be stored; "
            "convert it with .item() or .tolist()"
        )
    if libraries & _TABLES:
        advice = (
            "store None"
            if kind.__name__ == "NaTType"
            else "write it to a file with task.output and return the path, or store plain "
            'data, e.g. its to_dict("records")'
        )
        return Misfit(f"{a(kind.__name__)} cannot be stored; {advice}")
    for base in _KEPT:
        if isinstance(value, base):
            return Misfit(
                f"{a(kind.__name__)} is not exactly {a(base.__name__)} and would not "
                f"come back as what it is; store it as {a(base.__name__)}"
            )
    if hasattr(kind, "keys") and hasattr(kind, "__getitem__"):
        # Of what has keys, list(...) would leave out the values.
        return Misfit(f"{a(kind.__name__)} cannot be stored; store dict(...) of it")
    if isinstance(value, Iterable):
        return Misfit(f"{a(kind.__name__)} cannot be stored; store list(...) of it")
    if kind.__module__ == "ptsflow.workflow.secret":
        return Misfit("a secret is never stored; take it from the parameter")
    return Misfit(
        f"{a(kind.__name__)} (class {kind.__module__}.{kind.__qualname__}) cannot be "
        "stored; store its data as a dict, or make it a dataclass"
    )


#: Libraries whose values are tables and columns.
_TABLES = frozenset({"pandas", "polars", "pyarrow"})
_CALL = "call it and store what it returns"
#: Types, what to call them where the type's name does not say it, and what to do.
_ADVICE: tuple[tuple[type | tuple[type, ...], str, str], ...] = (
    (complex, "", "store [z.real, z.imag]"),
    (range, "", "store list(...) of it"),
    ((bytearray, memoryview), "", "store bytes(...) of it"),
    (types.GeneratorType, "", "store list(...) of it"),
    (types.CoroutineType, "", "await it first"),
    (types.AsyncGeneratorType, "async generator", "collect it into a list first"),
    (Iterator, "", "store list(...) of it"),
    (types.ModuleType, "", "store its name"),
    (type, "class", "store its name"),
    ((types.FunctionType, types.MethodType), "function", _CALL),
    (types.BuiltinFunctionType, "function", _CALL),
    (BaseException, "", "raise it, or store str(...) of it"),
    (PurePath, "", "store a pathlib.Path of this machine"),
)
_KEPT: tuple[type, ...] = (
    *(str, int, float, list, tuple, dict, set, frozenset, bytes),
    *(datetime, date, time, timedelta, Decimal, UUID),
)
