"""The command `history`: the runs that there were, and what they tell of the steps."""

from __future__ import annotations

import contextlib

import click

from ptsflow.cli import complete, streams
from ptsflow.cli.common import Common, common_options, pass_common
from ptsflow.cli.shared import open_to_look, say, show, show_json, width_of
from ptsflow.client.admin import pick
from ptsflow.client.looking import run_as_it_stands
from ptsflow.core.history import profile
from ptsflow.core.names import listed, similar
from ptsflow.core.trends import trends
from ptsflow.display import as_json, history_table
from ptsflow.display.format import Line, Piece
from ptsflow.errors import WorkflowNotFound
from ptsflow.host.garbage import uncollected
from ptsflow.stores.base import Store

#: How many runs of a workflow are read to know what is usual.
_READ = 200


@click.command()
@click.argument(
    "what", required=False, metavar="[WORKFLOW|NAME]", shell_complete=complete.histories
)
@click.option(
    "-n",
    "--limit",
    type=click.IntRange(1, 100_000),
    default=20,
    metavar="N",
    help="So many runs, the newest (20).",
)
@click.option("--steps", is_flag=True, help="Also what the runs tell of each step.")
@common_options
@pass_common
@uncollected()
def history(common: Common, what: str | None, *, limit: int, steps: bool) -> None:
    """Show the runs of a workflow, of a container, or all, the newest first.

    WORKFLOW is the name of its class, NAME any unique part of a container's name.
    """
    with contextlib.closing(open_to_look(common.url)) as store:
        workflow, name = _meant(store, what)
        found = store.runs(workflow=workflow, name=name, limit=limit)
        now = store.now()
        rows = [run_as_it_stands(store, row, now) for row in found]
        names = dict.fromkeys(row.workflow for row in rows)
        of_each = {name: store.runs(workflow=name, limit=_READ) for name in names}
    usual = {name: profile(of_one).usual_ms for name, of_one in of_each.items()}
    if not rows:
        say(f"no run of {what} is kept" if what else "no run is kept yet")
    if common.json:
        for row in rows:
            show_json(history_table.run_as_json(row, usual[row.workflow], now))
    elif rows:
        width = width_of(streams.data())
        show(history_table.runs(rows, usual, now, width))
    for name, of_one in of_each.items() if steps else ():
        told = trends(of_one)
        if common.json:
            shown = [history_table.step_as_json(step) for step in told]
            show_json({"schema": as_json.SCHEMA, "workflow": name, "steps": shown})
        else:
            title: list[Line] = (
                [] if len(of_each) == 1 else [[Piece(name or "-", "title")]]
            )
            show([[], *title, *history_table.steps(told)])


def _meant(store: Store, what: str | None) -> tuple[str | None, str | None]:
    """Return the workflow, or the name of the container, whose runs are asked for.

    Raises:
        WorkflowNotFound: it is neither.
        ContainerNotFound: it is a part of several names.
    """
    if what is None or store.runs(workflow=what, limit=1):
        return what, None
    if store.runs(name=what, limit=1):
        return None, what
    records = store.containers(plans=False)
    workflows = {record.workflow for record in records if record.workflow}
    if what in workflows:
        return what, None
    if any(what in record.name for record in records):
        return None, pick(what, records, store.url).name
    known = sorted(workflows | {row.workflow for row in store.runs() if row.workflow})
    raise WorkflowNotFound(
        f"no workflow and no container {what!r} in {store.url}{similar(what, known)}; "
        f"there are runs of {listed(known, what) or 'none'}"
    )
