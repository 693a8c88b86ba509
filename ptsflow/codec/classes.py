"""The kinds of classes whose instances are kept: how they come apart and together.

Nothing here follows a name that was stored: a class is one that an annotation led to.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from enum import Enum
from functools import cached_property, lru_cache
from typing import Any, Literal

import msgspec

from ptsflow.codec.hints import hints_of
from ptsflow.codec.misfit import Misfit, Value, quote, said

Kind = Literal["dataclass", "struct", "enum", "model", "namedtuple"]

#: What messages call them.
NOUNS: dict[Kind, str] = {
    "dataclass": "dataclass",
    "struct": "msgspec.Struct",
    "enum": "Enum",
    "model": "pydantic model",
    "namedtuple": "NamedTuple",
}


class Shape:
    """What is known of a class: its kind, its fields and their annotations."""

    def __init__(self, kind: Kind, cls: type[Any]) -> None:
        self.kind = kind
        self.cls = cls
        self.name = cls.__name__
        self.noun = f"{cls.__name__} ({NOUNS[kind]})"
        #: Field -> what makes its default, or None where it has none.
        self.fields = _FIELDS[kind](cls) if kind in _FIELDS else {}

    @cached_property
    def hints(self) -> Mapping[str, object]:
        """The annotation of each field."""
        if self.kind == "model":
            fields = getattr(self.cls, "model_fields", {})
            return {
                key: field.annotation
                for name, field in fields.items()
                for key in (name, field.serialization_alias or name)
            }
        return {} if self.kind == "enum" else hints_of(self.cls)


@lru_cache(1024)
def shape_of(cls: type[Any]) -> Shape | None:
    """Return what is known of a class, or None where its instances are not kept."""
    kind = _kind_of(cls)
    return None if kind is None else Shape(kind, cls)


def _kind_of(cls: type[Any]) -> Kind | None:
    kind: Kind | None = None
    if issubclass(cls, Enum):
        kind = "enum"
    elif issubclass(cls, msgspec.Struct):
        kind = "struct"
    elif issubclass(cls, tuple):
        kind = "namedtuple" if hasattr(cls, "_field_defaults") else None
    elif hasattr(cls, "model_dump") and hasattr(cls, "model_validate"):
        kind = "model"
    elif hasattr(cls, "__dataclass_fields__") and _is_plain(cls):
        kind = "dataclass"
    return kind


def _is_plain(cls: type[Any]) -> bool:
    # A dataclass that is also a dict or an exception holds more than its fields, and
    # Python refuses to make one without calling that base.
    try:
        object.__new__(cls)
    except TypeError:
        return False
    return True


# -- apart ------------------------------------------------------------------


def take_apart(shape: Shape, value: Value) -> object:
    """Return what an instance is made of: its fields, or its name, or its dump.

    Raises:
        Misfit: not all of it would come back.
    """
    if shape.kind == "enum":
        return _member_name(shape, value)
    if shape.kind == "model":
        return dump(shape, value, "python")
    extra = getattr(value, "__dict__", {}).keys() - shape.fields.keys()
    for name in sorted(extra):
        if not isinstance(getattr(shape.cls, name, None), cached_property):
            raise Misfit(
                f"the attribute {quote(name)} is no field of {shape.noun} and would be "
                "lost; declare it as a field"
            )
    try:
        return {name: getattr(value, name) for name in shape.fields}
    except AttributeError as error:
        raise Misfit(
            f"{shape.noun}: its field {quote(error.name)} has no value; give it one"
        ) from None


def _member_name(shape: Shape, value: Value) -> str:
    name = value.name
    if shape.cls.__members__.get(name) is not value:
        raise Misfit(
            f"{quote(value)} is a combination of flags; store a list of its members"
        )
    return str(name)


def dump(shape: Shape, value: Value, mode: Literal["python", "json"]) -> object:
    """Return the dump of a pydantic model.

    Raises:
        Misfit: the dump does not go back to an equal model.
    """
    problem = "its model_dump does not go back through model_validate to an equal one"
    for by_alias in (False, True):
        # Both are user's code as much as pydantic's, and may raise anything.
        try:
            dumped = value.model_dump(mode=mode, by_alias=by_alias, warnings=False)
            if shape.cls.model_validate(dumped) == value:
                return dumped
        except Exception as error:  # noqa: BLE001 - see above
            problem = said(error)
    raise Misfit(
        f"{shape.noun} cannot be stored exactly: {problem}; look at its aliases, "
        "validators and private attributes, or store plain data"
    )


# -- together ---------------------------------------------------------------


def put_together(shape: Shape, parts: Value) -> object:
    """Return the instance that `take_apart` gave these parts of.

    Raises:
        Misfit: the class changed since.
    """
    if shape.kind == "enum":
        return _member(shape, parts)
    if shape.kind == "model":
        return _validate(shape, parts)
    fields = _complete(shape, parts)
    if shape.kind == "namedtuple":
        return tuple.__new__(shape.cls, fields.values())
    if shape.kind == "struct":
        return _struct(shape, fields)
    instance = object.__new__(shape.cls)
    for name, value in fields.items():
        object.__setattr__(instance, name, value)
    return instance


def _member(shape: Shape, name: object) -> object:
    if type(name) is str and name in shape.cls.__members__:
        return shape.cls.__members__[name]
    raise Misfit(
        f"{shape.noun} has no member {quote(name)}: the class changed; "
        "put the member back, or reset the step"
    )


def _complete(shape: Shape, parts: dict[str, Any]) -> dict[str, Any]:
    for name in parts:
        if name not in shape.fields:
            raise Misfit(
                f"{shape.noun} has no field {quote(name)}, but one is stored: the class "
                "changed; put the field back, or reset the step"
            )
    fields = {}
    for name, default in shape.fields.items():
        if name in parts:
            fields[name] = parts[name]
        elif default is not None:
            fields[name] = default()
        else:
            raise Misfit(
                f"{shape.noun} needs a field {quote(name)}, but none is stored: the class "
                "changed; give the field a default, or reset the step"
            )
    return fields


def _struct(shape: Shape, fields: dict[str, Any]) -> object:
    if not hasattr(shape.cls, "__post_init__"):
        return shape.cls(**fields)
    # A Struct cannot be made without calling __post_init__, which has had its say
    # already: it gets a copy, and what it makes of that is overwritten.
    try:
        instance = shape.cls(**copy.deepcopy(fields))
    except Exception as error:  # noqa: BLE001 - it is user's code
        raise Misfit(
            f"{shape.noun}: its __post_init__ refuses what is stored: "
            f"{said(error)}; reset the step"
        ) from None
    for name, value in fields.items():
        msgspec.structs.force_setattr(instance, name, value)
    return instance


def _validate(shape: Shape, parts: Value) -> object:
    try:
        return shape.cls.model_validate(parts)
    except Exception as error:  # noqa: BLE001 - it is user's code
        raise Misfit(
            f"{shape.noun}: model_validate refuses what is stored: "
            f"{said(error)}; reset the step"
        ) from None


# -- fields -----------------------------------------------------------------

Defaults = dict[str, Callable[[], object] | None]


def _default(
    value: object, factory: Value, missing: object
) -> Callable[[], object] | None:
    if factory is not missing:
        return factory  # type: ignore[no-any-return] # the library's own
    return None if value is missing else lambda: value


def _dataclass_fields(cls: type[Any]) -> Defaults:
    import dataclasses  # noqa: PLC0415 - loaded already, as there is a dataclass

    return {
        field.name: _default(field.default, field.default_factory, dataclasses.MISSING)
        for field in dataclasses.fields(cls)
    }


def _struct_fields(cls: type[Any]) -> Defaults:
    return {
        field.name: _default(field.default, field.default_factory, msgspec.NODEFAULT)
        for field in msgspec.structs.fields(cls)
    }


def _namedtuple_fields(cls: type[Any]) -> Defaults:
    none: Any = object()
    return {
        name: _default(cls._field_defaults.get(name, none), none, none)
        for name in cls._fields
    }


_FIELDS: dict[Kind, Callable[[Any], Defaults]] = {
    "dataclass": _dataclass_fields,
    "struct": _struct_fields,
    "namedtuple": _namedtuple_fields,
}
