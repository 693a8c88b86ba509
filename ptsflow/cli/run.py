"""The command `run`: runs a workflow, or with `-n` says what a run would do."""

from __future__ import annotations

import contextlib
from functools import partial
from signal import SIGALRM
from typing import Any

import click
from msgspec.structs import replace

from ptsflow.cli import streams
from ptsflow.cli.listeners import configured_listeners
from ptsflow.cli.request import LEASE, Request, parameters
from ptsflow.cli.screens import screen_of, show_printed
from ptsflow.cli.shared import (
    Common,
    common_options,
    open_existing,
    pass_common,
    program,
    refuse,
    say,
    show,
    show_json,
    store_words,
    typed,
)
from ptsflow.cli.show import status_object
from ptsflow.client import Client
from ptsflow.core.forecast import foresee
from ptsflow.core.model import ContainerRecord, Status
from ptsflow.display import as_json, tables
from ptsflow.display.run_state import Board
from ptsflow.errors import (
    LeaseLost,
    StoreError,
    StoreUnavailable,
    StoreURLError,
)
from ptsflow.runner.planned_run import PlannedRun, plan_run
from ptsflow.runner.report import Stopped
from ptsflow.runner.run import run_planned
from ptsflow.stores import open_store
from ptsflow.workflow.loading import load
from ptsflow.workflow.workflow import Workflow

_FAILED = 1


#: The exit code of a run that `--timeout` stopped; timeout(1) has the same.
_TIMED_OUT = 124


@click.command()
@click.argument("target")
@click.option(
    "-p", "param", metavar="K=V", multiple=True, help="A parameter; again for a list."
)
@click.option(
    "-c", "--container", metavar="NAME", help="Instead of the workflow's own name."
)
@click.option("-j", "--jobs", type=int, metavar="N", help="So many bodies at a time.")
@click.option(
    "--executor",
    metavar="WHERE",
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
    help="Run this step again, and all that waits for it.",
)
@click.option("--only", multiple=True, metavar="STEP", help="Run these steps alone.")
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
    board, clock = Board(), planned.options.clock
    configured = configured_listeners()
    wait = planned.options.store_wait
    with Client(open_store(common.url, notice=say, wait=wait)) as client:
        try:
            with screen_of(board, clock, quiet=request.quiet) as screen:
                shown = partial(show_printed, screen)
                options = replace(planned.options, show_printed=shown)
                report = run_planned(
                    replace(planned, options=options),
                    client,
                    [board, screen, *configured],
                )
                code = 0 if report.ok else _FAILED
        except Stopped as stopped:
            code = _TIMED_OUT if stopped.number == SIGALRM else 128 + stopped.number
        except (LeaseLost, StoreError) as error:
            if board.container is None or isinstance(error, StoreURLError):
                raise
            _summary(board, clock())
            refuse(error, verbose=common.verbose)
            _next(common, request, None)
            return error.exit_code
        _summary(board, clock())
        name = "" if board.container is None else board.container.name
        record = None
        # The run is over, so a store that goes away now changes nothing but the hint.
        with contextlib.suppress(*(() if common.json else (StoreUnavailable,))):
            record = client.store.container(name)
        if common.json and record is not None:
            show_json(status_object(client.store, record))
        _next(common, request, record)
    return code


def _summary(board: Board, now: int) -> None:
    streams.tell_end()
    show(tables.summary(board, now), streams.messages(), whole=True)


def _next(common: Common, request: Request, record: ContainerRecord | None) -> None:
    """Print the command to type next, as the last line."""
    if record is not None and record.status is Status.DONE:
        store, why = store_words(common)
        words = ["show", record.name, *store]
    else:
        words, why = request.again(common)
    if why:
        say(why)
    say(f"next: {program()} {typed(words)}")


# -- dry run ----------------------------------------------------------------


def _dry_run(common: Common, planned: PlannedRun) -> int:
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
