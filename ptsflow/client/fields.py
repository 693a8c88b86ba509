"""The fields of a task: which values users may set, and how a record changes.

Each refusal is an error of its own, one line that names the container, the task, the
value and what is allowed.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

from msgspec.structs import replace

from ptsflow import codec
from ptsflow.codec.misfit import quote
from ptsflow.core import texts
from ptsflow.core.model import (
    NAME_LIMIT,
    Cause,
    Status,
    TaskRecord,
)
from ptsflow.core.names import listed, similar
from ptsflow.core.numbers import is_number, is_whole
from ptsflow.errors import (
    InvalidCount,
    InvalidFlag,
    InvalidName,
    InvalidPercentage,
    InvalidText,
    InvalidTime,
    UnknownField,
)
from ptsflow.host.clock import to_datetime, to_millis


def check_name(name: object, what: str, container: str | None = None) -> None:
    """Refuse a value that cannot be a name.

    Raises:
        InvalidName: it is no str, empty, blank, over 200 bytes of UTF-8, or not valid text.
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
    if name.isspace():
        raise InvalidName(f"{expected} that are not all blank, found {name!r}")
    if size > NAME_LIMIT:
        raise InvalidName(f"{expected}, found {size} bytes: {name[:40]!r}...")
    if "\0" in name:
        raise InvalidName(f"{expected} without NUL, found {name!r}")


def checked(container: str, task: str, fields: dict[str, Any]) -> dict[str, Any]:
    """Return the fields as records hold them."""
    where = f"container {container!r}, task {task!r}"
    values: dict[str, Any] = {}
    for field, value in fields.items():
        check = _CHECKS.get(field)
        if check is None:
            reason = "is derived" if field in _DERIVED else "is not a field of a task"
            raise UnknownField(
                f"{where}: {field!r} {reason}{similar(field, _CHECKS)}; "
                f"there are {listed(_CHECKS, field)}"
            )
        values[field] = check(f"{where}: {field}", value)
    if "name" in values:
        check_name(values["name"], "task", container)
    return values


def refuse_contradiction(
    container: str,
    task: str,
    values: dict[str, Any],
    *,
    complete: bool,
) -> None:
    """Refuse a task that has failed and is not complete.

    Raises:
        InvalidFlag: the fields would make such a task.
    """
    if values.get("has_failed") and not values.get("is_complete", complete):
        raise InvalidFlag(
            f"container {container!r}, task {task!r}: has_failed=True is for a task that "
            "is complete; give is_complete=True with it"
        )


def applied(task: TaskRecord, values: dict[str, Any], now: int) -> TaskRecord:
    """Return the task with its fields changed; a task that becomes complete ends now."""
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
    if "result" in fields:
        fields["result_hash"] = texts.hash_of(fields["result"])
    if status is not task.status:
        fields |= {"status": status, "due": None, "cause": Cause.NONE}
    return replace(task, **fields)


def _gives_back(task: TaskRecord, values: dict[str, Any]) -> bool:
    """Whether the client that leased the task gives the lease back."""
    leased = task.status is Status.RUNNING and task.leased_till is not None
    return leased and "leased_till" in values and values["leased_till"] is None


def _ending(now: int) -> dict[str, Any]:
    return {"percentage_complete": 100.0, "task_ended_at": now, "leased_till": None}


#: Fields of a task that is opened again: no end, and a fresh budget for a runner.
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
    if is_number(value, 0, 100):
        return float(value) + 0.0  # Never -0.0.
    raise InvalidPercentage(
        f"{label} must be a number from 0 to 100, found {quote(value)}"
    )


#: The largest count: floats, and many readers of JSON, are not exact beyond 2**53.
_MOST = 2**53 - 1
#: The longest duration in seconds, about 32 years: now plus it is still a valid date.
_LONGEST = 1_000_000_000


def _whole(label: str, value: object) -> int:
    if is_whole(value, 0, _MOST):
        return int(value)
    raise InvalidCount(
        f"{label} must be a whole number from 0 to {_MOST}, found {quote(value)}"
    )


def _whole_or_none(label: str, value: object) -> int | None:
    return None if value is None else _whole(label, value)


def _seconds(label: str, value: object) -> float:
    if is_number(value, 0, _LONGEST):
        return float(value) + 0.0  # Never -0.0.
    raise InvalidCount(
        f"{label} must be a number of seconds from 0 to {_LONGEST}, found {quote(value)}"
    )


def lease_ms(label: str, seconds: object) -> int:
    """Return how long a lease lasts, in milliseconds.

    Raises:
        InvalidCount: it is no number of seconds above 0.
    """
    if is_number(seconds, 0, _LONGEST) and seconds > 0:
        return max(1, round(seconds * 1000))
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
    return texts.cut(_text(label, value), texts.TEXT_LIMIT)


def _error(label: str, value: object) -> str | None:
    if value is None:
        return None
    return texts.cut(_text(label, value), texts.ERROR_LIMIT)


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
