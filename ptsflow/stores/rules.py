"""Decisions about commits, ledgers, runs and log lines, as pure functions of records.

SQLite and memory read records, call these functions and write, all within one transaction
or lock. MongoDB decides the same inside its filters, and calls them for what it refuses.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Never, TypeGuard

from msgspec.structs import replace

from ptsflow.core.insight import RunRecord, RunStatus
from ptsflow.core.model import (
    LEDGER_LENGTH,
    Attempt,
    Change,
    ContainerRecord,
    LogChunk,
    TaskRecord,
)
from ptsflow.errors import Conflict, ContainerBusy, ContainerNotFound, LeaseLost
from ptsflow.host.clock import to_datetime


def is_held(stored: ContainerRecord | None, fence: int) -> TypeGuard[ContainerRecord]:
    """Return whether the lease of that fence was neither lost nor given back."""
    return stored is not None and stored.fence == fence and stored.owner is not None


def may_delete(stored: ContainerRecord, fence: int | None, now: int) -> bool:
    """Return whether the holder of the lease of `fence`, or anybody if None, may delete."""
    return not stored.is_leased(now) if fence is None else is_held(stored, fence)


def ledger_of(entries: Iterable[Attempt]) -> list[Attempt]:
    """Return the last attempts by number; of two with the same number, the later entry."""
    found = {attempt.number: attempt for attempt in entries}
    return [found[number] for number in sorted(found)[-LEDGER_LENGTH:]]


def outlived(chunks: Sequence[LogChunk]) -> dict[str, int]:
    """Return, for each task, the last attempt whose lines are to be dropped."""
    newest: dict[str, int] = {}
    for chunk in chunks:
        newest[chunk.task] = max(chunk.attempt, newest.get(chunk.task, 0))
    return {
        task: attempt - LEDGER_LENGTH
        for task, attempt in newest.items()
        if attempt > LEDGER_LENGTH
    }


def check_writer(
    stored: ContainerRecord | None, uid: str, fence: int | None, now: int
) -> None:
    """Raise unless tasks may be written under `fence`, or by a client under None."""
    if stored is None:
        raise ContainerNotFound(
            f"the container with the uid {uid} was deleted; get or create it again"
        )
    if fence is None:
        if stored.is_leased(now):
            raise_busy(stored)
    elif not is_held(stored, fence):
        raise_lost(stored.name, fence, stored)


def check_held(stored: ContainerRecord | None, uid: str, fence: int) -> None:
    """Raise LeaseLost unless the lease of that fence is still the container's."""
    if not is_held(stored, fence):
        raise_lost(stored.name if stored else uid, fence, stored)


def raise_lost(name: str, fence: int, stored: ContainerRecord | None) -> Never:
    """Raise LeaseLost, saying what became of the lease."""
    if stored is None:
        became = "the container was deleted"
    elif stored.fence == fence:
        became = "it was given back"
    else:
        became = f"the fence is {stored.fence} now"
    raise LeaseLost(
        f"container {name!r}: the lease under fence {fence} was lost: {became}; "
        "run it again to go on"
    )


def raise_busy(stored: ContainerRecord) -> Never:
    """Raise ContainerBusy, saying who holds the container, since when, till when."""
    owner = stored.owner
    who = f"pid {owner.pid} on {owner.host}" if owner else "a runner"
    since = _moment(owner.since if owner else None)
    raise ContainerBusy(
        f"container {stored.name!r} is held by {who} since {since} until "
        f"{_moment(stored.leased_till)}; wait until it has ended, or stop it"
    )


def _moment(millis: int | None) -> str:
    moment = to_datetime(millis)
    return "-" if moment is None else moment.isoformat(timespec="seconds")


def matches(before: TaskRecord | None, stored: TaskRecord | None) -> bool:
    """Return whether what is stored is what a change starts from; None is no task."""
    if before is None or stored is None:
        return before is None
    return _mark(before) == _mark(stored)


def _mark(task: TaskRecord) -> tuple[int, int, int]:
    # A task that was deleted and made anew has another position.
    return task.version, task.fence, task.position


