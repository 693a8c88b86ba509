"""The page of a task: its attempts, its data, its log."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

from msgspec import Struct

from ptsflow.core import attempt_ledger
from ptsflow.core.history import Profile
from ptsflow.core.model import PAYLOADS, Attempt, Ending, Status, TaskRecord
from ptsflow.display import tables
from ptsflow.display.look import Look
from ptsflow.errors import TaskNotFound
from ptsflow.stores.base import Store
from ptsflow.web.live import Seen
from ptsflow.web.pages import Page, Part
from ptsflow.web.stored_values import StoredValue, value_of
from ptsflow.web.tabs import Asked, LogExcerpt, logged_of


class TaskLook(Struct, frozen=True, kw_only=True):
    """What is stored of a task."""

    task: TaskRecord
    #: Those that are over, the newest first.
    attempts: Sequence[Attempt]
    data: Mapping[str, StoredValue]
    logged: LogExcerpt


def look_at_task(store: Store, look: Look, name: str) -> TaskLook:
    """Return what is stored of a task.

    Raises:
        TaskNotFound: the container has no such task.
    """
    uid = look.record.uid
    found = store.tasks(uid, [name], payloads=True)
    if not found:
        raise TaskNotFound(f"container {look.record.name!r} has no task {name!r}")
    made = attempt_ledger.complete(found[0], store.attempts(uid, name))
    if found[0].status is Status.RUNNING and not look.is_live:
        made.append(attempt_ledger.ended(found[0], Ending.CRASHED, now=look.at))
    return TaskLook(
        task=tables.seen_tasks(look.record, found, look.at)[0],
        attempts=list(reversed(made)),
        data={field: value_of(getattr(found[0], field)) for field in PAYLOADS},
        logged=logged_of(store, uid, name),
    )


def usual_ms(task: TaskRecord, usual: Profile) -> float | None:
    """Return how long a task usually takes; None if no run tells."""
    step = usual.step(task.step)
    if step is None or not task.step:
        return None
    return step.mean_ms if task.key is None else step.keys.get(task.key, step.other_ms)


async def task_page(
    seen: Seen[Look], name: str, usual: Profile, form: str | None
) -> Page:
    """Return the page of a task.

    Args:
        seen: how its container stands.
        name: the task.
        usual: what is usual for the workflow.
        form: the field that shows that a form is ours; None where all is read-only.
    """
    look = seen.look
    found = await seen.ask(("task", name), partial(look_at_task, look=look, name=name))
    values = {
        "look": look,
        "record": look.record,
        "now": look.at,
        "task": found.task,
        "attempts": found.attempts,
        "data": found.data,
        "logged": found.logged,
        "logged_tasks": None,
        "asked": Asked(tab="logs"),
        "usual": usual_ms(found.task, usual),
        "form": form,
    }
    parts = {
        "head": "_task.html",
        "attempts": "_attempts.html",
        "data": "_data.html",
        "logs": "_task_log.html",
    }
    return Page(
        title=f"{name} · {look.record.name} · ptsflow",
        parts={name: Part(template, values) for name, template in parts.items()},
    )
