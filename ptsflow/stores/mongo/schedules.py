"""The schedules of workflows in MongoDB."""

from __future__ import annotations

from msgspec import MsgspecError
from msgspec.json import decode as from_json
from msgspec.json import encode as to_json
from pymongo.errors import DuplicateKeyError

from ptsflow.core.insight import ScheduleRecord
from ptsflow.errors import StoreDamaged
from ptsflow.stores.mongo.connection import Connection
from ptsflow.stores.mongo.documents import Raw, ScheduleDocument


class MongoSchedules:
    """The collection of schedules, which is made by the first who writes to it."""

    def __init__(self, link: Connection) -> None:
        self._link = link
        self._schedules = link.collection(ScheduleDocument.collection_name())

    def all(self) -> list[ScheduleRecord]:
        """Return all schedules, by the names of their workflows."""
        with self._link.call():
            return [_schedule_of(raw) for raw in self._schedules.find().sort("_id")]

    def swap(self, before: ScheduleRecord | None, after: ScheduleRecord) -> bool:
        """Keep a schedule in place of the one before; False if another one is there."""
        name, entry = after.workflow, to_json(after).decode()
        with self._link.call():
            if before is None:
                try:
                    self._schedules.insert_one({"_id": name, "entry": entry})
                except DuplicateKeyError:
                    return self._is_there(name, entry)
                return True
            expected = {"_id": name, "entry": to_json(before).decode()}
            done = self._schedules.update_one(expected, {"$set": {"entry": entry}})
            return done.matched_count == 1 or self._is_there(name, entry)

    def _is_there(self, name: str, entry: str) -> bool:
        """Whether it has been kept: the answer to an earlier call may have been lost."""
        return self._schedules.find_one({"_id": name, "entry": entry}) is not None


def _schedule_of(raw: Raw) -> ScheduleRecord:
    try:
        found = from_json(raw["entry"], type=ScheduleRecord)
    except (KeyError, MsgspecError, TypeError) as error:
        raise _damaged(raw, error) from error
    if found.workflow != raw["_id"]:
        raise _damaged(raw, f"the workflow {found.workflow!r} in it")
    return found


def _damaged(raw: Raw, found: object) -> StoreDamaged:
    return StoreDamaged(
        f"expected the schedule of workflow {raw['_id']!r} in MongoDB as ptsflow writes "
        f"it, found {found}; restore it from a backup"
    )
