"""The log lines of bodies in MongoDB.

The server marks each chunk, so that chunks of several machines, whose clocks differ, have
one order.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

from bson import ObjectId, Timestamp
from pymongo.errors import BulkWriteError

from ptsflow.core.model import LogChunk
from ptsflow.stores.mongo.connection import Connection
from ptsflow.stores.mongo.documents import LogDocument, Raw
from ptsflow.stores.mongo.records import log_chunk, new_lines, object_id
from ptsflow.stores.rules import outlived

_DUPLICATE = 11000

_Key = tuple[str, str, int, int]


class MongoLogs:
    """Chunks of lines in one collection, through a client of its own."""

    def __init__(self, url: str) -> None:
        self._link = Connection(url)
        name = LogDocument.collection_name()
        self._chunks = self._link.collection(name, durable=False)
        self._is_made = False
        # The ids of chunks whose answer was lost, so that they may be stored or not.
        self._unsure: dict[_Key, ObjectId] = {}

    def put(self, uid: str, chunks: Sequence[LogChunk]) -> None:
        """Add chunks; drop the chunks of attempts before the last `LEDGER_LENGTH`."""
        container = object_id(uid)
        keys = [(uid, each.task, each.attempt, each.number) for each in chunks]
        self._unsure = {key: self._unsure.get(key, ObjectId()) for key in keys}
        documents = [
            new_lines(self._unsure[key], container, chunk)
            for key, chunk in zip(keys, chunks, strict=True)
        ]
        with self._link.call():
            if not self._is_made:
                LogDocument.ensure_indexes_in(self._chunks)
                self._is_made = True
            if documents:
                self._insert(documents)
            for task, last in outlived(chunks).items():
                of_task = {"container": container, "task": task}
                self._chunks.delete_many(of_task | {"attempt": {"$lte": last}})
        self._unsure = {}

    def _insert(self, documents: Sequence[Raw]) -> None:
        try:
            self._chunks.insert_many(documents, ordered=False)
        except BulkWriteError as error:
            problems = (error.details or {}).get("writeErrors", ())
            # A duplicate was stored by the call whose answer was lost.
            if {problem["code"] for problem in problems} != {_DUPLICATE}:
                raise

    def trim(self, uid: str, task: str, attempt: int, first: int, last: int) -> None:
        """Drop the chunks of an attempt whose numbers are `first` to `last`."""
        query = {
            "container": object_id(uid),
            "task": task,
            "attempt": attempt,
            "number": {"$gte": first, "$lte": last},
        }
        with self._link.call():
            self._chunks.delete_many(query)

    def read(
        self,
        uid: str,
        *,
        task: str | None = None,
        attempt: int | None = None,
        after: str | None = None,
        newest: int | None = None,
    ) -> tuple[list[LogChunk], str | None]:
        """Return chunks in the order in which they were put, and a mark of the last."""
        query: Raw = {"container": object_id(uid), "mark": {"$gt": _mark(after)}}
        if task is not None:
            query["task"] = task
        if attempt is not None:
            query["attempt"] = attempt
        if newest is None:
            raws = self._link.find_all(self._chunks, query, sort="mark")
        else:
            raws = self._last(query, newest)
        if not raws:
            return [], after
        last: Timestamp = raws[-1]["mark"]
        return [log_chunk(raw) for raw in raws], f"{last.time}.{last.inc}"

    def _last(self, query: Raw, count: int) -> list[Raw]:
        if not count:
            return []  # To MongoDB that is all.
        with self._link.call():
            found = list(self._chunks.find(query).sort("mark", -1).limit(count))
        found.reverse()
        return found

    def forget(self, uid: str) -> None:
        """Drop all chunks of a container."""
        with self._link.call():
            self._chunks.delete_many({"container": object_id(uid)})

    def close(self) -> None:
        """Close the client; a second call does nothing."""
        self._link.close()


def _mark(text: str | None) -> Timestamp:
    """Return the mark that `read` returned, or one before all others."""
    seconds, _, place = (text or "").partition(".")
    with suppress(ValueError):
        return Timestamp(int(seconds), int(place))
    return Timestamp(0, 0)
