"""Records as rows of SQLite and back, and the check values that bind them.

Every row has a check value of its other columns. SQLite keeps a whole float as an integer
and has no negative zero. So `+ 0.0` makes such values alike before the check value is
computed.

What belongs to a row but lies elsewhere is bound to the row: a container has the number of
its tasks; a task has the check values of its payloads, null where there is none, and the
length of its ledger. So a part that is lost, or belongs to another row, is damage.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from operator import itemgetter
from typing import Any, NamedTuple
from zlib import crc32

from msgspec import UNSET
from msgspec.json import decode as from_json
from msgspec.json import encode as to_json
from msgspec.msgpack import encode
from msgspec.structs import asdict

from ptsflow.core.model import (
    PAYLOADS,
    Attempt,
    Cause,
    ContainerRecord,
    Owner,
    Status,
    StepSummary,
    Stop,
    Tally,
    TaskRecord,
)
from ptsflow.core.pack import IDENTITY, Pack, divided, packed
from ptsflow.core.stored_plan import misfit
from ptsflow.stores.sqlite.statements import FIGURES, PERCENTAGE, PLAIN, TASK, TEXT

#: A row as SQLite returns it; the STRICT tables guarantee the types of its cells.
Row = tuple[Any, ...]


@lru_cache
def number(uid: str) -> int:
    """Return the uid as an integer; for a uid of another kind of store 0, which none has."""
    return int(uid) if uid.isdecimal() and len(uid) < 19 else 0  # noqa: PLR2004 - 64 bits.


def is_intact(row: Row) -> bool:
    """Return whether the check value at the row's end fits the other columns."""
    return bool(crc32(encode(row[:-1])) == row[-1])


class Kept(NamedTuple):
    """The store's own columns of a container."""

    next_position: int
    task_count: int


def container_row(record: ContainerRecord, kept: Kept) -> Row:
    """Return the columns of a container, the check value last."""
    owner = record.owner
    columns = asdict(record) | {
        "uid": int(record.uid),
        "plan": to_json(record.plan).decode(),
        "owner": None if owner is None else to_json(owner).decode(),
    }
    row = (*columns.values(), *kept)
    return (*row, crc32(encode(row)))


def kept_of(row: Row) -> Kept:
    """Return the store's own columns of an intact row."""
    return Kept(*row[-3:-1])


def container_of(row: Row) -> ContainerRecord:
    """Return the container of an intact row."""
    columns = dict(zip(ContainerRecord.__struct_fields__, row, strict=False))
    return _record_of(columns, _plan_of(columns["plan"]))


@lru_cache(maxsize=2)
def _plan_of(text: str) -> tuple[StepSummary, ...]:
    # A run reads its own plan several times, and many containers have the same one.
    return from_json(text, type=tuple[StepSummary, ...])


@lru_cache(maxsize=2)
def plan_misfit(text: str) -> str | None:
    """Return what in a plan's JSON text no run can have written; None if there is nothing."""
    return misfit(_plan_of(text))


def planless(row: Row) -> ContainerRecord:
    """Return the container of an intact row, without its plan."""
    return _record_of(
        dict(zip(ContainerRecord.__struct_fields__, row, strict=False)), ()
    )


def _record_of(
    columns: dict[str, Any], plan: tuple[StepSummary, ...]
) -> ContainerRecord:
    owner, stop = columns["owner"], columns["stop_asked"]
    columns |= {
        "uid": str(columns["uid"]),
        "plan": plan,
        "status": _STATUSES[columns["status"]],
        "owner": None if owner is None else from_json(owner, type=Owner),
        "stop_asked": None if stop is None else Stop(stop),
    }
    return ContainerRecord(**columns)


#: Columns with few different texts; a million tasks share them.
_ALIKE = ("step", "code_version", "code_hash", "ran_by")
#: Times that are often the same as another one; then the two share one object.
_OFTEN_EQUAL = {"last_invoked_at": "began_at", "task_ended_at": "last_invoked_at"}
_STATUSES = {status.value: status for status in Status}
#: Returns the status of a word, or None.
status_of = _STATUSES.get
_ENUMS = {
    "status": _STATUSES,
    "cause": {cause.value: cause for cause in Cause},
}


def _compiled(parameters: str, expression: str) -> Callable[..., Any]:
    """Compile a function that names every field; a loop over fields takes twice as long."""
    known = {
        "TaskRecord": TaskRecord,
        "crc32": crc32,
        "encode": encode,
        "enums": _ENUMS,
        "intern": sys.intern,
        "usual": {figure: figure for figure in (0.0, 30.0, 100.0)}.get,
    }
    function: Callable[..., Any] = eval(  # noqa: S307 - made of names of fields alone.
        f"lambda {parameters}: {expression}", known
    )
    return function


