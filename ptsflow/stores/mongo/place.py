"""Whether the collections of a store are still the ones that were opened."""

from __future__ import annotations

from ptsflow.core.model import ContainerRecord
from ptsflow.errors import StoreDamaged
from ptsflow.stores.mongo.connection import Connection
from ptsflow.stores.mongo.documents import (
    ContainerDocument,
    PayloadDocument,
    TaskDocument,
)

#: The collections whose loss is a loss of state.
_STATE = tuple(
    document.collection_name()
    for document in (ContainerDocument, TaskDocument, PayloadDocument)
)


class Place:
    """The collections that hold the state, by the unique ids that the server gave them.

    An update of a collection that was dropped matches nothing. An insert is worse: the
    server makes a new collection for it, without the unique index, so that two clients
    may insert the same task. So inserts are confirmed only after a check.
    """

    def __init__(self, link: Connection) -> None:
        self._link = link
        self._opened: dict[str, object] = {}

    def note(self) -> None:
        """Note which collections were opened."""
        self._opened = self._link.collections(_STATE)

    def inherit(self, other: Place) -> None:
        """Expect the collections that another connection has opened, and check them."""
        self._opened = other._opened
        self.check()

    @property
    def is_noted(self) -> bool:
        """Whether there is anything to check."""
        return bool(self._opened)

    def check(self) -> None:
        """Raise if a collection is not the one that was opened.

        Raises:
            StoreDamaged: one was dropped, and may have been made again.
        """
        found = self._link.collections(self._opened) if self._opened else {}
        for name, known in self._opened.items():
            if found.get(name) != known:
                raise StoreDamaged(
                    f"store {self._link.url!r}: expected the collection {name} that was "
                    "opened, found it dropped or replaced; stop what did that, and run "
                    "again"
                )

    def present(self, record: ContainerRecord | None) -> ContainerRecord | None:
        """Return the record; if there is none, check if its collection was dropped."""
        if record is None:
            self.check()
        return record
