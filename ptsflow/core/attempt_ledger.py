"""Which attempts of a task are over, and how they ended: pure, from its records.

The record of a task tells its last attempt if that ended well, so such an attempt costs no
write of its own. The store keeps every other attempt in the task's ledger; a good one is
added to the ledger when the record is about to forget it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from ptsflow.core.model import Attempt, Cause, Change, Ending, Status, TaskRecord
from ptsflow.core.pack import Pack


def ended(
    task: TaskRecord,
    ending: Ending,
    *,
    now: int,
    error: str = "",
    error_type: str = "",
    traceback: str = "",
) -> Attempt:
    """Return the attempt that a running task made until now."""
    return Attempt(
        number=task.invoke_count,
        began_at=now if task.last_invoked_at is None else task.last_invoked_at,
        ended_at=now,
        ending=ending,
        error_type=error_type,
        error=error,
        traceback=traceback,
        ran_by=task.ran_by,
        duration_ms=task.task_duration_ms,
    )


def between(
    before: TaskRecord | None, after: TaskRecord | None, *, now: int
) -> Attempt | None:
    """Return what the ledger gets when a new run finds `before` and makes it `after`."""
    if before is None or after is None:
        return None
    if before.status is Status.RUNNING and after.status is not Status.RUNNING:
        return ended(before, Ending.CRASHED, now=now, error=after.error or "")
    return last(before) if after.status is Status.PENDING else None


def last(task: TaskRecord) -> Attempt | None:
    """Return the attempt that the record of a task tells of, if it does."""
    by_body = task.status is Status.SKIPPED and task.cause is Cause.BODY
    if not (task.status is Status.DONE or by_body) or task.last_invoked_at is None:
        return None
    ended_at = task.task_ended_at or task.last_invoked_at
    return Attempt(
        number=task.invoke_count,
        began_at=task.last_invoked_at,
        ended_at=max(ended_at, task.last_invoked_at),
        ending=Ending.SKIPPED if by_body else Ending.DONE,
        ran_by=task.ran_by,
        duration_ms=task.task_duration_ms,
    )


def ended_by(change: Change) -> Attempt | None:
    """Return the attempt that ended with a change, also one that ended well."""
    before, after = change.before, change.after
    if before is None or before.status is not Status.RUNNING:
        return None
    if after is None or after.status is Status.RUNNING:
        return None
    return change.ended or last(after)


def with_entries(
    records: Iterable[TaskRecord], packs: Iterable[Pack]
) -> Iterator[TaskRecord]:
    """Yield the tasks whose ledgers may not be empty: tried more than once, or failed."""
    failed = Status.FAILED
    yield from [t for t in records if t.invoke_count > 1 or t.status is failed]
    for pack in packs:
        if max(pack.different("invoke_count")) > 1:
            for place, count in enumerate(pack.each("invoke_count")):
                if count > 1:
                    yield pack.record(place)


def complete(task: TaskRecord, kept: Iterable[Attempt]) -> list[Attempt]:
    """Return the attempts of a task that are over, oldest first.

    Args:
        task: its record.
        kept: its ledger.
    """
    found = {attempt.number: attempt for attempt in kept}
    told = last(task)
    # If a person marked the task as done, the ledger says how its last attempt ended.
    if told is not None and told.number not in found:
        found[told.number] = told
    return [found[number] for number in sorted(found)]
