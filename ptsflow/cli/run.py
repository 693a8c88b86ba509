"""The command `run`: runs a workflow, or with `-n` says what a run would do."""

from __future__ import annotations

import contextlib
import shlex  # noqa: F401 - the end of a run loads nothing: a body may have made that impossible
from collections.abc import Iterator
from functools import partial
from importlib import import_module
from signal import SIGALRM
from typing import Any, NamedTuple

import click
from msgspec.structs import replace

from ptsflow.cli import complete, streams
from ptsflow.cli.common import Common, common_options, pass_common
from ptsflow.cli.listeners import configured_listeners
from ptsflow.cli.next_command import command
from ptsflow.cli.request import Request, parameters
from ptsflow.cli.run_options import container_option, parameter_option, run_options
from ptsflow.cli.screens import screen_of, show_printed, tracebacks
from ptsflow.cli.shared import (
    chosen,
    open_existing,
    open_to_look,
    refuse,
    say,
    say_next,
    show,
    show_json,
    show_text,
)
from ptsflow.cli.target_help import TargetCommand
from ptsflow.client import Client
from ptsflow.core.model import ContainerRecord, Status, TaskRecord
from ptsflow.display import next_command as commands
from ptsflow.display.run_state import Board
from ptsflow.display.summary import summary
from ptsflow.errors import (
    LeaseLost,
    StoreError,
    StoreURLError,
    UsageError,
)
from ptsflow.events import Listener, RunEnding
from ptsflow.runner.planned_run import PlannedRun, plan_run
from ptsflow.runner.report import Stopped
from ptsflow.runner.run import run_planned
from ptsflow.stores import open_store
from ptsflow.stores.base import Store
from ptsflow.stores.store_wait import StoreWait
from ptsflow.workflow.loading import load
from ptsflow.workflow.stored_parameters import parameters_of, removed_parameters
from ptsflow.workflow.workflow import Workflow

_FAILED = 1


#: The exit code of a run that `--timeout` stopped; timeout(1) has the same.
TIMED_OUT = 124


