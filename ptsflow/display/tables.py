"""Tables that commands print once: containers, tasks, attempts."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence

from msgspec.structs import replace

from ptsflow.core import counts
from ptsflow.core.insight import Glance, Outlook
from ptsflow.core.model import (
    Attempt,
    ContainerRecord,
    Ending,
    Status,
    Stop,
    Tally,
    TaskRecord,
)
from ptsflow.display import as_json, expected
from ptsflow.display import format as fmt
from ptsflow.display.format import SYMBOLS, Line, Piece

# -- list and show ----------------------------------------------------------


def containers(
    records: Sequence[ContainerRecord],
    tallies: Mapping[str, Sequence[Tally]],
    now: int,
    outlooks: Mapping[str, Outlook],
    damaged: Collection[str] = (),
) -> list[Line]:
    """Return a table of containers.

    Args:
        records: the containers.
        tallies: the tasks of each, counted.
        now: the time.
        outlooks: what the runners of some told.
        damaged: the uids of those that have damaged tasks.
    """
    titles = ("STATUS", "DONE", "TASKS", "STARTED", "TOOK", "CONTAINER", "", "WORKFLOW")
    rows = [[Piece(title, "title") for title in titles]]
    rows += [
        _container(record, tallies.get(record.uid, ()), now, outlooks.get(record.uid))
        if record.uid not in damaged
        else _damaged(record, now)
        for record in records
    ]
    return fmt.columns(rows)


def _damaged(record: ContainerRecord, now: int) -> list[Piece]:
    """Return the row of a container whose tasks cannot be counted."""
    begun = fmt.moment(record.started_at or record.created_at, now)
    name, workflow = map(fmt.clean, (record.name, record.workflow or "-"))
    return [
        Piece(f"{SYMBOLS[Status.FAILED]} damaged", Status.FAILED),
        *(Piece(""), Piece(""), Piece(begun), Piece("")),
        Piece(name, "name"),
        Piece("a task of it cannot be read", "dim"),
        Piece(workflow, "dim"),
    ]


def _container(
    record: ContainerRecord,
    tallies: Sequence[Tally],
    now: int,
    outlook: Outlook | None,
) -> list[Piece]:
    by_status = counts.count_by_status(tallies)
    status = counts.status_of(record, tallies)
    begun = record.started_at
    end = now if record.is_leased(now) else record.ended_at
    return [
        stands(record, status, now),
        Piece(_percent(record, tallies, outlook)),
        Piece(f"{by_status[Status.DONE]}/{sum(by_status.values())}"),
        Piece(fmt.moment(begun or record.created_at, now)),
        Piece("" if begun is None or end is None else fmt.duration(end - begun)),
        Piece(fmt.clean(record.name), "name"),
        Piece(_remark(record, by_status, status, now, outlook), "dim"),
        Piece(fmt.clean(record.workflow or "-"), "dim"),
    ]


def stands(record: ContainerRecord, status: Status, now: int) -> Piece:
    """Return the status to show; also whether a runner died, is stopping, or was stopped."""
    if record.is_leased(now) and record.stop_asked is not None:
        return Piece(f"{SYMBOLS[Status.RUNNING]} stopping", Status.RUNNING)
    if is_orphan(record, status, now):
        return Piece(f"{SYMBOLS[Status.PENDING]} killed", fmt.KILLED)
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


def seen_glance(record: ContainerRecord, glance: Glance, now: int) -> Glance:
    """Return a glance as it is shown: nothing runs if the runner has died."""
    if record.workflow is None or record.is_leased(now):
        return glance
    tallies = seen_tallies(record, glance.tallies, now)
    plain = seen_tasks(record, glance.plain, now)
    active = [task for task in glance.active if task.status is not Status.RUNNING]
    return replace(glance, tallies=tallies, plain=plain, active=active)


def seen_tallies(
    record: ContainerRecord, tallies: Sequence[Tally], now: int
) -> Sequence[Tally]:
    """Return counts of tasks as they are shown: nothing runs if the runner has died."""
    if record.workflow is None or record.is_leased(now):
        return tallies
    return [
        replace(tally, status=Status.PENDING)
        if tally.status is Status.RUNNING
        else tally
        for tally in tallies
    ]


def _orphan(task: TaskRecord) -> TaskRecord:
    if task.status is not Status.RUNNING:
        return task
    text = "was running when the runner was killed"
    return replace(task, status=Status.PENDING, status_text=text)


def _percent(
    record: ContainerRecord, tallies: Sequence[Tally], outlook: Outlook | None
) -> str:
    value = counts.percentage_of(record, tallies, outlook)
    done = counts.status_of(record, tallies) is Status.DONE
    return fmt.percent(fmt.nearly(value, is_complete=done or record.workflow is None))


def _remark(
    record: ContainerRecord,
    by_status: Mapping[Status, int],
    status: Status,
    now: int,
    outlook: Outlook | None,
) -> str:
    if record.is_leased(now):
        said = sayings(record, by_status, outlook, now)
        return " · ".join([*said[:1], run_by(record)])
    if is_orphan(record, status, now):
        return "its runner is gone; run it again"
    beside = (Status.FAILED, Status.SKIPPED)
    return " · ".join(f"{by_status[s]} {s}" for s in beside if by_status[s])


def in_a_line(
    record: ContainerRecord,
    tallies: Sequence[Tally],
    now: int,
    outlook: Outlook | None,
) -> str:
    """Return `running  58%  ETA 5m40s`; see `containers`."""
    status = counts.status_of(record, tallies)
    by_status = counts.count_by_status(tallies)
    said = sayings(record, by_status, outlook, now) if record.is_leased(now) else []
    word = stands(record, status, now).text.partition(" ")[2]
    return "  ".join([word, _percent(record, tallies, outlook), *said[:1]])


def sayings(
    record: ContainerRecord,
    by_status: Mapping[Status, int],
    outlook: Outlook | None,
    now: int,
) -> list[str]:
    """Return what is said of the end of a container's run, the longest text first."""
    return expected.sayings(
        outlook,
        now,
        began_at=now if record.owner is None else record.owner.since,
        by_status=by_status,
    )


