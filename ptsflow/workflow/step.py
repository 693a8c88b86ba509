"""`@step`: marks a method as a step, and leaves it a method.

The decorator checks each option by itself. The steps of a class are checked against each
other when the class is made (`workflow`).
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable
from types import FrameType
from typing import (
    Any,
    Concatenate,
    Generic,
    ParamSpec,
    TypeVar,
    Unpack,
    overload,
)

from ptsflow.core.plan import StepOptions
from ptsflow.core.retry import Retry
from ptsflow.errors import DeclarationError
from ptsflow.workflow.step_options import GivenOptions, check_names, checked

P = ParamSpec("P")
R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)

_YIELDS = inspect.CO_GENERATOR | inspect.CO_ASYNC_GENERATOR
#: The options of most steps.
_PLAIN = StepOptions()

#: The attribute of a class that lists the steps its body declared.
DECLARED = "__declared_in_body__"


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
        after = given.pop("after", None)
        each = given.pop("each", None)
        #: The steps that `after` and `each` name.
        self.references = _references(self.label, "after", after)
        self.after = (
            None if after is None else tuple(step.name for _, step in self.references)
        )
        if each is not None:
            self.references.append(("each", _step(self.label, "each", each)))
        kept = checked(self.label, given)
        if kept.get("at_most_once") and "retry" not in kept:
            # What may run at most once is not tried again unless that is asked for.
            kept["retry"] = Retry(0)
        self.options = StepOptions(each=None if each is None else each.name, **kept)
        self._check_together()
        if function.__code__.co_flags & _YIELDS:
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

    @property
    def is_abstract(self) -> bool:
        """Whether the step is marked with `abc.abstractmethod`, above or below `@step`."""
        marked = (vars(self), vars(self.function))
        return any(each.get("__isabstractmethod__", False) for each in marked)

    def _check_together(self) -> None:
        options = self.options
        if self.after is None and options == _PLAIN:
            return
        placed = [
            name
            for name, used in (
                ("after=", self.after is not None),
                ("each=", options.each is not None),
                ("parallel=True", options.parallel and not options.always),
                ("always=True", options.always),
            )
            if used
        ]
        if len(placed) > 1 and placed != ["after=", "each="]:
            raise DeclarationError(
                f"{self.label}: {' and '.join(placed)} say different things of when it "
                "runs; keep one of them"
            )
        if options.each is None:
            for name in ("key", "limit", "tolerate"):
                if getattr(options, name):
                    raise DeclarationError(
                        f"{self.label}: {name}= is for steps that fan out; add each=, "
                        f"or leave {name}= out"
                    )

    def __repr__(self) -> str:
        return f"<step {self.label}>"


@overload
def step(function: Callable[Concatenate[Any, P], R], /) -> Step[P, R]: ...
@overload
def step(
    *,
    after: Step[..., Any] | tuple[Step[..., Any], ...] | None = None,
    each: Step[..., Any] | None = None,
    **options: Unpack[GivenOptions],
) -> Callable[[Callable[Concatenate[Any, P], R]], Step[P, R]]: ...
def step(function: Any = None, /, **given: Any) -> Any:
    """Declare a method as a step of its workflow.

    A plain `@step` waits for all steps above it.

    Args:
        function: the method, where `@step` is used without parentheses.
        **given: the options below.

    Options:
        after: wait only for this step, or for these; `()` starts at once.
        each: fan out: a task for every element of that step's stored list. If that step
            fans out itself, each item follows the item before it, without a barrier.
        parallel: adjacent parallel steps start together.
        always: runs last, whatever happened.
        optional: its failure does not fail the run; what follows receives None.
        retry: a `Retry`, or a number of retries. Without it `Retry()`.
        key: names the items: the name of a field, or a function of the item.
        limit: how many items run at the same time.
        tolerate: how many items may fail: a number, or a share such as "2%".
        weight: its share in the percentage of the container.
        version: change it to have the step, and what depends on it, run again.
        at_most_once: a task found running after a crash is not repeated: a person says
            with `ptsflow mark` whether it did its work.
        executor: where its bodies run: "thread", "process" or "dask".
        timeout: the longest that an attempt may take, in seconds or as "2h"; and how long
            after its first `RetryLater` the step may be put off.
        stall: the longest that an attempt may go on without reporting progress.
        memory: the most memory that an attempt in a process may ask for, as "2GB".
        uses: what it takes of the class's `limits` while it runs: `{"db": 2}`, or "db"
            for one.
        priority: of the tasks that are ready, those of higher priority start first.
        keep_workdir: leave `task.workdir` there when the task is done.

    Raises:
        DeclarationError: an option has a wrong type or value, or contradicts another.
    """
    check_names(given)
    if function is not None:
        return _declared(Step(function, given))
    return lambda method: _declared(Step(method, dict(given)))


def _declared(made: Step[..., Any]) -> Step[..., Any]:
    """Note in the class body that is being executed that it declares this step.

    A decorator above `@step` may return something else, which hides the step. Nothing but
    this note tells the class that the step was there. Between `@step` and the class body
    there may be functions, as in a decorator of one's own that applies `@step`.
    """
    frame: FrameType | None = sys._getframe(2)  # noqa: SLF001 - see above
    while frame is not None and frame.f_code.co_flags & inspect.CO_OPTIMIZED:
        frame = frame.f_back  # A function. Of a class body, f_locals is its namespace.
    body = {} if frame is None else frame.f_locals
    if "__qualname__" in body and "__module__" in body:
        body.setdefault(DECLARED, []).append(made)
    return made


def _references(
    label: str, option: str, value: object
) -> list[tuple[str, Step[..., Any]]]:
    if value is None:
        return []
    entries = value if isinstance(value, (tuple, list)) else (value,)
    return [(option, _step(label, option, entry)) for entry in entries]


def _step(label: str, option: str, value: object) -> Step[..., Any]:
    if isinstance(value, Step):
        return value
    hint = "" if not isinstance(value, str) else f"; write {value} without quotes"
    raise DeclarationError(
        f"{label}: {option}= expects a step declared above, found {value!r}{hint}"
    )
