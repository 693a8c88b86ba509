"""The command `schedule`: when a workflow is due, and pausing that."""

from __future__ import annotations

import contextlib
import getpass
import os
import socket
from datetime import UTC, datetime
from itertools import islice

import click
from msgspec.structs import replace

from ptsflow.cli import complete
from ptsflow.cli.common import Common, common_options, pass_common
from ptsflow.cli.shared import open_existing, say, show, show_json, show_text
from ptsflow.client.schedules import ScheduledWorkflow, swapped
from ptsflow.core.insight import ScheduleRecord
from ptsflow.core.names import listed, similar
from ptsflow.core.ticks import ticks
from ptsflow.display import as_json
from ptsflow.display import format as fmt
from ptsflow.display.format import Piece
from ptsflow.display.late import paused_in_words, policy_in_words
from ptsflow.errors import UsageError, WorkflowNotFound
from ptsflow.host.clock import to_millis
from ptsflow.stores import mask, open_store
from ptsflow.workflow.cron import Cron
from ptsflow.workflow.loading import load
from ptsflow.workflow.schedule import at, declared, kept, no_schedule
from ptsflow.workflow.workflow import Workflow


@click.command()
@click.argument("target", metavar="TARGET|WORKFLOW", shell_complete=complete.targets)
@click.option(
    "--next",
    "count",
    type=click.IntRange(1, 10_000),
    default=5,
    metavar="N",
    help="So many ticks (5).",
)
@click.option("--pause", is_flag=True, help="Let --due run nothing of WORKFLOW.")
@click.option("--resume", is_flag=True, help="Let --due run WORKFLOW again.")
@click.option("--why", metavar="TEXT", help="With --pause: why, for those who ask.")
@common_options
@pass_common
def schedule(
    common: Common,
    target: str,
    *,
    count: int,
    pause: bool,
    resume: bool,
    why: str | None,
) -> int:
    """Show when a workflow is due: the next ticks, their containers, and the rules.

    TARGET is as of run. With --pause and --resume it may also be the name of a workflow
    that `run --due` has seen.
    """
    if pause and resume:
        raise UsageError("schedule: expected --pause or --resume, found both")
    if why is not None and not pause:
        raise UsageError("schedule: --why goes with --pause; add --pause")
    if pause or resume:
        return _pause(common, target, pause=pause, why=why or "")
    kind, cron = _loaded(target)
    now = datetime.now(UTC)
    stored = _stored(common).get(kind.__name__)
    _show(common, kind, cron, kept(stored, declared(kind, cron, now)), count)
    return 0


def _loaded(target: str) -> tuple[type[Workflow], Cron]:
    """Return the class that TARGET names, and its schedule.

    Raises:
        LoadError: there is no such class.
        DeclarationError: it has no schedule.
    """
    kind: type[Workflow] = load(target, Workflow)
    cron = kind.declared_options.schedule
    if cron is None:
        raise no_schedule(kind)
    return kind, cron


def _stored(common: Common) -> dict[str, ScheduleRecord]:
    store = open_existing(common.url)
    if store is None:
        return {}
    with contextlib.closing(store):
        return {each.workflow: each for each in store.schedules()}


def _show(
    common: Common,
    kind: type[Workflow],
    cron: Cron,
    schedule: ScheduleRecord,
    count: int,
) -> None:
    """Print the rules, then the next ticks with the containers that they name."""
    now = datetime.now(UTC)
    coming = [
        (tick, at(kind, cron, tick).container_name)
        for tick in islice(ticks(cron.expression, cron.zone, now), count)
    ]
    if common.json:
        rules = {
            "schema": as_json.SCHEMA,
            "workflow": schedule.workflow,
            "cron": schedule.cron,
            "timezone": schedule.zone,
            "overlap": schedule.overlap,
            "catch_up_seconds": schedule.catch_up_ms / 1000,
            "again_seconds": schedule.again_ms / 1000,
            "jitter_seconds": schedule.jitter_ms / 1000,
            "paused_at": as_json.when(schedule.paused_at),
            "paused_by": schedule.paused_by or None,
            "why": schedule.why or None,
        }
        next_ones = [
            {"tick": as_json.when(to_millis(tick)), "container": name}
            for tick, name in coming
        ]
        show_json(rules | {"next": next_ones})
        return
    show_text(f"{schedule.workflow}: {policy_in_words(schedule)}\n")
    if schedule.paused_at is not None:
        show_text(f"{paused_in_words(schedule, to_millis(now))}\n")
    rows = [
        [
            Piece(tick.astimezone(cron.zone).isoformat(" ", "minutes")),
            Piece(fmt.clean(name), "name"),
        ]
        for tick, name in coming
    ]
    show(fmt.columns(rows), whole=True)


def _pause(common: Common, target: str, *, pause: bool, why: str) -> int:
    """Pause the schedule of a workflow, or end that; say how it stands then."""
    with contextlib.closing(open_store(common.url, notice=say)) as store:
        now = store.now()
        known = [each.workflow for each in store.schedules()]
        workflow = target
        if workflow not in known:
            if not (target.endswith(".py") or ":" in target or "." in target):
                raise WorkflowNotFound(
                    f"no schedule of a workflow {target!r} is kept in {mask(store.url)}"
                    f"{similar(target, known)}; there are those of "
                    f"{listed(known, target) or 'none'}; a TARGET will do too"
                )
            kind, cron = _loaded(target)
            workflow = ScheduledWorkflow(kind, cron).keep(store, now).workflow

        def decide(before: ScheduleRecord | None) -> ScheduleRecord | None:
            if before is None or (pause and before.paused_at is not None and not why):
                return None
            by = f"{_user()} on {socket.gethostname()}" if pause else ""
            at_ms = (before.paused_at or now) if pause else None
            return replace(before, paused_at=at_ms, paused_by=by, why=why)

        after = swapped(store, workflow, decide)
    if after is not None and after.paused_at is not None:
        say(paused_in_words(after, now))
    else:
        say(f"{workflow} is not paused")
    return 0


def _user() -> str:
    # There may be no name for a number, as in a container.
    with contextlib.suppress(Exception):
        return getpass.getuser()
    return str(os.getuid())