@click.command(cls=TargetCommand)
@click.argument("target", shell_complete=complete.targets)
@parameter_option
@container_option
@click.option(
    "--stored",
    is_flag=True,
    help="With -c: with the parameters that this container keeps; secrets are given again.",
)
@click.option(
    "--due", is_flag=True, help="Run what the schedule of the class says is due now."
)
@click.option(
    "--since",
    metavar="TIME",
    help="With --due: ticks from this time on too, such as 2026-11-01.",
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
@run_options
@common_options
@pass_common
def run(common: Common, /, **given: Any) -> int:
    """Run a workflow, or what is left of it.

    TARGET is package.module:Class or path/file.py:Class; the class may be left out
    where there is one. The same command again continues where the last run ended.
    """
    request = Request(**given)
    streams.reserve_stdout()
    if request.due or request.since:
        return _run_due(common, request)
    planned = plan_request(common, request, load(request.target, Workflow))
    if request.dry_run:
        return _dry_run(common, planned)
    return run_request(common, request, planned).code


def _run_due(common: Common, request: Request) -> int:
    from ptsflow.cli.due import run_due  # noqa: PLC0415 - only for schedules

    return run_due(common, request, load(request.target, Workflow))


# -- planning ---------------------------------------------------------------


def plan_request(common: Common, request: Request, kind: type[Workflow]) -> PlannedRun:
    """Plan a run of a workflow class; with `stored`, its container is read for that.

    Raises:
        PtsflowError: the options, the parameters or the container do not fit.
    """
    given, options = parameters(kind, request.param), request.options()
    if request.stored:
        record = _stored(common, request.container, options.store_wait)
        given = parameters_of(kind, record, given)
        if removed := removed_parameters(kind, record):
            names = ", ".join(removed)
            say(f"not in the workflow any more, and ignored: the parameters {names}")
        options = replace(options, container=record.name)
    return plan_run(kind(**given), options)


def _stored(common: Common, name: str | None, wait: StoreWait) -> ContainerRecord:
    if name is None:
        raise UsageError("run: --stored goes with -c NAME; give a container")
    with contextlib.closing(open_to_look(common.url, wait=wait)) as store:
        return wait.through(partial(chosen, store, name), say)


# -- running ----------------------------------------------------------------


class RunExit(NamedTuple):
    """How one run of a command ended."""

    code: int
    #: Whether what ended it ends the whole command: a signal, or a timeout.
    ends_all: bool = False


def run_request(common: Common, request: Request, planned: PlannedRun) -> RunExit:
    """Run what is planned, and show it."""
    board, clock, configured = Board(), planned.options.clock, configured_listeners()
    if common.json:
        # Before the run, which may leave no file and no memory to load it with.
        import_module("ptsflow.client.status_object")
    store = open_store(common.url, notice=say, wait=planned.options.store_wait)
    with Client(store) as client:
        try:
            with _shown(common, request, planned, board) as (shown, screens):
                report = run_planned(shown, client, [*screens, *configured])
            ended = RunExit(0 if report.ok else _FAILED)
        except Stopped as stopped:
            timed_out = stopped.number == SIGALRM
            code = TIMED_OUT if timed_out else 128 + stopped.number
            ended = RunExit(code, ends_all=stopped.halt.by != "cancel")
        except (LeaseLost, StoreError) as error:
            if board.container is None or isinstance(error, StoreURLError):
                raise
            _summary(board, clock(), common)
            refuse(error, common)
            _next(common, request, board)
            return RunExit(error.exit_code)
        _summary(board, clock(), common)
        # The run is over, so a store that goes away now changes nothing but the output.
        if common.json and board.container is not None:
            _show_json(client.store, board.container.name)
        if not client.store.is_in_memory:
            _next(common, request, board)
    return ended


@contextlib.contextmanager
def _shown(
    common: Common, request: Request, planned: PlannedRun, board: Board
) -> Iterator[tuple[PlannedRun, list[Listener]]]:
    """Show a run while it lasts: return it so that bodies' lines are shown, and listeners."""
    every, clock = request.line_every(), planned.options.clock
    with screen_of(board, clock, quiet=request.quiet, every=every) as screen:
        shown = partial(show_printed, screen)
        traces = [tracebacks(screen)] if common.verbose else []
        options = replace(planned.options, show_printed=shown)
        yield replace(planned, options=options), [board, screen, *traces]


def _show_json(store: Store, name: str) -> None:
    from ptsflow.client.status_object import status_object  # noqa: PLC0415 - 10 ms, only for this

    record = store.container(name)
    if record is not None:
        show_json(status_object(store, record))


def _summary(board: Board, now: int, common: Common) -> None:
    streams.tell_end()
    record = board.container

    def why(task: TaskRecord) -> str:
        return "" if record is None else command(common, commands.why(record, task))

    show(summary(board, now, why), streams.messages(), whole=True)


def _next(common: Common, request: Request, board: Board) -> None:
    """Print the command to type next, as the last line."""
    record = board.container
    if record is None or (request.is_one_of_many and record.status is Status.DONE):
        return
    only = board.lacking(request.only)
    if request.only and board.ending is RunEnding.DONE:
        request = replace(request, only=())  # They are done, the rest is not.

    def rerun() -> tuple[list[str], str | None] | None:
        return commands.rerun(record, request.again(common, only))

    if board.changed and board.starts == 0:
        found = commands.rerun(record, [*request.again(common), "--changed"])
        say_next(common, found)
    else:
        say_next(common, commands.after(record, board.failed(), rerun))


# -- dry run ----------------------------------------------------------------


def _dry_run(common: Common, planned: PlannedRun) -> int:
    from ptsflow.core.forecast import foresee  # noqa: PLC0415 - a run needs none of it
    from ptsflow.core.history import Profile  # noqa: PLC0415
    from ptsflow.display import as_json, forecast_table  # noqa: PLC0415
    from ptsflow.display.usual import usual, usually  # noqa: PLC0415
    from ptsflow.runner.foresight import learned  # noqa: PLC0415

    plan, options = planned.plan, planned.options
    store = open_existing(common.url)
    with contextlib.closing(store) if store else contextlib.nullcontext():
        record = planned.find(store) if store else None
        if record is not None:
            planned.check_fits(record)
        shown = record or ContainerRecord(uid="", name=planned.container)
        tasks = store.tasks(shown.uid) if store and record and not options.fresh else []
        profile = learned(store, plan.workflow) if store else Profile()
    foreseen = foresee(
        plan,
        shown,
        tasks,
        now=options.clock(),
        again=planned.asked_again(tasks),
        only=options.only,
    )
    if all(entry.action == "skip" for entry in foreseen):
        planned.check_only(tasks)
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
        show_json(head | {"tasks": entries, "usual": usual(profile)})
    else:
        there = "as it is stored" if tasks else "begun anew" if record else "new"
        notes = [planned.continues(record) if record else "", planned.unenforced()]
        for text in filter(None, notes):
            say(text)
        say(f"{shown.name}: {there}; a run would do this, nothing is written now")
        show(forecast_table.forecasts(foreseen))
        if text := usually(profile):
            show_text(f"{text}\n")
    return 0
