"""One attempt of one task: read the arguments, call the body, return its outcome.

This module runs in the process of the body. Arguments and results are JSON text of the
codec, so that a step sees the same value on the first run and on a resumed run.

What a failure needs is imported here and not when it is needed: the attempt may have
failed because no memory or no file descriptor was left.
"""

from __future__ import annotations

import sys
import threading
import traceback
from collections.abc import Callable, Mapping
from contextvars import Context, copy_context
from random import random
from typing import Any

from msgspec import Struct

from ptsflow import codec
from ptsflow.core import texts
from ptsflow.core.model import item_name
from ptsflow.core.outcome import (
    Finished,
    Interrupted,
    Outcome,
    Postponed,
    Raised,
    Returned,
    Skipped,
    returned,
)
from ptsflow.core.plan import PlanStep
from ptsflow.core.retry import LONGEST_WAIT, GiveUp, decide, leaves
from ptsflow.core.sources import misfit
from ptsflow.errors import (
    AttemptLost,
    Fail,
    Finish,
    RetryLater,
    Signal,
    Skip,
    StoredValueError,
    TimedOut,
)
from ptsflow.executors.values import Argument, Value
from ptsflow.host.clock import Clock
from ptsflow.workflow.handle import TaskHandle
from ptsflow.workflow.workflow import Workflow, concealer_of


class Call(Struct, frozen=True):
    """Everything that an attempt needs."""

    workflow: Workflow
    step: PlanStep
    arguments: Mapping[str, Argument]
    handle: TaskHandle
    attempt: int
    #: When the first attempt of this budget began, by `clock`.
    began_at: int
    clock: Clock


#: The longest traceback that is kept, in characters.
_TRACE_LIMIT = 6_000

#: How many of the errors in an exception group are named in its one line.
_LEAVES = 3

_RETURNED_NONE = returned(codec.encode(None))
_SYS, _THREADING = vars(sys), vars(threading)


def run(call: Call) -> Outcome:
    """Make the attempt and return its outcome; never raises. The handle says how long it took.

    No text of the outcome has the value of a secret.

    The body runs in a copy of this thread's context (`contextvars`): what it sets there
    must not reach the next body, as a resumed run would not see it.
    """
    outcome: Outcome
    call.handle.concealer = concealer_of(call.workflow)
    began = call.clock()
    streams = _SYS.get("stdout"), _SYS.get("stderr")
    try:
        outcome = _own_context().run(_ran, call)
    except BaseException as error:  # noqa: BLE001 - whatever a body raises ends its attempt
        try:
            _let_go(error)
            outcome = copy_context().run(_ended_by, call, error)
        except BaseException as problem:  # noqa: BLE001 - its class is a user's code
            outcome = failed(call, problem)
    call.handle.took_ms = max(0, call.clock() - began)
    _put_back(*streams)
    overdue = call.handle.watch.overdue()
    return failed(call, TimedOut(overdue)) if overdue else outcome


def _put_back(stdout: Any, stderr: Any) -> None:
    """Put back what no thread can begin without, if the body took it away."""
    _SYS.setdefault("stdout", stdout)
    _SYS.setdefault("stderr", stderr)
    if _SYS.get("excepthook") is None:
        sys.excepthook = sys.__excepthook__
    if _THREADING.get("excepthook") is None:
        threading.excepthook = threading.__excepthook__


def _own_context() -> Context:
    context = copy_context()
    for variable, value in context.items():
        # The copy of a context shares its objects, and this one is meant to be changed.
        if variable.name == "decimal_context":
            context.run(variable.set, value.copy())
    return context


def _ran(call: Call) -> Returned:
    """Return what the body returned; raise what it raised."""
    step = call.step
    arguments = {name: _read(call, name) for name in call.arguments}
    value = step.function(call.workflow, **arguments)
    if value is None:
        return _RETURNED_NONE
    if hasattr(value, "__await__"):
        # A decorator between @step and `async def` may return a plain function.
        value = _await(value)
        if value is None:
            return _RETURNED_NONE
    text = codec.encode(value, step.returns, what=f"the result of step {step.name}")
    if call.handle.concealer is not None:
        call.handle.concealer.refuse(text, f"the result of step {step.name}")
    if not step.keep_workdir:
        call.handle.refuse_lost_files(text, step.name)
    return returned(text)


def _let_go(error: BaseException) -> None:
    """Clear what the frames of a failed body hold: the memory, the open files.

    What its failure needs may be what they have used up.
    """
    seen: set[int] = set()
    found: list[BaseException | None] = [error]
    while found:
        link = found.pop()
        if link is not None and id(link) not in seen:
            seen.add(id(link))
            traceback.clear_frames(link.__traceback__)
            found += [link.__cause__, link.__context__]
            if isinstance(link, BaseExceptionGroup):
                found += link.exceptions


