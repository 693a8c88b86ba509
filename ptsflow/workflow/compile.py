"""Compiles a workflow class to its plan."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable
from typing import Any
from weakref import WeakKeyDictionary

from msgspec.structs import asdict

from ptsflow.core import texts
from ptsflow.core.plan import Plan, PlanStep, StepOptions
from ptsflow.errors import DeclarationError
from ptsflow.workflow.code_hash import fingerprint
from ptsflow.workflow.collect import order_of
from ptsflow.workflow.step import Step
from ptsflow.workflow.workflow import Workflow

_HASHES: WeakKeyDictionary[Callable[..., Any], str] = WeakKeyDictionary()


class CodeHashes(dict[Callable[..., Any], str]):
    """The fingerprints of the bodies of a plan, each made when first asked for.

    To read the source of a class takes longer than to plan it.
    """

    def __missing__(self, function: Callable[..., Any]) -> str:
        found = _HASHES.get(function)
        if found is None:
            found = _HASHES[function] = fingerprint(function)
        self[function] = found
        return found


def plan_of(workflow: type[Workflow]) -> Plan:
    """Return the plan of a workflow class.

    Raises:
        DeclarationError: the class has no steps, or got one after it was made.
    """
    declared = workflow.declared_steps
    _check_complete(workflow)
    starts = _starts(workflow)
    sizes = _name_sizes(declared.values())
    hashes = CodeHashes()
    steps = tuple(
        _planned(workflow, step, index, starts[index], sizes[step.name], hashes)
        for index, step in enumerate(declared.values())
    )
    module, file = _place(workflow)
    return Plan(
        workflow=workflow.__name__,
        module=module,
        file=file,
        steps=steps,
        by_name={step.name: step for step in steps},
        usual=sum(not step.always for step in steps),
        executor=workflow.executor,
        limits=dict(workflow.limits),
        order=order_of(workflow, workflow.declared_parameters),
    )


def _place(workflow: type[Workflow]) -> tuple[str, str]:
    """Return the name of the class's module as others import it, and its file."""
    module = sys.modules.get(workflow.__module__)
    spec, file = getattr(module, "__spec__", None), getattr(module, "__file__", None)
    name = workflow.__module__ if spec is None else spec.name
    place = "" if file is None else os.path.realpath(file)
    return name, texts.cut(place, texts.TEXT_LIMIT)


def _check_complete(workflow: type[Workflow]) -> None:
    label, declared = workflow.__name__, workflow.declared_steps
    there: dict[str, object] = {}
    for base in reversed(workflow.__mro__):
        there |= vars(base)
    for name, value in there.items():
        if isinstance(value, Step) and name not in declared:
            raise DeclarationError(
                f"{label}.{name}: the step was set after the class was made, so no "
                "run would make it; declare it in the body of the class"
            )
    for name, made in declared.items():
        if there.get(name) is not made:
            raise DeclarationError(
                f"{label}.{name}: the step was replaced or deleted after the class was "
                "made, and a run would make it as it was; declare a subclass instead"
            )
    if not declared:
        raise DeclarationError(
            f"{label}: expected at least one step, found none; put @step above a method"
        )


def _planned(
    workflow: type[Workflow],
    step: Step[..., Any],
    index: int,
    start: int,
    name_size: int,
    hashes: CodeHashes,
) -> PlanStep:
    options = step.options
    bindings = workflow.declared_bindings[step.name]
    source = workflow.declared_steps.get(options.each or "")
    needs: list[str] = list(step.after or ())
    # An item-wise chain waits item by item, not for the step before as a whole.
    if source is not None and not source.options.each:
        needs.append(source.name)
    if bindings:
        needs += [binding.step for binding in bindings if binding.kind == "result"]
    waits_for_above = step.after is None and options.each is None
    return PlanStep(
        **asdict(options),
        name=step.name,
        index=index,
        function=step.function,
        name_size=name_size,
        bindings=bindings,
        needs=tuple(dict.fromkeys(needs)),
        above=start if waits_for_above else None,
        code_hashes=hashes,
    )


def _starts(workflow: type[Workflow]) -> list[int]:
    """Return for every step the index of the first of its parallel group."""
    starts: list[int] = []
    group: set[str] = set()
    previous: StepOptions | None = None
    for index, step in enumerate(workflow.declared_steps.values()):
        options = step.options
        joins = previous is not None and previous.parallel and options.parallel
        if joins and previous is not None and options.always:
            # What always runs waits for its barrier alone: to receive the result of a
            # step beside it, it has to stand behind it.
            bindings = workflow.declared_bindings[step.name]
            joins = previous.always and group.isdisjoint(b.step for b in bindings)
        if not joins:
            group = set()
        starts.append(starts[-1] if joins else index)
        group.add(step.name)
        previous = options
    return starts


def _name_sizes(steps: Iterable[Step[..., Any]]) -> dict[str, int]:
    """Return the bytes in the longest name of each step's item-wise chain."""
    sizes: dict[str, int] = {}
    roots: dict[str, str] = {}
    for step in steps:
        name, each = step.name, step.options.each
        sizes[name] = len(name.encode())
        if each is not None:
            # Of a source that does not fan out, an item is no item of the source's chain.
            root = roots[name] = roots.get(each, name)
            sizes[root] = max(sizes[root], sizes[name])
    return sizes
