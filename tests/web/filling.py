"""A container of many items, made without running them."""

from __future__ import annotations

from contextlib import closing

from msgspec.structs import replace

from ptsflow.core.model import Change, Owner, Status, StepSummary, TaskRecord
from ptsflow.stores import open_store


def fill_many(url: str, count: int, error: str) -> None:
    """Make a container of one wide step, a tenth of whose items failed."""
    with closing(open_store(url)) as store:
        made, _ = store.create("wide")
        now = store.now()
        owner = Owner(id="o", host="h", boot="b", pid=1, started=1, since=now)
        record = store.claim(made.uid, owner, 1)
        assert record is not None
        plan = (StepSummary(name="rows"), StepSummary(name="load", each="rows"))
        record = replace(record, workflow="Wide", plan=plan, status=Status.FAILED)
        store.save(replace(record, started_at=now))
        tasks = [
            TaskRecord(
                name=f"load[{n}]",
                step="load",
                key=str(n),
                position=n,
                status=Status.FAILED if n % 10 == 0 else Status.DONE,
                invoke_count=1,
                last_invoked_at=now + n,
                task_ended_at=now + n + 50,
                task_duration_ms=50 + n % 7,
                error=error if n % 10 == 0 else None,
                fence=record.fence,
                version=1,
            )
            for n in range(count)
        ]
        for first in range(0, count, 10_000):
            bite = tasks[first : first + 10_000]
            changes = [Change(None, task) for task in bite]
            store.commit(made.uid, changes, fence=record.fence)
