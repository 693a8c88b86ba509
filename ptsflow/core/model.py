"""The records that stores keep and everything else reasons about; all frozen.

Times are milliseconds since the epoch (`clock.to_datetime` makes datetimes of them).
Payloads (task data, processing data, results) are JSON text made by `codec`, or
`UNSET` where they were not loaded: a container of 100,000 tasks is planned and
resumed without reading a single result.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum

from msgspec import UNSET, Struct, UnsetType
from msgspec.structs import replace

from ptsflow.core.texts import TEXT_LIMIT, cut

#: The number of the layout of what stores keep. A store refuses newer ones.
SCHEMA = 3
#: The oldest layout that can be carried over to this one.
OLDEST_SCHEMA = 2

#: The largest name of a container or a task, in bytes of UTF-8.
NAME_LIMIT = 200


class Status(StrEnum):
    """What became of a task, or of a whole container."""

    PENDING = "pending"
    RUNNING = "running"
    #: For its next attempt, at `due`.
    WAITING = "waiting"
    DONE = "done"
    FAILED = "failed"
    SKIPPED = "skipped"

    @property
    def is_complete(self) -> bool:
        """Whether nothing more will happen to it by itself."""
        return self in _COMPLETE


_COMPLETE = frozenset({Status.DONE, Status.FAILED, Status.SKIPPED})


class Cause(StrEnum):
    """Why a task was skipped, or what else is to be known of its end."""

    NONE = ""
    #: Its body raised `Skip`.
    BODY = "body"
    #: The item before it in an item-wise chain failed, and that was tolerated.
    UPSTREAM = "upstream"
    #: Another step raised `Finish`.
    FINISH = "finish"
    #: Its step is no longer part of the workflow.
    REMOVED = "removed"
    #: The task failed: it may run at most once, its runner died, and only a person can
    #: say whether it did its work.
    UNKNOWN = "unknown"


class Stop(StrEnum):
    """How a runner is asked to end before its work is done."""

    #: Nothing more starts, and what runs may end.
    GENTLY = "gently"
    #: What runs is not waited for.
    NOW = "now"


class Ending(StrEnum):
    """How an attempt ended."""

    DONE = "done"
    FAILED = "failed"
    SKIPPED = "skipped"
    #: It asked to be tried later, which is not a failure.
    POSTPONED = "postponed"
    #: A person stopped the run, or the store had no room for how the attempt ended.
    INTERRUPTED = "interrupted"
    #: The runner died.
    CRASHED = "crashed"


class Owner(Struct, frozen=True, kw_only=True):
    """One process that runs, or ran, a container."""

    #: A fresh uuid for every run.
    id: str
    host: str
    #: Boot id and pid namespace of the host: a pid means something only within them.
    boot: str
    pid: int
    #: When the process started, in clock ticks since boot: pids are used again.
    started: int
    #: When it claimed the container.
    since: int
    #: The length of its lease, in milliseconds; 0 if it is not known.
    lease_ms: int = 0

    @property
    def process(self) -> str:
        """`host:pid`."""
        return f"{self.host}:{self.pid}"


class StepSummary(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """What screens need to know of a step, kept so that they need no user code."""

    name: str
    #: The earlier steps that the step waits for as a whole.
    needs: tuple[str, ...] = ()
    #: The step also waits for the first `above` steps of the plan; None for no barrier.
    above: int | None = None
    #: The step whose items it fans out over.
    each: str | None = None
    parallel: bool = False
    always: bool = False
    optional: bool = False
    #: How many failed items are accepted: a number, or a share such as "2%".
    tolerate: int | str = 0
    weight: float = 1.0
    text: str = ""
    #: Its body's code, as `fingerprint` hashes it.
    code_hash: str = ""
    #: The steps whose results it is given, by name.
    takes: tuple[str, ...] = ()
    #: Whether it is given an item of `each`, and not the whole list.
    takes_item: bool = False


class ContainerRecord(Struct, frozen=True, kw_only=True):
    """The named, persisted run of a workflow."""

    #: The store gives it; the uid of a deleted container is never used again.
    uid: str
    name: str
    #: Class name of the workflow, or None for a container that only clients use.
    workflow: str | None = None
    #: JSON object: parameter name -> value as the codec wrote it.
    params: str | None = None
    plan: tuple[StepSummary, ...] = ()
    status: Status = Status.PENDING
    #: What `Finish` said, where a step ended the workflow early.
    finish_reason: str | None = None
    #: The TARGET that it was last run by, if from the command line.
    target: str | None = None
    #: The fence grows with every claim; a write with an old fence is refused.
    fence: int = 0
    owner: Owner | None = None
    leased_till: int | None = None
    #: How the owner was asked to end, by somebody else.
    stop_asked: Stop | None = None
    created_at: int = 0
    started_at: int | None = None
    ended_at: int | None = None
    #: The module and the file of the class that last ran in it; "" if not known.
    module: str = ""
    file: str = ""

    def is_leased(self, now: int) -> bool:
        """Whether somebody holds a lease of the container that has not ended."""
        return self.owner is not None and (self.leased_till or 0) > now


class TaskRecord(Struct, frozen=True, kw_only=True, gc=False):
    """The state of one step, or of one item of a fan-out step, in a container.

    It holds no other objects, so Python's collector of cycles need not look at it.
    """

    name: str
    #: The step it belongs to; "" for a task that a client added.
    step: str = ""
    #: The item's key within the step; None where the step does not fan out.
    key: str | None = None
    #: Tasks are listed by it. Below zero in an insert: the store gives the next one.
    position: int = -1
    status: Status = Status.PENDING
    #: Grows with every change but progress: the swap compares it.
    version: int = 0
    #: The fence under which it was last written.
    fence: int = 0
    #: Attempts of the present budget; `invoke_count` goes on counting over all.
    attempt: int = 0
    invoke_count: int = 0
    percentage_complete: float = 0.0
    status_text: str = ""
    #: When a waiting task may start again.
    due: int | None = None
    #: When the first attempt of the present budget began.
    began_at: int | None = None
    last_invoked_at: int | None = None
    task_ended_at: int | None = None
    #: How long the last attempt took: its body, not the wait for a worker or a commit.
    task_duration_ms: int | None = None
    leased_till: int | None = None
    max_retries: int = 3
    delay_between_retries: float = 30.0
    error: str | None = None
    cause: Cause = Cause.NONE
    #: The step's `version=` when it finished.
    code_version: str = ""
    #: The hash of its body's code when it finished, or was last to begin.
    code_hash: str = ""
    #: `host:pid` of the process that makes, or made, the last attempt, or is to make
    #: the first one.
    ran_by: str = ""
    #: The hash of its result, see `sources`; 0 without one.
    result_hash: int = 0
    #: The hash of the results that it was made from; 0 if there are none, or not known.
    #: Below zero since a person reset one of them: then it is in doubt.
    made_from: int = 0
    #: When an attempt of the present budget was first put off by `RetryLater`.
    postponed_at: int | None = None
    task_data: str | UnsetType | None = UNSET
    processing_data: str | UnsetType | None = UNSET
    result: str | UnsetType | None = UNSET

    @property
    def is_complete(self) -> bool:
        """Whether nothing more will happen to it by itself."""
        return self.status in _COMPLETE

    @property
    def is_in_doubt(self) -> bool:
        """Whether a person reset what it was made from, since it was made."""
        return self.made_from < 0

    @property
    def has_failed(self) -> bool:
        """Whether it is complete and failed."""
        return self.status is Status.FAILED


#: The fields of a record that hold JSON text and may be UNSET.
PAYLOADS = ("task_data", "processing_data", "result")


def item_name(step: str, key: str) -> str:
    """Return the task's name: `step[key]`."""
    return f"{step}[{key}]"


