"""How failures are shown that went wrong in the same way."""

from __future__ import annotations

from ptsflow.core.grouping import Failure, FailureGroup
from ptsflow.core.model import ContainerRecord, TaskRecord
from ptsflow.display import as_json
from ptsflow.display import format as fmt


def failure_of(record: ContainerRecord, task: TaskRecord) -> Failure:
    """Return the failure that a failed task tells of."""
    return Failure(
        container=record.name,
        task=task.name,
        step=task.step or task.name,
        error=task.error or "",
        at=task.task_ended_at or 0,
    )


def what(group: FailureGroup) -> str:
    """Return what went wrong: `ValueError: bad date`."""
    return ": ".join(filter(None, (group.error_type, group.message)))


def how_many(group: FailureGroup, now: int) -> str:
    """Return `3 containers, first 09:12:10, last 13:14:31`."""
    tasks, containers = len(group.failures), len(group.containers)
    counted = fmt.many(containers, "container", "containers")
    if tasks != containers:
        counted = f"{fmt.many(tasks, 'task', 'tasks')} of {counted}"
    first, last = group.failures[-1].at, group.failures[0].at
    if tasks == 1:
        return f"{counted}, {fmt.moment(last, now)}"
    return f"{counted}, first {fmt.moment(first, now)}, last {fmt.moment(last, now)}"


def group_as_json(group: FailureGroup) -> as_json.Json:
    """Return a group as `errors --json` prints it."""
    newest = group.failures[0]
    return {
        "schema": as_json.SCHEMA,
        "step": group.step,
        "error_type": group.error_type or None,
        "message": group.message,
        "tasks": len(group.failures),
        "containers": group.containers,
        "first_at": as_json.when(group.failures[-1].at),
        "last_at": as_json.when(newest.at),
        "container": newest.container,
        "task": newest.task,
        "error": newest.error,
    }