def _compiled_row() -> Callable[[int, TaskRecord, int], Row]:
    cells = {name: f"task.{name}" for name in PLAIN}
    cells |= {name: f"task.{name} + 0.0" for name in FIGURES}
    keys = "container, task.name, position, 0 if task.step or task.is_complete else 1"
    row = f"(row := ({keys}, {', '.join(cells.values())}))"
    return _compiled("container, task, position", f"(*{row}, crc32(encode(row)))")


def _compiled_task_of() -> Callable[[Row, Row], TaskRecord]:
    cells = {"name": "row[1]", "position": "row[2]"}
    cells |= {name: f"row[{place}]" for place, name in enumerate(PLAIN, 4)}
    cells |= {name: f"enums[{name!r}][{cells[name]}]" for name in _ENUMS}
    cells |= {name: f"intern({cells[name]})" for name in _ALIKE}
    cells |= {name: f"usual({cells[name]}, {cells[name]})" for name in FIGURES}
    for name, before in _OFTEN_EQUAL.items():
        one, other = cells[name], cells[before]
        cells[name] = f"({other} if {one} == {other} else {one})"
    cells |= {name: f"payloads[{place}]" for place, name in enumerate(PAYLOADS)}
    fields = ", ".join(f"{name}={cell}" for name, cell in cells.items())
    return _compiled("row, payloads", f"TaskRecord({fields})")


#: Makes the columns of a task, the check value last, of its container's number, the task
#: and its position.
task_row = _compiled_row()
#: Makes a task of an intact row and of its payloads, in the order of `PAYLOADS`.
task_of = _compiled_task_of()


#: Returns of a row of a task what says whether the task may be packed.
_identity = itemgetter(*map(TASK.index, IDENTITY))


def packed_rows(batch: list[Row]) -> tuple[list[Row], list[Pack]]:
    """Return those of the intact rows of tasks that are not packed, and the packs."""
    single, groups = divided(batch, _identity)
    return single, [
        packed(dict(zip(TASK, zip(*some, strict=True), strict=True))) for some in groups
    ]


def changed_payloads(before: TaskRecord, after: TaskRecord) -> dict[int, str | None]:
    """Return the payloads that a change writes, by their places in `PAYLOADS`."""
    task_data, saved, result = after.task_data, after.processing_data, after.result
    if (
        task_data is before.task_data
        and saved is before.processing_data
        and result is before.result
    ):
        return _UNCHANGED
    changed: dict[int, str | None] = {}
    if task_data is not before.task_data and task_data is not UNSET:
        changed[0] = task_data
    if saved is not before.processing_data and saved is not UNSET:
        changed[1] = saved
    if result is not before.result and result is not UNSET:
        changed[2] = result
    return changed


_UNCHANGED: dict[int, str | None] = {}


def checks_of(payloads: Mapping[int, str | None], task: TaskRecord) -> Row:
    """Return the check values of payloads that a change writes; None for one that is dropped.

    The hash of a result has the check value in its lower half; in its upper half is the
    length, by which another text's hash is told.
    """
    length, known = divmod(task.result_hash, 1 << 32)
    return tuple(
        None
        if text is None
        else known
        if text is task.result and length == len(text) and text.isascii()
        else crc32(text.encode())
        for text in payloads.values()
    )


#: The payloads of a task that was read without them.
NOT_LOADED = (UNSET, UNSET, UNSET)


def progressed(row: Row, percentage: float, text: str) -> Row:
    """Return the values that `TOUCH` writes: percentage, text and the new check value."""
    moved = list(row[:-1])
    moved[PERCENTAGE], moved[TEXT] = percentage + 0.0, text
    return moved[PERCENTAGE], text, crc32(encode(moved))


def tally_of(cells: Sequence[Any]) -> Tally | None:
    """Return the tally of a group, or None if a task in it is damaged."""
    step, word, count, percentage = cells
    status = status_of(word)
    if status is None or not isinstance(step, str):
        return None
    if not (isinstance(percentage, float) and 0 <= percentage <= 100 * count):
        return None
    return Tally(step, status, count, percentage)


def attempt_row(task: int, attempt: Attempt) -> Row:
    """Return the columns of an attempt, the check value last."""
    entry = to_json(attempt)
    row = (task, attempt.number, entry)
    return task, attempt.number, entry.decode(), crc32(encode(row))


def payloads_of(cells: Row) -> Row | None:
    """Return the texts of three (check value, bytes) pairs; None if a value does not fit.

    Both are null for a payload that does not exist. One null alone is a payload that was
    lost, or one of another task.
    """
    texts: list[str | None] = []
    for value, data in zip(cells[::2], cells[1::2], strict=True):
        if value is None is data:
            texts.append(None)
        elif value is None or data is None or crc32(data) != value:
            return None
        else:
            texts.append(data.decode())
    return tuple(texts)
