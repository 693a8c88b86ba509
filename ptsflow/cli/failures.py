"""The command `errors`: what is failed now, by what went wrong."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable

import click

from ptsflow.cli import complete, streams
from ptsflow.cli.common import Common, common_options, pass_common
from ptsflow.cli.containers import failed_tasks, of_workflow
from ptsflow.cli.next_command import command
from ptsflow.cli.request import seconds_of
from ptsflow.cli.shared import open_to_look, refuse_damaged, say, show, show_json
from ptsflow.client.sound import sound_containers, sound_failed, sound_tallies
from ptsflow.core.grouping import FailureGroup, group_failures
from ptsflow.core.model import Status
from ptsflow.display import failure_groups
from ptsflow.display import format as fmt
from ptsflow.display.failure_groups import failure_of, group_as_json
from ptsflow.display.format import Line, Piece
from ptsflow.host.garbage import uncollected
from ptsflow.stores.base import ALL

_FAILED = 1


@click.command()
@click.argument("workflow", required=False, shell_complete=complete.workflows)
@click.option(
    "--since", metavar="TIME", help="Only what failed within this time, such as 24h."
)
@common_options
@pass_common
@uncollected()
def errors(common: Common, workflow: str | None, *, since: str | None) -> int:
    """Show what is failed now, one entry for all that failed in the same way.

    Messages that differ in numbers and names alone are the same. The newest come first.
    What is repaired, and what failed in a complete container, is not shown. WORKFLOW is
    the name of its class. Exit 1 if anything is failed.
    """
    seconds = None if since is None else seconds_of("--since", since)
    with contextlib.closing(open_to_look(common.url)) as store:
        now = store.now()
        begin = 0 if seconds is None else now - seconds * 1000
        damaged: list[str] = []
        records = of_workflow(sound_containers(store, damaged), workflow)
        tallies, of_tasks = sound_tallies(store, [record.uid for record in records])
        damaged += of_tasks.values()
        sound = [record for record in records if record.uid not in of_tasks]
        failed = failed_tasks(store, sound, tallies)
        failed += [
            (record, sound_failed(store, record, ALL))
            for record in records
            if record.uid in of_tasks and record.status is not Status.DONE
        ]
        found = [
            failure_of(record, task)
            for record, tasks in failed
            for task in tasks
            if (task.task_ended_at or now) >= begin
        ]
    groups = sorted(group_failures(found), key=lambda group: -group.failures[0].at)
    if common.json:
        for group in groups:
            show_json(group_as_json(group))
    elif groups:
        show(_lines(common, groups, now), whole=True)
    elif not damaged:
        say("nothing is failed")
    refuse_damaged(damaged)
    return _FAILED if groups else 0


def _lines(common: Common, groups: Iterable[FailureGroup], now: int) -> list[Line]:
    """Return a line for each group; on a terminal three, as one would be too long."""
    rows = [
        (
            Piece(fmt.clean(group.step), "name"),
            Piece(fmt.clean(failure_groups.what(group))),
            Piece(failure_groups.how_many(group, now), "dim"),
            Piece(_shows(common, group)),
        )
        for group in groups
    ]
    if not streams.data().isatty():
        return fmt.columns(rows)
    lines: list[Line] = []
    for step, what, how_many, shows in rows:
        lines += [[step, Piece("  "), what], [Piece("  "), how_many]]
        lines += [[Piece("  "), shows]]
    return lines


def _shows(common: Common, group: FailureGroup) -> str:
    newest = group.failures[0]
    return command(common, ["show", newest.container, newest.task])
