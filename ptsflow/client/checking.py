"""What may be wrong with records, whichever store keeps them."""

from __future__ import annotations

from collections.abc import Iterator

from ptsflow import codec
from ptsflow.client.looking import run_again, runs_back, seen
from ptsflow.core.insight import RunRecord, RunStatus
from ptsflow.core.model import PAYLOADS, ContainerRecord, Status, TaskRecord
from ptsflow.core.names import listed
from ptsflow.errors import PtsflowError, StoreDamaged, StoredValueError
from ptsflow.stores.base import Store
from ptsflow.stores.care import Fault, Grade

#: How far a time may be ahead of the store's clock, in milliseconds.
_AHEAD = 86_400_000
#: A lease that ends later than its length says, and this, was written by another clock.
_SLACK = 60_000
#: How many tasks' payloads are read at a time.
_TASKS_AT_ONCE = 1_000
#: Per cent.
_WHOLE = 100


def faults_of_records(store: Store, *, deep: bool) -> Iterator[Fault]:
    """Yield what is wrong with containers, tasks and runs.

    Args:
        store: which is sound as a database.
        deep: also read all payloads.
    """
    now = store.now()
    runs = list(runs_back(store))
    containers = store.containers()
    for record in containers:
        yield from of_container(record, now)
        try:
            yield from _tasks_in(store, record, now, deep=deep)
        except StoreDamaged as error:
            yield Fault("damage", str(error), Grade.DAMAGE)
    yield from of_runs(store, runs, {each.uid: each for each in containers})


def of_container(record: ContainerRecord, now: int) -> Iterator[Fault]:
    """Yield what is wrong with a container alone."""
    where = f"container {record.name!r}"
    yield from _of_lease(where, record, now)
    times = (record.created_at, record.started_at, record.ended_at)
    if any(at is not None and at > now + _AHEAD for at in times):
        yield Fault("time", f"{where}: has times that are yet to come")
    try:
        is_object = record.params is None or isinstance(
            codec.parse(record.params), dict
        )
    except StoredValueError:
        is_object = False
    if not is_object:
        text = f"{where}: its parameters are no JSON object"
        yield Fault("parameters", text, Grade.DAMAGE)


def _of_lease(where: str, record: ContainerRecord, now: int) -> Iterator[Fault]:
    owner, till = record.owner, record.leased_till
    if owner is None and till is not None:
        yield Fault("lease", f"{where}: has an end of a lease, and no owner")
    if owner is not None and till is None:
        yield Fault("lease", f"{where}: has an owner, and no end of its lease")
    if owner is not None and till is not None:
        longest = owner.lease_ms or _AHEAD
        if till - now > longest + _SLACK:
            text = (
                f"{where}: its lease lasts for {(till - now) // 1000} s more, and is "
                f"{longest // 1000} s long: a clock was set back"
            )
            yield Fault("long lease", text)
    if owner is not None and record.fence < 1:
        yield Fault("fence", f"{where}: has an owner under fence {record.fence}")
    if owner is None and record.stop_asked is not None:
        yield Fault("stop", f"{where}: nobody runs it, and it is asked to stop")


def _tasks_in(
    store: Store, record: ContainerRecord, now: int, *, deep: bool
) -> Iterator[Fault]:
    found = _at_once(store, record, now)
    if found is None:
        return
    record, tasks = found
    for task in tasks:
        yield from of_task(record, task)
    if not record.is_leased(now):
        yield from left_open(record, tasks)
    if deep:
        names = [task.name for task in tasks]
        for start in range(0, len(names), _TASKS_AT_ONCE):
            some = names[start : start + _TASKS_AT_ONCE]
            for task in store.tasks(record.uid, some, payloads=True):
                yield from of_payloads(record, task)


def _at_once(
    store: Store, record: ContainerRecord, now: int
) -> tuple[ContainerRecord, list[TaskRecord]] | None:
    """Return a container, with the owner that it really has, and the tasks that it had.

    None if it was deleted meanwhile. If a run begins or ends between the two reads, both
    are read again.
    """
    uid = record.uid
    while True:
        shown = seen(store, record, now)
        tasks = store.tasks(uid)
        again = store.container(record.name)
        if again is None or again.uid != uid:
            return None
        if (again.fence, again.status) == (shown.fence, shown.status):
            return shown, tasks
        record = again


def of_task(record: ContainerRecord, task: TaskRecord) -> Iterator[Fault]:
    """Yield what is wrong with a task alone."""
    where = f"task {task.name!r} of container {record.name!r}"
    if task.fence > record.fence:
        text = (
            f"{where}: was written under fence {task.fence}, and its container has had "
            f"{record.fence}"
        )
        yield Fault("fence", text, Grade.DAMAGE)
    is_odd = task.version < 1 or not 0 <= task.percentage_complete <= _WHOLE
    if is_odd or (task.step and task.attempt > task.invoke_count):
        text = (
            f"{where}: cannot be: version {task.version}, attempt {task.attempt} of "
            f"{task.invoke_count}, {task.percentage_complete:g} %"
        )
        yield Fault("counts", text, Grade.DAMAGE)


def left_open(record: ContainerRecord, tasks: list[TaskRecord]) -> Iterator[Fault]:
    """Yield what a runner left that died, or a client that opened tasks again."""
    if record.workflow is None:
        return
    where = f"container {record.name!r}"
    ours = [task for task in tasks if task.step]
    running = [task.name for task in ours if task.status is Status.RUNNING]
    still_open = [task.name for task in ours if not task.is_complete]
    if record.status is Status.DONE and still_open:
        text = f"{where}: is done, and not {listed(still_open)}; run it again"
        yield Fault("open task in done container", text)
    elif running:
        text = (
            f"{where}: nobody runs it, and {listed(running)} is running; run it again"
        )
        yield Fault("running task without lease", text)


def of_payloads(record: ContainerRecord, task: TaskRecord) -> Iterator[Fault]:
    """Yield the payloads that the codec cannot read."""
    for name in PAYLOADS:
        text = getattr(task, name)
        if not isinstance(text, str):
            continue
        try:
            codec.peek(text)
        except (PtsflowError, KeyError, TypeError, ValueError) as error:
            what = f"the {name} of task {task.name!r} of container {record.name!r}"
            yield Fault("unreadable value", f"{what}: {error}", Grade.DAMAGE)


def of_runs(
    store: Store, runs: list[RunRecord], containers: dict[str, ContainerRecord]
) -> Iterator[Fault]:
    """Yield what is wrong with the history; a run without an end may have died.

    Args:
        store: tells how a run stands that ended since.
        runs: all.
        containers: all, by uid, read after the runs.
    """
    for run in runs:
        where = f"the run under fence {run.fence} of container {run.container!r}"
        record = containers.get(run.uid)
        if record is not None and run.fence > record.fence:
            text = f"{where}: the container has had fences up to {record.fence}"
            yield Fault("fence", text, Grade.DAMAGE)
        if run.status is not RunStatus.RUNNING:
            continue
        if record is None:
            text = f"{where}: has no end, and its container is gone"
        elif run.fence == record.fence and record.owner is None:
            text = f"{where}: has no end, and its lease was given back"
        else:
            continue
        again = run_again(store, run)
        if again is not None and again.status is RunStatus.RUNNING:
            yield Fault("run without end", text)
