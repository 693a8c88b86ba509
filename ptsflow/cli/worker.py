"""The command `worker`: runs what is queued, what is due, and what dead runners left."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping

import click

from ptsflow.cli import complete
from ptsflow.cli.common import Common, common_options, pass_common
from ptsflow.cli.run_options import secret_option
from ptsflow.cli.shared import say
from ptsflow.cli.targets import Target, check_parameters, is_foreign, loaded
from ptsflow.client.schedules import ScheduledWorkflow
from ptsflow.core.model import ContainerRecord
from ptsflow.display.next_command import program
from ptsflow.host.termination import Terminated
from ptsflow.service import children
from ptsflow.service.due_work import DueWork
from ptsflow.service.worker import Duty, QueueWorker
from ptsflow.stores import absolute, open_store

_FAILED = 1


@click.command(cls=complete.Command)
@click.argument(
    "targets",
    nargs=-1,
    required=True,
    metavar="TARGET...",
    shell_complete=complete.targets,
)
@secret_option
@click.option(
    "--slots",
    type=click.IntRange(min=1),
    default=1,
    metavar="N",
    help="Run so many containers at a time (1).",
)
@click.option("--no-due", is_flag=True, help="Leave out what schedules say is due.")
@click.option(
    "--until-idle",
    is_flag=True,
    help="End when nothing is left to take; exit 1 if a run failed.",
)
@common_options
@pass_common
def worker(
    common: Common,
    targets: tuple[str, ...],
    param: tuple[str, ...],
    *,
    slots: int,
    no_due: bool,
    until_idle: bool,
) -> int:
    """Run the containers of workflows that are queued or due, or whose runners died.

    Each runs in a process of its own, with the parameters that it keeps. Any number of
    workers can share a store. SIGTERM or Ctrl-C: nothing more is taken, and what runs is
    stopped gently; once more: at once. TARGET is as of run.
    """
    try:
        workflows = loaded("worker", targets)
    except (KeyboardInterrupt, Terminated):
        return 0  # Nothing was taken yet.
    check_parameters("worker", workflows, param)
    url = absolute(common.url)

    def command(record: ContainerRecord) -> list[str]:
        of = workflows[record.workflow or ""]
        words = [*program(), "run", of.target, "-c", record.name, "--stored", "-q"]
        for pair in of.parameters_among(param):
            words += ["-p", pair]
        return words

    duty = Duty(
        workflows=workflows.keys(),
        command=command,
        is_foreign=lambda record: is_foreign(record, workflows),
        due=() if no_due else _scheduled(workflows),
        slots=slots,
        until_idle=until_idle,
    )
    environment = os.environ | {"PTSFLOW_STORE": url}
    with children.blocked(), contextlib.closing(open_store(url, notice=say)) as store:
        working = QueueWorker(store, duty, children.Children(environment), say)
        working.run()
    return 0 if working.is_ok or not until_idle else _FAILED


def _scheduled(workflows: Mapping[str, Target]) -> list[DueWork]:
    """Return the workflows that have schedules, with the commands that run what is due."""
    found = []
    for of in workflows.values():
        cron = of.kind.declared_options.schedule
        if cron is not None:
            words = [*program(), "run", of.target, "--due", "-q"]
            found.append(DueWork(ScheduledWorkflow(of.kind, cron), words))
    return found
