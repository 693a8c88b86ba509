"""Whether a run may go on in a container that is stored, as pure functions of its record."""

from __future__ import annotations

import json
from collections.abc import Mapping

from ptsflow.core.model import ContainerRecord, Status
from ptsflow.core.plan import Plan
from ptsflow.core.secrets import source_of


def other_values(
    record: ContainerRecord, parameters: Mapping[str, str]
) -> dict[str, tuple[str, str]]:
    """Return the parameters whose value is another one: by name, stored and given.

    The value of a secret is not stored, so it may be another one in each run.

    Args:
        record: the container as it is stored.
        parameters: parameter -> JSON text, of the run.
    """
    stored = _stored(record)
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
    stored = _stored(record)
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
    stored = _stored(record)
    return [name for name in parameters if name not in stored]


def _stored(record: ContainerRecord) -> dict[str, str]:
    stored: dict[str, str] = json.loads(record.params or "{}")
    return stored
