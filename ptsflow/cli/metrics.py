"""The command `metrics`: figures for a monitor, as Prometheus reads them."""

from __future__ import annotations

import contextlib
from importlib import import_module
from pathlib import Path

import click

from ptsflow.cli.common import Common, common_options, pass_common
from ptsflow.cli.shared import open_existing, show_text
from ptsflow.client.workflow_figures import workflow_figures
from ptsflow.errors import PageMissing, UsageError
from ptsflow.host.atomic_files import replacing
from ptsflow.host.clock import system_clock
from ptsflow.host.garbage import uncollected


@click.command()
@click.option(
    "-o",
    "--output",
    default="-",
    metavar="FILE",
    type=click.Path(dir_okay=False, allow_dash=True),
    help="Write them there, whole or not at all, as for node_exporter (-).",
)
@common_options
@pass_common
@uncollected()
def metrics(common: Common, output: str) -> None:
    """Print figures of all workflows for a monitor, as Prometheus reads them."""
    try:
        prometheus = import_module("ptsflow.display.exposition")
    except ImportError as error:
        raise PageMissing(
            f"metrics: needs {error.name}, which is not installed; "
            "pip install 'ptsflow[metrics]'"
        ) from None
    figures, now = [], system_clock()
    store = open_existing(common.url)
    if store is not None:
        with contextlib.closing(store):
            now = store.now()
            figures = workflow_figures(store, now)
    text: str = prometheus.exposition(figures, now)
    if output == "-":
        show_text(text)
        return
    try:
        with replacing(Path(output), "metrics") as part:
            part.write_text(text, encoding="utf-8")
    except OSError as error:
        why = error.strerror or error
        raise UsageError(
            f"metrics: cannot write {output}: {why}; name another file with -o"
        ) from None