def recognise(
    container: str,
    change: Change,
    fence: int | None,
    *,
    at_before: TaskRecord | None,
    at_after: TaskRecord | None,
) -> None:
    """Return if the owner of the fence made this change earlier; else raise Conflict.

    A client has no fence, so its write cannot be told from the equal write of another
    client: of two clients that insert the same task, one must be refused.

    Args:
        container: The container's name, for the message.
        change: The change that could not be made.
        fence: The fence of the commit; None for a client.
        at_before: The task that is stored under the name in `change.before`.
        at_after: The task that is stored under the name in `change.after`.
    """
    before, after = change.before, change.after
    if fence is not None:
        if after is None and at_before is None:
            return
        if after is not None and at_after is not None and _is_it(at_after, after):
            return
    raise Conflict(
        f"container {container!r}: {_why(before, after, at_before, at_after)}"
    )


def _is_it(stored: TaskRecord, wanted: TaskRecord) -> bool:
    """Compare all fields but position, progress and payloads, which may differ."""
    return stored == replace(
        wanted,
        position=stored.position,
        percentage_complete=stored.percentage_complete,
        status_text=stored.status_text,
        task_data=stored.task_data,
        processing_data=stored.processing_data,
        result=stored.result,
    )


def _why(
    before: TaskRecord | None,
    after: TaskRecord | None,
    at_before: TaskRecord | None,
    at_after: TaskRecord | None,
) -> str:
    if before is None:
        name = after.name if after else ""
        return f"the task name {name!r} is taken; choose another one"
    if at_before is None:
        return f"task {before.name!r} was deleted since it was read; read them again"
    if matches(before, at_before):
        name = at_after.name if at_after else ""
        return (
            f"task {before.name!r} cannot be renamed: {name!r} is taken; choose another"
        )
    if (at_before.version, at_before.fence) == (before.version, before.fence):
        return f"task {before.name!r} was made anew since it was read; read it again"
    return (
        f"task {before.name!r} changed since it was read: expected version "
        f"{before.version} of fence {before.fence}, found version {at_before.version} "
        f"of fence {at_before.fence}; read it again"
    )


#: How many runs of a workflow are kept, and how many are deleted at a time.
RUNS_KEPT = 2_000
RUNS_PRUNED = 20
#: Of how many runs that completed a container of a workflow the steps are kept: screens
#: and outlooks read no more. Of older ones the row takes a fraction of the room.
STEPS_KEPT = 200


def without_steps(run: RunRecord) -> RunRecord:
    """Return a run that ended long ago."""
    return replace(run, steps=())


def lost(run: RunRecord) -> RunRecord:
    """Return a run that died."""
    return replace(without_end(run), status=RunStatus.LOST)


def without_end(run: RunRecord) -> RunRecord:
    """Return a run as it was when it began."""
    return RunRecord(**{name: getattr(run, name) for name in _OF_BEGINNING})


_OF_BEGINNING = (
    *("uid", "fence", "container", "workflow", "target", "tick", "ran_by", "jobs"),
    "began_at",
)


def back_to_good(numbered: Iterable[RunRecord]) -> list[RunRecord]:
    """Return runs by their ordinals, the largest first, back to one that ended well."""
    found = []
    for run in sorted(numbered, key=lambda run: run.ordinal or 0, reverse=True):
        found.append(run)
        if run.status is RunStatus.DONE:
            break
    return found


def with_free_ordinal(run: RunRecord, numbered: Iterable[RunRecord]) -> RunRecord:
    """Return a run without its ordinal if another run of its workflow has that."""
    key = run.uid, run.fence
    if any(r.ordinal == run.ordinal and (r.uid, r.fence) != key for r in numbered):
        return replace(run, ordinal=None)
    return run


#: The first beginning and the last end of tasks; None where none began or ended.
Times = tuple[int | None, int | None]


def widened(times: Times, others: Times) -> Times:
    """Return the earlier beginning and the later end."""
    began = [at for at in (times[0], others[0]) if at is not None]
    ended = [at for at in (times[1], others[1]) if at is not None]
    return min(began, default=None), max(ended, default=None)
