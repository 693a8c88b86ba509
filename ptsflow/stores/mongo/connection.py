"""One client of MongoDB: its URL, deadlines, guarantees and error texts.

Whatever the URL says, a majority acknowledges each write and journals it, and the primary
answers reads. Every call ends within a deadline (`timeoutMS` in the URL, or 5 s). Every
error becomes one of `ptsflow.errors`, with a message of one line.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import chain, repeat
from typing import Any, ClassVar

import pymongo
from bson import decode_all
from bson.codec_options import CodecOptions, DatetimeConversion
from bson.errors import BSONError
from pymongo import ReadPreference
from pymongo.collection import Collection
from pymongo.errors import (
    BulkWriteError,
    ConnectionFailure,
    DocumentTooLarge,
    InvalidOperation,
    PyMongoError,
)
from pymongo.read_concern import ReadConcern
from pymongo.write_concern import WriteConcern

from ptsflow.errors import StoreError, StoreFull, StoreUnavailable
from ptsflow.stores.mongo import driver_threads  # noqa: F401 - it acts at the end
from ptsflow.stores.mongo.documents import Raw, millis_of
from ptsflow.stores.mongo.refusals import (
    FULL,
    LOGIN,
    RIGHTS,
    SHORT,
    TRANSIENT,
    UNKNOWN_HOST,
    check_shortage,
    code_of,
    meaning_of,
    reason_of,
)
from ptsflow.stores.mongo.urls import DEADLINE, opened, parsed
from ptsflow.stores.store_wait import NO_WAIT, StoreWait
from ptsflow.stores.url_mask import mask

#: How long the first look at a server may take if it can be waited for, in seconds.
_FIRST_LOOK = 1.0

#: The wire version of MongoDB 4.4, the oldest server with all that is needed.
_OLDEST_WIRE_VERSION = 9

_DURABLE = WriteConcern(w="majority", j=True, wtimeout=int(DEADLINE * 1000))
_LIGHT = WriteConcern(w=1, j=False)
# A date is a naive datetime in UTC, which pymongo makes in a third of the time that it
# needs for any other; beyond the years of datetimes it is a `DatetimeMS`.
_CODEC = CodecOptions[Raw](
    tz_aware=False, datetime_conversion=DatetimeConversion.DATETIME_AUTO
)
#: How many documents are read at a time: each read ends well within its deadline.
_READ_AT_ONCE = 5_000
#: How many are deleted at a time, and how long others may write then, in seconds.
_DELETE_AT_ONCE, _PAUSE = 1_000, 0.02

#: IllegalOperation: the server takes no transaction numbers. To a standalone server
#: pymongo sends one where a connection was reset while it was made; nothing is written.
_NO_NUMBERS = 20


class Connection:
    """A small client for one thread."""

    #: How many documents one call may be about, so that it ends within its deadline.
    at_once: ClassVar[int] = 5_000

    def __init__(self, url: str, wait: StoreWait = NO_WAIT) -> None:
        #: The URL with passwords masked.
        self.url = mask(url)
        said = parsed(url)
        #: The hosts that the URL names.
        self.place = ", ".join(
            host if port is None else f"{host}:{port}"
            for host, port in said["nodelist"]
        )
        #: The database's name.
        self.database: str = said["database"] or "ptsflow"
        self._pid = os.getpid()
        self._client = opened(url, self.place)
        self._database = self._client[self.database]
        self._deadline = self._client.options.timeout or DEADLINE
        try:
            # The first look is short, so that a wait is told at once.
            limits = chain(
                [] if wait.is_over else [_FIRST_LOOK], repeat(self._deadline)
            )
            wait.through(lambda: self._check_server(next(limits)))
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close the sockets; a second call does nothing."""
        if os.getpid() != self._pid:
            return  # The sockets belong to the parent process, which still uses them.
        # A server that does not answer must not delay the end.
        with contextlib.suppress(PyMongoError), pymongo.timeout(1):
            self._client.close()

    def collection(self, name: str, *, durable: bool = True) -> Collection[Raw]:
        """Return a collection with durable writes, whatever the URL says.

        If writes need not be durable, the primary alone confirms them, from its memory.
        """
        return self._database.get_collection(
            name,
            codec_options=_CODEC,
            read_preference=ReadPreference.PRIMARY,
            write_concern=_DURABLE if durable else _LIGHT,
            read_concern=ReadConcern(),
        )

    def collections(self, names: Iterable[str]) -> dict[str, object]:
        """Return the unique ids of those of the collections that exist, by name."""
        with self.call():
            found = self._database.list_collections(filter={"name": {"$in": [*names]}})
            return {each["name"]: each["info"].get("uuid") for each in found}

    def command(self, name: str, value: object = 1, *, of_server: bool = False) -> Raw:
        """Return what the database, or the server, answers to a command about itself."""
        asked = self._client.admin if of_server else self._database
        return dict(asked.command({name: value}))

    def find_all(
        self,
        collection: Collection[Raw],
        query: Raw,
        projection: Raw | None = None,
        sort: str | None = None,
    ) -> list[Raw]:
        """Return all documents."""
        return [
            raw
            for batch in self.find_batches(collection, query, projection, sort)
            for raw in batch
        ]

    def find_batches(
        self,
        collection: Collection[Raw],
        query: Raw,
        projection: Raw | None = None,
        sort: str | None = None,
    ) -> Iterator[list[Raw]]:
        """Yield all documents in batches, each of which has a deadline of its own.

        The server finds a batch while the one before is decoded here.
        """
        found = collection.find_raw_batches(query, projection, batch_size=_READ_AT_ONCE)
        if sort is not None:
            found = found.sort(sort).allow_disk_use(allow_disk_use=True)

        def following() -> Any:
            with self.call():
                return next(found, None)

        with contextlib.closing(found), ThreadPoolExecutor(1) as reader:
            batch = following()
            while batch is not None:
                ahead = _begun(reader, following) if found.alive else None
                yield decode_all(batch, collection.codec_options)
                batch = ahead() if ahead else None

    def update(self, collection: Collection[Raw], statements: Sequence[Raw]) -> int:
        """Send a few updates in order; return how many documents they modified.

        The bare command is most of what one commit costs the client less than
        `bulk_write`, which tries again after an election, as this does not.
        """
        command = {
            "update": collection.name,
            "updates": statements,
            "writeConcern": _DURABLE.document,
        }
        answer = self._database.command(command)
        problems = answer.get("writeErrors", [])
        if problems or "writeConcernError" in answer:
            unsure = answer.get("writeConcernError")
            raise BulkWriteError(
                {
                    "writeErrors": problems,
                    "writeConcernErrors": [unsure] if unsure else [],
                }
            )
        return int(answer["nModified"])

    def delete_all(self, collection: Collection[Raw], query: Raw) -> None:
        """Delete documents in parts, each with a deadline of its own.

        A commit of others waits for the part that is being deleted, so parts are small.
        """
        size = min(self.at_once, _DELETE_AT_ONCE)
        while True:
            with self.call():
                found = collection.find(query, {"_id": True}).limit(size)
                ids = [raw["_id"] for raw in found]
                collection.delete_many({"_id": {"$in": ids}})
            if len(ids) < size:
                return
            time.sleep(_PAUSE)

    def now(self) -> int:
        """Return the server's time in milliseconds since the epoch."""
        with self.call():
            hello = self._database.command("hello", codec_options=_CODEC)
        return int(millis_of(hello["localTime"]))

    @contextlib.contextmanager
    def call(self, limit: float | None = None) -> Iterator[None]:
        """Give the block a deadline, and translate its errors."""
        if os.getpid() != self._pid:
            raise StoreError(
                f"expected the store {self.url} to be used by process {self._pid}, "
                f"which opened it, found process {os.getpid()}; open another after "
                f"a fork"
            )
        try:
            with pymongo.timeout(limit or self._deadline):
                yield
        except (PyMongoError, BSONError) as error:
            raise self.translated(error) from error
        except SHORT as error:
            check_shortage(error, self.place)
            raise

    def translated(self, error: Exception) -> StoreError:
        """Return the error of ptsflow for an error of pymongo."""
        reason = reason_of(error).removeprefix(f"{self.place}: ")
        where = f"MongoDB at {self.place}"
        meaning = meaning_of(error)
        if isinstance(error, InvalidOperation):
            return StoreError(f"the store {self.url} was closed; open it again")
        if isinstance(error, DocumentTooLarge):
            return StoreError(
                f"{where} keeps documents of up to 16 MiB, found a larger one; "
                f"store less in one container's parameters and plan"
            )
        if meaning == FULL:
            return StoreFull(f"{where} has no room left: {reason}; free some there")
        if meaning == LOGIN:
            return StoreError(
                f"{where} refused the login: {reason}; check user, password and "
                f"authSource in the URL {self.url}"
            )
        return self._other(error, meaning, where, reason)

    def _other(
        self, error: Exception, meaning: str, where: str, reason: str
    ) -> StoreError:
        if meaning == RIGHTS:
            return StoreError(
                f"{where} refused the call: {reason}; give the user the role readWrite "
                f"on the database {self.database}"
            )
        if isinstance(error, ConnectionFailure):
            return StoreUnavailable(
                f"{where} cannot be reached: {reason}; check that mongod runs there "
                f"and that the network lets it through",
                may_pass=not self._names_no_host(),
            )
        kind = self._client.topology_description.topology_type_name
        if code_of(error) == _NO_NUMBERS and kind == "Single":
            return StoreUnavailable(
                f"{where} did not finish the call: a connection to it was reset; try again",
                may_pass=True,
            )
        if meaning == TRANSIENT:
            return StoreUnavailable(
                f"{where} did not finish the call: {reason}; try again",
                may_pass=True,
            )
        return StoreError(
            f"{where} refused the call: {reason} (code {code_of(error)}); check its log"
        )

    def _names_no_host(self) -> bool:
        """Return whether none of the hosts has an address."""
        servers = self._client.topology_description.server_descriptions().values()
        return all(UNKNOWN_HOST.search(str(server.error)) for server in servers)

    def _check_server(self, limit: float) -> None:
        with self.call(limit):
            hello = self._client.admin.command("hello")
        if hello["maxWireVersion"] < _OLDEST_WIRE_VERSION:
            raise StoreError(
                f"expected MongoDB 4.4 or newer at {self.place}, found an older one; "
                f"upgrade it"
            )
        if not hello["isWritablePrimary"]:
            raise StoreUnavailable(
                f"expected a primary at {self.place}, found a member of a replica set "
                f"that takes no writes; name the primary, or the set with replicaSet=",
                may_pass=True,
            )


def _begun(reader: ThreadPoolExecutor, act: Callable[[], Any]) -> Callable[[], Any]:
    """Have a thread begin to act; return what waits for its answer."""
    try:
        return reader.submit(act).result
    except RuntimeError:  # The system grants no thread.
        return act
