"""The command `submit`: puts a container into the queue, for a worker."""

from __future__ import annotations

import contextlib
from datetime import datetime
from typing import Any

import click

from ptsflow.cli import complete
from ptsflow.cli.common import Common, common_options, pass_common
from ptsflow.cli.request import parameters, seconds_of
from ptsflow.cli.run_options import container_option, parameter_option
from ptsflow.cli.shared import say, show_json, show_text
from ptsflow.cli.target_help import TargetCommand
from ptsflow.display import as_json
from ptsflow.display import format as fmt
from ptsflow.display.next_command import absolute_target
from ptsflow.errors import UsageError
from ptsflow.host.clock import to_millis
from ptsflow.runner.options import RunOptions
from ptsflow.runner.planned_run import plan_run
from ptsflow.service.submission import submit as put_into_queue
from ptsflow.stores import open_store
from ptsflow.workflow.loading import load
from ptsflow.workflow.workflow import Workflow


@click.command(cls=TargetCommand)
@click.argument("target", shell_complete=complete.targets)
@parameter_option
@container_option
@click.option(
    "--at",
    "when",
    metavar="TIME",
    help="Not before this time, such as 2011-09-30T13:00 or 2h (from now).",
)
@click.option(
    "--priority",
    type=int,
    default=0,
    metavar="N",
    help="Containers with a larger number are taken first (0).",
)
@common_options
@pass_common
def submit(
    common: Common,
    /,
    target: str,
    param: tuple[str, ...],
    container: str | None,
    *,
    when: str | None,
    priority: int,
) -> None:
    """Put a container into the queue, for a worker to run.

    Prints the name of the container, which is made, or opened again if it has failed. The
    exit code is 0 also if it is complete already. TARGET is as of run.
    """
    kind: type[Workflow] = load(target, Workflow)
    given: dict[str, Any] = parameters(kind, param)
    options = RunOptions(container=container, target=absolute_target(target))
    planned = plan_run(kind(**given), options)
    with contextlib.closing(open_store(common.url, notice=say)) as store:
        now = store.now()
        not_before = 0 if when is None else _time_of(when, now)
        record, is_queued = put_into_queue(
            planned, store, notice=say, not_before=not_before, priority=priority
        )
    if not is_queued:
        say(f"{record.name}: it is complete, there is nothing to do")
    elif not_before > now:
        say(f"{record.name}: queued, not before {fmt.moment(not_before, now)}")
    if common.json:
        show_json(
            {
                "schema": as_json.SCHEMA,
                "container": record.name,
                "workflow": record.workflow,
                "queued": is_queued,
                "not_before": as_json.when(not_before or None),
                "priority": priority,
            }
        )
    else:
        show_text(f"{fmt.clean(record.name)}\n")


def _time_of(text: str, now: int) -> int:
    """Return the time that --at names; one without an offset is local, as on screens.

    Raises:
        UsageError: it is no time.
    """
    try:
        return to_millis(datetime.fromisoformat(text).astimezone())
    except (ValueError, OverflowError):
        pass
    try:
        return now + round(seconds_of("--at", text) * 1000)
    except UsageError:
        raise UsageError(
            f"--at: expected a time such as 2011-09-30T13:00 or 2h, found {text!r}"
        ) from None
