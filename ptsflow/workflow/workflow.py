"""`Workflow`: the base of users' classes; collects their steps and parameters.

A class with a wrong declaration is refused when the class is made, before anything starts.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from datetime import date, time, timedelta
from decimal import Decimal
from enum import Enum
from pathlib import Path
from typing import Any, ClassVar, Self, get_origin

from msgspec import Struct

from ptsflow import codec
from ptsflow.core.model import NAME_LIMIT
from ptsflow.core.plan import Binding, Executor
from ptsflow.errors import DeclarationError, FrozenWorkflow, ParameterError, similar
from ptsflow.workflow.bindings import bind_all, check_limits
from ptsflow.workflow.parameters import convert
from ptsflow.workflow.step import DECLARED, Step
from ptsflow.workflow.step_options import check_executor

_MISSING: Any = object()


class Parameter(Struct, frozen=True):
    """One parameter of a workflow: an annotated attribute of its class."""

    name: str
    hint: Any
    default: Any = _MISSING

    @property
    def is_required(self) -> bool:
        """Whether it must be given."""
        return self.default is _MISSING


class Workflow:
    """The base of every workflow: declare parameters and steps, and run it.

    Args:
        **parameters: a value for each annotated attribute of the class; those with a
            default may be left out.

    Raises:
        ParameterError: one is unknown, missing or of the wrong type.
    """

    #: Template of the container's name, e.g. `"epf:{hour:%Y%m%dT%H}"`.
    container: ClassVar[str] = ""

    #: Where bodies run unless their step says otherwise: "thread", "process", "dask",
    #: "dask://HOST:PORT", or `staticmethod` of what makes a `concurrent.futures.Executor`.
    executor: ClassVar[Executor] = "thread"

    #: How much there is of what steps share, e.g. `{"db": 2}`; see `@step(uses=...)`.
    limits: ClassVar[Mapping[str, int]] = {}

    #: Steps in the order in which they are declared, those that always run at the end.
    declared_steps: ClassVar[dict[str, Step[..., Any]]] = {}
    declared_bindings: ClassVar[dict[str, tuple[Binding, ...]]] = {}
    declared_parameters: ClassVar[dict[str, Parameter]] = {}

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls.declared_steps = _collect_steps(cls)
        cls.declared_parameters = _collect_parameters(cls)
        cls.declared_bindings = bind_all(cls, cls.declared_steps)
        _check_template(cls)
        _check_executor(cls)
        check_limits(cls.__name__, cls.limits, cls.declared_steps)

    def __new__(cls, **_parameters: Any) -> Self:
        """Refuse a class with an abstract step; `abc.ABC` would say it in its own words."""
        for name, step in cls.declared_steps.items():
            if step.is_abstract:
                raise DeclarationError(
                    f"{cls.__name__}.{name}: the step is abstract ({step.label}); "
                    f"write def {name} with a @step of its own in {cls.__name__}"
                )
        return super().__new__(cls)

    def __init__(self, **parameters: Any) -> None:
        declared = type(self).declared_parameters
        for name in parameters:
            if name not in declared:
                raise ParameterError(
                    _unknown_parameter(type(self).__name__, name, declared)
                )
        for name, parameter in declared.items():
            value = parameters.get(name, parameter.default)
            if value is _MISSING:
                raise ParameterError(
                    f"{type(self).__name__}: the parameter {name} is missing; "
                    f"give {type(self).__name__}({name}=...) or -p {name}=..."
                )
            label = f"{type(self).__name__}: the parameter {name}"
            self.__dict__[name] = convert(value, parameter.hint, label)

    @classmethod
    def from_encoded(cls, encoded: Mapping[str, str]) -> Self:
        """Return the workflow object whose `encoded_parameters` these are."""
        made = cls.__new__(cls)
        for name, text in encoded.items():
            made.__dict__[name] = codec.decode(text, cls.declared_parameters[name].hint)
        return made

    def __setattr__(self, name: str, value: object) -> None:
        raise FrozenWorkflow(
            f"{type(self).__name__}.{name}: a workflow object is frozen, as a resumed "
            "run could not know what a step put there; return the value from the step, "
            f"and take it in a later one by a parameter named like the step"
        )

    def __delattr__(self, name: str) -> None:
        self.__setattr__(name, None)

    def __repr__(self) -> str:
        given = ", ".join(
            f"{name}={value!r}" for name, value in self.parameters.items()
        )
        return f"{type(self).__name__}({given})"

    @property
    def parameters(self) -> dict[str, Any]:
        """The value of every parameter."""
        return {name: self.__dict__[name] for name in type(self).declared_parameters}

    @property
    def container_name(self) -> str:
        """The name of its container: the template filled in, or class and parameters.

        Raises:
            ParameterError: the template does not fit the values, or the name is empty
                or over 200 bytes.
        """
        cls = type(self)
        if not cls.container:
            return _default_name(cls.__name__, self.parameters)
        try:
            name = cls.container.format_map(
                {"workflow": cls.__name__} | self.parameters
            )
        except (ValueError, TypeError, LookupError, AttributeError) as error:
            raise ParameterError(
                f"{cls.__name__}.container = {cls.container!r} cannot be filled in with "
                f"{self!r}: {error}"
            ) from error
        size = len(name.encode(errors="replace"))
        if not 1 <= size <= NAME_LIMIT:
            raise ParameterError(
                f"{cls.__name__}.container = {cls.container!r} gives a name of {size} "
                f"bytes; expected 1 to {NAME_LIMIT}"
            )
        return name

    def encoded_parameters(self) -> dict[str, str]:
        """Return each parameter as JSON text, as the container keeps it."""
        declared = type(self).declared_parameters
        return {
            name: codec.encode(
                value,
                declared[name].hint,
                what=f"the parameter {name} of {type(self).__name__}",
            )
            for name, value in self.parameters.items()
        }


#: Values that no body can change.
_FIXED = (
    str,
    int,
    float,
    bytes,
    type(None),
    date,
    time,
    timedelta,
    Decimal,
    Path,
    Enum,
)


def fresh(workflow: Workflow, encoded: Mapping[str, str]) -> Callable[[], Workflow]:
    """Return a function that gives an attempt its workflow object.

    If a parameter can be changed, as a list can, every attempt gets an object of its own:
    otherwise a body would see what another one changed, and on a resumed run it would not.
    """
    if all(isinstance(value, _FIXED) for value in workflow.parameters.values()):
        return lambda: workflow
    return lambda: type(workflow).from_encoded(encoded)


def _default_name(workflow: str, parameters: Mapping[str, Any]) -> str:
    if not parameters:
        return workflow
    given = ",".join(f"{name}={value}" for name, value in parameters.items())
    name = f"{workflow}:{given}"
    if len(name.encode(errors="replace")) <= NAME_LIMIT:
        return name
    import hashlib  # noqa: PLC0415 - rarely needed, and not quick to load

    digest = hashlib.sha256(given.encode(errors="replace")).hexdigest()
    return f"{workflow}:{digest[:16]}"


def _unknown_parameter(workflow: str, name: str, declared: Mapping[str, object]) -> str:
    if not declared:
        return f"{workflow}: there is no parameter {name!r}; it takes none"
    return (
        f"{workflow}: there is no parameter {name!r}{similar(name, declared)}; "
        f"it takes {', '.join(declared)}"
    )


def _collect_steps(cls: type[Workflow]) -> dict[str, Step[..., Any]]:
    """Return the steps: a base's first, an overridden one in its place, always last."""
    found: dict[str, Step[..., Any]] = {}
    for base in reversed(cls.__mro__):
        for name, value in vars(base).items():
            if isinstance(value, Step):
                if name != value.name:
                    raise DeclarationError(
                        f"{cls.__name__}.{name}: a step goes by its method's name, "
                        f"{value.name!r}; write def {name} with a @step of its own"
                    )
                found[name] = value
            elif name in found and value is not None:
                raise DeclarationError(
                    f"{cls.__name__}.{name}: it overrides the step {found[name].label} "
                    f"without @step; put @step above it, or write {name} = None to leave "
                    "the step out"
                )
            else:
                found.pop(name, None)
        _check_not_hidden(cls, base)
    for name in found:
        if name in _RESERVED or name.startswith("__"):
            raise DeclarationError(
                f"{cls.__name__}.{name}: {name!r} has a meaning of its own in a "
                "workflow; give the step another name"
            )
    usual = {name: step for name, step in found.items() if not step.options.always}
    return usual | {name: step for name, step in found.items() if step.options.always}


