"""Commands that only read: status, list, show, graph. Only graph loads user code."""

from __future__ import annotations

import contextlib
from functools import partial
from typing import Any

import click
from msgspec.structs import replace

from ptsflow.cli import complete, streams
from ptsflow.cli import next_command as commands
from ptsflow.cli.common import Common, common_options, pass_common
from ptsflow.cli.next_command import command
from ptsflow.cli.shared import (
    chosen,
    no_task,
    open_existing,
    open_to_look,
    say,
    say_next,
    show_json,
    show_text,
    width_of,
)
from ptsflow.cli.shared import (
    show as show_lines,
)
from ptsflow.client.lease import still_working
from ptsflow.core import attempt_ledger, counts
from ptsflow.core.changed_code import changed, say_changed
from ptsflow.core.model import (
    Cause,
    ContainerRecord,
    Status,
    TaskRecord,
    without_payloads,
)
from ptsflow.core.sources import outdated, say_outdated
from ptsflow.display import as_json, layout, tables
from ptsflow.display import format as fmt
from ptsflow.display.format import Line, Piece
from ptsflow.display.graph import edges, mermaid, tree
from ptsflow.display.run_state import board_of
from ptsflow.host.garbage import uncollected
from ptsflow.host.process_identity import is_dead
from ptsflow.stores import mask
from ptsflow.stores.base import Store
from ptsflow.workflow.compile import plan_of
from ptsflow.workflow.loading import load
from ptsflow.workflow.workflow import Workflow

#: The lease that is shown of a live runner whose lease has ended, in milliseconds.
_MOMENT_MS = 1_000
#: How many tasks are first read with their payloads at once, and at the most; fewer if the
#: last ones had more than so many characters.
_FIRST_BITE = 16
_MOST_AT_ONCE = 2_048
_BITE_CHARS = 8 * 1024 * 1024


def seen(store: Store, record: ContainerRecord, now: int) -> ContainerRecord:
    """Return a container with the owner that it really has.

    A runner of this host that died holds nothing. A runner of this host that still runs
    bodies holds its container although its lease may have ended.
    """
    if record.owner is not None and is_dead(record.owner):
        record = replace(record, owner=None)
    worker = None if record.is_leased(now) else still_working(store, record.uid)
    if worker is None:
        return record
    return replace(record, owner=worker, leased_till=now + _MOMENT_MS)


def status_object(store: Store, record: ContainerRecord) -> dict[str, Any]:
    """Return a container as `status --json` prints it, long values left out."""
    tasks, shown = _tasks_as_json(store, record, values=False)
    return as_json.whole(record, tasks, shown, now=store.now())


