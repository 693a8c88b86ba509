"""How an attempt ended, and what that makes of its task."""

from __future__ import annotations

from typing import assert_never

from msgspec import Struct
from msgspec.structs import replace

from ptsflow.core import attempt_ledger, texts, transitions
from ptsflow.core.model import Attempt, Cause, Ending, TaskRecord
from ptsflow.core.plan import PlanStep
from ptsflow.core.resume import unknown


class Returned(Struct, frozen=True, tag=True, array_like=True):
    """The body returned; its result as the codec wrote it, and the hash of the text."""

    result: str
    result_hash: int


class Raised(Struct, frozen=True, tag=True, array_like=True):
    """The attempt failed; tried again in so many seconds, or not at all."""

    error: str
    again_in: float | None
    #: The class of the exception, and where it was raised, for the ledger.
    error_type: str = ""
    traceback: str = ""


class Skipped(Struct, frozen=True, tag=True, array_like=True):
    """The body raised `Skip`."""

    why: str


class Postponed(Struct, frozen=True, tag=True, array_like=True):
    """The body raised `RetryLater`."""

    seconds: float
    why: str


class Finished(Struct, frozen=True, tag=True, array_like=True):
    """The body raised `Finish`."""

    why: str


class Interrupted(Struct, frozen=True, tag=True, array_like=True):
    """The run is being stopped, and the body had not begun or was ended for it."""


def returned(result: str) -> Returned:
    """Return the outcome of a body whose result is written as `result`."""
    return Returned(result, texts.hash_of(result))


#: How an attempt ended whose body did not return; how any attempt ended.
Unreturned = Raised | Skipped | Postponed | Finished | Interrupted
Outcome = Returned | Unreturned


def settled(
    task: TaskRecord,
    outcome: Outcome,
    step: PlanStep,
    *,
    now: int,
    took_ms: int | None = None,
    workflow_finished: bool = False,
) -> tuple[TaskRecord, Attempt | None]:
    """Return what an outcome makes of a running task, and what the ledger gets of it.

    Args:
        task: as it runs.
        outcome: how its attempt ended.
        step: its step.
        now: the time.
        took_ms: how long the attempt took, if that was measured.
        workflow_finished: whether another step finished the workflow meanwhile, so
            that no attempt follows.
    """
    if isinstance(outcome, Returned):
        return transitions.succeed(
            task,
            now=now,
            result=outcome.result,
            result_hash=outcome.result_hash,
            took_ms=took_ms,
            code_version=step.version,
            code_hash=step.code_hash,
        ), None
    task = replace(task, task_duration_ms=took_ms)
    outcome = _in_time(outcome, task, step, now=now)
    after = _unreturned(
        task, outcome, step, now=now, workflow_finished=workflow_finished
    )
    return after, _ledger_entry(task, outcome, now=now)


def _in_time(
    outcome: Unreturned, task: TaskRecord, step: PlanStep, *, now: int
) -> Unreturned:
    """Return an outcome within the step's `timeout=`, which also limits `RetryLater`.

    It counts from the first time that an attempt of the present budget was put off. The
    last attempt begins no later than at its end; if that asks for another one, it fails.
    """
    if not isinstance(outcome, Postponed) or step.timeout is None:
        return outcome
    since = now if task.postponed_at is None else task.postponed_at
    left = since / 1000 + step.timeout - now / 1000
    if left > 0:
        return Postponed(min(outcome.seconds, left), outcome.why)
    error = f"put off for longer than timeout={step.timeout:g}: {outcome.why}"
    return Raised(error, None, "TimedOut")


def _unreturned(
    task: TaskRecord,
    outcome: Unreturned,
    step: PlanStep,
    *,
    now: int,
    workflow_finished: bool,
) -> TaskRecord:
    match outcome:
        case Finished(_) if step.always:  # No other step is left to finish.
            done = returned(transitions.NULL)
            return settled(task, done, step, now=now)[0]
        case Finished(why):
            return transitions.finish(task, now=now, why=why, **_code(step))
        case Skipped(why):
            return replace(_skip(task, now, Cause.BODY, why), **_code(step))
        case Raised() | Postponed() | Interrupted():
            return _unfinished(task, outcome, now, workflow_finished=workflow_finished)
        case _:
            assert_never(outcome)


def _unfinished(
    task: TaskRecord,
    outcome: Raised | Postponed | Interrupted,
    now: int,
    *,
    workflow_finished: bool,
) -> TaskRecord:
    match outcome:
        case Interrupted():
            return transitions.interrupt(task, now=now)
        case Postponed(_, why) | Raised(why) if workflow_finished:
            return _skip(task, now, Cause.FINISH, why)
        case Postponed(seconds, why):
            due = now + round(seconds * 1000)
            return transitions.postpone(task, now=now, due=due, why=why)
        case Raised(error, None):
            return transitions.give_up(task, now=now, error=error)
        case Raised(error, again_in):
            due = now + round((again_in or 0) * 1000)
            return transitions.retry(task, now=now, due=due, error=error)


def _code(step: PlanStep) -> dict[str, str]:
    """Return what a finished task remembers of the code that finished it."""
    return {"code_version": step.version, "code_hash": step.code_hash}


def _ledger_entry(task: TaskRecord, outcome: Unreturned, *, now: int) -> Attempt | None:
    """Return what the ledger gets of it; None where the task's record tells it all."""
    match outcome:
        case Raised():
            return attempt_ledger.ended(
                task,
                Ending.FAILED,
                now=now,
                error=texts.cut(outcome.error, texts.ERROR_LIMIT),
                error_type=outcome.error_type,
                traceback=outcome.traceback,
            )
        case Postponed(_, why):
            return attempt_ledger.ended(task, Ending.POSTPONED, now=now, error=why)
        case Interrupted():
            return attempt_ledger.ended(task, Ending.INTERRUPTED, now=now)
        case _:
            return None


def interrupted(task: TaskRecord, step: PlanStep, *, now: int) -> TaskRecord:
    """Return what a running task becomes if the run ends without waiting for it."""
    if not step.at_most_once:
        return transitions.interrupt(task, now=now)
    return transitions.lose(
        task,
        now=now,
        fence=task.fence,
        code_version=step.version,
        error=unknown(task),
    )


def _skip(task: TaskRecord, now: int, cause: Cause, why: str) -> TaskRecord:
    return transitions.skip(task, now=now, fence=task.fence, cause=cause, why=why)
