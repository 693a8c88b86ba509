"""The tabs of a container's page: what each reads beside the look, and its parts."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import closing
from functools import partial
from itertools import islice
from typing import Any
from urllib.parse import quote, urlencode

from msgspec import Struct

from ptsflow.core.grouping import FailureGroup, group_failures
from ptsflow.core.log_window import merged
from ptsflow.core.model import Attempt, LogLine, Status, TaskRecord
from ptsflow.display import tables
from ptsflow.display.failure_groups import failure_of
from ptsflow.display.look import Look
from ptsflow.stores.base import Store
from ptsflow.stores.looks import Order
from ptsflow.web.drawing import (
    TimelineView,
    beside,
    graph,
    in_order,
    legend,
    names_of,
    strip,
    timeline,
)
from ptsflow.web.live import Seen
from ptsflow.web.stored_values import StoredValue, value_of
from ptsflow.web.times import times_of

#: How many items a page of the table has.
ITEMS = 100
#: How many failed tasks are shown with where they failed, and how many are grouped.
_FAILED, _GROUPED = 50, 1_000
#: How many lines of the log are shown, and for how many tasks there are links to their
#: own lines.
_LINES, _LOGGED = 500, 20
#: How many results are shown.
_RESULTS = 50


class Asked(Struct, frozen=True, kw_only=True):
    """What a browser asks of a container: which tab, and which items."""

    tab: str = "timeline"
    step: str | None = None
    status: Status | None = None
    part: str | None = None
    order: Order = "position"
    offset: int = 0
    #: Which part of the time, in milliseconds since the epoch; None for all of it.
    window: tuple[int, int] | None = None


class Tab(Struct, frozen=True):
    """One tab: the parts it has, and what they need."""

    #: Templates by the ids of the elements that hold them.
    parts: Mapping[str, str]
    values: Callable[[Seen[Look], Asked], Awaitable[Mapping[str, Any]]]


# -- timeline and graph ------------------------------------------------------------


async def _timeline(seen: Seen[Look], asked: Asked) -> Mapping[str, Any]:
    look = seen.look
    steps, ledgers = await seen.ask("times", partial(times_of, look=look))
    until = None
    if look.is_leased and look.board.outlook is not None:
        until = look.board.outlook.eta_at
    uid = look.record.uid
    zoom = partial(part_address, uid)
    view = TimelineView(link=partial(task_address, uid), window=asked.window, zoom=zoom)
    drawn = timeline(steps, ledgers, now=look.at, until=until, view=view)
    around = beside(asked.window) if asked.window else {}
    return {
        "drawn": drawn,
        "names": names_of(drawn),
        "legend": legend(drawn),
        "window": asked.window,
        "around": {word: zoom(*part) for word, part in around.items()},
    }


async def _graph(seen: Seen[Look], _asked: Asked) -> Mapping[str, Any]:
    look = seen.look
    if not look.record.plan:
        return {"drawn": ""}
    link = partial(step_address, look.record.uid)
    return {"drawn": graph(look.record.plan, look.board.steps, link=link)}


def task_address(uid: str, name: str) -> str:
    """Return the address of the page of a task."""
    return f"/c/{quote(uid, safe='')}?{urlencode({'task': name})}"


def part_address(uid: str, since: int, till: int) -> str:
    """Return the address of a part of the time of a timeline."""
    fields = {"tab": "timeline", "since": since, "till": till}
    return f"/c/{quote(uid, safe='')}?{urlencode(fields)}"


def step_address(uid: str, name: str) -> str:
    """Return the address of the tasks of a step."""
    return f"/c/{quote(uid, safe='')}?{urlencode({'tab': 'items', 'step': name})}"


# -- items ---------------------------------------------------------------------------


class Items(Struct, frozen=True, kw_only=True):
    """One page of the tasks of a container."""

    rows: Sequence[TaskRecord]
    #: How many tasks there are that are wanted.
    total: int


def items_of(store: Store, look: Look, asked: Asked, limit: int = ITEMS) -> Items:
    """Return one page of the tasks that are asked for."""
    found, total = store.page(
        look.record.uid,
        asked.step,
        asked.status,
        asked.part,
        order=asked.order,
        offset=asked.offset,
        limit=limit,
        total=None if asked.part or asked.status else _counted(look, asked.step),
    )
    return Items(rows=tables.seen_tasks(look.record, found, look.at), total=total)


def _counted(look: Look, step: str | None) -> int:
    """Return how many tasks a step has, or the whole container."""
    tallies = look.glance.tallies
    return sum(tally.count for tally in tallies if step in (None, tally.step))


async def _items(seen: Seen[Look], asked: Asked) -> Mapping[str, Any]:
    look = seen.look
    question = partial(items_of, look=look, asked=asked)
    found = await seen.ask(("items", asked), question)
    steps = [step.name for step in look.record.plan]
    drawn: Any = ""
    if asked.step in look.board.steps:
        spans = await seen.ask(
            ("spans", asked.step),
            lambda store: store.spans(look.record.uid, asked.step or ""),
        )
        drawn = strip(in_order(spans), look.board.steps[asked.step].total)
    return {
        "items": found,
        "step_names": steps,
        "page_size": ITEMS,
        "drawn": drawn,
    }


# -- errors --------------------------------------------------------------------------


class FailedRow(Struct, frozen=True, kw_only=True):
    """A failed task with its last attempt."""

    task: TaskRecord
    last: Attempt | None
    tries: int


class FailedTasks(Struct, frozen=True, kw_only=True):
    """The failed tasks of a container."""

    groups: Sequence[FailureGroup]
    rows: Sequence[FailedRow]
    total: int


def failed_of(store: Store, look: Look) -> FailedTasks:
    """Return the failed tasks of a container, by what went wrong."""
    uid = look.record.uid
    # A task that waits for another attempt failed, too.
    (tasks, total), (waiting, _) = [
        store.page(uid, status=status, limit=limit, total=look.board.counts[status])
        if look.board.counts[status]
        else ([], 0)
        for status, limit in ((Status.FAILED, _GROUPED), (Status.WAITING, _FAILED))
    ]
    shown = [*tasks[:_FAILED], *[task for task in waiting if task.error]]
    ledgers = store.ledgers(uid, [task.name for task in shown])
    rows = [
        FailedRow(
            task=task,
            last=next(iter(reversed(ledgers.get(task.name, ()))), None),
            tries=task.invoke_count,
        )
        for task in shown
    ]
    groups = group_failures(failure_of(look.record, task) for task in tasks)
    groups.sort(key=lambda group: len(group.failures), reverse=True)
    return FailedTasks(groups=groups, rows=rows, total=total)


async def _errors(seen: Seen[Look], _asked: Asked) -> Mapping[str, Any]:
    found = await seen.ask("failed", partial(failed_of, look=seen.look))
    return {"failed": found, "shown": _FAILED}


# -- logs ----------------------------------------------------------------------------


class LogExcerpt(Struct, frozen=True, kw_only=True):
    """The last lines of a container or of a task."""

    #: Task, attempt and line, in the order of time.
    lines: Sequence[tuple[str, int, LogLine]]
    #: Whether there are earlier lines.
    has_more: bool


def logged_of(store: Store, uid: str, task: str | None) -> LogExcerpt:
    """Return the last lines of a task, or of all tasks, in the order of time."""
    with closing(store.logs()) as kept:
        # A chunk has a line at least.
        chunks, _ = kept.read(uid, task=task, newest=_LINES + 1)
    known: dict[tuple[str, int], int] = {}
    if len(chunks) > _LINES:  # Lines that were not read are none that were left out.
        for chunk in chunks:
            known.setdefault((chunk.task, chunk.attempt), chunk.number)
    lines = list(merged(chunks, known))
    return LogExcerpt(lines=lines[-_LINES:], has_more=len(lines) > _LINES)


def _worth_reading(look: Look) -> list[str]:
    """Return the names of tasks with links to their lines: active, failed, last begun."""
    glance = look.glance
    begun = [task for task in glance.plain if task.invoke_count]
    begun.sort(key=lambda task: task.last_invoked_at or 0, reverse=True)
    active = [t for t in begun if t.status in (Status.RUNNING, Status.WAITING)]
    tasks = [*active, *glance.active, *reversed(glance.failed), *begun]
    return list(islice(dict.fromkeys(task.name for task in tasks), _LOGGED))


async def _logs(seen: Seen[Look], asked: Asked) -> Mapping[str, Any]:
    look = seen.look
    question = partial(logged_of, uid=look.record.uid, task=asked.part)
    logged = await seen.ask(("logs", asked.part), question)
    return {"logged": logged, "logged_tasks": _worth_reading(look)}


# -- values -------------------------------------------------------------------------


def results_of(store: Store, look: Look) -> Sequence[tuple[TaskRecord, StoredValue]]:
    """Return the results of the tasks that are no items."""
    done = [t.name for t in look.glance.plain if t.status is Status.DONE][:_RESULTS]
    tasks = store.tasks(look.record.uid, done, payloads=True) if done else []
    # Many steps return nothing: they would hide those that return something.
    has_some = [t for t in tasks if isinstance(t.result, str) and t.result != "null"]
    return [(t, value_of(t.result)) for t in has_some]


async def _results(seen: Seen[Look], _asked: Asked) -> Mapping[str, Any]:
    return {"results": await seen.ask("results", partial(results_of, look=seen.look))}


TABS: Mapping[str, Tab] = {
    "timeline": Tab({"timeline": "_timeline.html", "steps": "_steps.html"}, _timeline),
    "graph": Tab({"graph": "_graph.html", "steps": "_steps.html"}, _graph),
    "items": Tab({"strip": "_strip.html", "items": "_items.html"}, _items),
    "errors": Tab({"failed": "_failed.html"}, _errors),
    "logs": Tab({"logs": "_log_tab.html"}, _logs),
    "results": Tab({"results": "_results.html"}, _results),
}
