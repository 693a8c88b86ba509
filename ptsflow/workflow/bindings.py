"""What the steps of a class refer to: earlier steps, parameters, and shared limits."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Mapping
from typing import Any

from ptsflow.core.names import listed, similar
from ptsflow.core.plan import Binding
from ptsflow.errors import DeclarationError
from ptsflow.workflow.step import Step
from ptsflow.workflow.step_options import is_counts


def bind_all(
    workflow: type, steps: Mapping[str, Step[..., Any]]
) -> dict[str, tuple[Binding, ...]]:
    """Return what every parameter of every step receives.

    Args:
        workflow: the class that is being made.
        steps: its steps in order, by name.

    Raises:
        DeclarationError: a step names what it cannot have.
    """
    bindings: dict[str, tuple[Binding, ...]] = {}
    earlier: dict[str, None] = {}
    for name, step in steps.items():
        label = f"{workflow.__name__}.{name}"
        for option, named in step.references:
            is_own = any(vars(b).get(named.name) is named for b in workflow.__mro__)
            if not is_own or named.name not in earlier:
                declared = steps.get(named.name) if is_own else None
                raise _misplaced(f"{label}: {option}=", named.name, declared, earlier)
        _check_key(label, step, steps)
        bindings[name] = _bind(label, step, earlier)
        earlier[name] = None
    return bindings


def _misplaced(
    label: str, name: str, declared: Step[..., Any] | None, earlier: Collection[str]
) -> DeclarationError:
    if declared is None:
        reason = "is not a step of this class"
    elif declared.options.always:
        reason = "always runs last, so nothing can wait for it"
    else:
        reason = "is not declared above it"
    return DeclarationError(
        f"{label} names {name!r}, which {reason}; "
        f"it may name {listed(earlier, name) or 'no step, as it is the first'}"
    )


def _check_key(
    label: str, step: Step[..., Any], steps: Mapping[str, Step[..., Any]]
) -> None:
    source = steps.get(step.options.each or "")
    if step.options.key is not None and source is not None and source.options.each:
        raise DeclarationError(
            f"{label}: key= has no use, as an item of {source.name} keeps its key "
            "behind it; leave key= out"
        )


def _bind(
    label: str, step: Step[..., Any], earlier: Collection[str]
) -> tuple[Binding, ...]:
    parameters = _parameters(step.function)
    first, bare = parameters[0] if parameters else ("", "nothing")
    if bare or first == "task" or first in earlier:
        raise DeclarationError(
            f"{label}: a step is a method, its first parameter is self; "
            f"write def {step.name}(self, ...)"
        )
    bindings: list[Binding] = []
    item_taken = step.options.each is None
    for name, bare in parameters[1:]:
        if bare:
            raise DeclarationError(
                f"{label}: the parameter {bare} cannot be filled in; "
                f"name each: {_allowed(earlier, item=not item_taken)}"
            )
        if name == "task":
            bindings.append(Binding(name, "task"))
        elif name in earlier:
            bindings.append(Binding(name, "result", name))
        elif not item_taken:
            item_taken = True
            bindings.append(Binding(name, "item"))
        else:
            raise DeclarationError(
                f"{label}: the parameter {name!r} is no step above it"
                f"{similar(name, earlier)}; allowed: "
                f"{_allowed(earlier, item=step.options.each is not None, near=name)}"
            )
    if item_taken:
        return tuple(bindings)
    # Where nothing else is the item, what is named like the step it comes from is.
    source = Binding(step.options.each or "", "result", step.options.each or "")
    item = Binding(source.parameter, "item")
    return tuple(item if binding == source else binding for binding in bindings)


_NAMED = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
_PLACED = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
_VARIADIC = inspect.CO_VARARGS | inspect.CO_VARKEYWORDS


def _parameters(function: Callable[..., Any]) -> list[tuple[str, str]]:
    """Return the name of each parameter, and how it is written where no name fills it in.

    The first one, which is `self`, is filled in by its place.
    """
    code = function.__code__
    is_unusual = code.co_flags & _VARIADIC or code.co_posonlyargcount or vars(function)
    if code.co_argcount and not is_unusual:
        # A signature takes 30 us to make, and most functions need none.
        names = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
        return [(name, "") for name in names]
    found: list[tuple[str, str]] = []
    for parameter in inspect.signature(function).parameters.values():
        empty = inspect.Parameter.empty
        bare = parameter.replace(annotation=empty, default=empty)
        fits = parameter.kind in (_NAMED if found else _PLACED)
        found.append((parameter.name, "" if fits else str(bare)))
    return found


def _allowed(earlier: Collection[str], *, item: bool, near: str = "") -> str:
    allowed = ["task"]
    if item:
        allowed.append("one name for the item")
    if earlier:
        allowed.append(f"the steps above it ({listed(earlier, near)})")
    return ", ".join(allowed)


def check_limits(
    workflow: str, limits: object, steps: Mapping[str, Step[..., Any]]
) -> None:
    """See to it that there is enough of what the steps use.

    Raises:
        DeclarationError: a step uses what is not there, or `limits` is no mapping of
            names to whole numbers of 1 or more.
    """
    if not is_counts(limits):
        raise DeclarationError(
            f"{workflow}.limits: expected a mapping of names to whole numbers of 1 or "
            f'more such as {{"db": 2}}, found {limits!r}'
        )
    for name, step in steps.items():
        for resource, wanted in step.options.uses.items():
            _check_use(f"{workflow}.{name}: uses=", resource, wanted, limits)


def _check_use(
    label: str, resource: str, wanted: int, limits: Mapping[str, int]
) -> None:
    if resource not in limits:
        advice = (
            f"it may name {listed(limits, resource)}"
            if limits
            else f'add limits = {{"{resource}": {wanted}}} to the class'
        )
        raise DeclarationError(
            f"{label} names {resource!r}{similar(resource, limits)}, which is not in "
            f"limits; {advice}"
        )
    if wanted > limits[resource]:
        raise DeclarationError(
            f"{label} wants {wanted} of {resource!r}, and limits has "
            f"{limits[resource]}; want less, or raise the limit"
        )
