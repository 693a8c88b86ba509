"""Task containers and tasks for users: everything is persisted when a call returns.

Changes are compare-and-swap: read, decide, swap; again if somebody was faster. So any
number of processes add, update, lease and delete at once, and nothing is lost.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import datetime
from typing import Any, Self

from msgspec import Struct
from msgspec.structs import replace

from ptsflow import codec, tally, transitions
from ptsflow.clock import to_datetime, to_millis
from ptsflow.codec.misfit import quote
from ptsflow.errors import (
    Conflict,
    ContainerBusy,
    ContainerNotFound,
    InvalidCount,
    InvalidFlag,
    InvalidName,
    InvalidPercentage,
    InvalidText,
    InvalidTime,
    TaskExists,
    TaskNotFound,
    UnknownField,
)
from ptsflow.lease import free
from ptsflow.loading import similar
from ptsflow.model import (
    NAME_LIMIT,
    Cause,
    Change,
    ContainerRecord,
    Status,
    Tally,
    TaskRecord,
)
from ptsflow.stores import open_store
from ptsflow.stores.base import Store

#: Where tasks are kept if neither the call nor $PTSFLOW_STORE says so.
DEFAULT_STORE = "sqlite:///.ptsflow/ptsflow.db"


def store_url(url: str | None) -> str:
    """Return `url`, else $PTSFLOW_STORE, else the default store."""
    # An empty URL given here is a mistake, and is refused when it is opened.
    return (os.environ.get("PTSFLOW_STORE") or DEFAULT_STORE) if url is None else url


class Task(Struct, frozen=True, kw_only=True):
    """A task as it was when it was read. Date-times are aware UTC."""

    name: str
    is_complete: bool
    has_failed: bool
    #: 0 to 100.
    percentage_complete: float
    status_text: str
    #: What the task needs; not changed while it is worked on.
    task_data: Any
    #: What was saved on the way, to continue after a failure.
    processing_data: Any
    #: How often it was started, over all.
    invoke_count: int
    last_invoked_at: datetime | None
    task_ended_at: datetime | None
    task_duration_ms: int | None
    leased_till: datetime | None
    max_retries: int
    #: Seconds.
    delay_between_retries: float
    status: Status
    result: Any
    error: str | None
    #: The step of a workflow that it belongs to, or "".
    step: str = ""
    #: The item's key in a fan-out.
    key: str | None = None


def task_of(record: TaskRecord, result_hint: Any = Any) -> Task:
    """Return a stored task as users see it.

    A value of a user's class is shown as stored data where its class is not known here.
    """
    return Task(
        name=record.name,
        is_complete=record.is_complete,
        has_failed=record.has_failed,
        percentage_complete=record.percentage_complete,
        status_text=record.status_text,
        task_data=_value(record.task_data),
        processing_data=_value(record.processing_data),
        invoke_count=record.invoke_count,
        last_invoked_at=to_datetime(record.last_invoked_at),
        task_ended_at=to_datetime(record.task_ended_at),
        task_duration_ms=record.task_duration_ms,
        leased_till=to_datetime(record.leased_till),
        max_retries=record.max_retries,
        delay_between_retries=record.delay_between_retries,
        status=record.status,
        result=_value(record.result, result_hint),
        error=record.error,
        step=record.step,
        key=record.key,
    )


def _value(text: Any, hint: Any = Any) -> Any:
    return codec.peek(text, hint) if isinstance(text, str) else None


class Client:
    """A connection to a store; made by `connect`.

    Use it from one thread at a time, and close it, or use it in a `with`.
    """

    def __init__(self, store: Store) -> None:
        self._store = store

    @property
    def url(self) -> str:
        """Where the store is, passwords masked."""
        return self._store.url

    @property
    def store(self) -> Store:
        """The store itself, for what runs on it."""
        return self._store

    def get_or_create_task_container(self, name: str) -> tuple[Container, bool]:
        """Return the container of that name, and whether it was made now.

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

        Raises:
            ContainerBusy: a live runner holds it.
        """
        check_name(name, "container")
        while True:
            record = self._store.container(name)
            if record is None:
                return False
            if self._store.delete(record.uid):
                return True
            held = self._store.container(name)
            if held is not None and held.uid == record.uid:
                free(self._store, held)

    def close(self) -> None:
        """Let go of the store."""
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
        """What became of it, as far as its tasks tell."""
        return tally.status_of(self._record, self._tallies)

    @property
    def is_complete(self) -> bool:
        """Whether all its tasks are; a container without tasks is complete.

        Of a workflow, items that are not known yet are tasks that are not complete.
        """
        tallies, record = self._tallies, self._record
        if any(not entry.status.is_complete for entry in tallies):
            return False
        known = {entry.step for entry in tallies}
        return record.status is Status.DONE or all(s.name in known for s in record.plan)

    @property
    def percentage_complete(self) -> float:
        """How much of it is complete, 0 to 100, by the weights of its steps."""
        if self._record.status is Status.DONE and self.is_complete:
            return 100.0
        return tally.percentage(self._record.plan, self._tallies)

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
        values = _checked(self.name, name, fields)
        _refuse_contradiction(self.name, name, values, complete=False)
        now = self._store.now()
        blank = TaskRecord(name=name, task_data=None, processing_data=None, result=None)
        record = replace(_applied(blank, values, now), version=1)
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
        values = _checked(self.name, task_name, fields)
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
        lease_ms = _lease_ms(f"container {self.name!r}: lease_next_task", seconds)
        while True:
            now = self._store.now()
            task = self._store.next_open(self._uid, unleased_at=now)
            if task is None:
                return None
            leased = transitions.check_out(task, now=now, lease_ms=lease_ms)
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
        _refuse_contradiction(self.name, task.name, values, complete=task.is_complete)
        return replace(_applied(task, values, now), version=task.version + 1)

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


def check_name(name: object, what: str, container: str | None = None) -> None:
    """Refuse what cannot be a name.

    Raises:
        InvalidName: it is no str, empty, over 200 bytes of UTF-8, or not valid text.
    """
    where = "" if container is None else f"container {container!r}: "
    expected = f"{where}the name of a {what} must be a str of 1 to {NAME_LIMIT} bytes"
    if type(name) is not str:
        raise InvalidName(f"{expected}, found {quote(name)} ({type(name).__name__})")
    try:
        size = len(name.encode())
    except UnicodeEncodeError:
        raise InvalidName(
            f"{expected}, found {quote(name)}, which is no valid text"
        ) from None
    if size == 0:
        raise InvalidName(f"{expected}, found an empty one")
    if size > NAME_LIMIT:
        raise InvalidName(f"{expected}, found {size} bytes: {name[:40]!r}...")
    if "\0" in name:
        raise InvalidName(f"{expected} without NUL, found {name!r}")


def _checked(container: str, task: str, fields: dict[str, Any]) -> dict[str, Any]:
    """Return the fields as records hold them."""
    where = f"container {container!r}, task {task!r}"
    values: dict[str, Any] = {}
    for field, value in fields.items():
        check = _CHECKS.get(field)
        if check is None:
            reason = "is derived" if field in _DERIVED else "is not a field of a task"
            raise UnknownField(
                f"{where}: {field!r} {reason}{similar(field, _CHECKS)}; "
                f"there are {', '.join(_CHECKS)}"
            )
        values[field] = check(f"{where}: {field}", value)
    if "name" in values:
        check_name(values["name"], "task", container)
    return values


def _refuse_contradiction(
    container: str,
    task: str,
    values: dict[str, Any],
    *,
    complete: bool,
) -> None:
    if values.get("has_failed") and not values.get("is_complete", complete):
        raise InvalidFlag(
            f"container {container!r}, task {task!r}: has_failed=True is for a task that "
            "is complete; give is_complete=True with it"
        )


def _applied(task: TaskRecord, values: dict[str, Any], now: int) -> TaskRecord:
    """Return the task with fields changed; completing one ends it."""
    fields = dict(values)
    complete = fields.pop("is_complete", task.is_complete)
    failed = fields.pop("has_failed", task.has_failed and complete)
    status = task.status
    if not complete and (task.is_complete or _gives_back(task, values)):
        status = Status.PENDING
    elif complete and (not task.is_complete or failed != task.has_failed):
        status = Status.FAILED if failed else Status.DONE
    if complete and not task.is_complete:
        fields = _ending(now) | fields
        ended = fields["task_ended_at"]
        if task.last_invoked_at is not None and ended is not None:
            duration = max(0, ended - task.last_invoked_at)
            fields.setdefault("task_duration_ms", duration)
    elif complete and "is_complete" in values:
        fields.setdefault("percentage_complete", 100.0)
    elif task.is_complete and not complete:
        fields = _REOPENED | fields
    if status is not task.status:
        fields |= {"status": status, "due": None, "cause": Cause.NONE}
    return replace(task, **fields)


def _gives_back(task: TaskRecord, values: dict[str, Any]) -> bool:
    """Whether the one who leased the task lets others have it."""
    leased = task.status is Status.RUNNING and task.leased_till is not None
    return leased and "leased_till" in values and values["leased_till"] is None


def _ending(now: int) -> dict[str, Any]:
    return {"percentage_complete": 100.0, "task_ended_at": now, "leased_till": None}


#: A task that is opened again has not ended, and a runner's has a fresh budget.
_REOPENED: dict[str, Any] = {
    "task_ended_at": None,
    "task_duration_ms": None,
    "attempt": 0,
    "began_at": None,
}


def _flag(label: str, value: object) -> bool:
    if isinstance(value, bool):
        return value
    raise InvalidFlag(f"{label} must be True or False, found {quote(value)}")


def _percentage(label: str, value: object) -> float:
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if number and 0 <= value <= 100:  # type: ignore[operator] # noqa: PLR2004 - a number
        return float(value) + 0.0  # type: ignore[arg-type] # a number, never -0.0
    raise InvalidPercentage(
        f"{label} must be a number from 0 to 100, found {quote(value)}"
    )


#: The largest count: beyond it a float, and so many a reader of JSON, is not exact.
_MOST = 2**53 - 1
#: The longest duration in seconds, about 32 years: its end is still a date.
_LONGEST = 1_000_000_000


def _whole(label: str, value: object) -> int:
    whole = isinstance(value, int) and not isinstance(value, bool)
    if whole and 0 <= value <= _MOST:  # type: ignore[operator] # a number
        return int(value)  # type: ignore[call-overload,no-any-return] # a number
    raise InvalidCount(
        f"{label} must be a whole number from 0 to {_MOST}, found {quote(value)}"
    )


def _whole_or_none(label: str, value: object) -> int | None:
    return None if value is None else _whole(label, value)


def _seconds(label: str, value: object) -> float:
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if number and 0 <= value <= _LONGEST:  # type: ignore[operator] # a number
        return float(value) + 0.0  # type: ignore[arg-type] # a number, never -0.0
    raise InvalidCount(
        f"{label} must be a number of seconds from 0 to {_LONGEST}, found {quote(value)}"
    )


def _lease_ms(label: str, seconds: object) -> int:
    number = isinstance(seconds, (int, float)) and not isinstance(seconds, bool)
    if number and 0 < seconds <= _LONGEST:  # type: ignore[operator] # a number
        return max(1, round(seconds * 1000))  # type: ignore[operator] # a number
    raise InvalidCount(
        f"{label} expects a number of seconds above 0, up to {_LONGEST}, found {quote(seconds)}"
    )


def _time(label: str, value: object) -> int | None:
    if value is None:
        return None
    if not isinstance(value, datetime) or value.utcoffset() is None:
        raise InvalidTime(
            f"{label} must be a datetime with a time zone, or None, found {quote(value)}"
        )
    millis = to_millis(value)
    try:
        to_datetime(millis)
    except OverflowError:
        raise InvalidTime(
            f"{label} must be in the years 1 to 9999 of UTC, found {quote(value)}"
        ) from None
    return millis


def _text(label: str, value: object) -> str:
    if type(value) is str:
        try:
            value.encode()
        except UnicodeEncodeError:
            raise InvalidText(f"{label} is no valid text: {quote(value)}") from None
        return value
    raise InvalidText(f"{label} must be a str, found {quote(value)}")


def _status_text(label: str, value: object) -> str:
    return transitions.cut(_text(label, value), transitions.TEXT_LIMIT)


def _error(label: str, value: object) -> str | None:
    if value is None:
        return None
    return transitions.cut(_text(label, value), transitions.ERROR_LIMIT)


def _data(label: str, value: object) -> str | None:
    return None if value is None else codec.encode(value, what=label)


def _name(_label: str, value: object) -> object:
    return value


#: Fields of a `Task` that follow from others, or belong to its workflow.
_DERIVED = ("status", "step", "key")
_CHECKS: dict[str, Callable[[str, Any], Any]] = {
    "name": _name,
    "is_complete": _flag,
    "has_failed": _flag,
    "percentage_complete": _percentage,
    "status_text": _status_text,
    "task_data": _data,
    "processing_data": _data,
    "invoke_count": _whole,
    "last_invoked_at": _time,
    "task_ended_at": _time,
    "task_duration_ms": _whole_or_none,
    "leased_till": _time,
    "max_retries": _whole,
    "delay_between_retries": _seconds,
    "result": _data,
    "error": _error,
}
