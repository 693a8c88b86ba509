"""Carrying a MongoDB database of an earlier layout over to this version's.

MongoDB has no transaction over a whole database. The order of writes makes up for it:

1. A mark in `ptsflow_meta` has every version refuse to work in the database.
2. The steps change documents. Each step can be taken again after a crash at any point.
3. The mark is removed.

If the upgrade is killed, the same command finishes it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from msgspec import Struct, convert

from ptsflow.core import model
from ptsflow.core.model import Owner
from ptsflow.errors import StoreUnavailable
from ptsflow.stores.layouts import Holder, check_number, refuse_held
from ptsflow.stores.mongo.connection import Connection
from ptsflow.stores.mongo.documents import (
    ContainerDocument,
    MetaDocument,
    Raw,
    millis_of,
)

#: The mark: the field that holds the layout from which the upgrade began.
_FROM = "upgrading_from"
_THE_ONE = {"_id": "schema"}


class MongoStep(Struct, frozen=True):
    """Carries documents from one layout to the next."""

    #: The number of the layout before the step.
    before: int
    #: Changes documents through the connection. The step must be repeatable after a
    #: crash at any point. Each call has a deadline, so many documents are written in
    #: parts. The code that reads documents must also read those of the layout before:
    #: `ptsflow status` and `cancel` do not wait for the upgrade.
    act: Callable[[Connection], object]


#: One for each layout from `OLDEST_SCHEMA` to the one before `SCHEMA`, in order.
STEPS: tuple[MongoStep, ...] = (MongoStep(2, lambda _: None),)


def is_earlier(store: str, meta: Raw) -> bool:
    """Whether documents may be of an earlier layout.

    Raises:
        StoreDamaged: this version does not know the layout.
    """
    return check_number(store, meta.get("schema")) < model.SCHEMA or _FROM in meta


def upgrade(url: str) -> list[str]:
    """Carry a database over to this version's layout.

    Returns:
        One line about the upgrade; none if the database has this layout already.

    Raises:
        ContainerBusy: a runner may be at work in the database.
        StoreError: the database cannot be reached, or its layout is unknown.
    """
    link = Connection(url)
    try:
        return _upgrade(link)
    finally:
        link.close()


def _upgrade(link: Connection) -> list[str]:
    store = f"store {link.url!r}"
    metas = link.collection(MetaDocument.collection_name())
    with link.call():
        meta = metas.find_one(_THE_ONE)
    if meta is None or not is_earlier(store, meta):
        return []
    layout: int = meta.get(_FROM) or meta["schema"]
    refuse_held(store, _holders(link), link.now())
    with link.call():
        taken = metas.update_one(
            meta, {"$set": {"schema": model.SCHEMA, _FROM: layout}}
        )
    if not taken.matched_count:
        raise StoreUnavailable(f"{store}: another process upgrades it; try again")
    try:
        # A runner may have claimed a container just before the mark was written.
        refuse_held(store, _holders(link), link.now())
    except BaseException:
        if _FROM not in meta:
            with link.call():
                metas.replace_one(_THE_ONE, meta)
        raise
    for step in STEPS:
        if step.before >= layout:
            step.act(link)
    with link.call():
        metas.update_one(_THE_ONE, {"$unset": {_FROM: ""}})
    return [f"{store}: upgraded from layout {layout} to layout {model.SCHEMA}"]


def _holders(link: Connection) -> Iterator[Holder]:
    containers = link.collection(ContainerDocument.collection_name())
    shown = {"name": True, "owner": True, "leased_till": True}
    for raw in link.find_all(containers, {"owner": {"$ne": None}}, shown):
        till = millis_of(raw.get("leased_till")) or 0
        yield Holder(raw["name"], convert(raw["owner"], Owner), till)
