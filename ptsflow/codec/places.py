"""Where an annotation leads: which classes may stand at each place of a value.

`dict[str, list[FeedFile]]` is a place; below it, for values, lies a place for lists, and
below that, for elements, one that leads to `FeedFile`. A place only leads to classes. It
neither checks nor converts: a value that needs no class is the same under any annotation.
"""

from __future__ import annotations

import types
from collections.abc import Callable, Iterable, Iterator, Mapping
from enum import Enum
from functools import cached_property, lru_cache
from typing import (
    Annotated,
    Any,
    ClassVar,
    Final,
    ForwardRef,
    Literal,
    NewType,
    NotRequired,
    Required,
    TypeVar,
    Union,
    get_args,
    get_origin,
)

from ptsflow.codec.classes import Shape, shape_of
from ptsflow.codec.hints import Unresolved, hints_of

#: What stands around annotations, and how many of its arguments are such.
_AROUND: dict[object, int | None] = {
    Union: None,
    types.UnionType: None,
    Annotated: 1,
    ClassVar: 1,
    Final: 1,
    NotRequired: 1,
    Required: 1,
}

#: An annotation is an object of whatever class.
Annotation = Any


class ValuePlace:
    """What an annotation says of one place of a value, and of those below it."""

    def __init__(self, choices: Iterable[object]) -> None:
        #: What may stand here: classes, generic aliases, `Unresolved`; no unions.
        self.choices = tuple(choices)

    @cached_property
    def elements(self) -> ValuePlace:
        """The place of the elements of a list, tuple or set."""
        return self._below(_element_hints)

    @cached_property
    def values(self) -> ValuePlace:
        """The place of the values of a dict."""
        return self._below(_value_hints)

    @cached_property
    def keys(self) -> Mapping[str, ValuePlace]:
        """The places of those keys of a dict that have one of their own."""
        fields = [_key_hints(choice) for choice in self.choices]
        return {
            name: _joined(
                [
                    *(hints[name] for hints in fields if name in hints),
                    *self.values.choices,
                ]
            )
            for name in dict.fromkeys(name for hints in fields for name in hints)
        }

    @cached_property
    def leads(self) -> Mapping[tuple[str, str], Lead]:
        """The classes that may stand here, by kind and name."""
        found: dict[tuple[str, str], Lead] = {}
        for choice in self.choices:
            cls = get_origin(choice) or choice
            shape = shape_of(cls) if isinstance(cls, type) else None
            if shape is not None:
                lead = found.setdefault((shape.kind, shape.name), Lead(shape))
                lead.add(shape.cls, _bindings(shape.cls, get_args(choice)))
        return found

    @cached_property
    def unresolved(self) -> str | None:
        """The annotation in which a name could not be found, if that is why."""
        texts = (c.text for c in self.choices if isinstance(c, Unresolved))
        return next(texts, None)

    def _below(self, pick: Callable[[object], Iterable[object]]) -> ValuePlace:
        return _joined(
            hint
            for choice in self.choices
            for hint in ([choice] if isinstance(choice, Unresolved) else pick(choice))
        )


class Lead:
    """One class that an annotation leads to; more than one if they share a name."""

    def __init__(self, shape: Shape) -> None:
        self.shape = shape
        self.classes: list[type] = []
        self._bindings: list[Mapping[object, object]] = []

    def add(self, cls: type, bindings: Mapping[object, object]) -> None:
        """Take in a class, with what its type variables stand for."""
        if cls not in self.classes:
            self.classes.append(cls)
        self._bindings.append(bindings)

    @cached_property
    def fields(self) -> Mapping[str, ValuePlace]:
        """The place of each field."""
        hints = self.shape.hints
        return {
            name: _joined(
                _bind(hints.get(name, Any), known) for known in self._bindings
            )
            for name in self.shape.fields
        }


#: The place of which nothing is known.
ANYWHERE = ValuePlace(())


