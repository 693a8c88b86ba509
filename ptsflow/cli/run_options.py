"""The options that commands with a TARGET have in common."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from ptsflow.cli import complete
from ptsflow.cli.request import LEASE

F = TypeVar("F", bound=Callable[..., Any])

container_option = click.option(
    "-c",
    "--container",
    metavar="NAME",
    help="Instead of the workflow's own name.",
    shell_complete=complete.containers,
)


def _parameter_option(says: str) -> Callable[[F], F]:
    return click.option(
        "-p",
        "param",
        metavar="K=V",
        multiple=True,
        help=says,
        shell_complete=complete.parameters,
    )


parameter_option = _parameter_option("A parameter; again for a list.")
secret_option = _parameter_option(
    "A parameter that the containers do not keep, such as a secret."
)


def run_options(function: F) -> F:
    """Add the options that say how a run runs, and how it is shown, to a command."""
    for option in (
        click.option(
            "--no-hooks",
            is_flag=True,
            help="Call no on_failure, on_recovery and on_done at the end.",
        ),
        click.option(
            "-q", "--quiet", is_flag=True, help="Only failures and the summary."
        ),
        click.option(
            "--every",
            metavar="TIME",
            help="Without a terminal: a line of each running task every so often (5m; "
            "with -q never); 0 for never.",
        ),
        click.option(
            "--lease",
            type=float,
            default=LEASE,
            metavar="SECONDS",
            help="After so long another host may take over from a dead runner (60).",
        ),
        click.option(
            "--store-wait",
            metavar="TIME",
            help="Wait so long for a store that is away at the start, such as 2m (30s).",
        ),
        click.option(
            "--wait",
            type=click.FloatRange(min=0),
            default=0,
            metavar="SECONDS",
            help="Wait so long for another runner to end.",
        ),
        click.option(
            "--timeout",
            metavar="TIME",
            help="Stop after so long, such as 2h; exit 124.",
        ),
        click.option(
            "--executor",
            metavar="WHERE",
            shell_complete=complete.executors,
            help="Where bodies run whose step does not say it: thread, process, dask or "
            "dask://HOST:PORT.",
        ),
        click.option(
            "-j", "--jobs", type=int, metavar="N", help="So many bodies at a time."
        ),
    ):
        function = option(function)
    return function
