"""The command `run`: runs a workflow, or with `-n` says what a run would do."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Sequence
from functools import partial
from signal import SIGALRM
from typing import Any

import click
from msgspec import Struct
from msgspec.structs import replace

from ptsflow.cli import streams
from ptsflow.cli.listeners import configured_listeners
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
    ParameterError,
    StoreError,
    StoreUnavailable,
    StoreURLError,
    UsageError,
)
from ptsflow.runner.options import RunOptions
from ptsflow.runner.planned_run import PlannedRun, plan_run
from ptsflow.runner.report import Stopped
from ptsflow.runner.run import run_planned
from ptsflow.stores import open_store
from ptsflow.stores.store_wait import StoreWait
from ptsflow.workflow import units
from ptsflow.workflow.loading import load
from ptsflow.workflow.parameters import parse
from ptsflow.workflow.workflow import Workflow

_FAILED = 1


class Request(Struct, frozen=True, kw_only=True):
    """The options and arguments of one `run` command."""

    target: str
    param: tuple[str, ...]
    container: str | None
    jobs: int | None
    fresh: bool
    from_step: str | None
    only: tuple[str, ...]
    changed: bool
    wait: float
    store_wait: str | None
    lease: float
    executor: str | None
    timeout: str | None
    quiet: bool
    dry_run: bool

    def again(self, common: Common) -> tuple[list[str], str]:
        """Return the words of the command that continues this run, and what they leave out.

        --fresh, --from and --changed are left out: the run has already begun what they
        ask for, and a rerun continues it.
        """
        words = ["run", self.target]
        for given in self.param:
            words += ["-p", given]
        if self.container is not None:
            words += ["-c", self.container]
        store, why = store_words(common)
        words += store
        if self.jobs is not None:
            words += ["-j", str(self.jobs)]
        words += [] if self.executor is None else ["--executor", self.executor]
        words += [] if self.timeout is None else ["--timeout", self.timeout]
        for name in self.only:
            words += ["--only", name]
        words += ["--wait", f"{self.wait:g}"] if self.wait else []
        words += ["--store-wait", self.store_wait] if self.store_wait else []
        words += ["--lease", f"{self.lease:g}"] if self.lease != _LEASE else []
        flags = {"--json": common.json, "-q": self.quiet, "-v": common.verbose}
        return words + [flag for flag, is_set in flags.items() if is_set], why


_LEASE = 60.0
_STORE_WAIT = 30.0
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
    default=_LEASE,
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
    options = RunOptions(
        container=request.container,
        jobs=request.jobs,
        lease=request.lease,
        wait=request.wait,
        fresh=request.fresh,
        from_step=request.from_step,
        only=request.only or None,
        changed=request.changed,
        executor=request.executor,
        timeout=_timeout(request.timeout),
        store_wait=_store_wait(request),
        target=request.target,
    )
    planned = plan_run(workflow, options)
    if request.dry_run:
        return _dry_run(common, planned)
    return _run(common, request, planned)


def _timeout(text: str | None) -> float | None:
    return None if text is None else _seconds("--timeout", text)


def _store_wait(request: Request) -> StoreWait:
    """Return how long to wait for the store; waiting for another runner covers it too."""
    text, seconds = request.store_wait, _STORE_WAIT
    if text is not None:
        seconds = 0.0 if text == "0" else _seconds("--store-wait", text)
    timeout = _timeout(request.timeout) or math.inf
    return StoreWait(min(max(seconds, request.wait), timeout), say)


def _seconds(option: str, text: str) -> float:
    is_number = text.replace(".", "", 1).isdecimal()
    found = units.seconds(float(text) if is_number else text)
    if found is None:
        raise UsageError(
            f"{option}: expected a time such as 90, 30m or 2h, found {text!r}"
        )
    return found


def parameters(kind: type[Workflow], given: Sequence[str]) -> dict[str, Any]:
    """Return the parameters that `name=text` pairs give, by the workflow's annotations.

    Raises:
        UsageError: one is not `name=text`, or is given twice.
        ParameterError: a value does not fit its annotation.
    """
    texts: dict[str, list[str]] = {}
    for pair in given:
        name, equals, text = pair.partition("=")
        if not equals or not name:
            raise UsageError(f"-p: expected name=value, found {pair!r}")
        texts.setdefault(name, []).append(text)
    return {name: _value(kind, name, listed) for name, listed in texts.items()}


def _value(kind: type[Workflow], name: str, texts: list[str]) -> Any:
    declared = kind.declared_parameters.get(name)
    if declared is None:
        return texts[
            -1
        ]  # The workflow refuses an unknown name and lists the known ones.
    label = f"{kind.__name__}: the parameter {name}"
    values = [parse(text, declared.hint, label) for text in texts]
    if len(values) == 1:
        return values[0]
    if all(isinstance(value, (list, tuple)) for value in values):
        return type(values[0])(element for value in values for element in value)
    if all(isinstance(value, (set, frozenset)) for value in values):
        return type(values[0])().union(*values)
    raise ParameterError(f"{label}: expected one -p {name}=..., found {len(values)}")


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
