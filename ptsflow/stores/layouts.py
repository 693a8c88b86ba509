"""The numbers of layouts: which of them this version knows, and when one may change.

Rule: a table, column, collection or field that older versions can ignore does not change
the number. The number grows only if an older version would misread the store. Each
growth adds one step to `sqlite/migrations.py` and one to `mongo/migrations.py`.
"""

from __future__ import annotations

from collections.abc import Iterable

from msgspec import Struct

from ptsflow.core import model
from ptsflow.core.model import Owner
from ptsflow.errors import ContainerBusy, StoreDamaged
from ptsflow.host.process_identity import is_dead, is_elsewhere


class Holder(Struct, frozen=True):
    """A container that has an owner, read from a store of any layout."""

    container: str
    owner: Owner
    leased_till: int


def check_number(store: str, found: object) -> int:
    """Return `found` if it is this version's layout, or one that steps lead from.

    Args:
        store: the store's name in messages.
        found: the value in the place of the number.

    Raises:
        StoreDamaged: the layout is newer or too old, or the value is no number.
    """
    expected = f"{store}: expected layout {model.SCHEMA}, found layout {found!r}"
    if not isinstance(found, int) or found < 1:
        raise StoreDamaged(f"{expected}; restore it from a copy")
    if found > model.SCHEMA:
        raise StoreDamaged(f"{expected}; upgrade ptsflow")
    if found < model.OLDEST_SCHEMA:
        raise StoreDamaged(
            f"{expected}, made by an earlier version of ptsflow; finish what is in it "
            "with that version, or choose another store"
        )
    return found


def refuse_held(store: str, holders: Iterable[Holder], now: int) -> None:
    """Refuse the upgrade of a store in which a runner may be at work.

    A lease that has not ended counts, unless its owner is known to be dead. A live owner
    on this host counts even if its lease has ended: its bodies may still run.

    Raises:
        ContainerBusy: the message names the container and its owner.
    """
    for each in holders:
        if is_dead(each.owner) or (
            each.leased_till <= now and is_elsewhere(each.owner)
        ):
            continue
        raise ContainerBusy(
            f"{store}: expected no runner at work, because the upgrade to layout "
            f"{model.SCHEMA} must wait for all, found container {each.container!r} held by "
            f"{each.owner.process}; wait until it has ended, or stop it with"
        ).advise("cancel", each.container)
