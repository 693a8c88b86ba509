"""The requests of a commit to MongoDB.

A swap finds its task by name, version and fence, a client's also by position, as the
contract says; and by `held`:

- Strictly: `held` = the committer's fence. The claim has stamped its fence into this
  task, so that one round trip both checks the lease and writes.
- Otherwise: `held` ≤ the container's fence, which was read just before. This is for
  inserts, for complete tasks (a claim does not stamp them), and for clients.

The server finds a document fastest by `_id` alone. So a strict swap of one task is a
pipeline that finds the document by the `_id` that its insert gave it, and changes it if
the rest matches too. It finds neither a task that was renamed, nor one that an earlier
version inserted: these are swapped by name.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby

from bson import ObjectId
from msgspec import Struct
from pymongo import DeleteMany, DeleteOne, InsertOne, UpdateMany, UpdateOne

from ptsflow.core.model import LEDGER_LENGTH, Change
from ptsflow.stores.mongo.changes import Committer
from ptsflow.stores.mongo.documents import Raw
from ptsflow.stores.mongo.records import (
    changed_fields,
    ledger_entry,
    new_task,
    task_id,
)

#: A request to MongoDB for one or more changes.
Request = InsertOne[Raw] | UpdateOne | UpdateMany | DeleteOne | DeleteMany


class Write(Struct, frozen=True):
    """The write of one change: an insert has no query, a delete has no fields."""

    query: Raw | None
    fields: Raw | None
    #: The entry for the ledger.
    ended: Raw | None = None


def write_of(
    container: ObjectId, change: Change, committer: Committer, held: object
) -> Write:
    """Return the write of one change, with payloads as text."""
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
    if committer.fence is None:
        # Somebody may have deleted the task that the client read, and made it anew. While
        # a lease is held nobody else does; and swaps that differ only in the names of
        # their tasks share a request.
        query["position"] = before.position
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


def requests_of(writes: Iterable[Write], at_once: int) -> list[tuple[Request, int]]:
    """Return the requests in order, each with the number of its tasks.

    Tasks that start together get the same values, and share one request: that is about
    half the work for the server. A request is for at most `at_once` tasks.
    """
    requests: list[tuple[Request, int]] = []
    for (template, fields, ended), group in groupby(writes, _template):
        if template is None:
            requests += [(InsertOne(write.fields or {}), 1) for write in group]
            continue
        names = [write.query["name"] for write in group if write.query is not None]
        for start in range(0, len(names), at_once):
            some = names[start : start + at_once]
            requests.append((_request(template, some, fields, ended), len(some)))
    return requests


def _request(
    template: Raw, names: Sequence[str], fields: Raw | None, ended: Raw | None
) -> Request:
    is_one = len(names) == 1
    query = template | {"name": names[0] if is_one else {"$in": names}}
    if fields is None:
        return DeleteOne(query) if is_one else DeleteMany(query)
    update = _update(fields, ended)
    return UpdateOne(query, update) if is_one else UpdateMany(query, update)


def _template(write: Write) -> tuple[Raw | None, Raw | None, Raw | None]:
    """Return what must be equal in all writes of one request."""
    query = None if write.query is None else write.query | {"name": None}
    return query, write.fields, write.ended


def _update(fields: Raw, ended: Raw | None) -> Raw:
    if ended is None:
        return {"$set": fields}
    # The query's version keeps a repeated request from adding the entry twice.
    ledger = {"$each": [ended], "$slice": -LEDGER_LENGTH}
    return {"$set": fields, "$push": {"ledger": ledger}}


def _mark(fields: Raw, committer: Committer) -> None:
    if committer.write is not None:
        fields["write"] = committer.write


def swap_by_id(write: Write) -> Raw:
    """Return the strict swap of one task as a statement of the command `update`.

    If the task does not match, the pipeline leaves the document as it is: the server
    finds it, and counts it as not modified. One comparison of two arrays makes a shorter
    command than one for each field; it costs the server as much.
    """
    query = write.query or {}
    wanted = {"$literal": [query[name] for name in _GUARDS]}
    changed = {"$mergeObjects": ["$$ROOT", {"$literal": write.fields}]}
    swapped = {"$cond": [{"$eq": [_GUARDED, wanted]}, changed, "$$ROOT"]}
    return {
        "q": {"_id": task_id(query["container"], query["name"])},
        "u": [{"$replaceWith": swapped}],
    }


#: The fields that must be as expected in a task that is found by its `_id`, and the
#: expressions of their values. A field that is missing counts as null.
_GUARDS = ("name", "version", "fence", "held")
_GUARDED = [f"${name}" for name in _GUARDS]
