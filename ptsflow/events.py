"""What a run tells its listeners while it runs.

A listener is a function that takes one event. `ptsflow.run(..., listeners=[listen])`
takes listeners, and so does `run_inline`; the command line takes them from the settings
of the project (see the manual's topic `events`). The screens of `ptsflow run` are
listeners too.

| event | when | fields besides `at` |
|---|---|---|
| `RunStarted` | the run holds the container; no body runs yet | `container`, `tasks` |
| `AttemptEnded` | an attempt ended, however it ended | `container`, `task`, `step`, `key`, `number`, `outcome`, `status`, `error_type`, `error`, `traceback`, `began_at`, `duration_ms`, `ran_by` |
| `TaskChanged` | a change of a task is stored | `before`, `after` |
| `Progressed` | running tasks got further | `progress` |
| `OutlookChanged` | the runner expects another end of the run than it last told | `outlook` |
| `Notice` | a person should know something | `text` |
| `Stopping` | a notice: nothing more starts, and what runs may end | `text` |
| `HookFailed` | a notice: somebody could not be told of the run's end | `text` |
| `RunEnded` | the run is over, however it ended | `container`, `how`, `error` |

Events are immutable, and every listener gets the same ones in the same order. The store
has what an event tells before a listener hears of it. `RunEnded` is the last event of a
run, but for a `Notice` of a listener that raised at it. A run that is refused before it
holds its container has no events.

A listener is called in the threads of the runner, one event at a time, and the run waits
for it: a listener should be quick. If a listener raises an exception, the run goes on
without this listener, and a `Notice` to the others names it. Without listeners no event
is made.

All times are in milliseconds since the epoch. The records of containers and tasks are as
the store keeps them: task data, processing data and results are JSON text, or UNSET where
they were not loaded.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import StrEnum

from msgspec import Struct

from ptsflow.core.insight import Outlook
from ptsflow.core.model import ContainerRecord, Ending, Progress, Status, TaskRecord

__all__ = [
    "AttemptEnded",
    "ContainerRecord",
    "Ending",
    "Event",
    "HookFailed",
    "Listener",
    "Notice",
    "Outlook",
    "OutlookChanged",
    "Progress",
    "Progressed",
    "RunEnded",
    "RunEnding",
    "RunStarted",
    "Status",
    "Stopping",
    "TaskChanged",
    "TaskRecord",
]


class Event(Struct, frozen=True, kw_only=True):
    """The base of all events."""

    #: When it happened, in milliseconds since the epoch.
    at: int


class RunStarted(Event, frozen=True, kw_only=True):
    """The run holds the container, and no body runs yet.

    A run that is refused after it took the container, as its parameters do not fit, has
    a `RunEnded` without a `RunStarted`.
    """

    #: The container, with the plan of its steps.
    container: ContainerRecord
    #: The tasks as earlier runs left them; `TaskChanged` tells what this run makes of them.
    tasks: Sequence[TaskRecord]


class AttemptEnded(Event, frozen=True, kw_only=True):
    """An attempt ended and its outcome is stored; the task's `TaskChanged` follows.

    The attempts that ran when a run lost its lease, or its store, are not told of: the
    next run of the container finds them, and tells of them as crashed.
    """

    #: The container's name.
    container: str
    #: The task's name, such as `load` or `load[songs]`.
    task: str
    step: str
    #: The item's key within the step; None where the step does not fan out.
    key: str | None
    #: Which attempt of the task it was, from 1, counted over all runs.
    number: int
    #: How the attempt ended: done, failed, skipped, postponed, interrupted or crashed.
    outcome: Ending
    #: What the task is now: `waiting` if it is tried again, `failed` if it is not.
    status: Status
    #: The class of the exception, such as `OSError`; "" where there was none.
    error_type: str
    #: The error's message, as `ptsflow show` tells it; why the task was postponed; or "".
    error: str
    #: Where the error was raised, without the values of variables; or "".
    traceback: str
    began_at: int
    #: How long the attempt took. A crashed one took this long at the most: its end was
    #: found by the next run.
    duration_ms: int
    #: `host:pid` of the process that made the attempt.
    ran_by: str


class TaskChanged(Event, frozen=True, kw_only=True):
    """A change of a task is stored."""

    #: None for a new task.
    before: TaskRecord | None
    #: None for a deleted task.
    after: TaskRecord | None


class Progressed(Event, frozen=True, kw_only=True):
    """Running tasks got further; told four times a second at the most."""

    #: The name, percentage and text of each of them.
    progress: Sequence[Progress]


class OutlookChanged(Event, frozen=True, kw_only=True):
    """The runner expects another end of the run than it last told."""

    #: The percentage, and when the run will be over, with its range.
    outlook: Outlook


class Notice(Event, frozen=True, kw_only=True):
    """Something that a person should know."""

    #: One line.
    text: str


class Stopping(Notice, frozen=True, kw_only=True):
    """The run is being stopped: nothing more starts, and what runs may end."""


class HookFailed(Notice, frozen=True, kw_only=True):
    """A hook failed: somebody who waits for it could not be told how the run ended."""


class RunEnding(StrEnum):
    """How a run ended."""

    #: The container is complete, or all steps that were asked for are.
    DONE = "done"
    #: A step failed, or a step that was asked for could not start.
    FAILED = "failed"
    #: By SIGINT, SIGTERM or `ptsflow cancel`.
    STOPPED = "stopped"
    #: By the run's own `--timeout`.
    TIMEOUT = "timeout"
    #: The lease could not be renewed in time, or another runner took it.
    LEASE_LOST = "lease-lost"
    #: The store could not be used any more.
    STORE = "store"
    #: Something does not fit: the parameters, the workflow, or where bodies should run.
    REFUSED = "refused"
    #: By an error that is none of ptsflow's own: a bug.
    BUG = "bug"


class RunEnded(Event, frozen=True, kw_only=True):
    """The run is over: the last event, on every way out once the container was held."""

    #: The container as the run left it; as the run knew it last if the lease was lost.
    container: ContainerRecord
    how: RunEnding
    #: The error or signal that ended the run, in one line; "" for `done` and `failed`.
    error: str = ""


#: Takes one event.
Listener = Callable[[Event], None]
