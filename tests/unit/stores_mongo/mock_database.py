"""A database of mongomock, as far as the store in MongoDB needs one."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from typing import Any, cast

import bson
import mongomock
import pytest
from mongomock import filtering
from pymongo import IndexModel
from pymongo.collection import Collection

from ptsflow.stores.mongo.connection import _CODEC, Connection
from ptsflow.stores.mongo.documents import Raw
from ptsflow.stores.mongo.urls import DEADLINE

#: The place of a timestamp among the types of BSON, which mongomock does not know.
_TIMESTAMP = 47


def compare_timestamps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have mongomock compare and sort timestamps."""
    known: Callable[[object], int] = filtering._get_compare_type

    def place(value: object) -> int:
        if isinstance(value, bson.Timestamp):
            return _TIMESTAMP
        return known(value)

    monkeypatch.setattr(filtering, "_get_compare_type", place)


class MockConnection(Connection):
    """A `Connection` without a server."""

    def __init__(self) -> None:  # without the base's: it would look for a server
        self.url = self.place = "mongodb://mock/mocked"
        self.database = "mocked"
        self._pid = os.getpid()
        self._deadline = DEADLINE
        self._mocked: Any = mongomock.MongoClient()[self.database]

    def collection(self, name: str, *, durable: bool = True) -> Collection[Raw]:
        """Return a collection; mongomock would take any write concern."""
        del durable
        return cast("Collection[Raw]", MockCollection(self._mocked[name]))

    def collections(self, names: Iterable[str]) -> dict[str, object]:
        """Return which collections exist; mongomock gives them no unique ids."""
        there = self._mocked.list_collection_names()
        return {name: name for name in names if name in there}

    def close(self) -> None:
        """Keep the database, for another store to open it."""


class MockCollection:
    """A collection whose documents are handed out as BSON brings them back."""

    codec_options = _CODEC

    def __init__(self, mocked: Any) -> None:
        self._mocked = mocked

    def __getattr__(self, name: str) -> Any:
        return getattr(self._mocked, name)

    def create_indexes(self, made: Iterable[IndexModel]) -> None:
        """Make indexes one by one: mongomock forgets what more of them it is given."""
        for index in made:
            options = dict(index.document)
            self._mocked.create_index(list(options.pop("key").items()), **options)

    def find(self, *query: Any, **options: Any) -> Found:
        return Found(self._mocked.find(*query, **options))

    def find_one(self, *query: Any) -> Any:
        return next(self.find(*query), None)

    def find_one_and_update(self, *query: Any, **options: Any) -> Any:
        raw = self._mocked.find_one_and_update(*query, **options)
        return None if raw is None else _sent(raw)

    def find_raw_batches(
        self, query: Raw, projection: Raw | None, *, batch_size: int
    ) -> RawBatches:
        del batch_size
        return RawBatches(self._mocked.find(_asked(query), projection))


class Found:
    """Documents that were found, one after the other."""

    def __init__(self, cursor: Any) -> None:
        self._cursor = cursor

    def __iter__(self) -> Found:
        return self

    def __next__(self) -> Any:
        return _sent(next(self._cursor))

    def __getitem__(self, index: int) -> Any:
        return _sent(self._cursor[index])

    def sort(self, *order: Any) -> Found:
        self._cursor.sort(*order)
        return self

    def skip(self, count: int) -> Found:
        self._cursor.skip(count)
        return self

    def limit(self, count: int) -> Found:
        self._cursor.limit(count)
        return self

    def close(self) -> None:
        self._cursor.close()


class RawBatches(Found):
    """The answers of a server, each with one document."""

    alive = True

    def __next__(self) -> bytes:
        return bson.encode(next(self._cursor))

    def allow_disk_use(self, *, allow_disk_use: bool) -> RawBatches:
        self._cursor.allow_disk_use(allow_disk_use)
        return self


def _asked(query: Any) -> Any:
    """Return a query in which mongomock takes no timestamp for one that is to be given.

    What is empty it fills with the time, as a server does of documents alone.
    """
    if isinstance(query, dict):
        return {name: _asked(value) for name, value in query.items()}
    return bson.Timestamp(0, 1) if query == bson.Timestamp(0, 0) else query


def _sent(raw: Raw) -> Raw:
    return bson.decode(bson.encode(raw), codec_options=_CODEC)
