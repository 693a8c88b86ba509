"""The plan: a workflow's steps with what each waits for, frozen; and its items' names.

Barriers are kept as a number, not as edges: a plain step waits for the first `above`
steps of the plan, whatever they are. So a plan is linear in its number of steps.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any
from weakref import WeakKeyDictionary

from msgspec import Struct

from ptsflow import codec
from ptsflow.core.model import NAME_LIMIT, StepSummary
from ptsflow.core.retry import Retry
from ptsflow.errors import InvalidName, InvalidValue
from ptsflow.workflow.bindings import Binding
from ptsflow.workflow.code_hash import fingerprint
from ptsflow.workflow.step import Executor, Key, Options, Step
from ptsflow.workflow.workflow import Workflow

#: Annotations take 7 µs each to resolve, and most steps return nothing.
_RETURNS: WeakKeyDictionary[Callable[..., Any], Any] = WeakKeyDictionary()
_UNKNOWN = object()
_HASHES: WeakKeyDictionary[Callable[..., Any], str] = WeakKeyDictionary()
#: Items that are strings up to this many bytes name themselves.
_SHORT = 60


class PlanStep(Struct, frozen=True, kw_only=True):
    """One step as the scheduler sees it."""

    name: str
    index: int
    function: Callable[..., Any]
    is_async: bool
    #: Bytes in the longest name of it and of the steps chained behind it.
    name_size: int
    bindings: tuple[Binding, ...]
    #: Earlier steps that it waits for as a whole, besides the first `above`.
    needs: tuple[str, ...]
    above: int | None
    each: str | None
    parallel: bool
    always: bool
    optional: bool
    retry: Retry
    key: Key | None
    limit: int | None
    tolerate: int | str
    weight: float
    version: str
    at_most_once: bool
    executor: str | None
    #: Seconds.
    timeout: float | None
    stall: float | None
    #: Bytes.
    memory: int | None
    #: How much of each resource of the plan's `limits` one task takes.
    uses: Mapping[str, int]
    #: The higher starts first.
    priority: int
    keep_workdir: bool
    #: The fingerprint of its body's code.
    code_hash: str

    @property
    def returns(self) -> Any:
        """The annotation of what it returns; found when first asked for."""
        hint = _RETURNS.get(self.function, _UNKNOWN)
        if hint is _UNKNOWN:
            hint = codec.hints_of(self.function).get("return", Any)
            _RETURNS[self.function] = hint
        return hint

    def summary(self) -> StepSummary:
        """Return what screens need to know of it."""
        return StepSummary(
            name=self.name,
            needs=self.needs,
            above=self.above,
            each=self.each,
            parallel=self.parallel,
            always=self.always,
            optional=self.optional,
            tolerate=self.tolerate,
            weight=self.weight,
            text=(self.function.__doc__ or "").strip().split("\n")[0],
            code_hash=self.code_hash,
        )


class Plan(Struct, frozen=True, kw_only=True):
    """All steps of a workflow in order, those that always run at the end."""

    workflow: str
    steps: tuple[PlanStep, ...]
    by_name: Mapping[str, PlanStep]
    #: How many of the steps are not `always`.
    usual: int
    #: Where bodies run unless their step says otherwise.
    executor: Executor = "thread"
    #: How much there is of each resource that steps share.
    limits: Mapping[str, int] = {}

    def summary(self) -> tuple[StepSummary, ...]:
        """Return what screens need to know, so that they need no user code."""
        return tuple(step.summary() for step in self.steps)


def plan_of(workflow: type[Workflow]) -> Plan:
    """Return the plan of a workflow class."""
    declared = workflow.declared_steps
    starts = _starts(workflow)
    sizes = _name_sizes(declared.values())
    steps = tuple(
        _planned(workflow, step, index, starts[index], sizes[step.name])
        for index, step in enumerate(declared.values())
    )
    return Plan(
        workflow=workflow.__name__,
        steps=steps,
        by_name={step.name: step for step in steps},
        usual=sum(not step.always for step in steps),
        executor=workflow.executor,
        limits=dict(workflow.limits),
    )


def _planned(
    workflow: type[Workflow],
    step: Step[..., Any],
    index: int,
    start: int,
    name_size: int,
) -> PlanStep:
    options = step.options
    bindings = workflow.declared_bindings[step.name]
    source = workflow.declared_steps.get(options.each or "")
    # An item-wise chain waits item by item, not for the step before as a whole.
    each = [] if source is None or source.options.each else [source.name]
    named = [binding.step for binding in bindings if binding.kind == "result"]
    waits_for_above = options.after is None and options.each is None
    return PlanStep(
        name=step.name,
        index=index,
        function=step.function,
        is_async=step.is_async,
        name_size=name_size,
        bindings=bindings,
        needs=tuple(dict.fromkeys([*(options.after or ()), *each, *named])),
        above=start if waits_for_above else None,
        each=options.each,
        parallel=options.parallel,
        always=options.always,
        optional=options.optional,
        retry=options.retry,
        key=options.key,
        limit=options.limit,
        tolerate=options.tolerate,
        weight=options.weight,
        version=options.version,
        at_most_once=options.at_most_once,
        executor=options.executor,
        timeout=options.timeout,
        stall=options.stall,
        memory=options.memory,
        uses=options.uses,
        priority=options.priority,
        keep_workdir=options.keep_workdir,
        code_hash=_hash_of(step.function),
    )


def _hash_of(function: Callable[..., Any]) -> str:
    found = _HASHES.get(function)
    if found is None:
        found = _HASHES[function] = fingerprint(function)
    return found


def _starts(workflow: type[Workflow]) -> list[int]:
    """Return for every step the index of the first of its parallel group."""
    starts: list[int] = []
    group: set[str] = set()
    previous: Options | None = None
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
        each = step.options.each
        # Of a source that does not fan out, an item is no item of the source's chain.
        root = roots[step.name] = roots.get(each or "", step.name)
        if each is None:
            del roots[step.name]
        sizes[step.name] = len(step.name.encode())
        sizes[root] = max(sizes[root], sizes[step.name])
    return sizes


def downstream(plan: Sequence[StepSummary], names: Iterable[str]) -> set[str]:
    """Return `names` and every step that waits for one of them, however indirectly."""
    chosen = set(names)
    first = len(plan)
    for index, step in enumerate(plan):
        behind = step.above is not None and first < step.above
        needed = behind or step.each in chosen or not chosen.isdisjoint(step.needs)
        if step.name in chosen or needed:
            chosen.add(step.name)
            if not step.always:
                first = min(first, index)
    return chosen


def item_keys(step: PlanStep, items: Sequence[Any]) -> list[str]:
    """Return a key for every item of a fan-out step, each once.

    `key=` says it; else a short str or an int is its own key; else it is the index.

    Raises:
        InvalidValue: two items have the same key, or a key is no usable name.
    """
    keys = [_key_of(step, index, item) for index, item in enumerate(items)]
    seen: dict[str, int] = {}
    for index, key in enumerate(keys):
        if key in seen:
            raise InvalidValue(
                f"{step.name}: items {seen[key]} and {index} of {step.each} have the "
                f"same key {key!r}; give @step a key= that tells them apart"
            )
        seen[key] = index
    return keys


def item_name(step: str, key: str) -> str:
    """Return the task's name: `step[key]`."""
    return f"{step}[{key}]"


