"""`Workflow`: the base of users' classes; collects their steps and parameters.

A class with a wrong declaration is refused when the class is made, before anything starts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from itertools import combinations
from pathlib import Path
from typing import Any, ClassVar, Self

from ptsflow import codec
from ptsflow.core.model import NAME_LIMIT
from ptsflow.core.names import listed, similar
from ptsflow.core.plan import Binding, Executor
from ptsflow.core.secrets import Concealer, placeholder
from ptsflow.errors import DeclarationError, FrozenWorkflow, ParameterError
from ptsflow.stores.url_mask import mask_in
from ptsflow.workflow.bindings import bind_all, check_limits
from ptsflow.workflow.class_options import (
    ClassOptions,
    check_options,
    collect_options,
)
from ptsflow.workflow.collect import (
    MISSING,
    Parameter,
    collect_parameters,
    collect_steps,
    order_of,
)
from ptsflow.workflow.secret import Secret, how_to_give
from ptsflow.workflow.step import Step
from ptsflow.workflow.step_options import check_executor
from ptsflow.workflow.template import check_template


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
    #: Its schedule, how long it is kept, whom its end is told.
    declared_options: ClassVar[ClassOptions] = ClassOptions()
    #: Whether a parameter is a `Secret`.
    has_secrets: ClassVar[bool] = False

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls.declared_steps = collect_steps(cls)
        cls.declared_parameters = collect_parameters(cls, Workflow, cls.declared_steps)
        cls.has_secrets = any(p.is_secret for p in cls.declared_parameters.values())
        cls.declared_bindings = bind_all(cls, cls.declared_steps)
        check_template(cls)
        _check_executor(cls)
        check_limits(cls.__name__, cls.limits, cls.declared_steps)
        order_of(cls, cls.declared_parameters)
        cls.declared_options = collect_options(cls, cls.declared_parameters)
        check_options(cls, cls.declared_options)

    def __new__(cls, /, *given: Any, **_parameters: Any) -> Self:
        """Refuse what Python, or `abc.ABC`, would refuse in words of their own."""
        if given:
            raise ParameterError(
                f"{cls.__name__}: parameters are given by name, "
                f"{cls.__name__}({', '.join(f'{n}=...' for n in cls.declared_parameters)})"
            )
        for name, step in cls.declared_steps.items():
            if step.is_abstract:
                raise DeclarationError(
                    f"{cls.__name__}.{name}: the step is abstract ({step.label}); "
                    f"write def {name} with a @step of its own in {cls.__name__}"
                )
        return super().__new__(cls)

    def __init__(self, /, **parameters: Any) -> None:
        declared = type(self).declared_parameters
        for name in parameters:
            if name not in declared:
                raise ParameterError(
                    _unknown_parameter(type(self).__name__, name, declared)
                )
        for name, parameter in declared.items():
            value = parameters.get(name, parameter.default)
            if value is MISSING:
                raise ParameterError(_missing(type(self).__name__, parameter))
            label = f"{type(self).__name__}: the parameter {name}"
            self.__dict__[name] = parameter.converted(value, label)

    @classmethod
    def from_encoded(cls, encoded: Mapping[str, str]) -> Self:
        """Return the workflow object whose parameters these are, secrets with their values."""
        made = cls.__new__(cls)
        for name, text in encoded.items():
            parameter = cls.declared_parameters[name]
            if parameter.is_secret and text != "null":
                made.__dict__[name] = Secret(codec.decode(text))
            else:
                made.__dict__[name] = codec.decode(text, parameter.hint)
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
            return _default_name(cls.__name__, _named(self))
        try:
            name = cls.container.format_map(
                {"workflow": cls.__name__} | self.parameters
            )
        except (ValueError, TypeError, LookupError, AttributeError) as error:
            raise ParameterError(
                f"{cls.__name__}.container = {cls.container!r} cannot be filled in with "
                f"{self!r}: {error}"
            ) from error
        name = mask_in(name)
        size = len(name.encode(errors="replace"))
        if not 1 <= size <= NAME_LIMIT:
            raise ParameterError(
                f"{cls.__name__}.container = {cls.container!r} gives a name of {size} "
                f"bytes; expected 1 to {NAME_LIMIT}"
            )
        return name

    def encoded_parameters(self) -> dict[str, str]:
        """Return each parameter as JSON text, as the container keeps it: no secret."""
        declared = type(self).declared_parameters
        return {
            name: placeholder(value.source)
            if isinstance(value, Secret)
            else codec.encode(
                value,
                declared[name].hint,
                what=f"the parameter {name} of {type(self).__name__}",
            )
            for name, value in self.parameters.items()
        }


def secrets_of(workflow: Workflow) -> dict[str, str]:
    """Return the values of a workflow object's secrets, by the parameters' names."""
    given = workflow.parameters.items()
    return {n: v.get_secret_value() for n, v in given if isinstance(v, Secret)}


def concealer_of(workflow: Workflow) -> Concealer | None:
    """Return what takes a workflow object's secrets out of texts; None if it has none."""
    if not type(workflow).has_secrets:
        return None
    return Concealer(secrets_of(workflow))


def hiding(workflow: Workflow) -> Callable[[str], str] | None:
    """Return a function that takes the secrets out of a text; None if there are none."""
    concealer = concealer_of(workflow)
    return None if concealer is None else concealer.hide


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
    Secret,
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
    name = f"{workflow}:{mask_in(given)}"
    if len(name.encode(errors="replace")) <= NAME_LIMIT:
        return name
    import hashlib  # noqa: PLC0415 - rarely needed, and not quick to load

    digest = hashlib.sha256(given.encode(errors="replace")).hexdigest()
    return f"{workflow}:{digest[:16]}"


def former_names(workflow: Workflow) -> Iterator[str]:
    """Yield the names that the container had before parameters were added to the class.

    A name lacks some of the parameters that have their defaults. The names that lack the
    fewest come first. A template names what it names, so there are none with a template.
    """
    cls, given = type(workflow), _named(workflow)
    values = workflow.parameters
    if cls.container:
        return
    added = [
        name
        for name, parameter in cls.declared_parameters.items()
        if name in given
        and not parameter.is_required
        and values[name] == parameter.default
    ]
    for count in range(1, len(added) + 1):
        for left_out in combinations(added, count):
            left = {name: given[name] for name in given if name not in left_out}
            yield _default_name(cls.__name__, left)


def _named(workflow: Workflow) -> dict[str, Any]:
    """Return the parameters that stand in the container's own name: all but secrets."""
    declared = type(workflow).declared_parameters
    given = workflow.parameters.items()
    return {
        name: _short(value) if declared[name].period else value
        for name, value in given
        if not declared[name].is_secret
    }


def _short(value: datetime | date | None) -> object:
    """Return an hour as a name has it, such as `2011-09-30T13+00:00`."""
    if isinstance(value, datetime):
        return value.isoformat(timespec="hours")
    return value


def _missing(workflow: str, parameter: Parameter) -> str:
    name = parameter.name
    if parameter.is_secret:
        return (
            f"{workflow}: the secret parameter {name} is missing, which every run needs, "
            f"as it is never stored; give {how_to_give(name)}"
        )
    return (
        f"{workflow}: the parameter {name} is missing; "
        f"give {workflow}({name}=...) or -p {name}=..."
    )


def _unknown_parameter(workflow: str, name: str, declared: Mapping[str, object]) -> str:
    if not declared:
        return f"{workflow}: there is no parameter {name!r}; it takes none"
    return (
        f"{workflow}: there is no parameter {name!r}{similar(name, declared)}; "
        f"it takes {listed(declared, name)}"
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
