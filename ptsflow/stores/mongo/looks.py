"""What screens read of a MongoDB container.

A glance is two passes over the tasks on the server: one that counts them, and one for the
items of all statuses that are shown. A pass for each question would take twice as long.
"""

from __future__ import annotations

import re
from array import array
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from operator import attrgetter, itemgetter
from typing import Any

from bson import ObjectId
from msgspec import ValidationError, convert
from pymongo.errors import ExecutionTimeout

from ptsflow.core.insight import Glance, Spans
from ptsflow.core.model import Status, TaskRecord
from ptsflow.core.pack import IDENTITY
from ptsflow.core.packed import ORIGIN, origins_of
from ptsflow.errors import StoreDamaged, StoreUnavailable
from ptsflow.host.clock import since_boot
from ptsflow.stores.looks import OWN_TASKS, Order, PageWindow
from ptsflow.stores.mongo.connection import Connection
from ptsflow.stores.mongo.documents import Raw, TaskDocument, millis_of
from ptsflow.stores.mongo.parts import bounds_of, has_more, hint_of, parts_of
from ptsflow.stores.mongo.records import (
    WITHOUT_PAYLOADS,
    tally_of,
    task_records,
)
from ptsflow.stores.mongo.tallies import GROUP, PARTS, added
from ptsflow.stores.mongo.tasks import MongoTasks
from ptsflow.stores.rules import Times, widened

#: What goes wrong where a field of a task is of another type.
_DAMAGED = (
    *(StoreDamaged, ValidationError),
    *(TypeError, ValueError, KeyError, OverflowError),
)
#: What a glance needs of the groups. Where no task has a key, `key` is null.
_GROUP: Raw = GROUP | {
    "_id": {"step": "$step", "status": "$status"},
    "began": {"$min": "$last_invoked_at"},
    "ended": {"$max": "$task_ended_at"},
    "key": {"$max": "$key"},
    "code": {"$addToSet": "$code_hash"},
}
_identity = itemgetter(*IDENTITY)
#: The rest of `ORIGIN`; documents of the first layouts need not have all.
_NUMBERS = ORIGIN[len(IDENTITY) :]
#: When the tasks of each status ran.
_TIMES: Raw = {
    "_id": "$status",
    "began": {"$push": "$last_invoked_at"},
    "ended": {"$push": {"$ifNull": ["$task_ended_at", None]}},
}
#: How long it is remembered how the server best finds the tasks of a container, in
#: seconds. To find that out, it has to count most of them.
_HINT_LASTS = 10.0
#: Of so many tasks the times are in one document, which may have 16 MB.
_PUSHED = 200_000
#: The items of these statuses are shown, each in the order of this field.
_FIRST_BY = {
    Status.RUNNING: "last_invoked_at",
    Status.WAITING: "task_ended_at",
    Status.FAILED: "task_ended_at",
}
_ORDERS: Mapping[Order, list[tuple[str, int]]] = {
    "position": [("position", 1), ("_id", 1)],
    "duration": [("task_duration_ms", -1), ("position", 1), ("_id", 1)],
}