def item_names(step: str, keys: Iterable[str]) -> list[str]:
    """Return the tasks' names."""
    return [f"{step}[{key}]" for key in keys]


def length_of_payloads(task: TaskRecord) -> int:
    """Return how many characters the payloads have that were read."""
    texts = (task.task_data, task.processing_data, task.result)
    return sum(len(text) for text in texts if isinstance(text, str))


def without_payloads(task: TaskRecord) -> TaskRecord:
    """The same record as `Store.tasks` returns it: small, whatever its results are."""
    return replace(task, task_data=UNSET, processing_data=UNSET, result=UNSET)


def progressed(task: TaskRecord, percentage: float, text: str) -> TaskRecord:
    """The task made progress; its version stays, as progress is no decision."""
    return replace(
        task, percentage_complete=percentage, status_text=cut(text, TEXT_LIMIT)
    )


class Attempt(Struct, frozen=True, kw_only=True):
    """One attempt that ended, as the ledger of its task keeps it.

    The last attempt of a task that is done, or was skipped by its body, is not in the
    ledger: its record says all of it.
    """

    #: The task's `invoke_count` at that time.
    number: int
    began_at: int
    ended_at: int
    ending: Ending
    #: The class of the exception; "" where there was none.
    error_type: str = ""
    error: str = ""
    #: Where it was raised, without the values of variables.
    traceback: str = ""
    #: `host:pid` of the process that made it.
    ran_by: str = ""
    #: How long its body took; None if nobody measured it.
    duration_ms: int | None = None

    @property
    def took_ms(self) -> int:
        """How long it took, at the most."""
        took = self.ended_at - self.began_at
        return took if self.duration_ms is None else self.duration_ms


#: How many attempts the ledger of a task keeps: the last ones.
LEDGER_LENGTH = 20


class Change(Struct, frozen=True, gc=False):
    """A task before and after: None before is an insert, None after a delete.

    Payloads that are the same object before and after are not written.
    """

    before: TaskRecord | None
    after: TaskRecord | None
    #: The attempt that ended with it, for the ledger.
    ended: Attempt | None = None


class LogLine(Struct, frozen=True, array_like=True):
    """What a body logged or printed: one line of it."""

    at: int
    #: The name of the level of what was logged; "" for what was printed.
    level: str
    text: str


class LogChunk(Struct, frozen=True, kw_only=True):
    """Lines of one attempt that are kept together."""

    task: str
    #: The number of the attempt, as in the ledger.
    attempt: int
    #: The place of its first line among the lines of the attempt.
    number: int
    lines: tuple[LogLine, ...]


class Progress(Struct, frozen=True):
    """How far a running task is; moves no version, the last one written wins."""

    name: str
    percentage: float
    text: str


class Tally(Struct, frozen=True):
    """How many tasks of a step stand in a status, and the sum of their percentages."""

    step: str
    status: Status
    count: int
    percentage: float
