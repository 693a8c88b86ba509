"""What several commands share: common options, opening the store, refusals, output."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TextIO, TypeVar

import click
from msgspec import Struct

from ptsflow.cli import streams
from ptsflow.client.admin import find
from ptsflow.client.client import store_url
from ptsflow.core.model import ContainerRecord
from ptsflow.core.names import listed, similar
from ptsflow.display import as_json, plain
from ptsflow.display import format as fmt
from ptsflow.display.format import Line
from ptsflow.display.streams import Direct, Outlet
from ptsflow.errors import ContainerNotFound, PtsflowError, TaskNotFound
from ptsflow.stores import mask, open_store, store_exists
from ptsflow.stores.base import Store

F = TypeVar("F", bound=Callable[..., Any])

#: Why a suggested command cannot be typed as it is.
MASKED = (
    "a parameter has a URL with a password, shown as ***: put it in, or declare the "
    "parameter Secret[str] (ptsflow help steps)"
)
#: The exit code of a bug in ptsflow.
BUG = 3


class Common(Struct):
    """The options that may stand before the command or after it."""

    store: str | None = None
    json: bool = False
    verbose: bool = False

    @property
    def url(self) -> str:
        """The store's URL, from the option, the environment or the default."""
        return store_url(self.store)


def _note(context: click.Context, parameter: click.Parameter, value: Any) -> None:
    if value:
        setattr(context.ensure_object(Common), parameter.name or "", value)


def common_options(function: F) -> F:
    """Add --store, --json and -v to a command; their values are in its `Common`."""
    for option in (
        click.option(
            "--store",
            metavar="URL",
            expose_value=False,
            callback=_note,
            help="Where containers are kept: sqlite:///FILE or mongodb://HOST/DATABASE. "
            "Default: $PTSFLOW_STORE, then sqlite:///.ptsflow/ptsflow.db.",
        ),
        click.option(
            "--json",
            is_flag=True,
            expose_value=False,
            callback=_note,
            help="Print JSON on standard output.",
        ),
        click.option(
            "-v",
            "--verbose",
            is_flag=True,
            expose_value=False,
            callback=_note,
            help="Show where an error comes from.",
        ),
    ):
        function = option(function)
    return function


class Group(click.Group):
    """Suggests a command where a name is unknown."""

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


pass_common = click.make_pass_decorator(Common, ensure=True)


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
            f"there is no store at {mask(url)} yet; begin one with ptsflow run, "
            "or name another one with --store URL"
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
            f"there is no container in {store.url} yet; begin one with ptsflow run"
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
        f"container {record.name!r} has no task {name!r}{similar(name, names)}; "
        f"see ptsflow show {record.name}"
    )


def show_json(value: Any) -> None:
    """Write one object to standard output, on one line."""
    show_text(f"{as_json.dumps(value)}\n")


def say(text: str) -> None:
    """Write one line to standard error; control characters in it are escaped."""
    plain.write(streams.messages(), f"{fmt.clean(text)}\n")


def refuse(error: BaseException, *, verbose: bool) -> None:
    """Write the one line of an error; with `verbose`, the traceback before it."""
    if verbose:
        import traceback  # noqa: PLC0415 - only now.

        trace = "".join(traceback.format_exception(error))
        plain.write(streams.messages(), trace)
    if isinstance(error, PtsflowError):
        say(f"ptsflow: {error}")
    else:
        where = "" if verbose else "; -v shows where"
        kind = type(error).__name__
        say(f"ptsflow: this is a bug in ptsflow: {kind}: {error}{where}")


def tell_what_was_lost() -> None:
    """Say if data could not be written; a reader that left wanted no more."""
    stream = streams.data()
    if isinstance(stream, Direct) and stream.problem is not None and not stream.is_gone:
        say(f"ptsflow: standard output cannot be written: {stream.problem.strerror}")


def program() -> str:
    """Return how this program was called, for the commands that messages suggest."""
    if Path(sys.argv[0]).name == "__main__.py":
        return "python -m ptsflow"
    return "ptsflow"


def typed(words: Iterable[str]) -> str:
    """Return words quoted for a shell, on one line, without control characters."""
    return " ".join(_quoted(word) for word in words)


def _quoted(word: str) -> str:
    if fmt.clean(word) == word:
        import shlex  # noqa: PLC0415 - 2 ms, only at the end of a command.

        return shlex.quote(word)
    escaped = fmt.clean(word.replace("\\", "\\\\").replace("'", "\\'"))
    return f"$'{escaped}'"


def store_words(common: Common) -> tuple[list[str], str]:
    """Return `--store URL` as it was given, or why a suggested command leaves it out."""
    if common.store is None:
        return [], ""
    if mask(common.store) != common.store:
        return [], "the store's URL has a password: give it in PTSFLOW_STORE"
    return ["--store", common.store], ""