class MongoLooks:
    """Reads of one container for screens."""

    def __init__(self, link: Connection, tasks: MongoTasks) -> None:
        self._link = link
        self._read = tasks.read
        self._tasks = link.collection(TaskDocument.collection_name())
        #: The container that was last asked for, since when, and the hint for it.
        self._hinted: tuple[ObjectId | None, float, Raw] = (None, 0.0, {})

    def glance(self, container: ObjectId, active: int, failed: int) -> Glance:
        """Return what a screen shows of a container."""
        try:
            return self._glance(container, active, failed)
        except _DAMAGED:
            self._read(container, None, payloads=False)  # This names the task.
            raise

    def _glance(self, container: ObjectId, active: int, failed: int) -> Glance:
        hint = self._hint(container)
        groups = self._in_parts(container, [{"$group": _GROUP}], hint)
        times = _times_of(groups)
        plain = self._plain(container, groups)
        tallies = [tally_of(group) for group in added(groups)]
        limits = {Status.RUNNING: active, Status.WAITING: active, Status.FAILED: failed}
        found = {tally.status for tally in tallies}
        limits = {status: n for status, n in limits.items() if status in found}
        items = self._items(container, limits, hint)
        are_active = items[Status.RUNNING] + items[Status.WAITING]
        return Glance(
            tallies=tallies,
            plain=plain,
            active=are_active[: max(0, active)],
            failed=items[Status.FAILED],
            times=convert(times, dict[str, Times]),
            code=convert(self._code(container, groups, hint), dict[str, set[str]]),
        )

    def _items(
        self, container: ObjectId, limits: Mapping[Status, int], hint: Raw
    ) -> dict[Status, list[TaskRecord]]:
        """Return the first items of each status, so many at the most."""
        items: dict[Status, list[TaskRecord]] = {status: [] for status in _FIRST_BY}
        limits = {status: limit for status, limit in limits.items() if limit > 0}
        if not limits:
            return items
        of_these: Raw = {"status": {"$in": [*limits]}, "key": {"$ne": None}}
        facets: Raw = {
            status: [
                {"$match": {"status": status}},
                {"$sort": {_FIRST_BY[status]: 1, "position": 1}},
                {"$limit": limit},
                {"$project": WITHOUT_PAYLOADS},
            ]
            for status, limit in limits.items()
        }
        stages: list[Raw] = [{"$match": of_these}, {"$facet": facets}]
        for part in self._in_parts(container, stages, hint):
            for status in limits:
                items[status] += task_records(part[status], is_bare=True)
        for status, limit in limits.items():
            items[status].sort(
                key=_by_beginning if status is Status.RUNNING else _by_end
            )
            del items[status][limit:]
        return items

    def _code(
        self, container: ObjectId, groups: Iterable[Raw], hint: Raw
    ) -> dict[str, set[str]]:
        """Return the fingerprints of the code that finished tasks ran, by step."""
        by_status: dict[str, list[Raw]] = {}
        for group in groups:
            by_status.setdefault(group["_id"].get("status"), []).append(group)
        found = by_status.get(Status.DONE, [])
        if Status.SKIPPED in by_status:
            # Others were not skipped by their bodies.
            of_bodies: Raw = {"$match": {"status": "skipped", "cause": "body"}}
            stages: list[Raw] = [of_bodies, {"$group": _GROUP}]
            found += self._in_parts(container, stages, hint)
        code: dict[str, set[str]] = {}
        for group in found:
            code.setdefault(group["_id"]["step"], set()).update(group["code"])
        return code

    def _plain(self, container: ObjectId, groups: Iterable[Raw]) -> list[TaskRecord]:
        """Return the tasks that are no items, by position."""
        counts = Counter[object]()
        for group in groups:
            if group["key"] is None:
                counts[group["_id"].get("step")] += group["count"]
        own = counts.pop("", 0)
        # A step's task has its name, unless a client renamed the task.
        found = self._find(container, {"name": {"$in": [*counts]}, "key": None})
        if len(found) != counts.total():
            found = self._find(container, {"step": {"$ne": ""}, "key": None})
        if own:
            found += self._find(container, {"step": ""}, OWN_TASKS)
        return sorted(found, key=attrgetter("position", "name"))

    def _find(
        self, container: ObjectId, query: Raw, limit: int = 0
    ) -> list[TaskRecord]:
        found = self._tasks.find({"container": container} | query, WITHOUT_PAYLOADS)
        with self._link.call():
            raws = list(found.sort("position").limit(limit))
        return task_records(raws, is_bare=True)

    def _in_parts(
        self,
        container: ObjectId,
        stages: list[Raw],
        hint: Raw,
        at_most: int | None = None,
    ) -> list[Raw]:
        """Return the results of a pipeline over all tasks, or over parts of them.

        If the server cannot go through all within one deadline, it goes through parts;
        so it does if there are more than `at_most`.
        """
        query: Raw = {"container": container}
        size = at_most or PARTS * self._link.at_once
        if at_most is None or not has_more(self._link, self._tasks, query, at_most):
            try:
                return self._aggregate(query, stages, **hint)
            except StoreUnavailable as error:
                if not isinstance(error.__cause__, ExecutionTimeout):
                    raise
        bounds = bounds_of(self._link, self._tasks, query, "name", size)
        return [
            raw
            for part in parts_of(query, "name", bounds)
            for raw in self._aggregate(part, stages)
        ]

    def _hint(self, container: ObjectId) -> Raw:
        known, since, hint = self._hinted
        if known != container or since_boot() > since + _HINT_LASTS:
            hint = hint_of(self._link, self._tasks, {"container": container})
            self._hinted = container, since_boot(), hint
        return hint

    def _aggregate(self, query: Raw, stages: list[Raw], **hint: Any) -> list[Raw]:
        with self._link.call():
            return list(self._tasks.aggregate([{"$match": query}, *stages], **hint))

    def page(
        self,
        container: ObjectId,
        wanted: Mapping[str, str | None],
        part: str | None,
        window: PageWindow,
    ) -> tuple[list[TaskRecord], int]:
        """Return some tasks, and how many there are in all.

        Args:
            container: the container's `_id`.
            wanted: the values of fields of the tasks, None for any.
            part: what their names have within them, or None.
            window: which of them are returned.
        """
        query: Raw = {"container": container} | {
            name: {"$eq": value} for name, value in wanted.items() if value is not None
        }
        if part is not None:
            query["name"] = {"$regex": re.escape(part)}
        hint = self._hint(container)
        total = window.total
        if total is None:
            with self._link.call():
                total = self._tasks.count_documents(query, **hint)
        if window.limit <= 0 or window.offset >= total:
            return [], total
        found = self._tasks.find(query, WITHOUT_PAYLOADS, **hint)
        found = found.sort(_ORDERS[window.order])
        with self._link.call():
            raws = list(found.skip(window.offset).limit(window.limit))
        return task_records(raws, is_bare=True), total

    def origins(
        self, container: ObjectId, steps: Collection[str]
    ) -> Sequence[TaskRecord]:
        """Return the tasks of steps by position, with the fields of `ORIGIN` alone."""
        query = {"container": container, "step": {"$in": list(steps)}}
        shown: Raw = {"_id": False} | dict.fromkeys(ORIGIN, True)
        batches = self._link.find_batches(self._tasks, query, shown)
        try:
            return origins_of(list(map(_origin, raws)) for raws in batches)
        except _DAMAGED:
            self._read(container, None, payloads=False)  # This names the task.
            raise

    def spans(self, container: ObjectId, step: str) -> Spans:
        """Return when the last attempts of a step's tasks ran, as far as they began."""
        begun: Raw = {"step": {"$eq": step}, "last_invoked_at": {"$ne": None}}
        stages: list[Raw] = [{"$match": begun}, {"$group": _TIMES}]
        began, ended = array("q"), array("q")
        statuses: list[Status] = []
        hint = self._hint(container)
        try:
            for group in self._in_parts(container, stages, hint, at_most=_PUSHED):
                status = Status(group["_id"])
                began.extend(map(millis_of, group["began"]))
                ends = map(millis_of, group["ended"]) if status.is_complete else ()
                ended.extend(end or 0 for end in ends)
                statuses += [status] * len(group["began"])
                ended.extend([0] * (len(began) - len(ended)))
        except _DAMAGED:
            self._read(container, None, payloads=False)  # This names the task.
            raise
        return Spans(began=began, ended=ended, statuses=statuses)


def _by_beginning(task: TaskRecord) -> tuple[int, int]:
    return task.last_invoked_at or 0, task.position


def _by_end(task: TaskRecord) -> tuple[int, int]:
    return task.task_ended_at or 0, task.position


def _times_of(groups: Iterable[Raw]) -> dict[str, Times]:
    times: dict[str, Times] = {}
    for group in groups:
        step = group["_id"].get("step")
        more = millis_of(group["began"]), millis_of(group["ended"])
        times[step] = widened(times.get(step, (None, None)), more)
    return times


def _origin(raw: Raw) -> tuple[object, ...]:
    # The driver's whole numbers are of a class of its own.
    numbers = (int(raw.get(name, 0)) for name in _NUMBERS)
    return (*_identity(raw), *numbers)
