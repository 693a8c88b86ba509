"""The command `logs`: what bodies logged and printed, also while they run."""

from __future__ import annotations

import contextlib
import sys
import time
from collections import deque
from collections.abc import Iterable, Iterator

import click

from ptsflow.cli import complete, streams
from ptsflow.cli.common import Common, common_options, pass_common
from ptsflow.cli.shared import (
    chosen,
    no_task,
    open_to_look,
    say,
    show,
    show_json,
)
from ptsflow.client.looking import seen
from ptsflow.core.log_window import merged
from ptsflow.core.model import ContainerRecord, LogLine
from ptsflow.display import as_json
from ptsflow.display import format as fmt
from ptsflow.display.format import Line, Piece
from ptsflow.stores.base import Store

#: How often `-f` looks for new lines, in seconds.
_LOOK_EVERY = 0.5

#: A task, the number of its attempt, and a line that was logged.
Entry = tuple[str, int, LogLine]


@click.command()
@click.argument("name", shell_complete=complete.containers)
@click.argument("task", required=False, shell_complete=complete.tasks)
@click.option("-f", "--follow", is_flag=True, help="Go on while it runs.")
@click.option(
    "--attempt",
    type=click.IntRange(min=1),
    metavar="N",
    help="Of this attempt alone, as `show NAME TASK` counts them.",
)
@click.option(
    "--tail", type=click.IntRange(min=0), metavar="N", help="The last N lines alone."
)
@common_options
@pass_common
def logs(
    common: Common,
    name: str,
    task: str | None,
    *,
    follow: bool,
    attempt: int | None,
    tail: int | None,
) -> None:
    """Show what bodies logged and printed: of all tasks, of a step, or of one TASK.

    NAME may be any unique part of a container's name.
    """
    with contextlib.closing(open_to_look(common.url)) as store:
        record = chosen(store, name)
        names = None if task is None else _named(store, record, task)
        lines = _entries(store, record, names, attempt, follow=follow)
        first = list(next(lines))
        if not first and not follow:
            whose = "" if task is None else f": {task}"
            say(f"{record.name}{whose}: nothing was printed or logged")
        for entry in first if tail is None else deque(first, min(tail, sys.maxsize)):
            _show(common, entry)
        for batch in lines:
            for entry in batch:
                _show(common, entry)


def _named(store: Store, record: ContainerRecord, name: str) -> set[str]:
    """Return the task of that name, or the items of the step of that name."""
    tasks = store.tasks(record.uid)
    found = {task.name for task in tasks if name in (task.name, task.step)}
    if not found:
        raise no_task(record, name, [task.name for task in tasks])
    return found


def _entries(
    store: Store,
    record: ContainerRecord,
    names: set[str] | None,
    attempt: int | None,
    *,
    follow: bool,
) -> Iterator[Iterable[Entry]]:
    """Yield the stored lines, and with `-f` new ones as they are written."""
    single = next(iter(names)) if names is not None and len(names) == 1 else None
    mark: str | None = None
    #: How many lines of each attempt were shown.
    read: dict[tuple[str, int], int] = {}
    with contextlib.closing(store.logs()) as kept:
        while True:
            # Ask first whether the run goes on: the lines of its end are then still read.
            runs = follow and _runs(store, record)
            chunks, mark = kept.read(
                record.uid, task=single, attempt=attempt, after=mark
            )
            wanted = [c for c in chunks if names is None or c.task in names]
            yield merged(wanted, read)
            if not runs:
                return
            if getattr(streams.data(), "is_gone", False):  # as with `| head`
                return
            time.sleep(_LOOK_EVERY)


def _runs(store: Store, record: ContainerRecord) -> bool:
    found = store.container(record.name)
    if found is None or found.uid != record.uid:
        return False
    now = store.now()
    return seen(store, found, now).is_leased(now)


def _show(common: Common, entry: Entry) -> None:
    task, attempt, line = entry
    if common.json:
        show_json(
            {
                "schema": as_json.SCHEMA,
                "at": as_json.when(line.at),
                "task": task,
                "attempt": attempt,
                "level": line.level or None,
                "text": line.text,
            }
        )
        return
    name = task if attempt == 1 else f"{task} ({attempt})"
    text: Line = [
        Piece(f"{fmt.stamp(line.at)} ", "dim"),
        Piece(f"{fmt.clean(name)} ", "name"),
        Piece(f"{line.level} " if line.level else "", _COLOURS.get(line.level, "dim")),
        Piece(fmt.clean(line.text)),
    ]
    show([text], whole=True)


_COLOURS = {"WARNING": "waiting", "ERROR": "failed", "CRITICAL": "failed"}