def place_of(hint: object) -> ValuePlace:
    """Return where an annotation leads."""
    if hint is Any:
        return ANYWHERE
    if isinstance(hint, ValuePlace):
        return hint
    try:
        return _place_of(hint)
    except TypeError:  # It cannot be hashed, as Annotated[int, []] cannot.
        return _joined([hint])


@lru_cache(1024)
def _place_of(hint: object) -> ValuePlace:
    return _joined([hint])


def _joined(hints: Iterable[object]) -> ValuePlace:
    choices = [choice for hint in hints for choice in _choices(hint)]
    return ValuePlace(choices) if choices else ANYWHERE


def _choices(hint: Annotation) -> Iterator[object]:
    """Yield what an annotation lets stand at its place, with nothing around it."""
    origin: object = get_origin(hint)
    if isinstance(hint, str | ForwardRef):
        yield Unresolved(hint if isinstance(hint, str) else hint.__forward_arg__)
    elif origin is Literal:
        yield from {type(value) for value in get_args(hint) if isinstance(value, Enum)}
    elif origin in _AROUND:
        for inner in get_args(hint)[: _AROUND[origin]]:
            yield from _choices(inner)
    elif isinstance(hint, Unresolved | type) or isinstance(origin, type):
        yield hint
    else:
        for inner in _meant(hint):
            yield from _choices(inner)


def _meant(hint: Annotation) -> Iterable[object]:
    """Return what a name for annotations stands for."""
    if isinstance(hint, NewType):
        return [hint.__supertype__]
    if isinstance(hint, TypeVar):
        return hint.__constraints__ or [hint.__bound__]
    # `type X = ...` of Python 3.12, and its forerunner in typing_extensions.
    return [hint.__value__] if hasattr(hint, "__value__") else []


def _element_hints(choice: object) -> Iterable[object]:
    origin, arguments = get_origin(choice), get_args(choice)
    if origin is tuple:
        return [argument for argument in arguments if argument is not Ellipsis]
    if _is_container(origin, Iterable) and not _is_container(origin, Mapping):
        return arguments[:1]
    return []


def _value_hints(choice: object) -> Iterable[object]:
    return get_args(choice)[1:2] if _is_container(get_origin(choice), Mapping) else []


def _key_hints(choice: object) -> Mapping[str, object]:
    cls: Annotation = get_origin(choice) or choice
    # A TypedDict, be it of typing or of typing_extensions.
    if hasattr(cls, "__required_keys__"):
        known = _bindings(cls, get_args(choice))
        return {name: _bind(hint, known) for name, hint in hints_of(cls).items()}
    # A pydantic model dumps the instances inside it as dicts.
    shape = shape_of(cls) if isinstance(cls, type) else None
    return {} if shape is None else shape.hints


def _is_container(origin: object, base: type) -> bool:
    return isinstance(origin, type) and issubclass(origin, base)


def _bindings(cls: Annotation, arguments: Iterable[object]) -> Mapping[object, object]:
    """Return what the type variables of a generic class and its bases stand for."""
    known = dict(zip(getattr(cls, "__parameters__", ()), arguments, strict=False))
    for base in getattr(cls, "__orig_bases__", ()):
        given = [_bind(argument, known) for argument in get_args(base)]
        for variable, meaning in _bindings(get_origin(base), given).items():
            # A base may mean something else by the same variable: both are possible.
            known[variable] = Union[known.get(variable, meaning), meaning]  # noqa: UP007 - made while running
    return known


def _bind(hint: Annotation, known: Mapping[object, object]) -> object:
    """Return an annotation with its type variables replaced by what they stand for."""
    if isinstance(hint, TypeVar):
        return known.get(hint, hint)
    parameters = getattr(hint, "__parameters__", ())
    if not known or not parameters or isinstance(hint, type):
        return hint
    return hint[tuple(known.get(parameter, parameter) for parameter in parameters)]
