"""Commands that change a container: reset and mark between runs, cancel in one."""

from __future__ import annotations

import contextlib
from typing import Any

import click

from ptsflow.cli import complete
from ptsflow.cli.common import Common, common_options, pass_common
from ptsflow.cli.shared import (
    ask,
    chosen,
    open_to_change,
    open_to_look,
    say,
    say_next_of,
    show_json,
)
from ptsflow.client import admin
from ptsflow.core.model import ContainerRecord, Status, Stop
from ptsflow.core.names import listed
from ptsflow.display import as_json, tables
from ptsflow.display import format as fmt
from ptsflow.errors import UsageError


@click.command(cls=complete.Command)
@click.argument("name", shell_complete=complete.containers)
@click.option(
    "--step",
    metavar="STEP",
    help="Only this step, or this one task.",
    shell_complete=complete.steps,
)
@click.option(
    "--downstream", is_flag=True, help="With --step: also all that waits for it."
)
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@common_options
@pass_common
def reset(
    common: Common, name: str, step: str | None, *, downstream: bool, yes: bool
) -> None:
    """Forget results, so that the next run makes them again.

    NAME may be any unique part of a container's name.
    """
    if downstream and step is None:
        raise UsageError("reset: --downstream goes with --step STEP; give a step")
    with contextlib.closing(open_to_change(common.url)) as store:
        record = chosen(store, name)
        tasks = store.tasks(record.uid)
        lost = admin.resettable(record, tasks, step=step, with_downstream=downstream)
        names = [task.name for task in tasks if task.name in lost]
        if not names:
            say(f"{record.name}: there is nothing to forget")
        else:
            count = fmt.many(len(names), "task", "tasks")
            say(f"{record.name}: forgets what {count} did: {listed(names)}")
            if step is not None and not downstream:
                _say_in_doubt(record, admin.in_doubt(record, tasks, step))
            if not yes:
                ask("reset", "Forget it?")
            found = admin.reset(store, record, step=step, with_downstream=downstream)
        if common.json:
            show_json(_changed(record, "reset", found))
        say_next_of(common, store, record.name)


def _say_in_doubt(record: ContainerRecord, names: list[str]) -> None:
    if names:
        count = fmt.many(len(names), "task", "tasks")
        say(
            f"{record.name}: makes {count} again if other results come of it: "
            f"{listed(names)}"
        )


@click.command()
@click.argument("name", shell_complete=complete.containers)
@click.argument("task", shell_complete=complete.tasks)
@click.argument("status", type=click.Choice(["done", "pending"]))
@common_options
@pass_common
def mark(common: Common, name: str, task: str, status: str) -> None:
    """Say what a task that failed, or whose outcome is unknown, has done.

    done: it did its work, what waits for it may go on. pending: run it again. NAME may
    be any unique part of a container's name.
    """
    with contextlib.closing(open_to_change(common.url)) as store:
        record = chosen(store, name)
        admin.mark(store, record, task, Status(status))
        say(f"{record.name}: {fmt.clean(task)} is {status} now")
        if common.json:
            show_json(_changed(record, "mark", [task]))
        say_next_of(common, store, record.name)


@click.command()
@click.argument("name", shell_complete=complete.containers)
@click.option("--now", is_flag=True, help="Do not wait for what runs.")
@common_options
@pass_common
def cancel(common: Common, name: str, *, now: bool) -> None:
    """Ask the runner of a container to stop, from wherever it is seen.

    Nothing more starts, and what runs may end or see task.cancelled; with --now it is
    not waited for. The state is recorded: run it again to continue. A container that
    waits for a worker is taken out of the queue. NAME may be any unique part of a
    container's name.
    """
    with contextlib.closing(open_to_look(common.url)) as store:
        record = chosen(store, name)
        asked = admin.cancel(store, record, Stop.NOW if now else Stop.GENTLY)
        was_queued = store.queue.remove(record.uid)
    holder = tables.holder(record)
    if was_queued and not asked:
        say(f"{record.name}: taken out of the queue")
    elif not asked:
        say(f"{record.name}: nobody runs it, there is nothing to cancel")
    elif now:
        say(f"{record.name}: asked {holder} to stop at once")
    else:
        say(f"{record.name}: asked {holder} to stop; --now does not wait for what runs")
    if common.json:
        show_json(
            {
                "schema": as_json.SCHEMA,
                "container": record.name,
                "cancelled": asked or was_queued,
            }
        )


def _changed(record: ContainerRecord, what: str, names: list[str]) -> dict[str, Any]:
    return {"schema": as_json.SCHEMA, "container": record.name, what: names}
