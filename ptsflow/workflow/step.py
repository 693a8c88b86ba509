"""`@step`: marks a method as a step, and leaves it a method.

The decorator only records what was declared; whether it makes sense in its class is
seen when the class is made (`workflow`).
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import (
    Any,
    Concatenate,
    Generic,
    ParamSpec,
    TypeVar,
    overload,
)

from ptsflow.core.plan import Key
from ptsflow.core.retry import Retry
from ptsflow.errors import DeclarationError
from ptsflow.workflow import step_options
from ptsflow.workflow.step_options import _executor

P = ParamSpec("P")
R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)


class Options:
    """What `@step(...)` was given, checked by itself."""

    __slots__ = (
        "after",
        "always",
        "at_most_once",
        "each",
        "executor",
        "keep_workdir",
        "key",
        "limit",
        "memory",
        "optional",
        "parallel",
        "priority",
        "references",
        "retry",
        "stall",
        "timeout",
        "tolerate",
        "uses",
        "version",
        "weight",
    )

    def __init__(self, label: str, given: dict[str, Any]) -> None:
        after = _steps(label, given["after"])
        each = _one_step(label, given["each"])
        self.after = None if after is None else tuple(step.name for step in after)
        self.each = None if each is None else each.name
        #: The steps that these two name, to see whether they are of the same class.
        self.references = [("after", step) for step in after or ()]
        self.references += [] if each is None else [("each", each)]
        self.parallel = step_options.flag(label, "parallel", given["parallel"])
        self.always = step_options.flag(label, "always", given["always"])
        self.optional = step_options.flag(label, "optional", given["optional"])
        self.at_most_once = step_options.flag(
            label, "at_most_once", given["at_most_once"]
        )
        # What may run at most once is not tried again unless that is asked for.
        retries = 0 if self.at_most_once and given["retry"] is None else given["retry"]
        self.retry = step_options.retry(label, retries)
        self.key: Key | None = step_options.key(label, given["key"])
        self.limit: int | None = step_options.limit(label, given["limit"])
        self.tolerate: int | str = step_options.tolerate(label, given["tolerate"])
        self.weight = step_options.weight(label, given["weight"])
        self.version = step_options.version(label, given["version"])
        self.executor = _executor(label, given["executor"])
        self.timeout = step_options.duration(label, "timeout", given["timeout"])
        self.stall = step_options.duration(label, "stall", given["stall"])
        self.memory = step_options.memory(label, given["memory"])
        #: How much of each of the class's `limits` one task of it takes.
        self.uses = step_options.uses(label, given["uses"])
        self.priority = step_options.priority(label, given["priority"])
        self.keep_workdir = step_options.flag(
            label, "keep_workdir", given["keep_workdir"]
        )
        self._check_together(label)

    def _check_together(self, label: str) -> None:
        placed = [
            name
            for name, used in (
                ("after=", self.after is not None),
                ("each=", self.each is not None),
                ("parallel=True", self.parallel and not self.always),
                ("always=True", self.always),
            )
            if used
        ]
        if len(placed) > 1 and placed != ["after=", "each="]:
            raise DeclarationError(
                f"{label}: {' and '.join(placed)} say different things of when it "
                "runs; keep one of them"
            )
        if self.each is None:
            for name in ("key", "limit", "tolerate"):
                if getattr(self, name):
                    raise DeclarationError(
                        f"{label}: {name}= is for steps that fan out; add each=, "
                        f"or leave {name}= out"
                    )


class Step(Generic[P, R_co]):
    """A declared step: the function, and when it runs.

    In a class body it stands for the step (`after=check`); on a workflow object it is the
    plain method, so that a step is tested by calling it.
    """

    def __init__(
        self, function: Callable[Concatenate[Any, P], R_co], given: dict[str, Any]
    ) -> None:
        if not inspect.isfunction(function):
            raise DeclarationError(
                f"@step: expected a method, found {function!r}; "
                "put @step above a def in a Workflow class"
            )
        self.function = function
        self.name = function.__name__
        self.label = function.__qualname__
        self.options = Options(self.label, given)
        self.is_async = inspect.iscoroutinefunction(function)
        if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(
            function
        ):
            raise DeclarationError(
                f"{self.label}: a step returns its result, it cannot yield; "
                "return a list, and report on the way with task.progress"
            )
        self.__doc__ = function.__doc__
        self.__wrapped__ = function

    @overload
    def __get__(self, instance: None, owner: type) -> Step[P, R_co]: ...
    @overload
    def __get__(self, instance: object, owner: type) -> Callable[P, R_co]: ...
    def __get__(
        self, instance: object | None, owner: type
    ) -> Step[P, R_co] | Callable[P, R_co]:
        if instance is None:
            return self
        return self.function.__get__(instance, owner)

    def __repr__(self) -> str:
        return f"<step {self.label}>"


@overload
def step(function: Callable[Concatenate[Any, P], R], /) -> Step[P, R]: ...
@overload
def step(
    *,
    after: Step[..., Any] | tuple[Step[..., Any], ...] | None = None,
    each: Step[..., Any] | None = None,
    parallel: bool = False,
    always: bool = False,
    optional: bool = False,
    retry: Retry | int | None = None,
    key: Key | None = None,
    limit: int | None = None,
    tolerate: int | str = 0,
    weight: float = 1,
    version: str | int = "",
    at_most_once: bool = False,
    executor: str | None = None,
    timeout: float | str | None = None,
    stall: float | str | None = None,
    memory: int | str | None = None,
    uses: str | Mapping[str, int] | None = None,
    priority: int = 0,
    keep_workdir: bool = False,
) -> Callable[[Callable[Concatenate[Any, P], R]], Step[P, R]]: ...
def step(function: Any = None, /, **given: Any) -> Any:
    """Declare a method as a step of its workflow.

    A plain `@step` waits for all steps above it.

    Args:
        function: the method, where `@step` is used without parentheses.
        **given: the options below.

    Options:
        after: wait only for this step, or for these; `()` starts at once.
        each: fan out: a task for every element of that step's stored list. Of a step
            that fans out itself: item by item behind it.
        parallel: adjacent parallel steps start together.
        always: runs last, whatever happened.
        optional: its failure does not fail the run; what follows receives None.
        retry: a `Retry`, or a number of retries. Without it `Retry()`.
        key: names the items: the name of a field, or a function of the item.
        limit: how many items run at the same time.
        tolerate: how many items may fail: a number, or a share such as "2%".
        weight: its share in the percentage of the container.
        version: change it to have the step, and what depends on it, run again.
        at_most_once: found running after a crash, it is not repeated: a person says
            with `ptsflow mark` whether it did its work.
        executor: where its bodies run: "thread", "process" or "dask".
        timeout: the longest that an attempt may take, in seconds or as "2h".
        stall: the longest that an attempt may go on without reporting progress.
        memory: the most memory that an attempt in a process may ask for, as "2GB".
        uses: what it takes of the class's `limits` while it runs: `{"db": 2}`, or "db"
            for one.
        priority: of what is ready, the higher starts first.
        keep_workdir: leave `task.workdir` there when the task is done.

    Raises:
        DeclarationError: an option has a wrong type or value, or contradicts another.
    """
    unknown = given.keys() - _DEFAULTS.keys()
    if unknown:
        raise DeclarationError(
            f"@step: unknown option {min(unknown)!r}; "
            f"there are {', '.join(sorted(_DEFAULTS))}"
        )
    options = _DEFAULTS | given
    if function is not None:
        return Step(function, options)
    return lambda method: Step(method, options)


_DEFAULTS: dict[str, Any] = {
    "after": None,
    "each": None,
    "parallel": False,
    "always": False,
    "optional": False,
    "retry": None,
    "key": None,
    "limit": None,
    "tolerate": 0,
    "weight": 1,
    "version": "",
    "at_most_once": False,
    "executor": None,
    "timeout": None,
    "stall": None,
    "memory": None,
    "uses": None,
    "priority": 0,
    "keep_workdir": False,
}


def _steps(label: str, value: object) -> tuple[Step[..., Any], ...] | None:
    if value is None:
        return None
    entries = value if isinstance(value, (tuple, list)) else (value,)
    return tuple(_step(label, "after", entry) for entry in entries)


def _one_step(label: str, value: object) -> Step[..., Any] | None:
    return None if value is None else _step(label, "each", value)


def _step(label: str, option: str, value: object) -> Step[..., Any]:
    if isinstance(value, Step):
        return value
    hint = "" if not isinstance(value, str) else f"; write {value} without quotes"
    raise DeclarationError(
        f"{label}: {option}= expects a step declared above, found {value!r}{hint}"
    )
