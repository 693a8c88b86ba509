"""What bodies hand in, and what it makes of their tasks."""

from __future__ import annotations

import threading
from typing import assert_never

from msgspec import Struct
from msgspec.structs import replace

from ptsflow import transitions
from ptsflow.attempt import (
    Finished,
    Outcome,
    Postponed,
    Raised,
    Returned,
    Skipped,
)
from ptsflow.model import Cause, TaskRecord
from ptsflow.plan import PlanStep
from ptsflow.resume import unknown


class Ended(Struct, frozen=True):
    """An attempt ended."""

    task: str
    outcome: Outcome


class Saving:
    """A body wants its processing data saved, and waits for it."""

    __slots__ = ("kept", "settled", "task", "text")

    def __init__(self, task: str, text: str) -> None:
        self.task = task
        self.text = text
        self.kept = False
        self.settled = threading.Event()


def after(
    task: TaskRecord,
    outcome: Outcome,
    *,
    now: int,
    code_version: str,
    is_needless: bool = False,
    is_always: bool = False,
) -> TaskRecord:
    """Return what an outcome makes of a running task.

    Args:
        task: as it runs.
        outcome: how its attempt ended.
        now: the time.
        code_version: its step's `version=`.
        is_needless: whether the workflow was finished by another step meanwhile, so
            that it is not tried again.
        is_always: whether its step always runs: there is no rest for it to finish.
    """
    match outcome:
        case Returned(result):
            return transitions.succeed(
                task, now=now, result=result, code_version=code_version
            )
        case Skipped(why):
            skipped = _skip(task, now, Cause.BODY, why)
            return replace(skipped, code_version=code_version)
        case Finished(_) if is_always:
            return transitions.succeed(
                task, now=now, result=transitions.NULL, code_version=code_version
            )
        case Finished(why):
            return transitions.finish(task, now=now, why=why, code_version=code_version)
        case Postponed(_, why) | Raised(why, _) if is_needless:
            return _skip(task, now, Cause.FINISH, why)
        case Postponed(seconds, why):
            due = now + round(seconds * 1000)
            return transitions.postpone(task, now=now, due=due, why=why)
        case Raised(error, None):
            return transitions.give_up(task, now=now, error=error)
        case Raised(error, again_in):
            due = now + round((again_in or 0) * 1000)
            return transitions.retry(task, now=now, due=due, error=error)
        case _:
            assert_never(outcome)


def interrupted(task: TaskRecord, step: PlanStep, *, now: int) -> TaskRecord:
    """Return what a running task becomes whose end is not waited for."""
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
