"""The TARGETs of a command that runs several containers: which workflow is whose."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from msgspec import Struct

from ptsflow.cli.shared import say
from ptsflow.core.container_fit import is_of_another_class
from ptsflow.core.model import ContainerRecord, Status
from ptsflow.core.names import similar
from ptsflow.core.plan import Plan
from ptsflow.errors import LoadError, UsageError
from ptsflow.workflow.compile import plan_of
from ptsflow.workflow.loading import load
from ptsflow.workflow.workflow import Workflow


class Target(Struct, frozen=True):
    """A workflow class with its plan, and the TARGET that it was loaded by."""

    target: str
    kind: type[Workflow]
    plan: Plan

    def parameters_among(self, given: Iterable[str]) -> tuple[str, ...]:
        """Return those of the `name=text` pairs whose parameter the class has."""
        names = self.kind.declared_parameters
        return tuple(pair for pair in given if pair.partition("=")[0] in names)


def loaded(
    command: str, targets: Sequence[str], *, may_be_names: bool = False
) -> dict[str, Target]:
    """Return the workflows by their names.

    Args:
        command: the command that they are for.
        targets: where they are.
        may_be_names: whether a word behind the first may be meant as a container's name.

    Raises:
        LoadError: one cannot be loaded.
        UsageError: two have one name.
    """
    found: dict[str, Target] = {}
    for target in targets:
        try:
            kind: type[Workflow] = load(target, Workflow)
        except LoadError as error:
            if not may_be_names or target == targets[0] or target.endswith(".py"):
                raise
            raise LoadError(
                f"{target!r} is part of no container's name, and no TARGET: {error}"
            ) from error
        other = found.setdefault(kind.__name__, Target(target, kind, plan_of(kind)))
        if other.kind is not kind:
            raise UsageError(
                f"{command}: {other.target} and {target} are both called "
                f"{kind.__name__}; give one of them"
            )
    return found


def check_parameters(
    command: str, workflows: Mapping[str, Target], given: Iterable[str]
) -> None:
    """Refuse a parameter that none of the workflows has.

    Raises:
        UsageError: with the names that there are.
    """
    known = [
        name for each in workflows.values() for name in each.kind.declared_parameters
    ]
    for pair in given:
        name = pair.partition("=")[0]
        if name not in known:
            raise UsageError(
                f"{command}: there is no parameter {name!r} in {', '.join(workflows)}"
                f"{similar(name, known)}"
            )


def is_foreign(record: ContainerRecord, workflows: Mapping[str, Target]) -> bool:
    """Whether another class of the same name made a container; say so."""
    plan = workflows[record.workflow or ""].plan
    is_foreign = is_of_another_class(record, plan) and record.status is not Status.DONE
    if is_foreign:
        say(
            f"{record.name}: skipped, as it was made by the class {record.workflow} of "
            f"{record.file}, which has other steps"
        )
    return is_foreign