def _key_of(step: PlanStep, index: int, item: Any) -> str:
    key: Any
    if callable(step.key):
        key = step.key(item)
    elif step.key is not None:
        key = _field(step, index, item, step.key)
    elif (isinstance(item, str) and 0 < _size(item) <= _SHORT) or (
        isinstance(item, int) and not isinstance(item, bool) and abs(item) < 2**63
    ):
        key = item
    else:
        key = index
    if not isinstance(key, (str, int)) or isinstance(key, bool) or key == "":
        raise InvalidValue(
            f"{step.name}: the key of item {index} of {step.each} must be a non-empty "
            f"str or an int, found {key!r}"
        )
    text = str(key)
    size = step.name_size + _size(item_name("", text))
    if size > NAME_LIMIT or "\0" in text or not _is_text(text):
        raise InvalidName(
            f"{step.name}: the key of item {index} of {step.each} makes a name of {size} "
            f"bytes; expected up to {NAME_LIMIT} of valid text without NUL, "
            f"found {text!r:.80}"
        )
    return text


def _size(text: str) -> int:
    return len(text.encode(errors="surrogatepass"))


def _is_text(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _field(step: PlanStep, index: int, item: Any, field: str) -> Any:
    if isinstance(item, Mapping):
        if field in item:
            return item[field]
    elif hasattr(item, field):
        return getattr(item, field)
    raise InvalidValue(
        f"{step.name}: item {index} of {step.each} has no {field!r} to be its key; "
        f"found {item!r:.80}"
    )
