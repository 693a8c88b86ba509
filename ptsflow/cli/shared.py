"""What several commands share: common options, opening the store, refusals, output."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from importlib import import_module
from types import ModuleType
from typing import Any, TextIO

import click

from ptsflow.cli import streams
from ptsflow.cli.common import Common
from ptsflow.cli.next_command import command, left_out, message_of
from ptsflow.client.admin import find
from ptsflow.core.model import Cause, ContainerRecord
from ptsflow.core.names import listed, similar
from ptsflow.display import as_json, plain
from ptsflow.display import format as fmt
from ptsflow.display.format import Line
from ptsflow.display.next_command import after, continuations, rerun
from ptsflow.display.streams import Direct, Outlet, is_drawable
from ptsflow.errors import (
    ContainerNotFound,
    PageMissing,
    PtsflowError,
    StoreDamaged,
    TaskNotFound,
    UsageError,
)
from ptsflow.host.garbage import modules_stay
from ptsflow.stores import mask, open_store, store_exists
from ptsflow.stores.base import Store
from ptsflow.stores.store_wait import NO_WAIT, StoreWait

#: The exit code of a bug in ptsflow.
BUG = 3
#: Of how many workflows the commands that continue are named.
_MOST_NEXT = 3


class Group(click.Group):
    """Loads a command when it is asked for; suggests one where a name is unknown.

    Args:
        places: for each command its module below `ptsflow.cli` and its function there,
            such as "show:status".
    """

    def __init__(
        self, *args: Any, places: Mapping[str, str] | None = None, **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs)
        self._places = places or {}

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of all commands, in the alphabet's order."""
        return sorted({*self._places, *super().list_commands(ctx)})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return the command of that name, or None if there is none."""
        place = self._places.get(cmd_name)
        if place is None:
            return super().get_command(ctx, cmd_name)
        module, _, function = place.partition(":")
        with modules_stay():
            loaded = import_module(f"ptsflow.cli.{module}")
        found: click.Command = getattr(loaded, function)
        return found

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Return the command of that name, or say which are there."""
        name = args[0]
        if self.get_command(ctx, name) is None and not name.startswith("-"):
            commands = self.list_commands(ctx)
            raise click.UsageError(
                f"there is no command {name!r}{similar(name, commands)}; "
                f"there are {listed(commands, name)}",
                ctx,
            )
        return super().resolve_command(ctx, args)


# -- the store --------------------------------------------------------------


def open_existing(
    url: str, *, upgrade: bool = False, wait: StoreWait = NO_WAIT
) -> Store | None:
    """Open a store; return None if its file does not exist.

    Args:
        url: where it is.
        upgrade: carry a file of an earlier layout over to this version's first.
        wait: how long to wait for a store that is away.
    """
    if not store_exists(url):
        return None
    return open_store(url, upgrade=upgrade, notice=say, wait=wait)


def open_to_change(url: str) -> Store:
    """Open an existing store; a file of an earlier layout is upgraded first.

    Raises:
        ContainerNotFound: there is no store, so there are no containers.
    """
    return open_to_look(url, upgrade=True)


def open_to_look(
    url: str, *, upgrade: bool = False, wait: StoreWait = NO_WAIT
) -> Store:
    """Open an existing store.

    Raises:
        ContainerNotFound: there is no store, so there are no containers.
    """
    store = open_existing(url, upgrade=upgrade, wait=wait)
    if store is None:
        raise ContainerNotFound(
            f"there is no store at {mask(url)} yet: a run makes it; or name another one "
            "with --store URL"
        )
    return store


def chosen(
    store: Store, name: str | None, damaged: list[str] | None = None
) -> ContainerRecord:
    """Return the container of that name or part of one; without it the latest.

    Args:
        store: where it is.
        name: its name, or a part of it.
        damaged: if given, what is said of damaged containers is added to it, and the
            latest of the others is returned.

    Raises:
        ContainerNotFound: there is none, or there are several.
    """
    if name is not None:
        return find(store, name)
    if damaged is None:
        records: Sequence[ContainerRecord] = store.containers()
    else:
        from ptsflow.client.sound import sound_containers  # noqa: PLC0415 - for screens

        records = sound_containers(store, damaged)
        if not records:
            refuse_damaged(damaged)
    if not records:
        raise ContainerNotFound(
            f"there is no container in {store.url} yet: a run makes one"
        )
    return max(records, key=lambda record: record.started_at or record.created_at)


def refuse_damaged(damaged: Sequence[str]) -> None:
    """Raise if something is damaged, when all else is shown."""
    for text in damaged[1:]:
        say(text)
    if damaged:
        raise StoreDamaged(damaged[0])


