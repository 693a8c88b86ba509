"""Tables that commands print once: containers, tasks, attempts, forecasts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby

from msgspec.structs import replace

from ptsflow.core import counts
from ptsflow.core.forecast import Forecast
from ptsflow.core.model import (
    Attempt,
    ContainerRecord,
    Ending,
    Status,
    Stop,
    Tally,
    TaskRecord,
)
from ptsflow.display import as_json
from ptsflow.display import format as fmt
from ptsflow.display.format import SYMBOLS, Line, Piece

#: The most items with one forecast that are named; further ones are counted.
SHOWN = 20


# -- list and show ----------------------------------------------------------


def containers(
    records: Sequence[ContainerRecord],
    tallies: Mapping[str, Sequence[Tally]],
    now: int,
) -> list[Line]:
    """Return a table of containers."""
    titles = ("STATUS", "DONE", "TASKS", "STARTED", "TOOK", "CONTAINER", "", "WORKFLOW")
    rows = [[Piece(title, "title") for title in titles]]
    rows += [_container(record, tallies.get(record.uid, ()), now) for record in records]
    return fmt.columns(rows)


def _container(
    record: ContainerRecord, tallies: Sequence[Tally], now: int
) -> list[Piece]:
    by_status = counts.count_by_status(tallies)
    status = counts.status_of(record, tallies)
    begun = record.started_at
    end = now if record.is_leased(now) else record.ended_at
    return [
        stands(record, status, now),
        Piece(_percent(record, tallies)),
        Piece(f"{by_status[Status.DONE]}/{sum(by_status.values())}"),
        Piece(fmt.moment(begun or record.created_at, now)),
        Piece("" if begun is None or end is None else fmt.duration(end - begun)),
        Piece(fmt.clean(record.name), "name"),
        Piece(_remark(record, by_status, status, now), "dim"),
        Piece(fmt.clean(record.workflow or "-"), "dim"),
    ]


def stands(record: ContainerRecord, status: Status, now: int) -> Piece:
    """Return the status to show; `killed` if its runner has died, `stopped` if it was."""
    if is_orphan(record, status, now):
        return Piece(f"{SYMBOLS[Status.PENDING]} killed", Status.WAITING)
    if is_stopped(record, status):
        return Piece(f"{SYMBOLS[Status.PENDING]} stopped", Status.WAITING)
    return Piece(f"{SYMBOLS[status]} {status}", status)


def is_orphan(record: ContainerRecord, status: Status, now: int) -> bool:
    """Whether the container is recorded as running although its runner has died."""
    runs = status is Status.RUNNING and record.workflow is not None
    return runs and not record.is_leased(now)


def is_stopped(record: ContainerRecord, status: Status) -> bool:
    """Whether a person or a timeout stopped the last run of the container."""
    return status is Status.PENDING and record.ended_at is not None


def seen_tasks(
    record: ContainerRecord, tasks: Sequence[TaskRecord], now: int
) -> Sequence[TaskRecord]:
    """Return tasks as they are shown: nothing runs if the runner has died."""
    if record.workflow is None or record.is_leased(now):
        return tasks
    return [_orphan(task) for task in tasks]


def _orphan(task: TaskRecord) -> TaskRecord:
    if task.status is not Status.RUNNING:
        return task
    text = "was running when the runner was killed"
    return replace(task, status=Status.PENDING, status_text=text)


def _percent(record: ContainerRecord, tallies: Sequence[Tally]) -> str:
    value = fmt.percentage_of(record, tallies)
    done = counts.status_of(record, tallies) is Status.DONE
    return fmt.percent(fmt.nearly(value, is_complete=done or record.workflow is None))


def _remark(
    record: ContainerRecord, by_status: Mapping[Status, int], status: Status, now: int
) -> str:
    if record.is_leased(now):
        return run_by(record)
    if is_orphan(record, status, now):
        return "its runner is gone; run it again"
    beside = (Status.FAILED, Status.SKIPPED)
    return " · ".join(f"{by_status[s]} {s}" for s in beside if by_status[s])


def holder(record: ContainerRecord) -> str:
    """Return the owner of a container: `pid 4711 on host`."""
    owner = record.owner
    return "nobody" if owner is None else f"pid {owner.pid} on {fmt.clean(owner.host)}"


def run_by(record: ContainerRecord) -> str:
    """Say which runner holds the container, and whether it was asked to stop."""
    asked = {None: "", Stop.GENTLY: ", asked to stop", Stop.NOW: ", asked to stop now"}
    return f"run by {holder(record)}{asked[record.stop_asked]}"


def details(record: ContainerRecord, tallies: Sequence[Tally], now: int) -> list[Line]:
    """Return the fields of a container, without its tasks."""
    status = counts.status_of(record, tallies)
    rows = [
        ("status", stands(record, status, now).text),
        ("complete", _percent(record, tallies)),
        ("container", record.name),
        ("workflow", record.workflow or "none: a client's container"),
        ("finished", record.finish_reason),
        ("created", fmt.date_time(record.created_at)),
        ("started", fmt.date_time(record.started_at)),
        ("ended", fmt.date_time(record.ended_at)),
    ]
    rows += [
        (f"-p {name}", fmt.plain_value(value))
        for name, value in as_json.params(record).items()
    ]
    return fmt.columns(
        [[Piece(label, "dim"), Piece(fmt.clean(text))] for label, text in rows if text]
    )


def tasks(records: Iterable[TaskRecord], now: int) -> list[Line]:
    """Return a table of tasks."""
    titles = ("STATUS", "DONE", "RUNS", "STARTED", "TOOK", "TASK", "")
    rows = [[Piece(title, "title") for title in titles]]
    rows += [
        [
            Piece(f"{SYMBOLS[task.status]} {task.status}", task.status),
            Piece(fmt.percent(task.percentage_complete)),
            Piece(str(task.invoke_count)),
            Piece(fmt.moment(task.last_invoked_at, now)),
            Piece(fmt.duration(task.task_duration_ms)),
            Piece(fmt.clean(task.name), "name"),
            Piece(fmt.what(task, now), "dim"),
        ]
        for task in records
    ]
    return fmt.columns(rows)


def fields(record: TaskRecord, *, whole: bool) -> list[Line]:
    """Return every field of a task: how it stands first, its data last; local times.

    Of a value that is long its size is shown, unless it is wanted `whole`.
    """
    values = as_json.task(record, values=whole)
    for name, size in values.pop("left_out", {}).items():
        values[name] = f"{fmt.size(size)}; --values shows it"
    values |= {name: fmt.date_time(getattr(record, name)) for name in _TIMES}
    first = {name: values.pop(name) for name in _FIRST}
    rows = [
        [Piece(name, "dim"), Piece(fmt.plain_value(value))]
        for name, value in (first | values).items()
        if name not in _DATA
    ]
    rows += [
        [Piece(name, "dim"), Piece(fmt.plain_value(values[name]))] for name in _DATA
    ]
    return fmt.columns(rows)


_FIRST = ("status", "percentage_complete", "name", "status_text", "error")
_TIMES = ("last_invoked_at", "task_ended_at", "leased_till")
_DATA = ("task_data", "processing_data", "result")


def attempts(made: Iterable[Attempt]) -> list[Line]:
    """Return a table of the attempts of a task, with the traceback of the last error."""
    made = list(made)
    titles = ("ATTEMPT", "ENDED", "BEGAN", "TOOK", "BY", "")
    rows = [[Piece(title, "title") for title in titles]]
    rows += [
        [
            Piece(str(attempt.number)),
            Piece(_ENDED.get(attempt.ending, attempt.ending), _ENDINGS[attempt.ending]),
            Piece(fmt.date_time(attempt.began_at)),
            Piece(_took(attempt)),
            Piece(fmt.clean(attempt.ran_by)),
            Piece(fmt.clean(attempt.error), "dim"),
        ]
        for attempt in made
    ]
    lines = fmt.columns(rows)
    failed = [attempt for attempt in made if attempt.traceback]
    if failed:
        lines += [[], [Piece(f"attempt {failed[-1].number}:", "title")]]
        text = failed[-1].traceback.rstrip("\n")
        lines += [[Piece(fmt.clean(row), "dim")] for row in text.split("\n")]
    return lines


def _took(attempt: Attempt) -> str:
    # The time of a crash is unknown; only the time when a run found it is.
    at_most = "≤" if attempt.ending is Ending.CRASHED else ""
    return at_most + fmt.duration(attempt.took_ms)


#: How a run's end is called that ended an attempt.
_ENDED = {Ending.CRASHED: "killed", Ending.INTERRUPTED: "stopped"}
_ENDINGS = {
    Ending.DONE: "done",
    Ending.FAILED: "failed",
    Ending.CRASHED: "failed",
    Ending.SKIPPED: "skipped",
    Ending.POSTPONED: "waiting",
    Ending.INTERRUPTED: "waiting",
}


# -- dry run ----------------------------------------------------------------


def forecasts(foreseen: Iterable[Forecast]) -> list[Line]:
    """Return a line for each task; items of a step with one forecast share a line."""
    rows: list[list[Piece]] = []
    for (step, action), group in groupby(foreseen, key=_fate):
        entries = list(group)
        rows += [_forecast(entry) for entry in entries[:SHOWN]]
        rest = len(entries) - SHOWN
        if rest > 0:
            more = f"… and {rest} more of {fmt.clean(step)}"
            rows.append([Piece(action, _MEANINGS.get(action, "")), Piece(more, "dim")])
    return fmt.columns(rows)


_MEANINGS = {
    "run": Status.RUNNING,
    "retry": Status.WAITING,
    "check": Status.WAITING,
    "skip": Status.DONE,
    "blocked": Status.FAILED,
}


def _fate(entry: Forecast) -> tuple[str, str]:
    return entry.name.partition("[")[0], entry.action


def _forecast(entry: Forecast) -> list[Piece]:
    return [
        Piece(entry.action, _MEANINGS.get(entry.action, "dim")),
        Piece(fmt.clean(entry.name), "name"),
        Piece(fmt.clean(entry.reason), "dim"),
    ]
