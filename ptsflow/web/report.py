"""A report of a container: one file that needs neither a server nor anything else."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing
from importlib.resources import files
from typing import Any

from markupsafe import Markup
from msgspec import Struct

from ptsflow.client.looking import look_at, run_as_it_stands
from ptsflow.core import attempt_ledger
from ptsflow.core.history import profile
from ptsflow.core.log_window import merged
from ptsflow.core.model import Attempt, ContainerRecord, LogLine, Status, TaskRecord
from ptsflow.core.texts import cut
from ptsflow.display import as_json, layout, tables
from ptsflow.display import format as fmt
from ptsflow.display.look import Look
from ptsflow.display.usual import usually
from ptsflow.errors import StoreError
from ptsflow.host.clock import to_datetime
from ptsflow.stores.base import Store
from ptsflow.web.container import advice_on, step_rows
from ptsflow.web.drawing import bars, graph, legend, timeline
from ptsflow.web.pages import environment
from ptsflow.web.stored_values import pretty
from ptsflow.web.times import times_of

#: The most rows of tasks, how many of the slowest, and how many failed are told in full.
_ROWS, _SLOWEST, _FAILED = 2_000, 50, 100
#: How many log lines of a failed task there are, and how long they and tracebacks are.
_LINES, _LINE, _TRACEBACK = 50, 400, 6_000
#: The longest value that is shown, in bytes.
_VALUE = 2 * 1024
#: How many runs are read, and how many of them are bars.
_READ, _BARS = 200, 48
#: How much room each part has, in bytes of HTML: in all less than 2 MB.
_ROOMS = {
    "params": 60_000,
    "steps": 200_000,
    "failed": 600_000,
    "rows": 600_000,
    "results": 150_000,
}


class Excerpt(Struct, frozen=True):
    """What there is room for, and how much more there is."""

    shown: Sequence[Markup]
    more: int


class ToldFailure(Struct, frozen=True, kw_only=True):
    """A failed task as a report tells it."""

    task: TaskRecord
    last: Attempt | None
    traceback: str
    lines: Sequence[LogLine]
    #: What it was given; "" if that is long, or not to be shown.
    data: str


class _Reader:
    """Reads what is told of a container.

    Args:
        store: where it is.
        look: how it stands.
        values: whether data, results and log lines are read.
    """

    def __init__(self, store: Store, look: Look, *, values: bool) -> None:
        self._store, self._look, self._values = store, look, values
        self._uid = look.record.uid

    def failures(self) -> list[ToldFailure]:
        """Return the first failed tasks with what they logged last."""
        tasks, _ = self._store.page(self._uid, status=Status.FAILED, limit=_FAILED)
        names = [task.name for task in tasks]
        if not names:
            return []
        ledgers = self._store.ledgers(self._uid, names)
        if self._values:
            tasks = self._store.tasks(self._uid, names, payloads=True)
        lines = self._lines(tasks) if self._values else {}
        return [
            self._failure(task, ledgers.get(task.name, ()), lines.get(task.name, ()))
            for task in tasks
        ]

    def _failure(
        self, task: TaskRecord, kept: Sequence[Attempt], lines: Sequence[LogLine]
    ) -> ToldFailure:
        made = attempt_ledger.complete(task, kept)
        last = made[-1] if made else None
        return ToldFailure(
            task=task,
            last=last,
            traceback=cut(last.traceback, _TRACEBACK) if last else "",
            lines=lines,
            data=_short(task.task_data) if self._values else "",
        )

    def _lines(self, tasks: Iterable[TaskRecord]) -> dict[str, Sequence[LogLine]]:
        """Return the last lines of the last attempt of each task."""
        found: dict[str, Sequence[LogLine]] = {}
        try:
            with closing(self._store.logs()) as logs:
                for task in tasks:
                    chunks, _ = logs.read(
                        self._uid, task=task.name, attempt=task.invoke_count
                    )
                    kept = [line for _, _, line in merged(chunks)][-_LINES:]
                    found[task.name] = [
                        LogLine(line.at, line.level, cut(line.text, _LINE))
                        for line in kept
                    ]
        except StoreError:
            # A report without logs is better than none.
            return found
        return found

    def slowest(self) -> Sequence[TaskRecord]:
        """Return the tasks that took longest."""
        found, _ = self._store.page(self._uid, order="duration", limit=_SLOWEST)
        return [task for task in found if task.task_duration_ms is not None]

    def rows(self) -> tuple[Sequence[TaskRecord], int]:
        """Return tasks, those that failed and the first ones, and how many there are."""
        most = _ROWS - _SLOWEST
        first, total = self._store.page(self._uid, limit=most)
        failed: Sequence[TaskRecord] = ()
        if total > most:
            failed, _ = self._store.page(
                self._uid, status=Status.FAILED, limit=most // 2
            )
        every = {task.name: task for task in (*failed, *first)}
        return list(every.values())[:most], total

    def results(self) -> list[tuple[str, str]]:
        """Return the short results of the tasks that are no items."""
        names = [t.name for t in self._look.glance.plain if t.status is Status.DONE]
        if not (self._values and names):
            return []
        tasks = self._store.tasks(self._uid, names[:_ROWS], payloads=True)
        found = [(task.name, _short(task.result)) for task in tasks]
        return [(name, text) for name, text in found if text]


def _short(stored: object) -> str:
    """Return a stored value as it is shown; "" without one, or if it is long."""
    if not isinstance(stored, str) or stored == "null" or len(stored) > _VALUE:
        return ""
    return pretty(stored)


def report_of(
    store: Store, record: ContainerRecord, url: str, *, values: bool = True
) -> str:
    """Return the report of a container as HTML of at most 2 MB.

    Args:
        store: where the container is.
        record: the container.
        url: where the store is, for the command to type next.
        values: whether parameters, data, results and log lines are in it.
    """
    look = look_at(store, record)
    board = look.board
    read = _Reader(store, look, values=values)
    made = environment()
    blocks: Any = made.get_template("_report_blocks.html").module
    rows, total = read.rows()
    has_items = total > len(board.steps)
    failures = read.failures()
    params = as_json.params(look.record) if values else {}
    failed = board.counts[Status.FAILED]
    parts = {
        "params": _part("params", params.items(), lambda pair: blocks.param(*pair)),
        "steps": _part("steps", step_rows(look), lambda s: blocks.step(s, look.at)),
        "failed": _part("failed", failures, blocks.failure, failed),
        "rows": _part(
            "rows",
            tables.seen_tasks(look.record, rows, look.at) if has_items else (),
            lambda task: blocks.row(task, look.at),
            total if has_items else 0,
        ),
        "results": _part("results", read.results(), lambda pair: blocks.result(*pair)),
    }
    slowest = read.slowest() if total > _SLOWEST else ()
    style, policy = _style()
    return made.get_template("report.html").render(
        **_head(store, look, url, values=values),
        **parts,
        slowest=[blocks.row(task, look.at) for task in slowest],
        **_drawings(store, look),
        style=style,
        policy=policy,
    )


def _part(
    name: str,
    found: Iterable[Any],
    block: Callable[[Any], Markup],
    total: int | None = None,
) -> Excerpt:
    """Return as many blocks as there is room for."""
    found = list(found)
    shown: list[Markup] = []
    room = _ROOMS[name]
    for entry in found:
        text = block(entry)
        room -= len(text.encode())
        if room < 0:
            break
        shown.append(text)
    return Excerpt(shown, (len(found) if total is None else total) - len(shown))


def _head(store: Store, look: Look, url: str, *, values: bool) -> Mapping[str, Any]:
    """Return what is said of the container as a whole."""
    board = look.board
    said = layout.sayings(board, look.at)
    advice = advice_on(store, look, url)
    return {
        "look": look,
        "record": look.record,
        "counts": board.counts,
        "percentage": fmt.nearly(board.percentage, is_complete=board.is_complete),
        "expects": next(iter(said), "") if look.is_leased else "",
        "remarks": advice.remarks,
        # It names parameters.
        "command": advice.command if values else "",
        "zone": _zone(look.at),
        "is_whole": values,
    }


def _zone(ms: int) -> str:
    """Return the local time zone: `UTC`, or `CET (UTC+0100)`."""
    zone = to_datetime(ms).astimezone().strftime("%Z (UTC%z)")
    return "UTC" if zone == "UTC (UTC+0000)" else zone


def _drawings(store: Store, look: Look) -> Mapping[str, Any]:
    """Return the drawings of a container."""
    record, board = look.record, look.board
    steps, ledgers = times_of(store, look)
    is_told = look.is_leased and board.outlook is not None
    until = board.outlook.eta_at if is_told and board.outlook else None
    times = timeline(steps, ledgers, now=look.at, until=until)
    drawn: dict[str, Any] = {
        "timeline": times,
        "legend": legend(times),
        "graph": graph(record.plan, board.steps) if len(record.plan) > 1 else "",
        "history": "",
        "usual": "",
    }
    if record.workflow is not None:
        runs = store.runs(workflow=record.workflow, limit=_READ)
        usual = profile(runs)
        shown = [run_as_it_stands(store, run, look.at) for run in runs[:_BARS]]
        if len(shown) > 1:
            drawn["history"] = bars(shown, now=look.at, usual_ms=usual.usual_ms)
        drawn["usual"] = usually(usual)
    return drawn


def _style() -> tuple[Markup, str]:
    """Return the look of a report, and the policy that lets it, and nothing else, in."""
    folder = files("ptsflow.web") / "static"
    names = ("drawing.css", "ptsflow.css", "report.css")
    text = "".join((folder / name).read_text(encoding="utf-8") for name in names)
    digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'sha256-{digest}'"
    return Markup(text), policy  # noqa: S704 - our own files
