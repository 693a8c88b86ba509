"""The command `prune`: old containers go."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from functools import partial

import click

from ptsflow.cli import complete
from ptsflow.cli.common import Common, common_options, pass_common
from ptsflow.cli.containers import of_workflow
from ptsflow.cli.request import seconds_of
from ptsflow.cli.shared import ask, open_to_change, say, say_left, show_json
from ptsflow.client.lease import busy
from ptsflow.client.looking import seen
from ptsflow.client.retention import Pruning
from ptsflow.core.model import ContainerRecord
from ptsflow.core.names import listed
from ptsflow.core.retention import Retention
from ptsflow.display import as_json
from ptsflow.display import format as fmt
from ptsflow.stores import open_care
from ptsflow.stores.base import Store


@click.command(cls=complete.Command)
@click.option(
    "--older",
    metavar="TIME",
    required=True,
    help="Those that ended longer ago than this, such as 30d.",
)
@click.option(
    "--workflow",
    metavar="W",
    help="Only those of this workflow.",
    shell_complete=complete.workflows,
)
@click.option(
    "--keep",
    type=click.IntRange(min=0),
    default=0,
    metavar="N",
    help="The newest N of each workflow stay, however old.",
)
@click.option("--failed", is_flag=True, help="Also those that are not complete.")
@click.option("-n", "--dry-run", is_flag=True, help="Say which; write nothing.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@click.option(
    "--vacuum", is_flag=True, help="Then give the room back to the file system."
)
@common_options
@pass_common
def prune(  # noqa: PLR0913 - they are its options
    common: Common,
    *,
    older: str,
    workflow: str | None,
    keep: int,
    failed: bool,
    dry_run: bool,
    yes: bool,
    vacuum: bool,
) -> None:
    """Delete old containers with their tasks, results, logs and folders.

    Complete ones alone, unless --failed; never one that a live runner has. Their runs
    stay in the history.
    """
    seconds = seconds_of("--older", older)
    with contextlib.closing(open_to_change(common.url)) as store:
        records = store.containers(plans=False)
        of_workflow(records, workflow)
        if vacuum and not dry_run:
            _refuse_live(store, records)
        now = store.now()
        caught_up = {s.workflow: now - s.catch_up_ms for s in store.schedules()}
        retention = Retention(
            before=int(now - seconds * 1000),
            since=caught_up,
            workflow=workflow,
            keep=keep,
            unfinished=failed,
        )
        pruning = Pruning(store, retention, say, partial(say_left, common))
        found = pruning.found()
        _tell(found, dry_run=dry_run)
        if found and not dry_run:
            if not yes:
                ask("prune", "Delete them?")
            pruning.delete(found)
    if vacuum and not dry_run:
        give_room_back(common.url)
    if common.json:
        names = [record.name for record in found] if dry_run else pruning.deleted
        show_json({"schema": as_json.SCHEMA, "deleted": names, "dry_run": dry_run})


def _tell(found: list[ContainerRecord], *, dry_run: bool) -> None:
    if not found:
        say("nothing is old enough")
        return
    count = fmt.many(len(found), "container", "containers")
    does = "would delete" if dry_run else "deletes"
    say(f"{does} {count}: {listed([record.name for record in found])}")


def _refuse_live(store: Store, records: Iterable[ContainerRecord]) -> None:
    """Refuse to keep runners waiting while the whole store is written anew.

    Raises:
        ContainerBusy: a live runner has a container.
    """
    now = store.now()
    for record in records:
        if seen(store, record, now).is_leased(now):
            raise busy(record)


def give_room_back(url: str) -> None:
    """Give the room in a store that nothing uses back to the file system."""
    with contextlib.closing(open_care(url)) as care:
        freed = care.vacuum()
    say(f"{care.url}: {fmt.size(freed)} were given back to the file system")
