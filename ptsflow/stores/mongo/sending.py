"""Sending the requests of a commit to MongoDB, in order."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from pymongo.collection import Collection
from pymongo.errors import BulkWriteError, ConnectionFailure

from ptsflow.stores.mongo.connection import Connection
from ptsflow.stores.mongo.documents import Raw
from ptsflow.stores.mongo.requests import Request

_DUPLICATE = 11000


class Sender:
    """Sends requests to one collection, each call within the deadline."""

    def __init__(self, link: Connection, collection: Collection[Raw]) -> None:
        self._link = link
        self._collection = collection

    def send(self, requests: Sequence[tuple[Request, int]]) -> bool:
        """Send the requests in order; return False at the first that does not match."""
        for part in _parts(requests, self._link.at_once):
            with self._link.call():
                try:
                    result = self._collection.bulk_write([each for each, _ in part])
                except BulkWriteError as error:
                    if _is_name_taken(error):
                        return False
                    raise
            done = result.matched_count + result.inserted_count + result.deleted_count
            if done < sum(size for _, size in part):
                return False
        return True

    def swap(
        self,
        swaps: Sequence[Raw],
        otherwise: Callable[[], Sequence[tuple[Request, int]]],
    ) -> bool:
        """Send a few strict swaps; return False if not all of them matched.

        Args:
            swaps: Their statements.
            otherwise: Returns the same as requests, which pymongo sends to a new primary.
        """
        with self._link.call():
            try:
                return self._link.update(self._collection, swaps) == len(swaps)
            except BulkWriteError as error:
                if _is_name_taken(error):
                    return False
                raise
            except ConnectionFailure:
                return self.send(otherwise())


def _parts(
    requests: Sequence[tuple[Request, int]], at_once: int
) -> Iterator[Sequence[tuple[Request, int]]]:
    """Yield the requests in parts of at most `at_once` tasks."""
    first, size = 0, 0
    for place, (_, tasks) in enumerate(requests):
        if size + tasks > at_once:
            yield requests[first:place]
            first, size = place, 0
        size += tasks
    if size:
        yield requests[first:]


def _is_name_taken(error: BulkWriteError) -> bool:
    details = error.details or {}
    codes = {problem["code"] for problem in details.get("writeErrors", ())}
    return codes == {_DUPLICATE} and not details.get("writeConcernErrors")
