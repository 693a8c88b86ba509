"""Task containers and tasks for users: every change is durable when its call returns.

A change is a compare-and-swap: read, decide, swap; if another client was faster, begin
again. So any number of processes may change one container, and no change is lost.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, Self

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
from ptsflow.core.model import (
    Change,
    ContainerRecord,
    Status,
    Tally,
    TaskRecord,
)
from ptsflow.errors import (
    Conflict,
    ContainerBusy,
    ContainerNotFound,
    TaskExists,
    TaskNotFound,
    similar,
)
from ptsflow.host import workdirs
from ptsflow.stores import open_store
from ptsflow.stores.base import Store

#: The store that is used if neither the call nor $PTSFLOW_STORE names one.
DEFAULT_STORE = "sqlite:///.ptsflow/ptsflow.db"


def store_url(url: str | None) -> str:
    """Return `url`, else $PTSFLOW_STORE, else the default store."""
    # An empty `url` is a mistake: it is returned, and refused when it is opened.
    return (os.environ.get("PTSFLOW_STORE") or DEFAULT_STORE) if url is None else url


class Client:
    """A connection to a store; made by `connect`.

    Use it from one thread at a time, and close it, or use it in a `with`.
    """

    def __init__(self, store: Store) -> None:
        self._store = store

    @property
    def url(self) -> str:
        """The URL of the store, with its password masked."""
        return self._store.url

    @property
    def store(self) -> Store:
        """The store itself, for runners."""
        return self._store

    def get_or_create_task_container(self, name: str) -> tuple[Container, bool]:
        """Return the container of that name, and whether this call made it.

        Raises:
            InvalidName: the name is no str, empty, or over 200 bytes.
        """
        check_name(name, "container")
        record, created = self._store.create(name)
        return Container(self._store, record), created

    def get_task_container(self, name: str) -> Container | None:
        """Return the container of that name, or None."""
        check_name(name, "container")
        record = self._store.container(name)
        return None if record is None else Container(self._store, record)

    def get_task_containers(self) -> list[Container]:
        """Return all containers, oldest first."""
        return [Container(self._store, record) for record in self._store.containers()]

    def delete_task_container(self, name: str) -> bool:
        """Delete a container and its tasks; return False where there is none.

        The folders that its tasks have in `task.workdir` on this machine are deleted too.

        Raises:
            ContainerBusy: a live runner holds it.
        """
        check_name(name, "container")
        while True:
            record = self._store.container(name)
            if record is None:
                return False
            if self._store.delete(record.uid):
                workdirs.forget(self._store.url, record)
                return True
            held = self._store.container(name)
            if held is not None and held.uid == record.uid:
                free(self._store, held)

    def close(self) -> None:
        """Close the store."""
        self._store.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def connect(url: str | None = None) -> Client:
    """Open a store.

    Args:
        url: `sqlite:///path.db`, `mongodb://host/database`, or `memory://`. Without it
            $PTSFLOW_STORE, then `sqlite:///.ptsflow/ptsflow.db`.

    Raises:
        StoreURLError: the URL is not understood.
        StoreError: the store cannot be reached, is damaged, or is another program's.
    """
    return Client(open_store(store_url(url)))


class Container:
    """A named container of tasks, as it was when it was read; `refresh` reads it again."""

    def __init__(self, store: Store, record: ContainerRecord) -> None:
        self._store = store
        self._record = record
        #: Counted when asked for, and again after a change made here.
        self._counted: list[Tally] | None = None

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
        """The percentage complete, 0 to 100, by the weights of its steps."""
        if self._record.status is Status.DONE and self.is_complete:
            return 100.0
        return counts.percentage(self._record.plan, self._tallies)

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
            self._counted = self._store.tallies([self._uid]).get(self._uid, [])
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
