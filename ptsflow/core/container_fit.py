"""Whether a run may go on in a container that is stored, as pure functions of its record."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import DecodeError
from msgspec.json import decode

from ptsflow.core.model import ContainerRecord, Status
from ptsflow.core.plan import Plan
from ptsflow.core.secrets import source_of
from ptsflow.errors import ContainerMismatch, StoreDamaged

#: Before the name of the workflow of a container that is not yet copied whole.
COPYING = "copying:"


def check_workflow(record: ContainerRecord, workflow: str) -> None:
    """Refuse a container that another workflow made.

    Raises:
        ContainerMismatch: with the name of the other one.
    """
    if (record.workflow or "").startswith(COPYING):
        raise ContainerMismatch(
            f"container {record.name!r} is not yet copied whole; copy it again with "
            "`store copy`, from the store that it came from"
        )
    if record.workflow not in (None, workflow):
        raise ContainerMismatch(
            f"container {record.name!r} belongs to the workflow {record.workflow}, "
            f"not {workflow}; choose another container with -c NAME"
        )


def other_values(
    record: ContainerRecord, parameters: Mapping[str, str]
) -> dict[str, tuple[str, str]]:
    """Return the parameters whose value is another one: by name, stored and given.

    The value of a secret is not stored, so it may be another one in each run.

    Args:
        record: the container as it is stored.
        parameters: parameter -> JSON text, of the run.
    """
    stored = parameters_of(record)
    return {
        name: (stored[name], text)
        for name, text in parameters.items()
        if name in stored
        and stored[name] != text
        and source_of(text) is source_of(stored[name]) is None
    }


def is_former(
    record: ContainerRecord, plan: Plan, parameters: Mapping[str, str]
) -> bool:
    """Whether a container with fewer parameters in its name is the run's own.

    It is, if it is not finished; or if a run that had all the parameters continued it.
    """
    stored = parameters_of(record)
    if record.workflow != plan.workflow or is_of_another_class(record, plan):
        return False
    if not stored.keys() <= parameters.keys():
        return False
    if other_values(record, parameters):
        return False
    return record.status is not Status.DONE or stored.keys() == parameters.keys()


def is_of_another_class(record: ContainerRecord, plan: Plan) -> bool:
    """Whether a class of the same name, but of another file and with other steps, made it.

    A class that was moved, or whose steps were changed, is still the same one.
    """
    known = record.file and plan.file and record.plan
    is_moved = record.file != plan.file and not (
        "." in plan.module and record.module == plan.module
    )
    steps = {step.name for step in record.plan}
    return bool(known) and is_moved and steps != plan.by_name.keys()


def lacking(record: ContainerRecord, parameters: Mapping[str, str]) -> list[str]:
    """Return the parameters that the container was made without."""
    stored = parameters_of(record)
    return [name for name in parameters if name not in stored]


def parameters_of(record: ContainerRecord) -> dict[str, str]:
    """Return the parameters of a container, as JSON text by name.

    Raises:
        StoreDamaged: what is stored was not written by ptsflow.
    """
    try:
        return decode(record.params or "{}", type=dict[str, str])
    except DecodeError as error:
        raise StoreDamaged(
            f"container {record.name!r}: expected its parameters as ptsflow writes them, "
            f"found something else: {error}; restore the store from a copy"
        ) from None
