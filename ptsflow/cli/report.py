"""The command `report`: a container as one file to mail."""

from __future__ import annotations

import contextlib
from pathlib import Path

import click

from ptsflow.cli import complete
from ptsflow.cli.common import Common, common_options, pass_common
from ptsflow.cli.shared import chosen, open_to_look, page_module, refuse, show_text
from ptsflow.errors import ContainerNotFound, UsageError
from ptsflow.host.atomic_files import replacing
from ptsflow.host.garbage import uncollected

#: No such container.
_NOT_THERE = 4


@click.command()
@click.argument("name", shell_complete=complete.containers)
@click.option(
    "-o",
    "--output",
    required=True,
    metavar="FILE",
    type=click.Path(dir_okay=False, allow_dash=True),
    help="Write it there, whole or not at all; - is standard output.",
)
@click.option(
    "--no-values",
    is_flag=True,
    help="Leave out parameters, data, results and log lines.",
)
@common_options
@pass_common
@uncollected()
def report(common: Common, name: str, output: str, *, no_values: bool) -> int:
    """Write how a container stands as one HTML file, to mail or to keep.

    NAME may be any unique part of a container's name. The file needs nothing else: no
    server, no network and no script. Exit 4 if there is no such container.
    """
    try:
        web = page_module("report", "ptsflow.web.report")
        with contextlib.closing(open_to_look(common.url)) as store:
            record = chosen(store, name)
            html: str = web.report_of(store, record, common.url, values=not no_values)
    except ContainerNotFound as error:
        refuse(error, common)
        return _NOT_THERE
    if output == "-":
        show_text(html)
        return 0
    try:
        _write(Path(output), html)
    except OSError as error:
        why = error.strerror or error
        raise UsageError(
            f"report: cannot write {output}: {why}; name another file with -o"
        ) from None
    return 0


def _write(path: Path, html: str) -> None:
    data = html.encode(errors="backslashreplace")
    if path.exists() and not path.is_file():
        # A device or a pipe cannot be replaced.
        path.write_bytes(data)
        return
    with replacing(path, "report") as part:
        part.write_bytes(data)
