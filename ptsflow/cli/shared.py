"""What several commands share: common options, opening the store, refusals, output."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from importlib import import_module
from typing import Any, TextIO

import click

from ptsflow.cli import streams
from ptsflow.cli.common import Common
from ptsflow.cli.next_command import command, left_out, message_of
from ptsflow.client.admin import find
from ptsflow.core.model import ContainerRecord
from ptsflow.core.names import listed, similar
from ptsflow.display import as_json, plain
from ptsflow.display import format as fmt
from ptsflow.display.format import Line
from ptsflow.display.streams import Direct, Outlet
from ptsflow.errors import ContainerNotFound, PtsflowError, TaskNotFound
from ptsflow.stores import mask, open_store, store_exists
from ptsflow.stores.base import Store

#: The exit code of a bug in ptsflow.
BUG = 3


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
        found: click.Command = getattr(import_module(f"ptsflow.cli.{module}"), function)
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


def open_existing(url: str, *, upgrade: bool = False) -> Store | None:
    """Open a store; return None if its file does not exist.

    Args:
        url: where it is.
        upgrade: carry a file of an earlier layout over to this version's first.
    """
    if not store_exists(url):
        return None
    return open_store(url, upgrade=upgrade, notice=say)


def open_to_change(url: str) -> Store:
    """Open an existing store; a file of an earlier layout is upgraded first.

    Raises:
        ContainerNotFound: there is no store, so there are no containers.
    """
    return open_to_look(url, upgrade=True)


def open_to_look(url: str, *, upgrade: bool = False) -> Store:
    """Open an existing store.

    Raises:
        ContainerNotFound: there is no store, so there are no containers.
    """
    store = open_existing(url, upgrade=upgrade)
    if store is None:
        raise ContainerNotFound(
            f"there is no store at {mask(url)} yet: a run makes it; or name another one "
            "with --store URL"
        )
    return store


def chosen(store: Store, name: str | None) -> ContainerRecord:
    """Return the container of that name or part of one; without it the latest.

    Raises:
        ContainerNotFound: there is none, or there are several.
    """
    if name is not None:
        return find(store, name)
    records = store.containers()
    if not records:
        raise ContainerNotFound(
            f"there is no container in {store.url} yet: a run makes one"
        )
    return max(records, key=lambda record: record.started_at or record.created_at)


# -- output -----------------------------------------------------------------


def is_live(stream: TextIO | Outlet) -> bool:
    """Whether the stream is a terminal on which a live screen can be drawn."""
    drawable = os.environ.get("TERM", "dumb") not in ("", "dumb", "unknown")
    return drawable and stream.isatty()


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
    if is_live(stream):
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


def say_next(common: Common, found: tuple[list[str], str | None] | None) -> None:
    """Write the command to type next, if there is one, and what it leaves out."""
    if found is None:
        return
    words, folder = found
    for text in left_out(common, words):
        say(text)
    say(f"next: {command(common, words, folder=folder)}")


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
