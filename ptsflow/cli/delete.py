"""The command `delete`: a container with all that it has goes."""

from __future__ import annotations

import contextlib

import click

from ptsflow.cli import complete
from ptsflow.cli.common import Common, common_options, pass_common
from ptsflow.cli.shared import ask, chosen, open_to_change, say, show_json
from ptsflow.client.retention import delete as delete_container
from ptsflow.core.model import ContainerRecord
from ptsflow.display import as_json
from ptsflow.display import format as fmt
from ptsflow.errors import ContainerNotFound
from ptsflow.stores.base import Store


@click.command(cls=complete.Command)
@click.argument("name", shell_complete=complete.containers)
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@common_options
@pass_common
def delete(common: Common, name: str, *, yes: bool) -> None:
    """Delete a container with its tasks, results, logs and the folders of its tasks.

    Its runs stay in the history. A container that a live runner has is not deleted. NAME
    may be any unique part of a container's name.
    """
    with contextlib.closing(open_to_change(common.url)) as store:
        record = chosen(store, name)
        count = fmt.many(_tasks_of(store, record), "task", "tasks")
        say(f"{record.name}: deletes it with {count}, their results, logs and files")
        if not yes:
            ask("delete", "Delete it?")
        notices = delete_container(store, record)
    if notices is None:
        raise ContainerNotFound(f"container {record.name!r}: it was deleted meanwhile")
    for notice in notices:
        say(notice)
    if common.json:
        found = {"schema": as_json.SCHEMA, "container": record.name, "deleted": True}
        show_json(found)


def _tasks_of(store: Store, record: ContainerRecord) -> int:
    tallies = store.tallies([record.uid]).get(record.uid, ())
    return sum(tally.count for tally in tallies)
