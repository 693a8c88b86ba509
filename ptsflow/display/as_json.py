"""What `--json` prints: plain data made from records, without any user's class.

Stored values keep their exact types; JSON has fewer. So tuples and sets become lists
(sets sorted), bytes base64 text, dates and times ISO 8601, timedeltas seconds, decimals,
UUIDs, paths and integers beyond 64 bits text, enum members their names, and instances
of classes objects of their fields.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from msgspec import UNSET, UnsetType

from ptsflow import codec
from ptsflow.core import counts
from ptsflow.core.container_fit import parameters_of
from ptsflow.core.insight import Outlook
from ptsflow.core.model import (
    Attempt,
    ContainerRecord,
    Owner,
    StepSummary,
    Tally,
    TaskRecord,
)
from ptsflow.core.secrets import source_of
from ptsflow.errors import StoredValueError
from ptsflow.host.clock import to_datetime
from ptsflow.stores.url_mask import mask_in

#: The version of these objects: one more when a field changes its meaning or is removed.
SCHEMA = 1

#: The longest stored value that is shown without being asked for, in bytes.
LONGEST_VALUE = 64 * 1024

Json = Any


def dumps(value: Json) -> str:
    """Return an object as one line of ASCII; control characters in data are escaped."""
    return json.dumps(value, ensure_ascii=True, allow_nan=False)


def indented(value: Json) -> str:
    """Return an object for people to read, on many lines."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False, indent=2)


def container(
    record: ContainerRecord,
    tallies: Sequence[Tally],
    *,
    now: int,
    outlook: Outlook | None = None,
) -> dict[str, Json]:
    """Return a container without its tasks.

    Args:
        record: the container.
        tallies: its tasks, counted.
        now: the time in milliseconds since the epoch.
        outlook: what its runner told.
    """
    by_status = counts.count_by_status(tallies)
    percentage = counts.percentage_of(record, tallies, outlook)
    return {
        "schema": SCHEMA,
        "container": record.name,
        "workflow": record.workflow,
        "status": counts.status_of(record, tallies),
        "percentage_complete": round(percentage, 3),
        "params": params(record),
        "counts": {str(status): count for status, count in by_status.items()},
        **_expected(outlook, now),
        "owner": owner(record) if record.is_leased(now) else None,
        "created_at": when(record.created_at),
        "started_at": when(record.started_at),
        "ended_at": when(record.ended_at),
    }


def _expected(outlook: Outlook | None, now: int) -> dict[str, Json]:
    """Return when a run will be over; None where it is not known."""
    ends: tuple[int | None, ...] = (None,) * 3
    if outlook is not None and outlook.eta_at is not None:
        ends = outlook.eta_at, outlook.low_at, outlook.high_at
    names = ("eta_seconds", "eta_low_seconds", "eta_high_seconds")
    left: dict[str, Json] = {
        name: None if end is None else round(max(0, end - now) / 1000, 1)
        for name, end in zip(names, ends, strict=True)
    }
    runs = None if outlook is None or ends[0] is None else outlook.runs
    return left | {"eta_at": when(ends[0]), "eta_runs": runs}


def whole(
    record: ContainerRecord,
    tasks: Sequence[TaskRecord],
    shown: list[dict[str, Json]],
    *,
    now: int,
    outlook: Outlook | None = None,
) -> dict[str, Json]:
    """Return a container with its tasks.

    Args:
        record: the container.
        tasks: its tasks; no payloads are needed.
        shown: what `task` made of each of them.
        now: the time in milliseconds since the epoch.
        outlook: what its runner told.
    """
    tallies = counts.tallies_of(tasks)
    return container(record, tallies, now=now, outlook=outlook) | {"tasks": shown}


def owner(record: ContainerRecord) -> dict[str, Json]:
    """Return who holds a container, since when and until when."""
    held: Owner | None = record.owner
    return {
        "host": held.host if held else None,
        "pid": held.pid if held else None,
        "since": when(held.since if held else None),
        "until": when(record.leased_till),
    }


def params(record: ContainerRecord) -> dict[str, Json]:
    """Return the parameters of a container's workflow; of a secret, where it comes from.

    URLs are without their passwords.

    Raises:
        StoreDamaged: as `parameters_of` does.
    """
    return {
        name: source_of(text) or value(mask_in(text))
        for name, text in parameters_of(record).items()
    }