def _check_not_hidden(cls: type[Workflow], base: type) -> None:
    """Refuse a class body whose steps are not all attributes of the class."""
    there = vars(base)
    for declared in there.get(DECLARED, ()):
        value = there.get(declared.name)
        if value is declared:
            continue
        what = (
            "the step is declared twice; give one of the two another name"
            if isinstance(value, Step)
            else "what stands above @step hides it; put @step above the other decorators"
        )
        raise DeclarationError(f"{cls.__name__}.{declared.name}: {what}")


_RESERVED = frozenset(
    {"task", "container", "parameters", "container_name", "encoded_parameters"}
    | {
        "executor",
        "limits",
        "from_encoded",
        "declared_steps",
        "declared_bindings",
        "declared_parameters",
        "workflow",
    }
)


def _collect_parameters(cls: type[Workflow]) -> dict[str, Parameter]:
    """Return the annotated attributes as parameters, a base's first."""
    found: dict[str, Parameter] = {}
    hints = codec.hints_of(cls)
    for base in reversed(cls.__mro__):
        if base is Workflow:
            continue
        for name in inspect.get_annotations(base):
            hint = hints.get(name, Any)
            if name.startswith("_") or get_origin(hint) is ClassVar or hint is ClassVar:
                continue
            if isinstance(hint, codec.Unresolved):
                raise DeclarationError(
                    f"{cls.__name__}.{name}: its annotation {hint.text} cannot be looked "
                    "up; import what it names, or define it outside of the function"
                )
            if name in _RESERVED or name in cls.declared_steps:
                raise DeclarationError(
                    f"{cls.__name__}.{name}: the name is taken; "
                    "give the parameter another one, or annotate it as a ClassVar"
                )
            default = getattr(cls, name, _MISSING)
            if default is not _MISSING:
                try:
                    default = convert(
                        default, hint, f"{cls.__name__}.{name}: the default"
                    )
                except ParameterError as error:
                    raise DeclarationError(str(error)) from None
            found[name] = Parameter(name, hint, default)
    return found


