"""`PlannedRun`: what is known of a run before its container is touched.

A workflow object is planned, checked and encoded here, once: for `ptsflow.run`, for the
command line with its dry run, and for `run_inline`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from itertools import islice

from msgspec import Struct

from ptsflow import codec
from ptsflow.client.fields import check_name
from ptsflow.core.changed_code import changed
from ptsflow.core.container_fit import (
    check_workflow,
    is_former,
    is_of_another_class,
    lacking,
    other_values,
)
from ptsflow.core.model import ContainerRecord, TaskRecord
from ptsflow.core.names import listed, similar
from ptsflow.core.plan import Plan, executor_of
from ptsflow.errors import ContainerMismatch, UsageError
from ptsflow.runner.options import RunOptions, check_options
from ptsflow.stores.base import Store
from ptsflow.stores.url_mask import mask_in
from ptsflow.workflow.compile import plan_of
from ptsflow.workflow.template import named_in
from ptsflow.workflow.workflow import Workflow, former_names, secrets_of

#: The most former names of a container that are looked for; each is one read.
_MOST_FORMER = 63


class PlannedRun(Struct, frozen=True, kw_only=True):
    """A workflow object with its plan, and the options it is run with."""

    workflow: Workflow
    plan: Plan
    options: RunOptions
    #: The container's name.
    container: str
    #: Parameter -> JSON text, as the container keeps it.
    parameters: dict[str, str]

    def for_bodies(self) -> dict[str, str]:
        """Return each parameter as JSON text, secrets with their values."""
        secrets = secrets_of(self.workflow)
        return self.parameters | {name: codec.encode(v) for name, v in secrets.items()}

    def check_fits(self, record: ContainerRecord) -> None:
        """Refuse a container that another workflow, or other parameters, made.

        Raises:
            ContainerMismatch: with the difference.
        """
        check_workflow(record, self.plan.workflow)
        if self.options.container is None and is_of_another_class(record, self.plan):
            raise ContainerMismatch(
                f"container {record.name!r} was made by the class {record.workflow} of "
                f"{record.file}, which has other steps than that of {self.plan.file}; "
                f"choose another container with -c NAME, or go on in this one with -c "
                f"{record.name}"
            )
        others = other_values(record, self.parameters)
        if not others or self.options.fresh:
            return
        different = [
            f"{name} was {_shown(stored)}, is {_shown(given)}"
            for name, (stored, given) in others.items()
        ]
        raise ContainerMismatch(
            f"container {record.name!r} was made with other parameters: "
            f"{'; '.join(different)}; {self._truncate(others)}choose another container "
            "with -c NAME, or begin this one anew with --fresh"
        )

    def _truncate(self, others: Iterable[str]) -> str:
        """Name the parameters of which the container's name tells only a part."""
        template = type(self.workflow).container
        if self.options.container is not None or not template:
            return ""
        named = named_in(template)
        return "".join(
            f"the name tells only a part of {name}, as {template!r} says: give {name} "
            "truncated to that part; or "
            for name in others
            if name in named
        )

    def unenforced(self) -> str:
        """Say which limits cannot end a body, as it runs in a thread; "" if all can."""
        of_run = self.options.executor or self.plan.executor
        found = [
            f"{limit}= of {step.name}"
            for step in self.plan.steps
            for limit in ("timeout", "stall")
            if getattr(step, limit) and executor_of(step, of_run) == "thread"
        ]
        names = ", ".join(found)
        return names and (
            f"a body in a thread cannot be killed, which {names} may ask for; "
            "executor='process' can"
        )

    def find(self, store: Store) -> ContainerRecord | None:
        """Return the container that the run goes on in, or None if it is to be made.

        A run with parameters that were added to its class goes on in the container that
        it would have had without them.
        """
        record = store.container(self.container)
        if record is not None or self.options.container or self.options.fresh:
            return record
        for name in islice(former_names(self.workflow), _MOST_FORMER):
            found = store.container(name)
            if found is not None and is_former(found, self.plan, self.parameters):
                return found
        return None

    def find_or_make(
        self, store: Store, notice: Callable[[str], None]
    ) -> ContainerRecord:
        """Return the container of the run, made if there is none.

        Args:
            store: keeps the container.
            notice: receives one line if the container has a former name of the run's.

        Raises:
            ContainerMismatch: as `check_fits` does.
        """
        has_former = next(former_names(self.workflow), None) is not None
        record = self.find(store) if has_former else None
        if self.options.from_step and store.container(self.container) is None:
            self._check_item(self.options.from_step, "--from", ())
        if record is None:
            record, _ = store.create(self.container)
        self.check_fits(record)
        if text := self.continues(record):
            notice(text)
        return record

    def continues(self, record: ContainerRecord) -> str:
        """Say that a container with a former name of the run's is continued."""
        lacks = lacking(record, self.parameters)
        if record.name == self.container or not lacks:
            return ""
        return (
            f"continuing the unfinished container {record.name!r}, which was made before "
            f"the class had {', '.join(lacks)}"
        )

    def asked_again(self, stored: Collection[TaskRecord]) -> list[str]:
        """Return the steps and items that the options want run again.

        Raises:
            UsageError: an item is none that is stored.
        """
        self._check_item(self.options.from_step, "--from", stored)
        again = [self.options.from_step] if self.options.from_step else []
        if self.options.changed:
            again += changed(self.plan.summary(), stored)
        return again

    def check_only(self, stored: Collection[TaskRecord]) -> None:
        """Refuse to run items alone that there are not, where nothing makes new ones.

        Raises:
            UsageError: an item is none that is stored.
        """
        for name in self.options.only or ():
            self._check_item(name, "--only", stored)

    def _check_item(
        self, name: str | None, option: str, stored: Iterable[TaskRecord]
    ) -> None:
        step, key = self.plan.named(name or "") or ("", None)
        if name is None or key is None:
            return
        names = [task.name for task in stored if task.step == step]
        if name not in names:
            raise UsageError(
                f"{option}: container {self.container!r} has no item {name!r}"
                f"{similar(name, names)}; {step} has {listed(names, name) or 'none yet'}"
            )


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


def _shown(text: str) -> str:
    return mask_in(str(codec.peek(text)))


def _no_workflow(found: object) -> UsageError:
    what, advice = repr(found), "make one of a Workflow class"
    if isinstance(found, type):
        what = f"the class {found.__name__}"
        advice = f"call it with its parameters, e.g. {found.__name__}(...)"
    return UsageError(f"run: expected a workflow object, found {what}; {advice}")