def holder(record: ContainerRecord) -> str:
    """Return the owner of a container: `pid 4711 on host`."""
    owner = record.owner
    return "nobody" if owner is None else f"pid {owner.pid} on {fmt.clean(owner.host)}"


def run_by(record: ContainerRecord) -> str:
    """Say which runner holds the container, and whether it was asked to stop."""
    asked = {None: "", Stop.GENTLY: ", asked to stop", Stop.NOW: ", asked to stop now"}
    return f"run by {holder(record)}{asked[record.stop_asked]}"


def details(
    record: ContainerRecord,
    tallies: Sequence[Tally],
    now: int,
    outlook: Outlook | None,
) -> list[Line]:
    """Return the fields of a container, without its tasks; see `containers`."""
    status = counts.status_of(record, tallies)
    said = sayings(record, counts.count_by_status(tallies), outlook, now)
    rows = [
        ("status", stands(record, status, now).text),
        ("complete", _percent(record, tallies, outlook)),
        ("expected", next(iter(said), "")),
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
            Piece(ending_word(attempt.ending), ENDINGS[attempt.ending]),
            Piece(fmt.date_time(attempt.began_at)),
            Piece(took(attempt)),
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


def took(attempt: Attempt) -> str:
    """Return how long an attempt took.

    The time of a crash is unknown; only the time when a run found it is.
    """
    at_most = "≤" if attempt.ending is Ending.CRASHED else ""
    return at_most + fmt.duration(attempt.took_ms)


def ending_word(ending: Ending) -> str:
    """Return how an attempt's end is called."""
    # These are ends of a run, which ended the attempt.
    own = {Ending.CRASHED: fmt.KILLED, Ending.INTERRUPTED: "stopped"}
    return own.get(ending, ending)


#: What the end of an attempt means, which has a colour.
ENDINGS = {
    Ending.DONE: "done",
    Ending.FAILED: "failed",
    Ending.CRASHED: fmt.KILLED,
    Ending.SKIPPED: "skipped",
    Ending.POSTPONED: "waiting",
    Ending.INTERRUPTED: "waiting",
}
