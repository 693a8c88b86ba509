"""`PlannedRun`: what is known of a run before its container is touched.

A workflow object is planned, checked and encoded here, once: for `ptsflow.run`, for the
command line with its dry run, and for `run_inline`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable

from msgspec import Struct

from ptsflow import codec
from ptsflow.client.fields import check_name
from ptsflow.core.model import ContainerRecord, TaskRecord
from ptsflow.core.plan import Plan
from ptsflow.core.resume import changed
from ptsflow.errors import ContainerMismatch, UsageError
from ptsflow.runner.options import RunOptions, check_options
from ptsflow.workflow.compile import plan_of
from ptsflow.workflow.workflow import Workflow


class PlannedRun(Struct, frozen=True, kw_only=True):
    """A workflow object with its plan, and the options it is run with."""

    workflow: Workflow
    plan: Plan
    options: RunOptions
    #: The container's name.
    container: str
    #: Parameter -> JSON text, as the container keeps it.
    parameters: dict[str, str]

    def check_fits(self, record: ContainerRecord) -> None:
        """Refuse a container that another workflow, or other parameters, made.

        Raises:
            ContainerMismatch: with the difference.
        """
        if record.workflow is not None and record.workflow != self.plan.workflow:
            raise ContainerMismatch(
                f"container {record.name!r} belongs to the workflow {record.workflow}, "
                f"not {self.plan.workflow}; choose another container with -c NAME"
            )
        stored: dict[str, str] = json.loads(record.params or "{}")
        different = [
            f"{name} was {codec.peek(stored[name])!s}, is {codec.peek(text)!s}"
            for name, text in self.parameters.items()
            if name in stored and stored[name] != text
        ]
        if different and not self.options.fresh:
            raise ContainerMismatch(
                f"container {record.name!r} was made with other parameters: "
                f"{'; '.join(different)}; choose another container with -c NAME, "
                "or begin this one anew with --fresh"
            )

    def asked_again(self, stored: Iterable[TaskRecord]) -> list[str]:
        """Return the steps that the options want run again."""
        again = [self.options.from_step] if self.options.from_step else []
        if self.options.changed:
            again += changed(self.plan.summary(), stored)
        return again


def plan_run(workflow: Workflow, options: RunOptions) -> PlannedRun:
    """Plan, check and encode a workflow object.

    Raises:
        UsageError: it is no workflow object (most often it is a class), or an option
            makes no sense for it.
        ParameterError: the container's name cannot be made of the parameters.
        NotStorable: a parameter cannot be kept.
    """
    if not isinstance(workflow, Workflow):
        raise _no_workflow(workflow)
    plan = plan_of(type(workflow))
    check_options(plan, options)
    name = workflow.container_name if options.container is None else options.container
    check_name(name, "container")
    return PlannedRun(
        workflow=workflow,
        plan=plan,
        options=options,
        container=name,
        parameters=workflow.encoded_parameters(),
    )


def _no_workflow(found: object) -> UsageError:
    what, advice = repr(found), "make one of a Workflow class"
    if isinstance(found, type):
        what = f"the class {found.__name__}"
        advice = f"call it with its parameters, e.g. {found.__name__}(...)"
    return UsageError(f"run: expected a workflow object, found {what}; {advice}")
