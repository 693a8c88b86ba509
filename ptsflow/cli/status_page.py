"""The page of a container, and the command to type next: of `status`, `show`, `watch`."""

from __future__ import annotations

from msgspec.structs import replace

from ptsflow.cli import streams
from ptsflow.cli.common import Common
from ptsflow.cli.next_command import command
from ptsflow.cli.shared import say, say_next, show, width_of
from ptsflow.client.looking import remedies
from ptsflow.core.changed_code import say_changed
from ptsflow.core.model import ContainerRecord, Status
from ptsflow.core.sources import say_outdated
from ptsflow.display import format as fmt
from ptsflow.display import layout
from ptsflow.display import next_command as commands
from ptsflow.display.format import Piece
from ptsflow.display.look import Look, unknown
from ptsflow.display.next_command import Remedies
from ptsflow.stores.base import Store


def show_page(common: Common, look: Look, store: Store) -> None:
    """Write how a container stands, and what to do about it."""
    page = layout.page(
        look.board, look.at, width=width_of(streams.data()), stands=look.stands
    )
    show(page)
    found = remedies(store, look.record, look.glance)
    said = (
        unknown(found.tasks) or look.remark,
        say_changed(found.changed),
        say_outdated(found.outdated),
    )
    remarks = [[Piece(f" {fmt.clean(text)}", "dim")] for text in said if text]
    show(remarks, whole=True)
    if not look.is_leased:
        _say_next(common, look.record, look.status, found)


def say_remedies(common: Common, look: Look, store: Store) -> None:
    """Write the command to type next, unless a runner has the container."""
    if not look.is_leased:
        found = remedies(store, look.record, look.glance)
        _say_next(common, look.record, look.status, found)


def _say_next(
    common: Common, record: ContainerRecord, stands: Status, found: Remedies
) -> None:
    """Write the command to type next, and the one that says why a task failed."""
    reason, following = commands.advice(replace(record, status=stands), found)
    if reason is not None:
        say(f"why: {command(common, reason)}")
    if following is not None:
        say_next(common, following)
