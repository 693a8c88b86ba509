"""The plan: a workflow's steps with what each waits for, frozen; and its items' names.

Barriers are kept as a number, not as edges: a plain step waits for the first `above`
steps of the plan, whatever they are. So a plan is linear in its number of steps.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal
from weakref import WeakKeyDictionary

from msgspec import Struct

from ptsflow import codec
from ptsflow.core.model import NAME_LIMIT, StepSummary, item_name
from ptsflow.core.numbers import is_whole
from ptsflow.core.retry import Retry
from ptsflow.errors import InvalidName, InvalidValue

if TYPE_CHECKING:
    import concurrent.futures

    #: Where bodies run: a name, an address, or what makes a pool.
    Executor = str | Callable[[], concurrent.futures.Executor]
else:  # At run time annotations are looked up, and that module takes long to load.
    Executor = str | Callable[[], Any]

#: An item's key: the name of a field, or a function of the item.
Key = str | Callable[[Any], str | int]

#: Annotations take 7 µs each to resolve, and most steps return nothing.
_RETURNS: WeakKeyDictionary[Callable[..., Any], Any] = WeakKeyDictionary()
_UNKNOWN = object()
#: Items that are strings up to this many bytes name themselves.
_SHORT = 60
#: An int that needs more than 64 bits is known by its place in the list instead.
_BIG = 2**63


class Binding(Struct, frozen=True):
    """What one parameter of a step's method receives."""

    parameter: str
    kind: Literal["task", "item", "result"]
    #: The earlier step whose result it is.
    step: str = ""


class StepOptions(Struct, frozen=True, kw_only=True):
    """The options of a step as its plan keeps them; the defaults are those of `@step`."""

    #: The step whose items it fans out over.
    each: str | None = None
    parallel: bool = False
    always: bool = False
    optional: bool = False
    retry: Retry = Retry()
    key: Key | None = None
    limit: int | None = None
    #: How many failed items are accepted: a number, or a share such as "2%".
    tolerate: int | str = 0
    #: Its share in the percentage of the container; None where it is to be learned.
    weight: float | None = None
    version: str = ""
    at_most_once: bool = False
    executor: str | None = None
    #: Seconds.
    timeout: float | None = None
    #: Seconds.
    stall: float | None = None
    #: Bytes.
    memory: int | None = None
    #: How much of each resource of the plan's `limits` one task takes.
    uses: Mapping[str, int] = {}
    #: Of the tasks that are ready, those with the higher priority start first.
    priority: int = 0
    keep_workdir: bool = False


class PlanStep(StepOptions, frozen=True, kw_only=True):
    """One step as the scheduler sees it: its options, its body, and what it waits for."""

    name: str
    index: int
    function: Callable[..., Any]
    #: Bytes in the longest name of the step and of the steps chained behind it.
    name_size: int
    bindings: tuple[Binding, ...]
    #: Earlier steps that the step waits for as a whole, besides the first `above`.
    needs: tuple[str, ...]
    above: int | None
    #: The fingerprint of each body's code, made when first asked for.
    code_hashes: Mapping[Callable[..., Any], str]

    @property
    def code_hash(self) -> str:
        """The fingerprint of its body's code."""
        return self.code_hashes[self.function]

    @property
    def returns(self) -> Any:
        """The annotation of what it returns; found when first asked for."""
        hint = _RETURNS.get(self.function, _UNKNOWN)
        if hint is _UNKNOWN:
            hint = codec.hints_of(self.function).get("return", Any)
            _RETURNS[self.function] = hint
        return hint

    @property
    def sources(self) -> list[Binding]:
        """The bindings of the parameters that are made from other steps, by their names."""
        if not self.bindings:
            return []
        given = [binding for binding in self.bindings if binding.kind != "task"]
        return sorted(given, key=self.source_of)

    def source_of(self, binding: Binding) -> str:
        """Return the step that a parameter is made from."""
        return binding.step if binding.kind == "result" else self.each or ""

    def summary(self, weight: float | None) -> StepSummary:
        """Return what screens need to know of it, with a weight if it has any."""
        sources = self.sources
        return StepSummary(
            name=self.name,
            needs=self.needs,
            above=self.above,
            each=self.each,
            parallel=self.parallel,
            always=self.always,
            optional=self.optional,
            tolerate=self.tolerate,
            weight=1.0 if weight is None else weight,
            text=(self.function.__doc__ or "").strip().split("\n")[0],
            code_hash=self.code_hash,
            takes=tuple(map(self.source_of, sources)),
            takes_item=any(binding.kind == "item" for binding in sources),
        )