def _ended_by(call: Call, error: BaseException) -> Outcome:
    """Return the outcome of a body that raised."""
    hide = call.handle.hide
    match _said_by(error):
        case Skip(why=why):
            return Skipped(hide(_valid(why)))
        case RetryLater(seconds=seconds) if seconds <= 0 and call.handle.is_stopping:
            return Interrupted()  # The next run is to go on, and nothing else is meant.
        case RetryLater(why=why, seconds=seconds):
            return Postponed(min(max(0.0, seconds), LONGEST_WAIT), hide(_valid(why)))
        case Finish(why=why):
            return Finished(hide(_valid(why)))
        case Fail() | StoredValueError() as refusal:
            # No retry: a value that cannot be stored would be the same again.
            return _raised(call, describe(refusal, call.step), None, error)
        case _:
            pass
    # The body stopped because the run is stopping, so the attempt does not count. A
    # step that runs at most once must not run again, so its attempt has failed.
    if call.handle.is_stopping and not call.step.at_most_once:
        return Interrupted()
    return failed(call, error)


def _said_by(error: BaseException) -> BaseException:
    """Return the signal that an exception group stands for, else the error itself.

    A task group wraps what its tasks raise. If all leaves are signals of one class, the
    group means that signal; of several waits it means the longest.
    """
    found = leaves(error)
    if len({type(leaf) for leaf in found}) == 1 and isinstance(found[0], Signal):
        return max(found, key=lambda leaf: getattr(leaf, "seconds", 0.0))
    return error


def _read(call: Call, parameter: str) -> Any:
    found = call.arguments[parameter]
    if isinstance(found, TaskHandle):
        return found
    try:
        return found.read()
    except StoredValueError as error:
        step = call.step
        binding = next(b for b in step.bindings if b.parameter == parameter)
        source = step.source_of(binding)
        if binding.kind == "item" and isinstance(found, Value):
            source = item_name(source, call.handle.key or "")
        why = misfit(source, str(error))
        raise StoredValueError(f"for the parameter {parameter}: {why}") from None


def failed(call: Call, error: BaseException) -> Outcome:
    """Return the outcome of an attempt that ended by `error`."""
    text = describe(error, call.step)
    elapsed = max(0, call.clock() - call.began_at) / 1000
    retry = call.step.retry
    is_renewed = retry.renew_on_checkpoint and call.handle.has_advanced
    try:
        decision = decide(
            retry,
            attempt=0 if is_renewed else call.attempt,
            error=error,
            elapsed=elapsed,
            chance=random(),  # noqa: S311 - not for secrecy
        )
    except BaseException as problem:  # noqa: BLE001 - a user's strategy is a user's code
        text = f"{text}; and its retry strategy raised {_name(problem)}"
        return _raised(call, text, None, error)
    again_in = None if isinstance(decision, GiveUp) else decision.seconds
    return _raised(call, text, again_in, error)


def _raised(
    call: Call, text: str, again_in: float | None, error: BaseException
) -> Raised:
    hide = call.handle.hide
    return Raised(hide(text), again_in, type(error).__name__, trace(error, hide))


def trace(error: BaseException, hide: Callable[[str], str] = str) -> str:
    """Return the traceback of an error from the body on; the middle of a long one is cut.

    No values of variables are in it.
    """
    if error.__traceback__ is None:
        return ""
    try:
        chain = traceback.TracebackException.from_exception(error)
        link: traceback.TracebackException | None = chain
        while link is not None:
            frames = [frame for frame in link.stack if frame.filename != __file__]
            link.stack = traceback.StackSummary.from_list(frames)
            link = link.__cause__ or link.__context__
        text = "".join(chain.format())
    except BaseException:  # noqa: BLE001 - attributes and messages may be a user's code
        return ""
    # What is cut in the middle would not be found any more.
    return texts.cut(hide(_valid(text)), _TRACE_LIMIT)


def _await(awaitable: Any) -> Any:
    """Return the result of an awaitable, from an event loop made for it."""
    import asyncio  # noqa: PLC0415 - 40 ms, only for async steps

    async def result() -> Any:
        return await awaitable

    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(result())
    # `run_inline` was called in a coroutine: only another thread can run a second loop.
    from concurrent.futures import ThreadPoolExecutor  # noqa: PLC0415 - see above

    with ThreadPoolExecutor(1) as pool:
        return pool.submit(copy_context().run, asyncio.run, result()).result()


def _valid(text: str) -> str:
    """Return a text that can be stored and sent: lone surrogates become escapes."""
    return text.encode(errors="backslashreplace").decode()


def describe(error: BaseException, step: PlanStep) -> str:
    """Return an error in one line: its type, its message, and where the step raised it."""
    if isinstance(error, Fail):
        return _valid(error.why) or "Fail"
    if isinstance(error, AttemptLost):
        return str(error)
    here = step.function.__code__.co_filename
    frames = [
        f for f in traceback.extract_tb(error.__traceback__) if f.filename == here
    ]
    where = ""
    if frames:
        name = here.rpartition("/")[2]
        where = f" ({name}:{frames[-1].lineno} in {frames[-1].name})"
    return f"{_name(error)}{where}"


def _name(error: BaseException) -> str:
    if isinstance(error, BaseExceptionGroup):
        named = [_name(leaf) for leaf in leaves(error)]
        more = f"; and {len(named) - _LEAVES} more" if len(named) > _LEAVES else ""
        return f"{type(error).__name__} of {'; '.join(named[:_LEAVES])}{more}"
    try:
        text = _valid(str(error))
    except BaseException:  # noqa: BLE001 - a user's __str__ is a user's code
        text = "(its message cannot be read)"
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
