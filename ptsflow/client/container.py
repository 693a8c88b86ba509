"""A task container: its tasks are added, changed, leased and deleted one by one.

A change is a compare-and-swap: read, decide, swap; if another client was faster, begin
again. So any number of processes may change one container, and no change is lost.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from msgspec.structs import replace

from ptsflow.client.fields import (
    applied,
    check_name,
    checked,
    lease_ms,
    refuse_contradiction,
)
from ptsflow.client.lease import free
from ptsflow.client.task import Task, task_of
from ptsflow.core import counts, transitions
from ptsflow.core.insight import Outlook
from ptsflow.core.model import (
    Change,
    ContainerRecord,
    Status,
    Tally,
    TaskRecord,
)
from ptsflow.core.names import similar
from ptsflow.errors import (
    Conflict,
    ContainerBusy,
    ContainerNotFound,
    TaskExists,
    TaskNotFound,
)
from ptsflow.stores.base import Store


class Container:
    """A named container of tasks, as it was when it was read; `refresh` reads it again."""

    def __init__(self, store: Store, record: ContainerRecord) -> None:
        self._store = store
        self._record = record
        #: Counted when asked for, and again after a change made here.
        self._counted: list[Tally] | None = None
        #: What a runner told last, as of the same time.
        self._told: Outlook | None = None

    @property
    def name(self) -> str:
        """Its name."""
        return self._record.name

    @property
    def status(self) -> Status:
        """The status that follows from its tasks."""
        return counts.status_of(self._record, self._tallies)

    @property
    def is_complete(self) -> bool:
        """Whether all its tasks are complete; a container without tasks is complete.

        In a workflow, items that are not known yet count as incomplete tasks.
        """
        tallies, record = self._tallies, self._record
        if any(not entry.status.is_complete for entry in tallies):
            return False
        known = {entry.step for entry in tallies}
        return record.status is Status.DONE or all(s.name in known for s in record.plan)

    @property
    def percentage_complete(self) -> float:
        """The percentage complete, 0 to 100, by the weights of its steps.

        Of a workflow's container it is never less than screens have shown.
        """
        return counts.percentage_of(self._record, self._tallies, self._told)

    def refresh(self) -> None:
        """Read the container again.

        Raises:
            ContainerNotFound: it was deleted meanwhile.
        """
        record = self._store.container(self.name)
        if record is None or record.uid != self._record.uid:
            raise self._gone()
        self._record = record
        self._counted = None

    def add_task(self, name: str, **fields: Any) -> Task:
        """Add a task; persisted when it returns.

        Args:
            name: its name, not taken in this container.
            **fields: any field of `Task` but `name`, `status`, `step` and `key`.

        Raises:
            TaskExists: the name is taken.
            InvalidValue: a name, field or value is refused; the subclass says which.
            ContainerBusy: a live runner holds the container.
        """
        check_name(name, "task", self.name)
        values = checked(self.name, name, fields)
        refuse_contradiction(self.name, name, values, complete=False)
        now = self._store.now()
        blank = TaskRecord(name=name, task_data=None, processing_data=None, result=None)
        record = replace(applied(blank, values, now), version=1)
        try:
            self._commit(Change(None, record))
        except Conflict:
            raise self._taken(name) from None
        return task_of(record)

    def update_task(self, task_name: str, /, **fields: Any) -> Task:
        """Change fields of a task; persisted when it returns.

        Args:
            task_name: which task.
            **fields: any field of `Task` but `status`, `step` and `key`; `name=`
                renames it.

        Raises:
            TaskNotFound: there is no such task.
            InvalidValue: a field or value is refused; the subclass says which.
            ContainerBusy: a live runner holds the container.
        """
        check_name(task_name, "task", self.name)
        values = checked(self.name, task_name, fields)
        record = self._swap(
            task_name, lambda task, now: self._updated(task, values, now)
        )
        return task_of(record)

    def get_task(self, name: str) -> Task | None:
        """Return a task, or None."""
        check_name(name, "task", self.name)
        record = self._find(name)
        return None if record is None else task_of(record)

    def get_tasks(self) -> list[Task]:
        """Return all tasks in the order added; of a workflow, in the plan's."""
        return [
            task_of(record) for record in self._store.tasks(self._uid, payloads=True)
        ]

    def get_next_task(self) -> Task | None:
        """Return the first task that is not complete, or None."""
        record = self._store.next_open(self._uid)
        return None if record is None else task_of(record)

    def lease_next_task(self, seconds: float = 60) -> Task | None:
        """Check out the next task that is not complete and not leased, or return None.

        Of any number of callers, each task goes to one at a time. It counts as an
        invocation. After `seconds`, measured by the store's clock, it can be leased again.

        Raises:
            InvalidCount: `seconds` is not a number above 0, or is over 1,000,000,000.
            ContainerBusy: a live runner holds the container.
        """
        millis = lease_ms(f"container {self.name!r}: lease_next_task", seconds)
        while True:
            now = self._store.now()
            task = self._store.next_open(self._uid, unleased_at=now)
            if task is None:
                return None
            leased = transitions.check_out(task, now=now, lease_ms=millis)
            try:
                self._commit(Change(task, leased))
            except Conflict:
                continue
            return task_of(leased)

    def delete_task(self, name: str) -> Task | None:
        """Delete a task and return it, or None where there is none.

        Raises:
            ContainerBusy: a live runner holds the container.
        """
        check_name(name, "task", self.name)
        while (task := self._find(name)) is not None:
            try:
                self._commit(Change(task, None))
            except Conflict:
                continue
            return task_of(task)
        return None

    # -- inside -----------------------------------------------------------------

    @property
    def _uid(self) -> str:
        return self._record.uid

    def _find(self, name: str) -> TaskRecord | None:
        found = self._store.tasks(self._uid, [name], payloads=True)
        return found[0] if found else None

    def _swap(
        self, name: str, decide: Callable[[TaskRecord, int], TaskRecord]
    ) -> TaskRecord:
        while True:
            task = self._find(name)
            if task is None:
                raise self._missing(name)
            after = decide(task, self._store.now())
            try:
                self._commit(Change(task, after))
            except Conflict:
                if after.name != name and self._find(after.name) is not None:
                    raise self._taken(after.name) from None
                continue
            return after

    def _updated(
        self, task: TaskRecord, values: dict[str, Any], now: int
    ) -> TaskRecord:
        refuse_contradiction(self.name, task.name, values, complete=task.is_complete)
        return replace(applied(task, values, now), version=task.version + 1)

    @property
    def _tallies(self) -> list[Tally]:
        if self._counted is None:
            uid = self._uid
            self._counted = self._store.tallies([uid]).get(uid, [])
            if self._record.workflow is not None:
                told = self._store.outlooks([uid], of_earlier_runs=True)
                self._told = told.get(uid)
        return self._counted

    def _commit(self, change: Change) -> None:
        self._counted = None
        while True:
            try:
                self._store.commit(self._uid, [change], fence=None)
            except ContainerBusy:
                held = self._store.container(self.name)
                if held is not None:
                    free(self._store, held)
            except ContainerNotFound:
                raise self._gone() from None
            else:
                return

    def _gone(self) -> ContainerNotFound:
        return ContainerNotFound(
            f"container {self.name!r}: it was deleted; get or create it again"
        )

    def _taken(self, name: str) -> TaskExists:
        return TaskExists(
            f"container {self.name!r}: a task {name!r} is there already; "
            "choose another name, or update that one"
        )

    def _missing(self, name: str) -> TaskNotFound | ContainerNotFound:
        record = self._store.container(self.name)
        if record is None or record.uid != self._uid:
            return self._gone()
        names = [task.name for task in self._store.tasks(self._uid)]
        return TaskNotFound(
            f"container {self.name!r}: there is no task {name!r}"
            f"{similar(name, names)}; add it first"
        )
