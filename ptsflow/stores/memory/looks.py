"""What screens read of the containers in memory; the caller holds the lock."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from operator import attrgetter

from msgspec.structs import replace

from ptsflow.core.insight import Glance, Spans
from ptsflow.core.model import ContainerRecord, Status, TaskRecord, without_payloads
from ptsflow.core.packed import ORIGIN, origins_of
from ptsflow.core.sources import is_finished
from ptsflow.stores.looks import OWN_TASKS, Order
from ptsflow.stores.memory.tasks import Shelf
from ptsflow.stores.rules import Times, widened


def containers(shelves: Iterable[Shelf], *, plans: bool) -> list[ContainerRecord]:
    """Return all containers, oldest first; without `plans`, their plans are empty."""
    records = (shelf.record for shelf in shelves)
    return [record if plans else replace(record, plan=()) for record in records]


def recent(
    shelves: Iterable[Shelf],
    limit: int,
    before: ContainerRecord | None,
    workflow: str | None,
    status: Status | None,
    part: str | None,
) -> list[ContainerRecord]:
    """Return containers, those that were made last first."""
    found = [
        shelf.record
        for shelf in shelves
        if (before is None or int(shelf.record.uid) < int(before.uid))
        and workflow in (None, shelf.record.workflow)
        and status in (None, shelf.record.status)
        and (part is None or part in shelf.record.name)
    ]
    return found[::-1][: max(0, limit)]


def glance(shelf: Shelf, active: int, failed: int) -> Glance:
    """Return what a screen shows of a container."""
    tasks = [without_payloads(task) for task in shelf.in_order()]
    own = [task for task in tasks if not task.step][:OWN_TASKS]
    plain = [task for task in tasks if task.step and task.key is None]
    items = [task for task in tasks if task.key is not None]

    def of(status: Status, key: Callable[[TaskRecord], int | None]) -> list[TaskRecord]:
        found = [task for task in items if task.status is status]
        return sorted(found, key=lambda task: (key(task) or 0, task.position))

    active_items = of(Status.RUNNING, _began) + of(Status.WAITING, _ended)
    return Glance(
        tallies=shelf.tally(),
        plain=sorted(plain + own, key=lambda task: (task.position, task.name)),
        active=active_items[: max(0, active)],
        failed=of(Status.FAILED, _ended)[: max(0, failed)],
        times=_times(tasks),
        code=_code(tasks),
    )


def page(
    shelf: Shelf,
    step: str | None,
    status: Status | None,
    part: str | None,
    order: Order,
) -> list[TaskRecord]:
    """Return all tasks that fit, in order."""
    found = [
        without_payloads(task)
        for task in shelf.in_order()
        if step in (None, task.step)
        and status in (None, task.status)
        and (part is None or part in task.name)
    ]
    if order == "duration":
        found.sort(key=_shortness)
    return found


def origins(shelf: Shelf, steps: Collection[str]) -> Sequence[TaskRecord]:
    """Return the tasks of steps, with the fields of `ORIGIN` alone."""
    found = [task for task in shelf.in_order() if task.step in steps]
    return origins_of([list(map(attrgetter(*ORIGIN), found))])


def spans(shelf: Shelf, step: str) -> Spans:
    """Return when the last attempts of a step's tasks ran, as far as they began."""
    begun = [
        (task.last_invoked_at, task)
        for task in shelf.in_order()
        if task.step == step and task.last_invoked_at is not None
    ]
    return Spans(
        began=[at for at, _ in begun],
        ended=[task.task_ended_at or 0 if task.is_complete else 0 for _, task in begun],
        statuses=[task.status for _, task in begun],
    )


def _times(tasks: Iterable[TaskRecord]) -> dict[str, Times]:
    times: dict[str, Times] = {}
    for task in tasks:
        known = times.get(task.step, (None, None))
        times[task.step] = widened(known, (task.last_invoked_at, task.task_ended_at))
    return times


def _code(tasks: Iterable[TaskRecord]) -> dict[str, set[str]]:
    code: dict[str, set[str]] = {}
    for task in filter(is_finished, tasks):
        code.setdefault(task.step, set()).add(task.code_hash)
    return code


def _began(task: TaskRecord) -> int | None:
    return task.last_invoked_at


def _ended(task: TaskRecord) -> int | None:
    return task.task_ended_at


def _shortness(task: TaskRecord) -> tuple[bool, int]:
    """Return what sorts the longest tasks first, and those without a duration last."""
    return task.task_duration_ms is None, -(task.task_duration_ms or 0)
