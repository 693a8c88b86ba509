"""What is kept of runs and told of them: the records of history, outlook and looks.

Times are milliseconds since the epoch and durations milliseconds, unless a name says else.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from enum import StrEnum

from msgspec import Struct

from ptsflow.core.model import Status, Tally, TaskRecord


class RunStatus(StrEnum):
    """How a run stands or ended."""

    RUNNING = "running"
    #: The container is complete.
    DONE = "done"
    #: A step failed, or an error of another kind ended the run.
    FAILED = "failed"
    #: It ended before the container was complete, without a failure: a person or a signal
    #: stopped it, or it was to run some of the steps only.
    STOPPED = "stopped"
    TIMEOUT = "timeout"
    #: Its process died, or another runner took the container over; the next run of the
    #: container says so.
    LOST = "lost"


class FailedTask(Struct, frozen=True, array_like=True):
    """A task that was failed when its run ended."""

    name: str
    error_type: str
    #: The first line of the error, cut to 200 characters.
    error: str


class StepStats(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How long the tasks of a step took in the runs that completed a container."""

    name: str
    #: How many tasks are done.
    count: int = 0
    mean_ms: int = 0
    median_ms: int = 0
    p90_ms: int = 0
    max_ms: int = 0
    #: The sum of the durations of its tasks.
    busy_ms: int = 0
    #: Its share of the time in which any task ran: each instant is shared equally by the
    #: steps that have a task running.
    wall_ms: int = 0
    failed_attempts: int = 0
    #: The sum of the durations of failed attempts.
    lost_ms: int = 0
    #: The duration of each item by its key: of all up to 64, else of the 64 longest.
    keys: dict[str, int] = {}


class RunRecord(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A run that held a container. There is one for each fence of a container."""

    uid: str
    fence: int
    container: str
    workflow: str = ""
    target: str = ""
    #: The tick of the schedule that the container is named by.
    tick: int | None = None
    #: The host and process that ran it, such as "vm:4711".
    ran_by: str = ""
    #: How many bodies could run at once.
    jobs: int = 0
    began_at: int
    ended_at: int | None = None
    status: RunStatus = RunStatus.RUNNING
    #: How much of the container was complete when the run ended.
    percentage: float = 0.0
    #: The container's tasks by the values of `Status` when the run ended.
    counts: dict[str, int] = {}
    #: Attempts of this run that were not the first of their task.
    retries: int = 0
    #: The first ten tasks that were failed when the run ended.
    failed: tuple[FailedTask, ...] = ()
    #: When somebody was told of the run's end.
    told_at: int | None = None
    #: Its place among the runs of its workflow that failed or ended a trouble, from 1 on;
    #: None for other runs, and for those without hooks.
    ordinal: int | None = None
    #: The median relative error of the time left that was foretold in each quarter of the
    #: run; None for a quarter without an outlook.
    outlook_errors: tuple[float | None, ...] = ()
    #: Only in the record of the run that completed the container: all of its steps,
    #: whichever run did their tasks.
    steps: tuple[StepStats, ...] = ()


class ScheduleRecord(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """When a workflow is due, as its class declared it to the last `--due`."""

    workflow: str
    #: Five fields of cron, meant by the clock of this time zone.
    cron: str
    zone: str = "UTC"
    #: "resume", "latest", "skip" or "parallel".
    overlap: str = "resume"
    #: Ticks that are older than this are given up.
    catch_up_ms: int
    #: How long after a failed run its tick is due again.
    again_ms: int
    #: Ticks are due later by up to so much, each by the name of its container.
    jitter_ms: int = 0
    #: The first tick that is due.
    since: int
    #: While this is set, nothing is due.
    paused_at: int | None = None
    #: The user, host and process that paused it.
    paused_by: str = ""
    why: str = ""


class Outlook(Struct, frozen=True, kw_only=True):
    """What a runner expects of its container."""

    #: When this was computed.
    at: int
    #: The largest percentage that was told of the container.
    percentage: float
    eta_at: int | None = None
    #: The range that the end is in more often than not; None with fewer than five runs.
    low_at: int | None = None
    high_at: int | None = None
    #: How many completing runs it was learned from; 0: from this run's own rate.
    runs: int = 0


class Glance(Struct, frozen=True, kw_only=True):
    """What a screen shows of a container, however many tasks it has."""

    tallies: Sequence[Tally]
    #: The tasks that are no items, by position: those of steps that do not fan out, and
    #: up to 1,000 of the tasks that clients added.
    plain: Sequence[TaskRecord]
    #: Items that run, those begun first before others (by `last_invoked_at`, then
    #: `position`); then items that wait for another attempt (by `task_ended_at`, then
    #: `position`).
    active: Sequence[TaskRecord]
    #: Failed items, by `task_ended_at`, then `position`.
    failed: Sequence[TaskRecord]
    #: By step: when its first task began and its last one ended, the smallest
    #: `last_invoked_at` and the largest `task_ended_at` of its tasks; None where no task
    #: did.
    times: Mapping[str, tuple[int | None, int | None]] = {}
    #: By step: the fingerprints of the code that its finished tasks ran.
    code: Mapping[str, AbstractSet[str]] = {}


class Spans(Struct, frozen=True, kw_only=True):
    """When the last attempts of a step's tasks ran.

    These are arrays of one length: one place is one task, the tasks are in no order.
    """

    #: Its `last_invoked_at`.
    began: Sequence[int]
    #: Zero for a task that is not over.
    ended: Sequence[int]
    statuses: Sequence[Status]
