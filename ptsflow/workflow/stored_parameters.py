"""The parameters that a container keeps, as its workflow takes them again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ptsflow import codec
from ptsflow.core import container_fit
from ptsflow.core.model import ContainerRecord
from ptsflow.core.secrets import HIDDEN, source_of
from ptsflow.errors import ContainerMismatch, ParameterError, StoredValueError
from ptsflow.workflow.collect import Parameter
from ptsflow.workflow.secret import Secret, how_to_give
from ptsflow.workflow.workflow import Workflow


def parameters_of(
    kind: type[Workflow], record: ContainerRecord, given: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the parameters of a container, for a workflow object of `kind`.

    A parameter that the class has no more is left out.

    Args:
        kind: the workflow's class.
        record: the container.
        given: parameters that are taken instead of what is stored; secrets have to be
            among them.

    Raises:
        ContainerMismatch: the container belongs to another workflow, or keeps no
            parameters.
        ParameterError: a secret is not given, or a stored value does not fit the
            annotation of its parameter.
    """
    container_fit.check_workflow(record, kind.__name__)
    if record.params is None:
        raise ContainerMismatch(
            f"container {record.name!r} keeps no parameters, as no run has begun in it; "
            "run it without --stored"
        )
    found = dict(given)
    for name, text in container_fit.parameters_of(record).items():
        parameter = kind.declared_parameters.get(name)
        if parameter is None or name in given:
            continue
        label = f"{kind.__name__}: the parameter {name}"
        if text == "null" or not (parameter.is_secret or source_of(text)):
            found[name] = _value(parameter, text, label, record)
        elif source_of(text) != HIDDEN or not isinstance(parameter.default, Secret):
            raise ParameterError(_not_stored(parameter, text, label))
    return found


def removed_parameters(kind: type[Workflow], record: ContainerRecord) -> list[str]:
    """Return the parameters of a container that its class has no more."""
    return [
        name
        for name in container_fit.parameters_of(record)
        if name not in kind.declared_parameters
    ]


def _value(
    parameter: Parameter, text: str, label: str, record: ContainerRecord
) -> object:
    try:
        return parameter.converted(codec.decode(text, parameter.hint), label)
    except (StoredValueError, ParameterError) as error:
        raise ParameterError(
            f"{label}: what container {record.name!r} keeps of it does not fit any more: "
            f"{str(error).removeprefix(f'{label}: ')}; mend the annotation, or begin the "
            f"container anew with --fresh and -p {parameter.name}=..."
        ) from None


def _not_stored(parameter: Parameter, text: str, label: str) -> str:
    source = source_of(text)
    if source is None:
        why = "it is secret now"
    else:
        why = "it is secret" if parameter.is_secret else "it was secret"
    known = source not in (None, HIDDEN) and parameter.is_secret
    how = f"-p {parameter.name}={source}, as before" if known else None
    if how is None:
        give_secret = how_to_give(parameter.name)
        how = give_secret if parameter.is_secret else f"-p {parameter.name}=..."
    return f"{label} has to be given again, as {why} and its value is not kept: {how}"
