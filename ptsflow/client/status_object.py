"""A container with all its tasks, as `status --json` prints it and hooks are given it."""

from __future__ import annotations

from typing import Any

from ptsflow.client.looking import outlooks, seen
from ptsflow.core.model import (
    ContainerRecord,
    TaskRecord,
    length_of_payloads,
    without_payloads,
)
from ptsflow.display import as_json
from ptsflow.stores.base import Store

#: How many tasks are first read with their payloads at once, and at the most; fewer if the
#: last ones had more than so many characters.
_FIRST_BITE = 16
_MOST_AT_ONCE = 2_048
_BITE_CHARS = 8 * 1024 * 1024


def status_object(
    store: Store, record: ContainerRecord, *, values: bool = False
) -> dict[str, Any]:
    """Return a container as `status --json` prints it; its tasks: `tasks_as_json`."""
    now = store.now()
    record = seen(store, record, now)
    outlook = outlooks(store, [record], now).get(record.uid)
    tasks, shown = tasks_as_json(store, record, values=values)
    return as_json.whole(record, tasks, shown, now=now, outlook=outlook)


def tasks_as_json(
    store: Store, record: ContainerRecord, *, values: bool
) -> tuple[list[TaskRecord], list[dict[str, Any]]]:
    """Return all tasks without their payloads, and as JSON.

    Args:
        store: where the container is.
        record: the container.
        values: also values that are longer than `as_json.LONGEST_VALUE`.
    """
    names = [task.name for task in store.tasks(record.uid)]
    tasks: list[TaskRecord] = []
    shown: list[dict[str, Any]] = []
    most = _FIRST_BITE
    while names:
        bite, names = names[:most], names[most:]
        size = 0
        for task in store.tasks(record.uid, bite, payloads=True):
            shown.append(as_json.task(task, values=values))
            tasks.append(without_payloads(task))
            size += length_of_payloads(task)
        most = max(1, most // 2) if size > _BITE_CHARS else min(2 * most, _MOST_AT_ONCE)
    return tasks, shown
