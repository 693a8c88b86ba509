"""A task as users see it."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from msgspec import Struct

from ptsflow import codec
from ptsflow.core.model import (
    Status,
    TaskRecord,
)
from ptsflow.host.clock import to_datetime


class Task(Struct, frozen=True, kw_only=True):
    """A task as it was when it was read. Date-times are aware UTC."""

    name: str
    is_complete: bool
    has_failed: bool
    #: 0 to 100.
    percentage_complete: float
    status_text: str
    #: The input of the task; a runner never changes it.
    task_data: Any
    #: What an attempt saved, so that the next attempt can continue.
    processing_data: Any
    #: How many attempts were started, over all runs.
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

    A value of a user's class is returned as plain data if its class is not known here.
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
