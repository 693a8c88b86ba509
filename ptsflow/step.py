"""`@step`: marks a method as a step, and leaves it a method.

The decorator only records what was declared; whether it makes sense in its class is
seen when the class is made (`workflow`).
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, Concatenate, Generic, ParamSpec, TypeVar, overload

from ptsflow import amounts
from ptsflow.errors import DeclarationError
from ptsflow.retry import Retry

P = ParamSpec("P")
R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)

#: An item's key: the name of a field, or a function of the item.
Key = str | Callable[[Any], str | int]


class Options:
    """What `@step(...)` was given, checked by itself."""

    __slots__ = (
        "after",
        "always",
        "at_most_once",
        "each",
        "executor",
        "key",
        "limit",
        "memory",
        "optional",
        "parallel",
        "references",
        "retry",
        "stall",
        "timeout",
        "tolerate",
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
        self.parallel = _flag(label, "parallel", given["parallel"])
        self.always = _flag(label, "always", given["always"])
        self.optional = _flag(label, "optional", given["optional"])
        self.at_most_once = _flag(label, "at_most_once", given["at_most_once"])
        # What may run at most once is not tried again unless that is asked for.
        retries = 0 if self.at_most_once and given["retry"] is None else given["retry"]
        self.retry = _retry(label, retries)
        self.key: Key | None = _key(label, given["key"])
        self.limit: int | None = _limit(label, given["limit"])
        self.tolerate: int | str = _tolerate(label, given["tolerate"])
        self.weight = _weight(label, given["weight"])
        self.version = _version(label, given["version"])
        self.executor = _executor(label, given["executor"])
        self.timeout = _duration(label, "timeout", given["timeout"])
        self.stall = _duration(label, "stall", given["stall"])
        self.memory = _memory(label, given["memory"])
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
        executor: where its bodies run: "thread" or "process".
        timeout: the longest that an attempt may take, in seconds or as "2h".
        stall: the longest that an attempt may go on without reporting progress.
        memory: the most memory that an attempt in a process may ask for, as "2GB".

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
}


def _refuse(label: str, option: str, expected: str, found: object) -> DeclarationError:
    return DeclarationError(f"{label}: {option}= expects {expected}, found {found!r}")


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


def _flag(label: str, option: str, value: object) -> bool:
    if isinstance(value, bool):
        return value
    raise _refuse(label, option, "True or False", value)


def _retry(label: str, value: object) -> Retry:
    if value is None:
        return Retry()
    if isinstance(value, Retry):
        return value
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return Retry(value)
    raise _refuse(label, "retry", "a Retry or a number of retries", value)


def _key(label: str, value: object) -> Any:
    if value is None or callable(value) or (isinstance(value, str) and value):
        return value
    raise _refuse(label, "key", "the name of a field or a function of the item", value)


def _limit(label: str, value: object) -> int | None:
    if value is None:
        return None
    if isinstance(value, int) and not isinstance(value, bool) and value >= 1:
        return value
    raise _refuse(label, "limit", "a whole number of 1 or more", value)


def _tolerate(label: str, value: object) -> int | str:
    expected = 'a number of items, 0 or more, or a share such as "2%"'
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    if isinstance(value, str) and value.endswith("%"):
        try:
            share = float(value[:-1])
        except ValueError:
            raise _refuse(label, "tolerate", expected, value) from None
        if 0 <= share <= 100:  # noqa: PLR2004 - percent
            return value
    raise _refuse(label, "tolerate", expected, value)


def _weight(label: str, value: object) -> float:
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if number and 0 < value < float("inf"):  # type: ignore[operator] # a number
        return float(value)  # type: ignore[arg-type] # a number
    raise _refuse(label, "weight", "a number above 0", value)


def _version(label: str, value: object) -> str:
    if isinstance(value, (str, int)) and not isinstance(value, bool):
        return str(value)
    raise _refuse(label, "version", "a str or an int", value)


#: Where bodies can run.
EXECUTORS = ("thread", "process")


def _executor(label: str, value: object) -> str | None:
    if value is None or value in EXECUTORS:
        return value
    raise _refuse(label, "executor", " or ".join(map(repr, EXECUTORS)), value)


def _duration(label: str, option: str, value: object) -> float | None:
    found = amounts.seconds(value)
    if found is None and value is not None:
        raise _refuse(label, option, 'seconds above 0, or a text such as "2h"', value)
    return found


def _memory(label: str, value: object) -> int | None:
    found = amounts.size(value)
    if found is None and value is not None:
        raise _refuse(label, "memory", 'bytes above 0, or a text such as "2GB"', value)
    return found
