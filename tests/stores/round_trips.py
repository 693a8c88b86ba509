"""What is written to a store is read as it was written, field by field.

Each trip takes a store and a name for a container that is not there yet, and fails where
any field of what it writes is not read again.
"""

from __future__ import annotations

from collections.abc import Callable

from msgspec import UNSET
from msgspec.structs import replace

from ptsflow.core.insight import Outlook, RunRecord, RunStatus, ScheduleRecord
from ptsflow.core.model import (
    PAYLOADS,
    Attempt,
    Change,
    ContainerRecord,
    LogChunk,
    Owner,
    Progress,
    Status,
    StepSummary,
    Stop,
    Tally,
    TaskRecord,
)
from ptsflow.stores.base import Store
from ptsflow.stores.rules import without_end
from tests.stores.making import LEASE, new
from tests.stores.variants import variants

Trip = Callable[[Store, str], None]


def _container(store: Store, name: str) -> ContainerRecord:
    found = store.container(name)
    assert found is not None
    assert found in store.containers()
    assert replace(found, plan=()) in store.containers(plans=False)
    return found


def _used(store: Store, name: str) -> str:
    """Return the uid of a new container of a workflow: only there tasks have steps."""
    held = store.claim(store.create(name)[0].uid, variants(Owner)[0], LEASE)
    assert held is not None
    assert store.release(replace(held, workflow="Feed"))
    return held.uid


def _check_tasks(store: Store, uid: str, expected: list[TaskRecord]) -> None:
    expected = sorted(expected, key=lambda task: task.position)
    bare = [replace(task, **dict.fromkeys(PAYLOADS, UNSET)) for task in expected]
    waiting = [task for task in expected if not task.is_complete]

    assert store.tasks(uid, payloads=True) == expected
    assert store.tasks(uid) == bare
    assert store.next_open(uid) == (waiting[0] if waiting else None)


def containers(store: Store, name: str) -> None:
    """Make, claim, save, stop and release a container."""
    made, _ = store.create(name)
    assert made == ContainerRecord(uid=made.uid, name=name, created_at=store.now())
    assert _container(store, name) == made
    for owner, first, last, how in zip(
        variants(Owner),
        map(_sound, variants(ContainerRecord)),
        map(_sound, variants(ContainerRecord, base=50)),
        [Stop.GENTLY, Stop.NOW] * 3,
        strict=True,
    ):
        before = _container(store, name)
        held = store.claim(made.uid, owner, LEASE)
        assert held == replace(
            before,
            owner=owner,
            fence=before.fence + 1,
            leased_till=store.now() + LEASE,
            stop_asked=None,
        )
        kept = {field: getattr(held, field) for field in _LEASE}
        store.save(replace(first, **kept))
        assert _container(store, name) == replace(first, **kept)
        assert store.ask_to_stop(made.uid, held.fence, how)
        assert _container(store, name) == replace(first, **kept | {"stop_asked": how})
        assert store.stop_asked(made.uid, held.fence) is how
        assert store.release(replace(last, **kept))
        free = kept | {"owner": None, "leased_till": None}
        assert _container(store, name) == replace(last, **free)


def _sound(record: ContainerRecord) -> ContainerRecord:
    """Return the record with a plan that refers to steps of its own alone."""
    named = {
        name: StepSummary(name=name)
        for step in record.plan
        for name in (*step.needs, *step.takes, step.each)
        if name is not None
    }
    steps = (
        replace(
            step, above=place, tolerate=f"{place}.5%" if place % 2 else 1000 + place
        )
        for place, step in enumerate(record.plan, 1)
    )
    return replace(record, plan=(*named.values(), *steps))


_LEASE = ("uid", "name", "fence", "owner", "leased_till", "stop_asked", "created_at")


def inserted_tasks(store: Store, name: str) -> None:
    """Insert tasks."""
    uid = _used(store, name)
    tasks = variants(TaskRecord)
    store.commit(uid, [Change(None, task) for task in tasks], fence=None)

    _check_tasks(store, uid, tasks)
    for task in tasks:
        assert store.tasks(uid, [task.name], payloads=True) == [task]


def changed_tasks(store: Store, name: str) -> None:
    """Change everything of tasks; then all but names, positions and completeness."""
    uid = _used(store, name)
    tasks = variants(TaskRecord)
    store.commit(uid, [Change(None, task) for task in tasks], fence=None)
    for base, same in ((50, ("name", "position", "status")), (80, _KEYS), (20, ())):
        changed = [
            replace(after, **{field: getattr(before, field) for field in same})
            for before, after in zip(tasks, variants(TaskRecord, base), strict=True)
        ]
        store.commit(uid, list(map(Change, tasks, changed)), fence=None)
        _check_tasks(store, uid, changed)
        tasks = changed