# -- output -----------------------------------------------------------------


def width_of(stream: TextIO) -> int:
    """Return the width of the stream in columns."""
    if not stream.isatty():
        return 10_000
    try:
        return os.get_terminal_size(stream.fileno()).columns or 80
    except OSError:
        return 80


def show(
    lines: Iterable[Line],
    stream: TextIO | Outlet | None = None,
    *,
    whole: bool = False,
) -> None:
    """Write lines to standard output, in colour where it is a terminal.

    Args:
        lines: the lines to write.
        stream: where to write; standard output unless given.
        whole: wrap long lines instead of cutting them.
    """
    stream = streams.data() if stream is None else stream
    if is_drawable(stream):
        from ptsflow.display import live  # noqa: PLC0415 - rich is for terminals alone.

        live.write_lines(stream, lines, whole=whole)
    else:
        plain.write_lines(stream, lines)


def show_text(text: str) -> None:
    """Write text to standard output as it is."""
    plain.write(streams.data(), text)


def no_task(record: ContainerRecord, name: str, names: Iterable[str]) -> TaskNotFound:
    """Return the error for a container without a task of that name."""
    return TaskNotFound(
        f"container {record.name!r} has no task {name!r}{similar(name, names)}; see"
    ).advise("show", record.name)


def show_json(value: Any) -> None:
    """Write one object to standard output, on one line."""
    show_text(f"{as_json.dumps(value)}\n")


def say(text: str) -> None:
    """Write one line to standard error; control characters in it are escaped."""
    plain.write(streams.messages(), f"{fmt.clean(text)}\n")


def ask(command: str, question: str) -> None:
    """Ask on the terminal whether to go on.

    Raises:
        UsageError: nobody can be asked.
        click.Abort: the answer was no.
    """
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise UsageError(
            f"{command}: there is no terminal to ask on; add -y to go ahead"
        )
    click.confirm(question, abort=True, err=True)


def say_left(common: Common, name: str, error: PtsflowError) -> None:
    """Write why a container is left, of many that a command is about."""
    say(f"{name}: left: {message_of(error, common)}")


def say_next(common: Common, found: tuple[list[str], str | None] | None) -> None:
    """Write the command to type next, if there is one, and what it leaves out."""
    if found is None:
        return
    words, folder = found
    if text := left_out(common):
        say(text)
    say(f"next: {command(common, words, folder=folder)}")


def say_next_of(common: Common, store: Store, name: str) -> None:
    """Write the command to type next, by what is stored of a container."""
    record = store.container(name)
    if record is None or record.workflow is None:
        return
    in_doubt = [t for t in store.tasks(record.uid) if t.cause is Cause.UNKNOWN]
    say_next(common, after(record, in_doubt, partial(rerun, record)))


def say_continuations(common: Common, records: Iterable[ContainerRecord]) -> None:
    """Write the commands that run unfinished containers, one for each workflow."""
    found = continuations(records)
    for each in found[:_MOST_NEXT]:
        say_next(common, (each.words, each.folder))
    if len(found) > _MOST_NEXT:
        rest = fmt.many(len(found) - _MOST_NEXT, "more workflow", "more workflows")
        say(f"{rest}: {command(common, ['resume'])}")


def refuse(error: BaseException, common: Common) -> None:
    """Write the one line of an error; with -v, the traceback before it."""
    if common.verbose:
        import traceback  # noqa: PLC0415 - only now.

        trace = "".join(traceback.format_exception(error))
        plain.write(streams.messages(), trace)
    if isinstance(error, PtsflowError):
        say(f"ptsflow: {message_of(error, common)}")
    else:
        where = "" if common.verbose else "; -v shows where"
        kind = type(error).__name__
        say(f"ptsflow: this is a bug in ptsflow: {kind}: {error}{where}")


def tell_what_was_lost() -> None:
    """Say if data could not be written; a reader that left wanted no more."""
    stream = streams.data()
    if isinstance(stream, Direct) and stream.problem is not None and not stream.is_gone:
        say(f"ptsflow: standard output cannot be written: {stream.problem.strerror}")


def page_module(command: str, name: str) -> ModuleType:
    """Return a module of the page, which needs libraries of its own.

    Raises:
        PageMissing: these are not installed.
    """
    try:
        return import_module(name)
    except ImportError as error:
        raise PageMissing(
            f"{command}: needs {error.name}, which is not installed; "
            "pip install 'ptsflow[ui]'"
        ) from None
