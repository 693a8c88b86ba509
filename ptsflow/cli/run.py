"""The command `run`: runs a workflow, or with `-n` says what a run would do."""

from __future__ import annotations

import contextlib
from functools import partial
from signal import SIGALRM
from typing import Any

import click
from msgspec.structs import replace

from ptsflow.cli import complete, streams
from ptsflow.cli import next_command as commands
from ptsflow.cli.common import Common, common_options, pass_common
from ptsflow.cli.listeners import configured_listeners
from ptsflow.cli.next_command import command
from ptsflow.cli.request import LEASE, Request, parameters
from ptsflow.cli.screens import screen_of, show_printed, tracebacks
from ptsflow.cli.shared import (
    open_existing,
    refuse,
    say,
    say_next,
    show,
    show_json,
)
from ptsflow.cli.target_help import TargetCommand
from ptsflow.client import Client
from ptsflow.core.model import ContainerRecord, TaskRecord
from ptsflow.display.run_state import Board
from ptsflow.display.summary import summary
from ptsflow.errors import (
    LeaseLost,
    StoreError,
    StoreURLError,
)
from ptsflow.events import RunEnding
from ptsflow.runner.planned_run import PlannedRun, plan_run
from ptsflow.runner.report import Stopped
from ptsflow.runner.run import run_planned
from ptsflow.stores import open_store
from ptsflow.workflow.loading import load
from ptsflow.workflow.workflow import Workflow

_FAILED = 1


#: The exit code of a run that `--timeout` stopped; timeout(1) has the same.
_TIMED_OUT = 124


@click.command(cls=TargetCommand)
@click.argument("target", shell_complete=complete.targets)
@click.option(
    "-p",
    "param",
    metavar="K=V",
    multiple=True,
    help="A parameter; again for a list.",
    shell_complete=complete.parameters,
)
@click.option(
    "-c",
    "--container",
    metavar="NAME",
    help="Instead of the workflow's own name.",
    shell_complete=complete.containers,
)
@click.option("-j", "--jobs", type=int, metavar="N", help="So many bodies at a time.")
@click.option(
    "--executor",
    metavar="WHERE",
    shell_complete=complete.executors,
    help="Where bodies run whose step does not say it: thread, process, dask or "
    "dask://HOST:PORT.",
)
@click.option(
    "--timeout", metavar="TIME", help="Stop after so long, such as 2h; exit 124."
)
@click.option("--fresh", is_flag=True, help="Forget all that is stored and begin anew.")
@click.option(
    "--from",
    "from_step",
    metavar="STEP",
    shell_complete=complete.target_steps,
    help="Run this step, or this item of one, again, and all that waits for it.",
)
@click.option(
    "--only",
    multiple=True,
    metavar="STEP",
    help="Run these steps or items alone.",
    shell_complete=complete.target_steps,
)
@click.option(
    "--changed",
    is_flag=True,
    help="Run steps again whose code changed since they ran, and all that waits for them.",
)
@click.option(
    "-n", "--dry-run", is_flag=True, help="Say what would run, and why; write nothing."
)
@click.option(
    "--wait",
    type=click.FloatRange(min=0),
    default=0,
    metavar="SECONDS",
    help="Wait so long for another runner to end.",
)
@click.option(
    "--store-wait",
    metavar="TIME",
    help="Wait so long for a store that is away at the start, such as 2m (30s).",
)
@click.option(
    "--lease",
    type=float,
    default=LEASE,
    metavar="SECONDS",
    help="After so long another host may take over from a dead runner (60).",
)
@click.option(
    "--every",
    metavar="TIME",
    help="Without a terminal: a line of each running task every so often (5m; with -q "
    "never); 0 for never.",
)
@click.option("-q", "--quiet", is_flag=True, help="Only failures and the summary.")
@common_options
@pass_common
def run(common: Common, /, **given: Any) -> int:
    """Run a workflow, or what is left of it.

    TARGET is package.module:Class or path/file.py:Class; the class may be left out
    where there is one. The same command again continues where the last run ended.
    """
    request = Request(**given)
    streams.reserve_stdout()
    kind: type[Workflow] = load(request.target, Workflow)
    workflow = kind(**parameters(kind, request.param))
    options = request.options()
    planned = plan_run(workflow, options)
    if request.dry_run:
        return _dry_run(common, planned)
    return _run(common, request, planned)


