"""What a person does to a container: reset, retry or mark between runs, cancel in one."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager

from msgspec.structs import replace

from ptsflow.client.lease import acquire
from ptsflow.core import attempt_ledger, counts, transitions
from ptsflow.core.insight import Outlook
from ptsflow.core.model import Cause, Change, ContainerRecord, Status, Stop, TaskRecord
from ptsflow.core.names import listed, similar
from ptsflow.core.sources import behind, doubted, is_behind, is_finished
from ptsflow.errors import (
    ContainerNotFound,
    LeaseLost,
    TaskNotFound,
    UsageError,
)
from ptsflow.host.clock import Clock, system_clock
from ptsflow.host.process_identity import is_dead, this_process
from ptsflow.host.workdirs import Workdirs
from ptsflow.stores.base import ALL, Store

#: The lease of an operation on a container, in milliseconds.
_LEASE_MS = 30_000
#: How many changes are committed before the lease is renewed.
_AT_ONCE = 10_000


def reset(
    store: Store,
    container: ContainerRecord,
    *,
    step: str | None = None,
    with_downstream: bool = False,
    clock: Clock = system_clock,
) -> list[str]:
    """Forget results, so that tasks run again; return the names of those forgotten.

    What waits for them is done again as well, where other results come of them.

    Args:
        store: where the container is.
        container: which one.
        step: this step, or this one task, alone; without it all.
        with_downstream: also all that waits for the step.
        clock: tells the time.

    Raises:
        ContainerBusy: a live runner holds the container.
        TaskNotFound: it has no such step or task.
    """
    with _changing(store, container, clock, forgets=True) as (held, changes):
        tasks = store.tasks(held.uid)
        chosen = resettable(held, tasks, step=step, with_downstream=with_downstream)
        again = [task for task in tasks if task.name in chosen]
        if step is not None:
            doubts = [] if with_downstream else in_doubt(held, tasks, step)
            left = (task for task in tasks if task.name not in chosen)
            changes.extend(_left_behind(left, set(doubts), held.fence))
        # Dependents come first: if only a part is written, their sources are still there.
        for task in reversed(again):
            after = transitions.reset(task, fence=held.fence)
            ended = attempt_ledger.between(task, after, now=clock())
            changes.append(Change(task, after, ended))
    return [task.name for task in again]


def in_doubt(
    container: ContainerRecord, tasks: Sequence[TaskRecord], step: str
) -> list[str]:
    """Return the finished tasks that `reset` of a step or task alone puts in doubt.

    They are made again if other results come of what was reset.
    """
    waiting = _behind(container, tasks, step)
    always = {planned.name for planned in container.plan if planned.always}
    return [
        task.name
        for task in tasks
        if task.name in waiting and is_finished(task) and task.step not in always
    ]


def _left_behind(
    tasks: Iterable[TaskRecord], doubts: Collection[str], fence: int
) -> Iterator[Change]:
    """Yield the changes of tasks that a reset leaves as they are done.

    The rest of the workflow is needed again. The tasks of `doubts` wait for what was reset.
    """
    for task in tasks:
        after = task
        if _is_finisher(task):
            after = transitions.carry_on(after, fence=fence)
        if task.name in doubts:
            after = doubted(after, fence=fence)
        if after is not task:
            yield Change(task, replace(after, version=task.version + 1))


def resettable(
    container: ContainerRecord,
    tasks: Iterable[TaskRecord],
    *,
    step: str | None = None,
    with_downstream: bool = False,
) -> set[str]:
    """Return the names of the tasks that `reset` would forget.

    Raises:
        TaskNotFound: there is no such step or task.
    """
    tasks = list(tasks)
    begun = {t.name for t in tasks if t.invoke_count or t.is_complete}
    if step is None:
        return begun
    steps = [planned.name for planned in container.plan]
    names = {task.name: task.step for task in tasks}
    if step not in steps and step not in names:
        raise TaskNotFound(
            f"container {container.name!r}: there is no step or task {step!r}"
            f"{similar(step, [*steps, *names])}; it has {listed(steps, step) or 'none'}"
        )
    chosen = {task.name for task in tasks if step in (task.name, task.step)}
    if with_downstream:
        chosen |= _behind(container, tasks, step)
    return begun & chosen


def _behind(
    container: ContainerRecord, tasks: Sequence[TaskRecord], name: str
) -> set[str]:
    """Return the tasks that wait for a step, or for one task, however indirectly."""
    item = next((task for task in tasks if task.name == name and task.key), None)
    step, key = (name, None) if item is None else (item.step, item.key)
    found = behind(container.plan, step, key)
    return {task.name for task in tasks if is_behind(task, found)}


def mark(
    store: Store,
    container: ContainerRecord,
    name: str,
    status: Status,
    *,
    clock: Clock = system_clock,
) -> None:
    """Settle a task that failed or whose outcome is unknown.

    Args:
        store: where the container is.
        container: which one.
        name: the task.
        status: DONE if the task did its work, PENDING to run it again.
        clock: tells the time.

    Raises:
        ContainerBusy: a live runner holds the container.
        TaskNotFound: it has no such task.
        UsageError: the task has not failed.
    """
    with _changing(store, container, clock) as (held, changes):
        found = store.tasks(held.uid, [name])
        if not found:
            names = [task.name for task in store.tasks(held.uid)]
            raise TaskNotFound(
                f"container {container.name!r}: there is no task {name!r}"
                f"{similar(name, names)}; see"
            ).advise("show", container.name)
        task = found[0]
        if task.status is not Status.FAILED:
            raise UsageError(
                f"container {container.name!r}: {name} is {task.status}; only a task "
                "that failed can be marked"
            )
        if status is Status.DONE:
            after = transitions.settle(task, now=clock(), fence=held.fence)
        else:
            after = transitions.reopen(task, fence=held.fence)
        changes.append(Change(task, after))


def retry(
    store: Store,
    container: ContainerRecord,
    *,
    matches: Callable[[TaskRecord], bool] | None = None,
    clock: Clock = system_clock,
) -> list[str]:
    """Give failed and waiting tasks a fresh budget, due at once; return their names.

    If a step finished the workflow early, the tasks that it made needless stay skipped.

    Args:
        store: where the container is.
        container: which one.
        matches: whether a task that failed or waits is one of those that are meant;
            without it all are.
        clock: tells the time.

    Raises:
        ContainerBusy: a live runner holds the container.
    """
    with _changing(store, container, clock) as (held, changes):
        again = retryable(held, store.tasks(held.uid), matches)
        changes += [Change(t, transitions.reopen(t, fence=held.fence)) for t in again]
    return [task.name for task in again]


def retryable(
    container: ContainerRecord,
    tasks: Iterable[TaskRecord],
    matches: Callable[[TaskRecord], bool] | None = None,
) -> list[TaskRecord]:
    """Return the tasks that `retry` would open again."""
    tasks = list(tasks)
    needless = set[str]()
    if any(_is_finisher(task) for task in tasks):
        needless = {step.name for step in container.plan if not step.always}
    found = [t for t in tasks if _is_retryable(t) and t.step not in needless]
    if matches is None:
        return found
    again = [t for t in found if t.status is not Status.SKIPPED and matches(t)]
    # What was skipped as the item before it failed waits for that one again.
    keys = {task.key for task in again if task.key is not None}
    meant = {task.name for task in again}
    return [t for t in found if t.name in meant or _is_behind_one(t, keys)]


def _is_behind_one(task: TaskRecord, keys: Collection[str | None]) -> bool:
    return task.status is Status.SKIPPED and task.key in keys


def cancel(store: Store, container: ContainerRecord, how: Stop) -> bool:
    """Ask the runner of a container to stop; the runner notices within two seconds.

    Tasks that run then are recorded as interrupted; the next run starts them again.

    Args:
        store: where the container is.
        container: which one, as last seen.
        how: whether running bodies may end first.

    Returns:
        False if no runner holds the container.
    """
    if container.owner is None or is_dead(container.owner):
        return False
    is_held = container.is_leased(store.now())
    return is_held and store.ask_to_stop(container.uid, container.fence, how)


def _is_retryable(task: TaskRecord) -> bool:
    skipped = task.status is Status.SKIPPED and task.cause is Cause.UPSTREAM
    failed = task.status is Status.FAILED and task.cause is not Cause.UNKNOWN
    return skipped or failed or task.status is Status.WAITING


def _is_finisher(task: TaskRecord) -> bool:
    return task.cause is Cause.FINISH and task.status is Status.DONE


@contextmanager
def _changing(
    store: Store, container: ContainerRecord, clock: Clock, *, forgets: bool = False
) -> Iterator[tuple[ContainerRecord, list[Change]]]:
    """Hold the container's lease and commit the changes that the caller appends.

    The container is pending afterwards. Without changes, it stays as it was. The
    percentage that was shown of it stays, unless `forgets`.
    """
    held, _ = acquire(store, container, this_process(clock), _LEASE_MS)
    folders = Workdirs(store.work_root, held)
    changes: list[Change] = []
    try:
        yield held, changes
        if changes:
            if forgets or held.status is Status.DONE:
                store.tell(held.uid, held.fence, None)
            else:
                _keep_percentage(store, held, clock())
            for start in range(0, len(changes), _AT_ONCE):
                part = changes[start : start + _AT_ONCE]
                store.commit(held.uid, part, fence=held.fence)
                store.renew(held.uid, held.fence, _LEASE_MS)
            folders.settle(changes)
            pending = {
                "status": Status.PENDING,
                "finish_reason": None,
                "ended_at": None,
            }
            held = replace(held, **pending)
    finally:
        if not store.release(held):
            raise LeaseLost(
                f"container {container.name!r}: it took too long; try again"
            )
        folders.close()


def _keep_percentage(store: Store, held: ContainerRecord, now: int) -> None:
    """Have the store keep the percentage that is shown, as skipped tasks open again."""
    told = store.outlooks([held.uid], of_earlier_runs=True).get(held.uid)
    percentage = counts.percentage(held.plan, store.tallies([held.uid])[held.uid])
    if told is None or told.percentage < percentage:
        store.tell(held.uid, held.fence, Outlook(at=now, percentage=percentage))


def find(store: Store, name: str) -> ContainerRecord:
    """Return the container of that name, else the only one whose name contains it.

    Raises:
        ContainerNotFound: none has, or several have.
    """
    exact = store.container(name)
    if exact is not None:
        return exact
    found = store.recent(ALL, part=name)
    return pick(name, found[::-1] or store.containers(), store.url)


def pick(name: str, records: Iterable[ContainerRecord], url: str) -> ContainerRecord:
    """Return the one record whose name has `name` as a part.

    Raises:
        ContainerNotFound: none has, or several have.
    """
    records = list(records)
    found = [record for record in records if name in record.name]
    if len(found) == 1:
        return found[0]
    if found:
        names = listed([record.name for record in found])
        raise ContainerNotFound(
            f"{name!r} is part of {len(found)} names in {url}: {names}; say more of it"
        )
    known = [record.name for record in records]
    raise ContainerNotFound(
        f"no container {name!r} in {url}{similar(name, known)}; see"
    ).advise("list")