def _tasks_as_json(
    store: Store, record: ContainerRecord, *, values: bool
) -> tuple[list[TaskRecord], list[dict[str, Any]]]:
    """Return all tasks without their payloads, and as JSON."""
    names = [task.name for task in store.tasks(record.uid)]
    tasks: list[TaskRecord] = []
    shown: list[dict[str, Any]] = []
    most = _FIRST_BITE
    while names:
        bite, names = names[:most], names[most:]
        size = 0
        for task in store.tasks(record.uid, bite, payloads=True):
            shown.append(as_json.task(task, values=values))
            tasks.append(without_payloads(task))
            data = (task.task_data, task.processing_data, task.result)
            size += sum(len(text) for text in data if isinstance(text, str))
        most = max(1, most // 2) if size > _BITE_CHARS else min(2 * most, _MOST_AT_ONCE)
    return tasks, shown


_values_option = click.option(
    "--values", is_flag=True, help="Also values over 64 KiB; else only their sizes."
)


@click.command()
@click.argument("name", required=False, shell_complete=complete.containers)
@_values_option
@common_options
@pass_common
@uncollected()
def status(common: Common, name: str | None, *, values: bool) -> None:
    """Show the status of a container: the one of that NAME, or the latest.

    NAME may be any unique part of a container's name.
    """
    with contextlib.closing(open_to_look(common.url)) as store:
        now = store.now()
        record = seen(store, chosen(store, name), now)
        if common.json:
            found, shown = _tasks_as_json(store, record, values=values)
            show_json(as_json.whole(record, found, shown, now=now))
            return
        tasks = store.tasks(record.uid)
        stands = counts.status_of(record, counts.tallies_of(tasks))
        show_lines(_page(record, tasks, now, stands))
        stale = list(changed(record.plan, tasks))
        old = outdated(record.plan, tasks)
        said = (
            _unknown(tasks) or _remark(record, stands, now),
            say_changed(stale),
            say_outdated(old),
        )
        remarks = [[Piece(f" {fmt.clean(text)}", "dim")] for text in said if text]
        show_lines(remarks, whole=True)
        if not record.is_leased(now):
            _next(common, record, tasks, stale=stale, old=old)


def _next(
    common: Common,
    record: ContainerRecord,
    tasks: list[TaskRecord],
    *,
    stale: list[str],
    old: list[str],
) -> None:
    """Write the command to type next, and those that help beside it."""
    if record.workflow is None:
        return
    failed = [task for task in tasks if task.has_failed]
    parameters = commands.stored_parameters(record)
    rerun = partial(commands.rerun, record, parameters)
    is_done = record.status is Status.DONE
    if failed and not is_done:
        say(f"why: {command(common, commands.why(record, failed[0]))}")
    if old:
        say_next(common, (commands.reset(record, old[0]), None))
    elif stale:
        say_next(common, rerun(["--changed"]))
    elif not is_done:
        say_next(common, commands.after(record, failed, rerun))


def _page(
    record: ContainerRecord, tasks: list[TaskRecord], now: int, stands: Status
) -> list[Line]:
    shown = record if record.is_leased(now) else replace(record, owner=None)
    return layout.page(
        board_of(shown, tables.seen_tasks(record, tasks, now), now),
        now,
        width=width_of(streams.data()),
        eta_ms=as_json.stored_eta_ms(record, tasks, now),
        stands=tables.stands(record, stands, now),
    )


def _unknown(tasks: list[TaskRecord]) -> str:
    """Say how to settle tasks whose outcome is unknown."""
    names = [task.name for task in tasks if task.cause is Cause.UNKNOWN]
    if not names:
        return ""
    more = f" (and {len(names) - 1} more)" if len(names) > 1 else ""
    return f"nobody knows what {names[0]} did{more}: mark it done, or pending to run it again"


def _remark(record: ContainerRecord, stands: Status, now: int) -> str:
    """Say who runs the container, or what to do next."""
    if record.is_leased(now):
        return tables.run_by(record)
    if record.finish_reason is not None:
        return f"finished early: {record.finish_reason}"
    if record.workflow is None or stands is Status.DONE:
        return ""
    if tables.is_orphan(record, stands, now):
        return "its runner is gone; run it again to continue"
    return "run it again to continue"


@click.command("list")
@common_options
@pass_common
@uncollected()
def list_containers(common: Common) -> None:
    """List all containers."""
    store = open_existing(common.url)
    if store is None:
        say(f"no containers: there is no store at {mask(common.url)} yet")
        return
    with contextlib.closing(store):
        now = store.now()
        records = [seen(store, record, now) for record in store.containers()]
        tallies = store.tallies([record.uid for record in records])
        if common.json:
            for record in records:
                tasks = store.tasks(record.uid) if record.owner is not None else ()
                eta = as_json.stored_eta_ms(record, tasks, now)
                counted = tallies.get(record.uid, ())
                show_json(as_json.container(record, counted, now=now, eta_ms=eta))
        elif records:
            show_lines(tables.containers(records, tallies, now))
        else:
            say(f"no containers in {store.url} yet")


@click.command()
@click.argument("name", shell_complete=complete.containers)
@click.argument("task", required=False, shell_complete=complete.tasks)
@_values_option
@common_options
@pass_common
@uncollected()
def show(common: Common, name: str, task: str | None, *, values: bool) -> None:
    """Show everything that is stored of a container, or of one TASK of it.

    NAME may be any unique part of a container's name.
    """
    with contextlib.closing(open_to_look(common.url)) as store:
        now = store.now()
        record = seen(store, chosen(store, name), now)
        if task is not None:
            _show_task(common, store, record, task, values=values)
        elif common.json:
            plan = [as_json.step(step) for step in record.plan]
            tasks, shown = _tasks_as_json(store, record, values=values)
            stale = list(changed(record.plan, tasks))
            old = outdated(record.plan, tasks)
            more = {"plan": plan, "changed": stale, "outdated": old}
            show_json(as_json.whole(record, tasks, shown, now=now) | more)
        else:
            tasks = store.tasks(record.uid)
            lines = tables.details(record, counts.tallies_of(tasks), now)
            show_lines(lines, whole=True)
            lines = [[], *tree("plan", record.plan)] if record.plan else []
            seen_tasks = tables.seen_tasks(record, tasks, now)
            show_lines([*lines, [], *tables.tasks(seen_tasks, now)])


def _show_task(
    common: Common, store: Store, record: ContainerRecord, name: str, *, values: bool
) -> None:
    found = store.tasks(record.uid, [name], payloads=True)
    if not found:
        tasks = store.tasks(record.uid)
        items = [task for task in tasks if task.step == name]
        if items and not common.json:
            show_lines(tables.tasks(items, store.now()))
            return
        names = [task.name for task in items or tasks]
        raise no_task(record, name, names)
    made = attempt_ledger.complete(found[0], store.attempts(record.uid, name))
    if common.json:
        head = {"schema": as_json.SCHEMA, "container": record.name}
        attempts = [as_json.attempt(attempt) for attempt in made]
        show_json(head | as_json.task(found[0], values=values) | {"attempts": attempts})
        return
    task = tables.seen_tasks(record, found, store.now())[0]
    lines = tables.fields(task, whole=values)
    if made:
        lines += [[], *tables.attempts(made)]
    show_lines(lines, whole=True)


@click.command()
@click.argument("target", shell_complete=complete.targets)
@click.option(
    "--format",
    "form",
    type=click.Choice(["tree", "mermaid"]),
    default="tree",
    help="What to print.",
)
@common_options
@pass_common
def graph(common: Common, target: str, form: str) -> None:
    """Show the steps of a workflow and what each waits for; nothing runs.

    TARGET is package.module:Class or path/file.py:Class.
    """
    streams.reserve_stdout()
    workflow: type[Workflow] = load(target, Workflow)
    plan = plan_of(workflow).summary()
    if common.json:
        head = {"schema": as_json.SCHEMA, "workflow": workflow.__name__}
        parameters = list(workflow.declared_parameters)
        steps = [as_json.step(step) for step in plan]
        waits = [[edge.before, edge.after] for edge in edges(plan)]
        show_json(head | {"parameters": parameters, "steps": steps, "edges": waits})
    elif form == "mermaid":
        show_text(mermaid(plan))
    else:
        given = ", ".join(workflow.declared_parameters)
        show_lines(tree(f"{workflow.__name__}({given})", plan))
