"""Commits to MongoDB: swapping tasks one by one, and finding out what became of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from bson import ObjectId
from msgspec import Struct

from ptsflow.core.model import Change
from ptsflow.errors import Conflict, ContainerNotFound, StoreDamaged, StoreUnavailable
from ptsflow.stores.mongo.changes import (
    Committer,
    adopted,
    check_holders,
    expect_ready,
    held_after_release,
    is_guarded,
    not_made,
)
from ptsflow.stores.mongo.connection import Connection
from ptsflow.stores.mongo.containers import MongoContainers
from ptsflow.stores.mongo.place import Place
from ptsflow.stores.mongo.records import object_id
from ptsflow.stores.mongo.tasks import MongoTasks
from ptsflow.stores.rules import check_writer


class _Unsure(Struct, frozen=True):
    """A client's commit whose answer was lost, to recognise when it is made again."""

    uid: str
    changes: tuple[Change, ...]
    write: ObjectId


class MongoCommits:
    """Makes the commits of one store.

    Args:
        link: The client.
        containers: The collection of containers.
        tasks: The collections of tasks and payloads.
        place: Says if collections were dropped.
    """

    def __init__(
        self,
        link: Connection,
        containers: MongoContainers,
        tasks: MongoTasks,
        place: Place,
    ) -> None:
        self._link = link
        self._containers = containers
        self._tasks = tasks
        self._place = place
        # A commit whose answer was lost, so that its writes may be stored or not.
        self._unsure: _Unsure | None = None

    def commit(self, uid: str, changes: Sequence[Change], fence: int | None) -> None:
        """Make the changes one by one, in order."""
        try:
            if fence is None:
                self._commit_as_client(uid, changes)
            else:
                self._swap(uid, changes, Committer(fence))
        except ContainerNotFound:
            self._place.check()
            # Tasks that were inserted after the deletion would never be seen or deleted.
            self._tasks.delete(object_id(uid))
            raise

    def _commit_as_client(self, uid: str, changes: Sequence[Change]) -> None:
        known, self._unsure = self._unsure, None
        again = (
            known is not None and known.uid == uid and known.changes == tuple(changes)
        )
        write = known.write if known is not None and again else ObjectId()
        try:
            self._swap(uid, changes, Committer(None, write, again))
            if _inserts(changes):
                self._check_still_there(uid, None)
                self._place.check()
        except StoreDamaged:
            # Two of these would keep the unique index from being made again.
            self._tasks.withdraw(object_id(uid), write)
            raise
        except StoreUnavailable:
            self._unsure = _Unsure(uid, tuple(changes), write)
            raise

    def _swap(self, uid: str, changes: Sequence[Change], committer: Committer) -> None:
        container = object_id(uid)
        if committer.again and not (changes := self._left(uid, changes, committer)):
            return
        strict = committer.fence is not None and all(map(is_guarded, changes))
        bound: float | None = committer.fence
        if not strict or not changes:
            with self._link.call():
                fence, changes = self._containers.admit(uid, changes, committer)
            bound = held_after_release(fence) if committer.fence is None else fence
        for number in range(_ROUNDS):
            by_id = number == 0
            if self._tasks.swap(
                container, changes, committer, bound, strict=strict, by_id=by_id
            ):
                if not strict and committer.fence is not None:
                    self._check_still_there(uid, committer.fence)
                    if _inserts(changes):
                        self._place.check()
                return
            changes = self._left(uid, changes, committer)
            if not changes:
                return
            # `_left` has just checked the lease. So tasks without the fence, which a
            # client added during the claim, may be written too.
            strict = False
        raise Conflict(
            f"container with the uid {uid}: tasks change faster than they can be "
            f"swapped; read them again"
        )

    def _check_still_there(self, uid: str, fence: int | None) -> None:
        """Raise if the container or the lease was lost between check and write."""
        record = self._containers.get(object_id(uid))
        if record is None or fence is not None:
            check_writer(record, uid, fence, now=0)

    def _left(
        self, uid: str, changes: Sequence[Change], committer: Committer
    ) -> Sequence[Change]:
        """Return the changes that are still to be made; raise if one cannot be made."""
        container = object_id(uid)
        stored = self._tasks.stored(container, changes)
        left = [
            adopted(change, stored, committer)
            for change in not_made(changes, stored, committer)
        ]
        if left:
            if any(each.before and each.before.name not in stored for each in left):
                self._place.check()
            with self._link.call():
                record = self._containers.get(container)
                check_writer(record, uid, committer.fence, self._containers.now())
            expect_ready(record.name if record else "", left, stored, committer.fence)
            if record is not None:
                check_holders(stored, record.fence)
        return left


def _inserts(changes: Iterable[Change]) -> bool:
    return any(change.before is None for change in changes)


#: How many times a commit is tried if tasks change between its write and its check.
_ROUNDS = 5
