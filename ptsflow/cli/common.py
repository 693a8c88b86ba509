"""The options of all commands."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click
from msgspec import Struct

from ptsflow.client.client import store_url

F = TypeVar("F", bound=Callable[..., Any])


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


def _stores(
    _context: click.Context, _parameter: click.Parameter, incomplete: str
) -> list[str]:
    known = ["sqlite:///", "mongodb://"]
    return [each for each in known if each.startswith(incomplete)]


def common_options(function: F) -> F:
    """Add --store, --json and -v to a command; their values are in its `Common`."""
    for option in (
        click.option(
            "--store",
            metavar="URL",
            shell_complete=_stores,
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


pass_common = click.make_pass_decorator(Common, ensure=True)
