"""Commands about a whole store."""

from __future__ import annotations

import click

from ptsflow.cli.common import Common, common_options, pass_common
from ptsflow.cli.shared import (
    Group,
    say,
    show_json,
)
from ptsflow.core import model
from ptsflow.display import as_json
from ptsflow.stores import mask, upgrade_store


@click.group(cls=Group)
@common_options
def store() -> None:
    """Upgrade a store."""


@store.command()
@common_options
@pass_common
def upgrade(common: Common) -> None:
    """Carry a store over to this version's layout.

    Upgrade ptsflow on all hosts first. A SQLite file is also upgraded by the next
    command that changes a container; a copy of the old file is kept beside it.
    """
    done = upgrade_store(common.url)
    where = mask(common.url)
    say(done or f"{where}: layout {model.SCHEMA} is up to date")
    if common.json:
        upgraded = {
            "store": where,
            "layout": model.SCHEMA,
            "upgraded": done is not None,
        }
        show_json({"schema": as_json.SCHEMA} | upgraded)
