"""Parts of many tasks, each small enough for one call to end within its deadline."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

from pymongo.collection import Collection

from ptsflow.stores.mongo.connection import Connection
from ptsflow.stores.mongo.documents import Raw

#: Of fewer tasks it does not matter how the server goes through them.
_WORTH_A_HINT = 2_000


def hint_of(link: Connection, tasks: Collection[Raw], query: Raw) -> Raw:
    """Return how the server is to find the tasks: an option of a query, or none.

    If they are most of the collection, the server goes through all of it in half of the
    time that it takes to look up one task after the other by an index.
    """
    with link.call():
        there = tasks.estimated_document_count()
    is_most = there > _WORTH_A_HINT and has_more(link, tasks, query, there // 2)
    return {"hint": {"$natural": 1}} if is_most else {}


def has_more(link: Connection, tasks: Collection[Raw], query: Raw, number: int) -> bool:
    """Return whether there are more tasks than this number."""
    with link.call():
        # What all tasks are in number the server knows without counting them.
        if tasks.estimated_document_count() <= number:
            return False
        return tasks.count_documents(query, limit=number + 1) > number


def bounds_of(
    link: Connection, tasks: Collection[Raw], query: Raw, field: str, size: int
) -> list[Any]:
    """Return the values of `field` at which parts of `size` tasks end, but the last.

    There must be an index by which the server finds the tasks in the order of `field`.
    """
    bounds: list[Any] = []
    while True:
        rest = query | _between(field, bounds[-1] if bounds else None, None)
        last = tasks.find(rest, {"_id": False, field: True}).sort(field)
        with link.call():
            found = list(last.skip(size - 1).limit(1))
        if not found:
            return bounds
        bounds.append(found[0][field])


def parts_of(query: Raw, field: str, bounds: list[Any]) -> Iterator[Raw]:
    """Yield the queries of the parts that end at these bounds."""
    for after, till in pairwise([None, *bounds, None]):
        yield query | _between(field, after, till)


def _between(field: str, after: Any, till: Any) -> Raw:
    """Return the condition that the field is > `after` and ≤ `till`."""
    bounds = {"$gt": after, "$lte": till}
    given = {name: bound for name, bound in bounds.items() if bound is not None}
    return {field: given} if given else {}
