"""The command `overdue`: what should be done by now and is not."""

from __future__ import annotations

import contextlib

import click

from ptsflow.cli import complete
from ptsflow.cli.common import Common, common_options, pass_common
from ptsflow.cli.containers import no_workflow
from ptsflow.cli.request import seconds_of
from ptsflow.cli.shared import open_to_look, say, show_json, show_text
from ptsflow.client.overdue import GRACE_MS, overdue_of, silent_for, workflows_of
from ptsflow.core.overdue import Overdue
from ptsflow.display.late import late_as_json, late_in_words
from ptsflow.errors import UsageError, WorkflowNotFound
from ptsflow.stores import mask
from ptsflow.stores.base import Store

_SOMETHING = 1
#: How many of the newest containers are looked through for workflows.
_NEWEST = 1_000


@click.command()
@click.argument("workflow", required=False, shell_complete=complete.workflows)
@click.option(
    "--within",
    metavar="TIME",
    help="A workflow without a schedule must have been done within this time, such as 2h.",
)
@click.option(
    "--grace",
    metavar="TIME",
    help="A tick may be late by so much, or by half of its usual time (10m).",
)
@common_options
@pass_common
def overdue(
    common: Common, workflow: str | None, *, within: str | None, grace: str | None
) -> int:
    """Show what should be done by now and is not; exit 1 if anything is.

    For a crontab on another machine: it hears of what failed, and of what never began.
    The schedules are those that `run --due` has seen; none of your code is loaded.
    WORKFLOW is the name of its class.
    """
    within_ms = None if within is None else round(seconds_of("--within", within) * 1000)
    grace_ms = GRACE_MS if grace is None else round(seconds_of("--grace", grace) * 1000)
    with contextlib.closing(open_to_look(common.url)) as store:
        now = store.now()
        found = _found(store, workflow, now, within_ms, grace_ms)
    for late in found:
        if common.json:
            show_json(late_as_json(late))
        else:
            show_text(f"{late_in_words(late, now)}\n")
    if not found and not common.json:
        say("nothing is overdue")
    return _SOMETHING if found else 0


def _found(
    store: Store, workflow: str | None, now: int, within_ms: int | None, grace_ms: int
) -> list[Overdue]:
    """Return what is overdue.

    Raises:
        WorkflowNotFound: there is no such workflow, or nothing to tell by.
        UsageError: the workflow has no schedule, and nothing says how old it may be.
    """
    schedules = {each.workflow: each for each in store.schedules()}
    known = [*schedules, *workflows_of(store.recent(_NEWEST))]
    if (
        workflow is not None
        and workflow not in known
        and not store.runs(workflow, limit=1)
    ):
        raise no_workflow(workflow, known)
    if workflow is None and not schedules and within_ms is None:
        raise WorkflowNotFound(
            f"no workflow has a schedule in {mask(store.url)}; run one with --due, or give "
            "--within TIME"
        )
    wanted = dict.fromkeys(known if workflow is None else [workflow])
    found = []
    for name in wanted:
        if name in schedules:
            found += overdue_of(store, schedules[name], now, grace_ms)
        elif within_ms is not None:
            found += silent_for(store, [name], now, within_ms)
        elif workflow is not None:
            raise UsageError(
                f"overdue: {name} has no schedule; give --within TIME, such as 2h"
            )
    return found
