"""The command `retry`: a fresh budget for what failed, in one container or in many."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence

import click
from msgspec import Struct, field

from ptsflow.cli import complete
from ptsflow.cli.common import Common, common_options, pass_common
from ptsflow.cli.containers import failed_tasks, of_workflow
from ptsflow.cli.next_command import message_of
from ptsflow.cli.shared import (
    chosen,
    open_to_change,
    say,
    say_continuations,
    say_next_of,
    show_json,
)
from ptsflow.client import admin
from ptsflow.client.looking import seen
from ptsflow.core.grouping import pattern_of, split_error
from ptsflow.core.model import ContainerRecord, TaskRecord
from ptsflow.core.names import listed
from ptsflow.display import as_json, tables
from ptsflow.display import format as fmt
from ptsflow.errors import ContainerBusy, UsageError
from ptsflow.stores.base import Store

#: Of how many containers a line says what is tried again.
_MOST_SAID = 20

Matches = Callable[[TaskRecord], bool]


@click.command()
@click.argument("name", required=False, shell_complete=complete.containers)
@click.option("--all", "of_all", is_flag=True, help="Of all containers, not of one.")
@click.option(
    "--workflow",
    metavar="W",
    help="With --all: of the containers of this workflow.",
    shell_complete=complete.workflows,
)
@click.option(
    "--match", metavar="TEXT", help="Only tasks with this text in their errors."
)
@click.option("-n", "--dry-run", is_flag=True, help="Say which tasks; write nothing.")
@common_options
@pass_common
def retry(
    common: Common,
    name: str | None,
    *,
    of_all: bool,
    workflow: str | None,
    match: str | None,
    dry_run: bool,
) -> None:
    """Let failed and waiting tasks be tried again at once, with all their attempts.

    NAME may be any unique part of a container's name. With --all, all containers in
    which a task failed are meant; one that a runner has is skipped. Nothing runs: resume
    does that.
    """
    _check(name, workflow, of_all=of_all)
    matches = None if match is None else _matching(match)
    with contextlib.closing(open_to_change(common.url)) as store:
        retrying = _Retrying(common, store, matches, dry_run)
        if name is not None:
            retrying.add(chosen(store, name))
        else:
            retrying.add_all(of_workflow(store.containers(), workflow))
        if common.json:
            for record, names in retrying.opened:
                found = {"schema": as_json.SCHEMA, "container": record.name}
                show_json(found | {"retry": names})
        retrying.tell()
        if name is not None and not dry_run:
            say_next_of(common, store, retrying.opened[0][0].name)
        elif not dry_run:
            say_continuations(common, (record for record, _ in retrying.opened))


def _check(name: str | None, workflow: str | None, *, of_all: bool) -> None:
    if (name is not None) == of_all:
        found = f"{name!r} and --all" if of_all else "neither"
        raise UsageError(f"retry: expected NAME or --all, found {found}")
    if workflow is not None and not of_all:
        raise UsageError("retry: --workflow goes with --all; leave NAME out")


def _matching(text: str) -> Matches:
    """Return whether a task's error has a text in it, also as `errors` shows the error."""
    wanted = text.casefold()

    def matches(task: TaskRecord) -> bool:
        kind, message = split_error(task.error or "")
        shown = f"{kind}: {pattern_of(message)}" if kind else pattern_of(message)
        return wanted in f"{task.error}\n{shown}".casefold()

    return matches


class _Retrying(Struct):
    """Opens tasks of containers again, or finds out which would be."""

    common: Common
    store: Store
    matches: Matches | None
    dry_run: bool
    #: The containers that were looked at one by one, with the names of the tasks.
    opened: list[tuple[ContainerRecord, list[str]]] = field(default_factory=list)

    def add(self, record: ContainerRecord) -> None:
        """Do it in one container.

        Raises:
            ContainerBusy: a live runner holds it.
        """
        if self.dry_run:
            tasks = admin.retryable(record, self.store.tasks(record.uid), self.matches)
            names = [task.name for task in tasks]
        else:
            names = admin.retry(self.store, record, matches=self.matches)
        self.opened.append((record, names))

    def add_all(self, records: Sequence[ContainerRecord]) -> None:
        """Do it in those in which a task failed that is meant, and that nobody runs."""
        now = self.store.now()
        for found, failed in failed_tasks(self.store, records):
            if not admin.retryable(found, failed, self.matches):
                continue
            record = seen(self.store, found, now)
            try:
                if record.is_leased(now):
                    say(f"{record.name}: skipped, as it is {tables.run_by(record)}")
                else:
                    self.add(record)
            except ContainerBusy as error:
                say(f"{record.name}: skipped: {message_of(error, self.common)}")

    def tell(self) -> None:
        """Say which tasks are tried again."""
        what = "would be tried again" if self.dry_run else "to try again"
        for record, names in self.opened[:_MOST_SAID]:
            count = fmt.many(len(names), "task", "tasks")
            said = f"{count} {what}: {listed(names)}" if names else self._nothing
            say(f"{record.name}: {said}")
        rest = len(self.opened) - _MOST_SAID
        if rest > 0:
            say(f"… and {fmt.many(rest, 'more container', 'more containers')}")
        if not self.opened:
            say(self._nothing)

    @property
    def _nothing(self) -> str:
        return "nothing has failed" if self.matches is None else "nothing matches"