def step(summary: StepSummary) -> dict[str, Json]:
    """Return a step of a plan."""
    return {
        "name": summary.name,
        "needs": list(summary.needs),
        "above": summary.above,
        "each": summary.each,
        "parallel": summary.parallel,
        "always": summary.always,
        "optional": summary.optional,
        "tolerate": summary.tolerate,
        "weight": summary.weight,
        "text": summary.text,
    }


def task(record: TaskRecord, *, values: bool = True) -> dict[str, Json]:
    """Return a task: the fields that the client API has, and `step` and `key`.

    Without `values`, those over `LONGEST_VALUE` are None; `left_out` has their sizes.
    """
    data = {name: getattr(record, name) for name in ("task_data", "processing_data")}
    data["result"] = record.result
    left_out = {} if values else _too_long(data)
    data |= dict.fromkeys(left_out)
    fields = {
        "name": record.name,
        "step": record.step,
        "key": record.key,
        "is_complete": record.is_complete,
        "has_failed": record.has_failed,
        "percentage_complete": round(record.percentage_complete, 3),
        "status_text": record.status_text,
        "task_data": value(data["task_data"]),
        "processing_data": value(data["processing_data"]),
        "invoke_count": record.invoke_count,
        "last_invoked_at": when(record.last_invoked_at),
        "task_ended_at": when(record.task_ended_at),
        "task_duration_ms": record.task_duration_ms,
        "leased_till": when(record.leased_till),
        "max_retries": record.max_retries,
        "delay_between_retries": record.delay_between_retries,
        "status": str(record.status),
        "result": value(data["result"]),
        "error": record.error,
    }
    return fields | ({"left_out": left_out} if left_out else {})


def _too_long(data: Mapping[str, str | UnsetType | None]) -> dict[str, int]:
    """Return the size in bytes of each stored value that is not shown unasked."""
    sizes = {
        name: len(text.encode())
        for name, text in data.items()
        # No character has more than four bytes.
        if isinstance(text, str) and 4 * len(text) > LONGEST_VALUE
    }
    return {name: size for name, size in sizes.items() if size > LONGEST_VALUE}


def attempt(entry: Attempt) -> dict[str, Json]:
    """Return one entry of a task's ledger."""
    host, _, pid = entry.ran_by.rpartition(":")
    return {
        "number": entry.number,
        "began_at": when(entry.began_at),
        "ended_at": when(entry.ended_at),
        "duration_ms": entry.took_ms,
        "ending": str(entry.ending),
        "error_type": entry.error_type or None,
        "error": entry.error or None,
        "traceback": entry.traceback or None,
        "host": host or None,
        "pid": int(pid) if pid.isdecimal() else None,
    }


def when(ms: int | None) -> str | None:
    """Return a time as ISO 8601 in UTC, to the millisecond."""
    moment = to_datetime(ms)
    if moment is None:
        return None
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


# -- values -----------------------------------------------------------------


def value(text: str | UnsetType | None) -> Json:
    """Return a stored value as plain data; an unreadable value as its stored text."""
    if text is None or text is UNSET:
        return None
    try:
        return render(codec.parse(str(text)))
    except (StoredValueError, RecursionError):
        return str(text)


def render(tree: Json) -> Json:
    """Return the tree of a stored value as plain data."""
    if isinstance(tree, list):
        return [render(element) for element in tree]
    if not isinstance(tree, dict):
        return tree
    if "$" not in tree:
        return {key: render(element) for key, element in tree.items()}
    held = tree.get("v")
    match tree["$"]:
        case "tuple":
            return render(held)
        case "set" | "frozenset" if isinstance(held, list):
            return sorted((render(element) for element in held), key=dumps)
        case "bytes" | "decimal" | "uuid" | "path":
            return held
        case "dict" if isinstance(held, dict):
            return {key: render(element) for key, element in held.items()}
    return render(held) if "n" in tree else _scalar(tree)


def _scalar(tree: dict[str, Json]) -> Json:
    try:
        found = codec.from_tree(tree)
    except StoredValueError:
        return tree
    if isinstance(found, datetime):
        text = found.isoformat()
        return f"{text.removesuffix('+00:00')}Z" if found.tzinfo is UTC else text
    if isinstance(found, (date, time)):
        return found.isoformat()
    if isinstance(found, timedelta):
        return found.total_seconds()
    return _number(found) if isinstance(found, int) else tree


def _number(number: int) -> str:
    try:
        return str(number)
    except (
        ValueError
    ):  # Python refuses to format an int with more than 4,300 decimal digits.
        return hex(number)
