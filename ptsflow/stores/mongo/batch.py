"""The writes of one commit to MongoDB, with the large payloads taken out of them."""

from __future__ import annotations

from bson import ObjectId
from msgspec import UNSET

from ptsflow.core.model import PAYLOADS, Change
from ptsflow.stores.mongo.changes import Committer, names_of
from ptsflow.stores.mongo.documents import Raw
from ptsflow.stores.mongo.records import is_large, task_id
from ptsflow.stores.mongo.requests import (
    Request,
    Write,
    requests_of,
    swap_by_id,
    write_of,
)

#: So many tasks with payloads that are not large fit into one command of 48 MB.
_FEW = 8


class Batch:
    """The writes of one commit, with the large payloads taken out of them.

    Args:
        by_id: Whether to find tasks by the `_id` that their name gives them.
    """

    def __init__(self, *, by_id: bool) -> None:
        self._by_id = by_id
        self._writes: list[Write] = []
        self.payloads: list[Raw] = []
        #: The names of tasks with a large payload before or after the swap.
        self.watched: set[str] = set()

    def add(
        self, container: ObjectId, change: Change, committer: Committer, held: object
    ) -> None:
        """Add the write of one change."""
        write = write_of(container, change, committer, held)
        self._writes.append(write)
        fields = write.fields or {}
        if write.query is None and self._by_id:
            fields["_id"] = task_id(container, fields["name"])
        if not _may_be_large(change, fields, committer):
            return
        self.watched |= names_of((change,))
        for name in PAYLOADS:
            if is_large(text := fields.get(name)):
                fields[name] = ObjectId()
                self.payloads.append(
                    {"_id": fields[name], "container": container, "text": text}
                )

    def swaps(self) -> list[Raw]:
        """Return the statements of a few strict swaps; none if it is anything else."""
        if not self._by_id or self.watched or len(self._writes) > _FEW:
            return []
        if any(
            write.query is None or write.fields is None or write.ended is not None
            for write in self._writes
        ):
            return []
        return [swap_by_id(write) for write in self._writes]

    def requests(self, at_once: int) -> list[tuple[Request, int]]:
        """Return the requests in order, as `requests_of` does."""
        return requests_of(self._writes, at_once)


def _may_be_large(change: Change, fields: Raw, committer: Committer) -> bool:
    """Return whether a large payload is written, or may be replaced.

    If a runner has not read the payload that it replaces, the answer is False: to look
    would cost one more round trip for every task. If that payload is large, it remains
    until its container is deleted.
    """
    before = change.before
    if change.after is None:
        return True
    if fields.keys().isdisjoint(PAYLOADS):
        return False  # The usual answer.
    for name in PAYLOADS:
        if name in fields:
            old = getattr(before, name) if before else None
            unseen = old is UNSET and committer.fence is None
            if unseen or is_large(old) or is_large(fields[name]):
                return True
    return False