#: A task that keeps these may still become complete, or be opened again.
_KEYS = ("name", "position")


def progress(store: Store, name: str) -> None:
    """Note the progress of a running task."""
    uid = _used(store, name)
    held = store.claim(uid, variants(Owner)[0], LEASE)
    assert held is not None
    (task, *_) = variants(TaskRecord)
    task = replace(task, fence=held.fence, status=Status.RUNNING)
    store.commit(uid, [Change(None, task)], fence=held.fence)
    for seen in variants(Progress):
        store.touch(uid, [replace(seen, name=task.name)], fence=held.fence)
        moved = {"percentage_complete": seen.percentage, "status_text": seen.text}
        _check_tasks(store, uid, [replace(task, **moved)])


def attempts(store: Store, name: str) -> None:
    """Let attempts end."""
    uid = _used(store, name)
    (task, *_) = variants(TaskRecord)
    store.commit(uid, [Change(None, task)], fence=None)
    for ended in variants(Attempt):
        after = replace(task, version=task.version + 1)
        store.commit(uid, [Change(task, after, ended)], fence=None)
        task = after

    assert store.attempts(uid, task.name) == variants(Attempt)


def log_lines(store: Store, name: str) -> None:
    """Put lines of attempts."""
    uid = _used(store, name)
    logs = store.logs()
    chunks = variants(LogChunk)
    try:
        logs.put(uid, chunks)
        assert logs.read(uid)[0] == chunks
        for chunk in chunks:
            assert logs.read(uid, task=chunk.task, attempt=chunk.attempt)[0] == [chunk]
    finally:
        logs.close()


def tallies(store: Store, name: str) -> None:
    """Count tasks."""
    uid = _used(store, name)
    changes = [
        new("a", step="load", status=Status.DONE, percentage_complete=30.5),
        new("b", step="load", status=Status.DONE, percentage_complete=40.0),
        new("c", step="load", status=Status.RUNNING, percentage_complete=7.0),
    ]
    store.commit(uid, changes, fence=None)
    expected = {
        Tally("load", Status.DONE, 2, 70.5),
        Tally("load", Status.RUNNING, 1, 7),
    }

    assert set(store.tallies([uid])[uid]) == expected


def runs(store: Store, name: str) -> None:
    """Begin and end runs, and note that somebody was told of them."""
    container, _ = store.create(name)
    expected: list[RunRecord] = []
    for owner, first, last in zip(
        variants(Owner), variants(RunRecord), variants(RunRecord, base=50), strict=True
    ):
        held = store.claim(container.uid, owner, LEASE)
        assert held is not None
        key = {"uid": held.uid, "fence": held.fence}
        has_ended = last.status not in {RunStatus.RUNNING, RunStatus.LOST}
        status = last.status if has_ended else RunStatus.DONE
        begun = replace(without_end(first), **key)
        ended = replace(last, **key, status=status)
        store.save(held, begun)
        assert store.runs(begun.workflow, begun.container) == [begun]
        assert store.release(held, ended)
        expected.insert(0, ended)
        assert store.runs(ended.workflow, ended.container) == expected[:1]
        number, at = first.ordinal or 0, first.began_at
        assert store.number_run(held.uid, held.fence, number, told_at=at)
        expected[0] = replace(expected[0], ordinal=number, told_at=at)
        assert store.runs(ended.workflow, ended.container) == expected[:1]
        assert store.runs() == expected


def outlooks(store: Store, name: str) -> None:
    """Tell what a runner expects."""
    uid = _used(store, name)
    held = store.claim(uid, variants(Owner)[0], LEASE)
    assert held is not None
    for outlook in variants(Outlook):
        assert store.tell(uid, held.fence, outlook)
        assert store.outlooks([uid]) == {uid: outlook}


def schedules(store: Store, name: str) -> None:
    """Keep when a workflow is due."""
    before = None
    for variant in variants(ScheduleRecord):
        after = replace(variant, workflow=name)
        assert store.swap_schedule(before, after)
        assert after in store.schedules()
        before = after


TRIPS: tuple[Trip, ...] = (
    *(containers, inserted_tasks, changed_tasks, progress),
    *(attempts, log_lines, tallies, runs, outlooks, schedules),
)
