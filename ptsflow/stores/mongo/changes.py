"""What a commit asks of MongoDB, and what to think of it when not everything matched.

A swap finds its task by name, version and fence, as the contract says, and by `held`:

- strictly, the writer's own fence: the lease was stamped into this very task, so that
  one round trip both checks the lease and writes;
- or else no fence above the container's, which was looked at just before: for inserts,
  for complete tasks, which no claim stamps, and for clients.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby

from bson import ObjectId
from msgspec import Struct
from msgspec.structs import replace
from pymongo import DeleteMany, DeleteOne, InsertOne, UpdateMany, UpdateOne

from ptsflow.core.model import LEDGER_LENGTH, Change, TaskRecord
from ptsflow.errors import Conflict
from ptsflow.stores.mongo.documents import Raw
from ptsflow.stores.mongo.records import changed_fields, ledger_entry, new_task
from ptsflow.stores.rules import matches, recognise

#: What is asked of MongoDB for one or more changes.
Request = InsertOne[Raw] | UpdateOne | UpdateMany | DeleteOne | DeleteMany


class Write(Struct, frozen=True):
    """What one change writes: an insert has no query, a delete no fields."""

    query: Raw | None
    fields: Raw | None
    #: What is added to the ledger.
    ended: Raw | None = None


class Committer(Struct, frozen=True):
    """Who commits."""

    #: None for a client.
    fence: int | None
    #: What a client marks its write with; a fence is mark enough.
    write: ObjectId | None = None
    #: Whether the answer to the same commit was lost before.
    again: bool = False


class Stored(Struct, frozen=True):
    """A task as it was found, and the client's commit that wrote it last."""

    task: TaskRecord
    write: ObjectId | None
    held: float | None = None


def is_guarded(change: Change) -> bool:
    """Whether a task's own `held` tells if the lease is still there."""
    return change.before is not None and not change.before.is_complete


def held_after_release(fence: int) -> float:
    """Return what stands in `held` once the lease of a fence was given back.

    It is above that fence, whose owner may write no more, and below the next one.
    """
    return fence + 0.5


def adopted(
    change: Change, stored: Mapping[str, Stored], committer: Committer
) -> Change:
    """Return an insert as an update of what a runner before inserted too late.

    Overtaken between its look at the lease and its write, it may leave a new task of
    an older fence in the way of its successor, who decided the same.
    """
    found = None if change.after is None else stored.get(change.after.name)
    if change.before is not None or found is None or committer.fence is None:
        return change
    # What was there when the lease was claimed has the writer's own fence by now.
    is_late = found.held is not None and found.held < committer.fence
    is_new = found.task.version == 1 and not found.task.is_complete
    return replace(change, before=found.task) if is_late and is_new else change


def places_task(changes: Iterable[Change]) -> tuple[int, int]:
    """Return the lowest position that is free after these, and how many want one."""
    lowest = missing = 0
    for change in changes:
        before, after = change.before, change.after
        if after is None or (before is not None and before.position == after.position):
            continue
        if after.position < 0:
            missing += 1
        else:
            lowest = max(lowest, after.position + 1)
    return lowest, missing


def write_of(
    container: ObjectId, change: Change, committer: Committer, held: object
) -> Write:
    """Return the write for one change, payloads as text."""
    before, after = change.before, change.after
    if before is None:
        fields = {} if after is None else new_task(container, after, committer.fence)
        if change.ended is not None:
            fields["ledger"] = [ledger_entry(change.ended)]
        _mark(fields, committer)
        return Write(None, fields)
    query = {
        "container": container,
        "name": before.name,
        "version": before.version,
        "fence": before.fence,
        "held": held,
    }
    if after is None:
        return Write(query, None)
    fields = changed_fields(before, after, committer.fence)
    if (
        not after.is_complete
        and committer.fence is not None
        and held != committer.fence
    ):
        fields["held"] = committer.fence
    _mark(fields, committer)
    ended = None if change.ended is None else ledger_entry(change.ended)
    return Write(query, fields, ended)


def requests_of(writes: Iterable[Write]) -> list[tuple[Request, int]]:
    """Return what to ask for, in order, each with how many tasks it is about.

    Tasks that start together become the same thing: for the server, one update of many
    is about half the work of many updates.
    """
    requests: list[tuple[Request, int]] = []
    for (template, fields, ended), group in groupby(writes, _template):
        names = [write.query["name"] for write in group if write.query is not None]
        if template is None:
            requests.append((InsertOne(fields or {}), 1))
            continue
        is_one = len(names) == 1
        query = template | {"name": names[0] if is_one else {"$in": names}}
        request: Request
        if fields is None:
            request = DeleteOne(query) if is_one else DeleteMany(query)
        else:
            update = _update(fields, ended)
            request = UpdateOne(query, update) if is_one else UpdateMany(query, update)
        requests.append((request, len(names)))
    return requests


def _template(write: Write) -> tuple[Raw | None, Raw | None, Raw | None]:
    """Return what writes have in common that can be one request."""
    query = None if write.query is None else write.query | {"name": None}
    return query, write.fields, write.ended


def _update(fields: Raw, ended: Raw | None) -> Raw:
    if ended is None:
        return {"$set": fields}
    # The query's version keeps a repeated request from noting it twice.
    ledger = {"$each": [ended], "$slice": -LEDGER_LENGTH}
    return {"$set": fields, "$push": {"ledger": ledger}}


def _mark(fields: Raw, committer: Committer) -> None:
    if committer.write is not None:
        fields["write"] = committer.write


def names_of(changes: Iterable[Change]) -> set[str]:
    """Return the names of all tasks concerned."""
    return {
        task.name
        for change in changes
        for task in (change.before, change.after)
        if task is not None
    }


def not_made(
    changes: Sequence[Change], stored: Mapping[str, Stored], committer: Committer
) -> list[Change]:
    """Return the changes that this committer has not made yet, in order.

    One is made, too, where a later one of the batch to the same task is.
    """
    left: list[Change] = []
    passed: set[str] = set()
    for change in reversed(changes):
        before, after = change.before, change.after
        if (after is not None and after.name in passed) or _is_made(
            change, stored, committer
        ):
            if before is not None:
                passed.add(before.name)
        else:
            left.append(change)
    return left[::-1]


def _is_made(
    change: Change, stored: Mapping[str, Stored], committer: Committer
) -> bool:
    before, after = change.before, change.after
    found = stored.get(after.name) if after is not None else None
    if committer.fence is None:
        if after is None:
            return committer.again and before is not None and before.name not in stored
        return (
            found is not None
            and found.write == committer.write
            and found.task.version == after.version
        )
    earlier = stored.get(before.name) if before is not None else None
    try:
        recognise(
            "",
            change,
            committer.fence,
            at_before=earlier.task if earlier else None,
            at_after=found.task if found else None,
        )
    except Conflict:
        return False
    return True


def expect_ready(
    container: str,
    changes: Iterable[Change],
    stored: Mapping[str, Stored],
    fence: int | None,
) -> None:
    """Raise Conflict unless the changes, one after the other, fit what is stored."""
    tasks = {name: found.task for name, found in stored.items()}
    for change in changes:
        before, after = change.before, change.after
        at_before = tasks.get(before.name) if before else None
        at_after = tasks.get(after.name) if after else None
        renames = before is None or (after is not None and after.name != before.name)
        if not matches(before, at_before) or (renames and at_after is not None):
            recognise(container, change, fence, at_before=at_before, at_after=at_after)
        if before is not None:
            tasks.pop(before.name, None)
        if after is not None:
            tasks[after.name] = after
