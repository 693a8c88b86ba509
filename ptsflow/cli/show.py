"""Commands that only read: status, show, graph. Only graph loads user code."""

from __future__ import annotations

import contextlib

import click

from ptsflow.cli import complete, streams, watch
from ptsflow.cli.common import Common, common_options, pass_common
from ptsflow.cli.shared import (
    chosen,
    no_task,
    open_to_look,
    refuse_damaged,
    say,
    show_json,
    show_text,
)
from ptsflow.cli.shared import (
    show as show_lines,
)
from ptsflow.cli.status_page import say_remedies, show_page
from ptsflow.client.looking import outlooks, seen
from ptsflow.client.sound import damage_of, look_at_what_is_sound, readable
from ptsflow.client.status_object import status_object, tasks_as_json
from ptsflow.core import attempt_ledger
from ptsflow.core.changed_code import changed
from ptsflow.core.model import (
    ContainerRecord,
    Status,
)
from ptsflow.core.sources import outdated
from ptsflow.display import as_json, tables
from ptsflow.display.format import Piece
from ptsflow.display.graph import edges, mermaid, tree
from ptsflow.display.overview import overview
from ptsflow.errors import UsageError
from ptsflow.host.garbage import uncollected
from ptsflow.stores.base import ALL, Store
from ptsflow.workflow.compile import plan_of
from ptsflow.workflow.loading import load
from ptsflow.workflow.workflow import Workflow

#: With more tasks than this a container is not shown task by task.
_MOST_TASKS = 200
#: How many of them are shown then that are active, that failed, and that were slowest.
_LOOKED_AT = 20
_SLOWEST = 10

_values_option = click.option(
    "--values", is_flag=True, help="Also values over 64 KiB; else only their sizes."
)


@click.command()
@click.argument("name", required=False, shell_complete=complete.containers)
@click.option(
    "-f", "--follow", is_flag=True, help="Show it while it runs, as watch does."
)
@_values_option
@common_options
@pass_common
def status(common: Common, name: str | None, *, follow: bool, values: bool) -> int:
    """Show the status of a container: the one of that NAME, or the latest.

    NAME may be any unique part of a container's name.
    """
    if follow and values:
        raise UsageError("status: --values goes without --follow; leave one out")
    with uncollected(), contextlib.closing(open_to_look(common.url)) as store:
        damaged: list[str] = []
        record = chosen(store, name, damaged)
        if follow:
            name = record.name
        elif common.json:
            show_json(status_object(store, record, values=values))
        else:
            look = look_at_what_is_sound(store, record)
            show_page(common, look, readable(store, look))
            damaged += damage_of(look)
        refuse_damaged(damaged)
    return watch.follow(common, name) if follow else 0


@click.command()
@click.argument("name", shell_complete=complete.containers)
@click.argument("task", required=False, shell_complete=complete.tasks)
@click.option("--all", "whole", is_flag=True, help="All tasks, however many.")
@click.option("--failed", is_flag=True, help="Only the tasks that failed, all of them.")
@_values_option
@common_options
@pass_common
@uncollected()
def show(
    common: Common,
    name: str,
    task: str | None,
    *,
    whole: bool,
    failed: bool,
    values: bool,
) -> None:
    """Show everything that is stored of a container, or of one TASK of it.

    NAME may be any unique part of a container's name. Of more than 200 tasks, it is
    shown how they stand, which are active, which failed last, and which were slowest.
    """
    if failed and task is not None:
        raise UsageError("show: --failed goes without TASK; leave one of them out")
    with contextlib.closing(open_to_look(common.url)) as store:
        now = store.now()
        record = seen(store, chosen(store, name), now)
        if task is not None:
            _show_task(common, store, record, task, values=values)
        elif common.json:
            plan = [as_json.step(step) for step in record.plan]
            tasks, shown = tasks_as_json(store, record, values=values)
            if failed:
                shown = [task for task in shown if task["has_failed"]]
            outlook = outlooks(store, [record], now).get(record.uid)
            stale = list(changed(record.plan, tasks))
            old = outdated(record.plan, tasks)
            more = {"plan": plan, "changed": stale, "outdated": old}
            found = as_json.whole(record, tasks, shown, now=now, outlook=outlook)
            show_json(found | more)
        elif failed:
            all_failed, _ = store.page(record.uid, status=Status.FAILED, limit=ALL)
            show_lines(tables.tasks(all_failed, now))
        else:
            _show_container(common, store, record, whole=whole)


def _show_container(
    common: Common, store: Store, record: ContainerRecord, *, whole: bool
) -> None:
    look = look_at_what_is_sound(store, record, items=_LOOKED_AT)
    store = readable(store, look)
    now, record, glance = look.at, look.record, look.glance
    is_big = not whole and sum(tally.count for tally in glance.tallies) > _MOST_TASKS
    show_lines(tables.details(record, glance.tallies, now, look.outlook), whole=True)
    lines = [[], *tree("plan", record.plan)] if record.plan else []
    if is_big:
        slowest, _ = store.page(record.uid, order="duration", limit=_SLOWEST)
        lines += [[], *overview(record, glance, slowest, now)]
        what = "--all shows all tasks, --failed those that failed"
        lines += [[], [Piece(what, "dim")]]
    else:
        tasks = tables.seen_tasks(record, store.tasks(record.uid), now)
        lines += [[], *tables.tasks(tasks, now)]
    show_lines(lines)
    say_remedies(common, look, store)
    refuse_damaged(damage_of(look))


def _show_task(
    common: Common, store: Store, record: ContainerRecord, name: str, *, values: bool
) -> None:
    found = store.tasks(record.uid, [name], payloads=True)
    if not found:
        items, count = store.page(record.uid, step=name, limit=_MOST_TASKS)
        if items and not common.json:
            show_lines(tables.tasks(items, store.now()))
            if count > len(items):
                say(f"{count - len(items)} more; show --failed has those that failed")
            return
        names = [task.name for task in items or store.tasks(record.uid)]
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