# -- running ----------------------------------------------------------------


def _run(common: Common, request: Request, planned: PlannedRun) -> int:
    board, clock, configured = Board(), planned.options.clock, configured_listeners()
    if common.json:
        # Before the run, which may leave no file and no memory to load it with.
        from ptsflow.cli.show import status_object  # noqa: PLC0415 - 10 ms, only for this
    store = open_store(common.url, notice=say, wait=planned.options.store_wait)
    with Client(store) as client:
        try:
            every = request.line_every()
            with screen_of(board, clock, quiet=request.quiet, every=every) as screen:
                shown = partial(show_printed, screen)
                traces = [tracebacks(screen)] if common.verbose else []
                options = replace(planned.options, show_printed=shown)
                report = run_planned(
                    replace(planned, options=options),
                    client,
                    [board, screen, *traces, *configured],
                )
                code = 0 if report.ok else _FAILED
        except Stopped as stopped:
            code = _TIMED_OUT if stopped.number == SIGALRM else 128 + stopped.number
        except (LeaseLost, StoreError) as error:
            if board.container is None or isinstance(error, StoreURLError):
                raise
            _summary(board, clock(), common)
            refuse(error, common)
            _next(common, request, planned, board)
            return error.exit_code
        _summary(board, clock(), common)
        record = None
        # The run is over, so a store that goes away now changes nothing but the output.
        if common.json and board.container is not None:
            record = client.store.container(board.container.name)
        if record is not None:
            show_json(status_object(client.store, record))
        if not client.store.is_in_memory:
            _next(common, request, planned, board)
    return code


def _summary(board: Board, now: int, common: Common) -> None:
    streams.tell_end()
    record = board.container

    def why(task: TaskRecord) -> str:
        return "" if record is None else command(common, commands.why(record, task))

    show(summary(board, now, why), streams.messages(), whole=True)


def _next(common: Common, request: Request, planned: PlannedRun, board: Board) -> None:
    """Print the command to type next, as the last line."""
    record = board.container
    if record is None:
        return
    only = board.lacking(request.only)
    if request.only and board.ending is RunEnding.DONE:
        request = replace(request, only=())  # They are done, the rest is not.
    given = request.typed_parameters(planned.workflow, record)

    def rerun() -> tuple[list[str], str | None] | None:
        return commands.rerun(record, given, request.again(common, only))

    if board.changed and board.starts == 0:
        found = commands.rerun(record, given, [*request.again(common), "--changed"])
        say_next(common, found)
    else:
        say_next(common, commands.after(record, board.failed(), rerun))


# -- dry run ----------------------------------------------------------------


def _dry_run(common: Common, planned: PlannedRun) -> int:
    from ptsflow.core.forecast import foresee  # noqa: PLC0415 - a run needs none of it
    from ptsflow.display import as_json, tables  # noqa: PLC0415

    plan, options = planned.plan, planned.options
    store = open_existing(common.url)
    with contextlib.closing(store) if store else contextlib.nullcontext():
        record = planned.find(store) if store else None
        if record is not None:
            planned.check_fits(record)
        tasks = []
        if store is not None and record is not None and not options.fresh:
            tasks = store.tasks(record.uid)
    shown = record or ContainerRecord(uid="", name=planned.container)
    foreseen = foresee(
        plan,
        shown,
        tasks,
        now=options.clock(),
        again=planned.asked_again(tasks),
        only=options.only,
    )
    if common.json:
        head = {
            "schema": as_json.SCHEMA,
            "container": shown.name,
            "workflow": plan.workflow,
            "exists": record is not None,
        }
        entries = [
            {"name": entry.name, "action": entry.action, "reason": entry.reason}
            for entry in foreseen
        ]
        show_json(head | {"tasks": entries})
    else:
        there = "as it is stored" if tasks else "begun anew" if record else "new"
        notes = [planned.continues(record) if record else "", planned.unenforced()]
        for text in filter(None, notes):
            say(text)
        say(f"{shown.name}: {there}; a run would do this, nothing is written now")
        show(tables.forecasts(foreseen))
    return 0
