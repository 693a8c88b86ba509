"""Counting the tasks of containers in MongoDB."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from bson import ObjectId
from pymongo.collection import Collection
from pymongo.errors import ExecutionTimeout

from ptsflow.errors import StoreUnavailable
from ptsflow.stores.mongo.connection import Connection
from ptsflow.stores.mongo.documents import Raw
from ptsflow.stores.mongo.parts import bounds_of, parts_of

#: The groups of tasks by step and status.
GROUP: Raw = {
    "_id": {"container": "$container", "step": "$step", "status": "$status"},
    "count": {"$sum": 1},
    "percentage": {"$sum": "$percentage_complete"},
    "first": {"$min": "$position"},
}

#: To count a task costs the server a small part of what it costs to write one.
PARTS = 10


def groups_of(
    link: Connection, tasks: Collection[Raw], containers: Sequence[ObjectId]
) -> list[Raw]:
    """Return the tasks of containers in groups by step and status.

    The groups are in the order of their first tasks. If the server cannot count all
    within one deadline, it counts them container by container, in parts.
    """
    try:
        return _counted(link, tasks, {"container": {"$in": list(containers)}})
    except StoreUnavailable as error:
        if not isinstance(error.__cause__, ExecutionTimeout):
            raise
    found: list[Raw] = []
    for container in containers:
        query = {"container": container}
        bounds = bounds_of(link, tasks, query, "name", PARTS * link.at_once)
        for part in parts_of(query, "name", bounds):
            found += _counted(link, tasks, part)
    return added(found)


def added(parts: Iterable[Raw]) -> list[Raw]:
    """Return one group for all of the same tasks, in the order of their first tasks."""
    groups: dict[tuple[object, ...], Raw] = {}
    for more in parts:
        group = groups.setdefault(tuple(more["_id"].values()), more)
        if group is not more:
            group["count"] += more["count"]
            group["percentage"] += more["percentage"]
            group["first"] = min(_first(group), _first(more))
    return sorted(groups.values(), key=_first)


def _first(group: Raw) -> int:
    """Return the position of the first task in a group; -1 if it is damaged."""
    position = group["first"]
    return position if isinstance(position, int) else -1


def _counted(link: Connection, tasks: Collection[Raw], query: Raw) -> list[Raw]:
    stages: list[Raw] = [{"$match": query}, {"$group": GROUP}]
    with link.call():
        return list(tasks.aggregate([*stages, {"$sort": {"first": 1}}]))
