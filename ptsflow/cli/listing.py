"""The command `list`: containers with their status; it loads no user code."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence

import click

from ptsflow.cli import complete, streams
from ptsflow.cli.common import Common, common_options, pass_common
from ptsflow.cli.containers import of_workflow
from ptsflow.cli.request import seconds_of
from ptsflow.cli.shared import (
    open_existing,
    refuse_damaged,
    say,
    say_continuations,
    show,
    show_json,
)
from ptsflow.client.looking import outlooks, seen
from ptsflow.client.sound import sound_containers, sound_tallies
from ptsflow.core import counts
from ptsflow.core.model import ContainerRecord, Status, Tally
from ptsflow.display import as_json, tables
from ptsflow.display import format as fmt
from ptsflow.host.garbage import uncollected
from ptsflow.stores import mask
from ptsflow.stores.base import Store

#: How many containers a terminal shows, the newest.
_SHOWN = 200

Tallies = Mapping[str, Sequence[Tally]]


@click.command("list")
@click.option(
    "--limit",
    type=click.IntRange(min=0),
    metavar="N",
    help="So many, the newest; 0 for all (200 on a terminal, else all).",
)
@click.option("--failed", is_flag=True, help="Only those that failed.")
@click.option(
    "--workflow",
    metavar="W",
    help="Only those of this workflow.",
    shell_complete=complete.workflows,
)
@click.option(
    "--since",
    metavar="TIME",
    help="Only those that were made, ran or ended within this time, such as 24h.",
)
@common_options
@pass_common
@uncollected()
def list_containers(
    common: Common,
    *,
    limit: int | None,
    failed: bool,
    workflow: str | None,
    since: str | None,
) -> None:
    """List containers, the newest last."""
    seconds = None if since is None else seconds_of("--since", since)
    store = open_existing(common.url)
    if store is None:
        say(f"no containers: there is no store at {mask(common.url)} yet")
        return
    if limit is None:
        limit = _SHOWN if streams.data().isatty() and not common.json else 0
    with contextlib.closing(store):
        now = store.now()
        damaged: list[str] = []
        begin = 0.0 if seconds is None else now - seconds * 1000
        found = [
            record
            for record in of_workflow(sound_containers(store, damaged), workflow)
            if record.is_leased(now) or _last_seen(record) >= begin
        ]
        if failed:
            found = _failed(store, found)
        _show(common, store, found, now, limit, damaged)
        refuse_damaged(damaged)


def _show(
    common: Common,
    store: Store,
    found: Sequence[ContainerRecord],
    now: int,
    limit: int,
    damaged: list[str],
) -> None:
    """Show containers.

    Args:
        common: what all commands are told.
        store: where the containers are.
        found: the containers, the newest last.
        now: the time.
        limit: so many are shown; 0 for all.
        damaged: what is said of each that has a damaged task is added to it.
    """
    records = [seen(store, record, now) for record in found[-limit:]]
    tallies, of_tasks = sound_tallies(store, [record.uid for record in records])
    damaged += of_tasks.values()
    told = outlooks(store, records, now)
    if common.json:
        for record in (r for r in records if r.uid not in of_tasks):
            counted, outlook = tallies.get(record.uid, ()), told.get(record.uid)
            show_json(as_json.container(record, counted, now=now, outlook=outlook))
        return
    if records:
        show(tables.containers(records, tallies, now, told, of_tasks))
    elif not damaged:
        say(f"no containers in {store.url}{' are like that' if found else ' yet'}")
    if len(found) > len(records):
        rest = fmt.many(len(found) - len(records), "older one", "older ones")
        say(f"{rest}: --limit 0 shows all")
    older = (r for r in found[: -len(records)] if _is_left(r, {}, now))
    newer = (r for r in records if _is_left(r, tallies, now))
    say_continuations(common, [*older, *newer])


def _last_seen(record: ContainerRecord) -> int:
    """Return when a container was last made, begun or ended."""
    return max(record.created_at, record.started_at or 0, record.ended_at or 0)


def _failed(store: Store, records: Sequence[ContainerRecord]) -> list[ContainerRecord]:
    """Return those that failed; the tasks of a client's container say that of it."""
    theirs, _ = sound_tallies(store, [r.uid for r in records if r.workflow is None])
    return [
        record
        for record in records
        if counts.status_of(record, theirs.get(record.uid, ())) is Status.FAILED
    ]


def _is_left(record: ContainerRecord, tallies: Tallies, now: int) -> bool:
    """Whether a container is unfinished and nobody runs it."""
    stands = counts.status_of(record, tallies.get(record.uid, ()))
    is_client_s = record.workflow is None
    return not (is_client_s or stands is Status.DONE or record.is_leased(now))