def _check_template(cls: type[Workflow]) -> None:
    if not isinstance(cls.container, str):
        raise DeclarationError(
            f"{cls.__name__}.container: expected a template such as "
            f'"import:{{hour}}", found {cls.container!r}'
        )
    if not cls.container:
        return
    import string  # noqa: PLC0415 - 1 ms, only for a template

    try:
        fields = [field for _, field, _, _ in string.Formatter().parse(cls.container)]
    except ValueError as error:
        raise DeclarationError(
            f"{cls.__name__}.container = {cls.container!r} is no template: {error}"
        ) from error
    known = ["workflow", *cls.declared_parameters]
    for field in fields:
        name = "" if field is None else field.split(".")[0].split("[")[0]
        if field is not None and name not in known:
            raise DeclarationError(
                f"{cls.__name__}.container = {cls.container!r} names {name!r}"
                f"{similar(name, known)}; it may name {', '.join(known)}"
            )


def _check_executor(cls: type[Workflow]) -> None:
    wrong = check_executor(cls.executor)
    if wrong is not None:
        raise DeclarationError(f"{cls.__name__}.executor: {wrong}")
    for name, step in cls.declared_steps.items():
        where = step.options.executor or cls.executor
        if step.options.memory is not None and where == "thread":
            raise DeclarationError(
                f"{cls.__name__}.{name}: memory= limits a process; add "
                'executor="process", or leave memory= out'
            )
