"""The command `resume`: runs the unfinished containers of workflows, one after the other."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import click
from msgspec.structs import replace

from ptsflow.cli import complete, streams
from ptsflow.cli.common import Common, common_options, pass_common
from ptsflow.cli.containers import unfinished
from ptsflow.cli.next_command import command, message_of
from ptsflow.cli.request import Request
from ptsflow.cli.run import TIMED_OUT, RunExit, plan_request, run_request
from ptsflow.cli.run_options import run_options, secret_option
from ptsflow.cli.shared import open_to_look, refuse, say, show, show_json
from ptsflow.cli.targets import Target, check_parameters, is_foreign, loaded
from ptsflow.client.admin import pick
from ptsflow.client.looking import seen
from ptsflow.core.model import ContainerRecord, Status
from ptsflow.display import as_json, tables
from ptsflow.display import format as fmt
from ptsflow.display import next_command as commands
from ptsflow.display.format import Piece
from ptsflow.errors import (
    ContainerBusy,
    ContainerMismatch,
    PtsflowError,
    StoreError,
    UsageError,
)
from ptsflow.host.clock import since_boot
from ptsflow.stores import mask
from ptsflow.stores.base import Store
from ptsflow.workflow.loading import is_module


@click.command(cls=complete.Command)
@click.argument(
    "words", nargs=-1, metavar="TARGET... [NAME]", shell_complete=complete.resumable
)
@click.option("--all-failed", is_flag=True, help="Only those that failed.")
@secret_option
@run_options
@common_options
@pass_common
def resume(
    common: Common, /, words: tuple[str, ...], *, all_failed: bool, **given: Any
) -> int:
    """Run the unfinished containers of workflows again, one after the other.

    TARGET is as of run. Each container runs with the parameters that it keeps. NAME is a
    container, or a part of its name: then it runs alone. Without TARGET, the commands to
    type are printed: no code is loaded because a store names it.
    """
    request = Request(target="", stored=True, **given)
    options = request.options()
    streams.reserve_stdout()
    with contextlib.closing(open_to_look(common.url, wait=options.store_wait)) as store:
        records = options.store_wait.through(store.containers, say)
        targets, name = _split(words, records)
        if all_failed and name is not None:
            raise UsageError(f"resume: expected {name!r} or --all-failed, found both")
        named = None if name is None else pick(name, records, store.url)
        if not targets:
            found = unfinished(store, records if named is None else [named])
            raise _without_target(common, [record for record, _ in found])
        workflows = loaded("resume", targets, may_be_names=True)
        check_parameters("resume", workflows, request.param)
        if named is not None:
            _check_workflow(workflows, named)
            chosen = [named]
        else:
            chosen = _all_unfinished(store, records, workflows, all_failed=all_failed)
            now, may_wait = store.now(), request.wait > 0
            chosen = [r for r in chosen if may_wait or not _is_held(r, now)]
    request = replace(request, is_one_of_many=len(chosen) != 1)
    return _Series(common, request, workflows, options.timeout).run(chosen)


# -- what to run --------------------------------------------------------------


def _split(
    words: Sequence[str], records: Iterable[ContainerRecord]
) -> tuple[Sequence[str], str | None]:
    """Return the TARGETs, and NAME if the last word is one.

    The name of a container is a NAME. A part of one is too, unless it is the only word
    and Python finds a module of that name. A file is a TARGET.
    """
    if not words:
        return words, None
    *before, last = words
    names = [record.name for record in records]
    if last in names:
        return before, last
    place = last.rpartition(":")[0] or last
    if place.endswith(".py") or not any(last in name for name in names):
        return words, None
    return (words, None) if not before and is_module(place) else (before, last)


def _check_workflow(workflows: Mapping[str, Target], record: ContainerRecord) -> None:
    if record.workflow not in workflows:
        whose = record.workflow and f"to the workflow {record.workflow}"
        raise ContainerMismatch(
            f"container {record.name!r} belongs {whose or 'to no workflow'}, not to "
            f"{' or '.join(workflows)}; give the TARGET that it was made by"
        )


def _all_unfinished(
    store: Store,
    records: Iterable[ContainerRecord],
    workflows: Mapping[str, Target],
    *,
    all_failed: bool,
) -> list[ContainerRecord]:
    """Return the unfinished containers of these classes, the oldest first."""
    of_name = [record for record in records if record.workflow in workflows]
    ours = [record for record in of_name if not is_foreign(record, workflows)]
    found = unfinished(store, ours)
    chosen = [
        record for record, status in found if status is Status.FAILED or not all_failed
    ]
    if not chosen:
        stands = "has failed" if all_failed else "is unfinished"
        say(f"nothing to resume: no container of {', '.join(workflows)} {stands}")
    now = store.now()
    return [seen(store, record, now) for record in chosen]


def _is_held(record: ContainerRecord, now: int) -> bool:
    """Whether a runner has a container; say so."""
    if record.is_leased(now):
        say(f"{record.name}: skipped, as it is {tables.run_by(record)}")
    return record.is_leased(now)


def _without_target(common: Common, records: Sequence[ContainerRecord]) -> UsageError:
    """Print the commands to type; return the refusal."""
    found = commands.continuations(records)
    typed = [command(common, each.words, folder=each.folder) for each in found]
    rows = []
    for each, line in zip(found, typed, strict=True):
        if common.json:
            head = {"schema": as_json.SCHEMA, "workflow": each.workflow}
            show_json(head | {"unfinished": each.unfinished, "command": line})
        count = Piece(f"{each.unfinished} unfinished")
        rows.append([Piece(fmt.clean(each.workflow), "name"), count, Piece(line)])
    if not common.json:
        show(fmt.columns(rows), whole=True)
    what = "type one of these"
    if not found:
        what = f"nothing that was asked for is unfinished in {mask(common.url)}"
    return UsageError(
        "resume: expected a TARGET, as no code is loaded because a store names it; "
        f"{what}"
    )


# -- running them ---------------------------------------------------------------


class _Series:
    """Runs containers one after the other, and says how many are complete.

    Args:
        common: the options of all commands.
        request: the options of each run.
        workflows: the classes by their names.
        timeout: after how many seconds all is stopped; None for never.
    """

    def __init__(
        self,
        common: Common,
        request: Request,
        workflows: Mapping[str, Target],
        timeout: float | None,
    ) -> None:
        self._common = common
        self._request = request
        self._workflows = workflows
        self._until = None if timeout is None else since_boot() + timeout

    def run(self, records: Sequence[ContainerRecord]) -> int:
        """Run all; return the worst exit code, which is the largest."""
        many, codes = self._request.is_one_of_many, []
        skipped = 0
        for number, record in enumerate(records, 1):
            left = None if self._until is None else self._until - since_boot()
            if left is not None and left <= 0:
                codes.append(TIMED_OUT)
                break
            if many and not self._request.quiet:
                say(f"{record.name}: {number} of {len(records)}")
            ended = self._run_one(record, left)
            if ended is None:
                skipped += 1
                continue
            codes.append(ended.code)
            if ended.ends_all:
                break
        if many and records:
            say(_in_words(codes.count(0), len(codes), skipped, len(records)))
        return max(codes, default=0)

    def _run_one(self, record: ContainerRecord, left: float | None) -> RunExit | None:
        """Run one container; return None if another runner has it by now."""
        of = self._workflows[record.workflow or ""]
        param = of.parameters_among(self._request.param)
        one = replace(
            self._request,
            target=of.target,
            param=param,
            container=record.name,
        )
        try:
            planned = plan_request(self._common, one, of.kind)
            planned = replace(planned, options=replace(planned.options, timeout=left))
            return run_request(self._common, one, planned)
        except StoreError:
            raise
        except ContainerBusy as error:
            if not one.is_one_of_many:
                raise
            say(f"skipped: {message_of(error, self._common)}")
            return None
        except PtsflowError as error:
            if not one.is_one_of_many:
                raise
            refuse(error, self._common)
            return RunExit(error.exit_code)


def _in_words(complete: int, ran: int, skipped: int, total: int) -> str:
    """Say how many containers are complete."""
    said = {
        "complete": complete,
        "not complete": ran - complete,
        "skipped": skipped,
        "not begun": total - ran - skipped,
    }
    counted = ", ".join(f"{count} {what}" for what, count in said.items() if count)
    return f"of {fmt.many(total, 'container', 'containers')}: {counted}"