class Plan(Struct, frozen=True, kw_only=True):
    """All steps of a workflow in order, those that always run at the end."""

    workflow: str
    #: The module and the file of the class; "" if there is none.
    module: str = ""
    file: str = ""
    steps: tuple[PlanStep, ...]
    by_name: Mapping[str, PlanStep]
    #: How many of the steps are not `always`.
    usual: int
    #: Where bodies run unless their step says otherwise.
    executor: Executor = "thread"
    #: How much there is of each resource that steps share.
    limits: Mapping[str, int] = {}
    #: Whether what is ready starts by learned durations, or as the steps are declared.
    order: Literal["learned", "plan"] = "learned"

    def summary(
        self, weights: Mapping[str, float] | None = None
    ) -> tuple[StepSummary, ...]:
        """Return what screens need to know, so that they need no user code.

        Args:
            weights: of each step; without them, as the steps declare.
        """
        known = weights or {}
        return tuple(s.summary(known.get(s.name, s.weight)) for s in self.steps)

    def named(self, name: str) -> tuple[str, str | None] | None:
        """Return the step and the key that a name such as `load` or `load[a]` means.

        The key is None for a whole step. None is returned if there is no such step, or if
        it does not fan out and the name has a key.
        """
        if name in self.by_name:
            return name, None
        step, _, key = name.partition("[")
        known = self.by_name.get(step)
        is_item = known is not None and known.each is not None and key.endswith("]")
        return (step, key[:-1]) if is_item else None


def named_by(step: StepSummary | PlanStep) -> tuple[str, ...]:
    """Return the steps that `step` names and waits for.

    It waits for those in `needs` as a whole. Its `each`, where that is not in `needs`,
    fans out itself: `step` waits for it item by item.
    """
    each = () if step.each is None or step.each in step.needs else (step.each,)
    return (*step.needs, *each)


def awaited(step: StepSummary | PlanStep, places: Mapping[str, int]) -> str | None:
    """Return the first of `places` that a step waits for: what it names, or its barrier.

    Args:
        step: the step that may wait.
        places: some steps of its plan, in order, each with its place in the plan.
    """
    found = next((name for name in named_by(step) if name in places), None)
    if found is None and places:
        first, place = next(iter(places.items()))
        found = first if place < (step.above or 0) else None
    return found


def downstream(plan: Sequence[StepSummary], names: Iterable[str]) -> set[str]:
    """Return `names` and every step that waits for one of them, however indirectly."""
    chosen = set(names)
    places: dict[str, int] = {}
    for place, step in enumerate(plan):
        if step.name in chosen or awaited(step, places) is not None:
            # Steps that always run wait only for the end of those before them.
            places[step.name] = len(plan) if step.always else place
    return chosen | places.keys()


def item_keys(
    step: PlanStep,
    items: Sequence[Any],
    is_recorded: Callable[[str], bool] = lambda _: False,
) -> list[str]:
    """Return a key for every item of a fan-out step, each once.

    `key=` says it; else a short str or an int is its own key; else it is the index. A
    blank text is no key, unless an item was recorded under it: earlier versions did that.

    Args:
        step: the step.
        items: the list.
        is_recorded: says whether an item with that key is recorded.

    Raises:
        InvalidValue: two items have the same key, or a key is no usable name.
    """

    def is_key(text: str) -> bool:
        return text != "" and (not text.isspace() or is_recorded(text))

    keys = [_key_of(step, index, item, is_key) for index, item in enumerate(items)]
    if len(set(keys)) == len(keys):
        return keys
    seen: dict[str, int] = {}
    for index, key in enumerate(keys):
        if key in seen:
            raise InvalidValue(
                f"{step.name}: items {seen[key]} and {index} of {step.each} have the "
                f"same key {key!r}; give @step a key= that tells them apart"
            )
        seen[key] = index
    return keys


def executor_of(step: PlanStep, of_run: Executor) -> Executor:
    """Return where a step runs, by what the step says and what the run says."""
    has_address = isinstance(of_run, str) and of_run.startswith("dask:")
    if step.executor is None or (step.executor == "dask" and has_address):
        return of_run
    return step.executor


def _key_of(
    step: PlanStep, index: int, item: Any, is_key: Callable[[str], bool]
) -> str:
    key: Any
    if step.key is None and type(item) is int and abs(item) < _BIG:
        text = str(item)
        if step.name_size + len(text) + 2 <= NAME_LIMIT:
            return text
    if callable(step.key):
        key = step.key(item)
    elif step.key is not None:
        key = _field_of(step, index, item, step.key)
    elif isinstance(item, str):
        key = item if _size(item) <= _SHORT and is_key(item) else index
    elif isinstance(item, int) and type(item) is not bool and abs(item) < _BIG:
        key = item
    else:
        key = index
    # Most keys are one of these two classes, whose test is quick.
    if not (type(key) in (int, str) or isinstance(key, str) or is_whole(key)) or (
        isinstance(key, str) and not is_key(key)
    ):
        raise InvalidValue(
            f"{step.name}: the key of item {index} of {step.each} must be a "
            f"str that is not blank, or an int, found {key!r}"
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


def _field_of(step: PlanStep, index: int, item: Any, field: str) -> Any:
    if isinstance(item, Mapping):
        if field in item:
            return item[field]
    elif hasattr(item, field):
        return getattr(item, field)
    raise InvalidValue(
        f"{step.name}: item {index} of {step.each} has no {field!r} to be its key; "
        f"found {item!r:.80}"
    )
