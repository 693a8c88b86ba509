"""The round trips notice when two neighbouring columns are swapped.

Each test makes a mutant of a store: what one of its functions writes, or what it reads,
has two neighbours the wrong way round. The store in memory keeps the records themselves,
so that it has no columns.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from itertools import pairwise
from pathlib import Path
from typing import Any
from uuid import uuid4
from zlib import crc32

import pytest
from msgspec import Struct
from msgspec.msgpack import encode
from pymongo.database import Database

from ptsflow.core.insight import Outlook
from ptsflow.core.model import (
    PAYLOADS,
    Attempt,
    ContainerRecord,
    LogChunk,
    TaskRecord,
)
from ptsflow.stores import open_store
from ptsflow.stores.base import Store
from ptsflow.stores.sqlite import logs as sqlite_logs
from ptsflow.stores.sqlite import outlooks as sqlite_outlooks
from ptsflow.stores.sqlite import rows, statements
from ptsflow.stores.sqlite import runs as sqlite_runs
from tests.stores import round_trips
from tests.stores.making import Ticker
from tests.stores.round_trips import Trip
from tests.support.databases import Raw, new_database_url, raw_database

Any_ = Callable[..., Any]


class Mutant(Struct, frozen=True):
    """A function of a store, and how its input or its output is changed."""

    owner: Any
    function: str
    #: Makes the mutant of the function.
    change: Callable[[Any_], Any_]
    trip: Trip
    name: str

    def survives(self, store: Store) -> bool:
        """Return whether the trip succeeds although the function is mutated."""
        with pytest.MonkeyPatch.context() as patched:
            original = getattr(self.owner, self.function)
            patched.setattr(self.owner, self.function, self.change(original))
            return succeeds(self.trip, store)


def succeeds(trip: Trip, store: Store) -> bool:
    try:
        trip(store, uuid4().hex)
    except Exception:  # noqa: BLE001 - a mutant may fail in whatever way.
        return False
    return True


def ids(mutants: list[Mutant]) -> list[Any]:
    return [pytest.param(each, id=each.name) for each in mutants]


# -- SQLite ----------------------------------------------------------------------------


def _swapped(row: tuple[Any, ...], place: int) -> tuple[Any, ...]:
    cells = list(row)
    cells[place], cells[place + 1] = cells[place + 1], cells[place]
    return tuple(cells)


def _writes(place: int) -> Callable[[Any_], Any_]:
    """Swap columns of what is written, under a check value that is right."""

    def change(function: Any_) -> Any_:
        def mutant(*args: Any) -> Any:
            row = _swapped(function(*args)[:-1], place)
            return (*row, crc32(encode(row)))

        return mutant

    return change


def _gives(place: int) -> Callable[[Any_], Any_]:
    """Swap columns of a row without a check value."""
    return lambda function: lambda *args: _swapped(function(*args), place)


def _reads(place: int) -> Callable[[Any_], Any_]:
    """Swap columns of what was read, after its check value was compared."""
    return lambda function: lambda row, *args: function(_swapped(row, place), *args)


def _puts(place: int) -> Callable[[Any_], Any_]:
    """Put one payload in the place of its neighbour."""
    places = {place: place + 1, place + 1: place}

    def change(function: Any_) -> Any_:
        def mutant(*args: Any) -> Any:
            found = function(*args).items()
            return {places.get(field, field): text for field, text in found}

        return mutant

    return change


_TASKS = [*enumerate(pairwise(statements.TASK[:-1]))]
_CONTAINERS = [*enumerate(pairwise(ContainerRecord.__struct_fields__))]
_KEPT = len(_CONTAINERS) + 1
_CHUNKS = [*enumerate(pairwise(("container", "task", "attempt", "number", "lines")))]

SQLITE = (
    [
        Mutant(owner, function, change(place), trip, f"{what} {a} {b}")
        for owner, function, change, pairs, trip, what in (
            *(
                (rows, "task_row", _writes, _TASKS, trip, f"{trip.__name__}: write")
                for trip in (round_trips.inserted_tasks, round_trips.changed_tasks)
            ),
            (rows, "task_of", _reads, _TASKS, round_trips.inserted_tasks, "read"),
            *(
                (rows, function, change, _CONTAINERS, round_trips.containers, what)
                for function, change, what in (
                    ("container_row", _writes, "write"),
                    ("container_of", _reads, "read"),
                )
            ),
            *(
                (sqlite_logs, function, change, _CHUNKS, round_trips.log_lines, what)
                for function, change, what in (
                    ("_chunk_row", _gives, "write lines"),
                    ("_chunk", _reads, "read lines"),
                )
            ),
            *(
                (owner, function, change, [*enumerate(pairwise(PAYLOADS))], trip, what)
                for trip in (round_trips.inserted_tasks, round_trips.changed_tasks)
                for owner, function, change, what in (
                    (rows, "changed_payloads", _puts, f"{trip.__name__}: write"),
                    (rows, "payloads_of", _gives, f"{trip.__name__}: read"),
                )
            ),
        )
        for place, (a, b) in pairs
    ]
    + [
        Mutant(
            rows,
            "attempt_row",
            _writes(place),
            round_trips.attempts,
            f"write attempt {names}",
        )
        for place, names in enumerate(("task number", "number entry"))
    ]
    + [
        Mutant(
            rows,
            function,
            change(_KEPT),
            round_trips.inserted_tasks,
            f"{function} next_position task_count",
        )
        for function, change in (("container_row", _writes), ("kept_of", _reads))
    ]
    + [
        Mutant(
            sqlite_runs,
            "run_row",
            _writes(place),
            round_trips.runs,
            f"write run {a} {b}",
        )
        for place, (a, b) in enumerate(pairwise(sqlite_runs.COLUMNS[:-1]))
    ]
    + [
        Mutant(
            sqlite_outlooks,
            "outlook_row",
            _writes(place),
            round_trips.outlooks,
            f"write outlook {names}",
        )
        for place, names in enumerate(("container fence", "fence entry"))
    ]
    + [
        Mutant(
            rows,
            "progressed",
            _gives(0),
            round_trips.progress,
            "write percentage_complete status_text",
        ),
    ]
)


@pytest.fixture
def sqlite_store(tmp_path: Path) -> Iterator[Store]:
    url = f"sqlite:///{tmp_path}/pts.db"
    with closing(open_store(url, clock=Ticker())) as store:
        yield store


@pytest.mark.parametrize("mutant", ids(SQLITE))
def test_swapped_columns_are_noticed_in_sqlite(
    sqlite_store: Store, mutant: Mutant
) -> None:
    assert succeeds(mutant.trip, sqlite_store)
    assert not mutant.survives(sqlite_store)


# -- MongoDB ---------------------------------------------------------------------------


def _exchange(raw: Raw, first: str, second: str) -> Raw:
    """Return a document with what two fields have exchanged, if it has any of them."""
    names = {first: second, second: first}
    return {names.get(name, name): value for name, value in raw.items()}


def _stores_fields(first: str, second: str) -> Callable[[Any_], Any_]:
    return lambda function: lambda *args: _exchange(function(*args), first, second)


def _loads_fields(first: str, second: str) -> Callable[[Any_], Any_]:
    return lambda function: lambda raw: function(_exchange(raw, first, second))


def _loads_ledger(first: str, second: str) -> Callable[[Any_], Any_]:
    def change(function: Any_) -> Any_:
        def mutant(raw: Raw) -> Any:
            entries = [_exchange(each, first, second) for each in raw["ledger"]]
            return function(raw | {"ledger": entries})

        return mutant

    return change


_SAVED = [
    *("workflow", "params", "plan", "status", "finish_reason", "target"),
    *("started_at", "ended_at"),
]

MONGO = [
    (f"ptsflow.stores.mongo.{module}", function, change, fields, trip)
    for module, function, change, fields, trip in (
        (
            "requests",
            "new_task",
            _stores_fields,
            ("container", *TaskRecord.__struct_fields__, "open", "held"),
            round_trips.inserted_tasks,
        ),
        (
            "requests",
            "changed_fields",
            _stores_fields,
            (*TaskRecord.__struct_fields__, "open"),
            round_trips.changed_tasks,
        ),
        (
            "tasks",
            "task_record",
            _loads_fields,
            TaskRecord.__struct_fields__,
            round_trips.inserted_tasks,
        ),
        (
            "containers",
            "saved_fields",
            _stores_fields,
            _SAVED,
            round_trips.containers,
        ),
        (
            "containers",
            "container_record",
            _loads_fields,
            ("_id", *ContainerRecord.__struct_fields__[1:]),
            round_trips.containers,
        ),
        (
            "requests",
            "ledger_entry",
            _stores_fields,
            Attempt.__struct_fields__,
            round_trips.attempts,
        ),
        (
            "tasks",
            "ledger_entries",
            _loads_ledger,
            Attempt.__struct_fields__,
            round_trips.attempts,
        ),
        (
            "containers",
            "outlook_fields",
            _stores_fields,
            (*Outlook.__struct_fields__, "fence"),
            round_trips.outlooks,
        ),
        (
            "runs",
            "run_document",
            _stores_fields,
            (
                *("_id", "name", "workflow", "began_at", "status"),
                *("told_at", "ordinal", "entry"),
            ),
            round_trips.runs,
        ),
        (
            "logs",
            "new_lines",
            _stores_fields,
            ("container", *LogChunk.__struct_fields__, "mark"),
            round_trips.log_lines,
        ),
        (
            "logs",
            "log_chunk",
            _loads_fields,
            LogChunk.__struct_fields__,
            round_trips.log_lines,
        ),
    )
]


@pytest.fixture(scope="module")
def database(mongod_url: str) -> Iterator[Database[Raw]]:
    with raw_database(new_database_url(mongod_url)) as database:
        yield database


@pytest.fixture
def mongo_store(mongod_url: str, database: Database[Raw]) -> Iterator[Store]:
    address, _, options = mongod_url.partition("?")
    url = f"{address.rstrip('/')}/{database.name}?{options}"
    with closing(open_store(url, clock=Ticker())) as store:
        yield store
    # What a mutant wrote must not trouble the next one.
    for name in database.list_collection_names():
        if name != "ptsflow_meta":
            database[name].delete_many({})


@pytest.mark.mongod
@pytest.mark.parametrize(
    ("module", "function", "change", "trip", "pair"),
    [
        pytest.param(module, function, change, trip, pair, id=f"{function} {pair}")
        for module, function, change, fields, trip in MONGO
        for pair in pairwise(fields)
    ],
)
def test_swapped_fields_are_noticed_in_mongodb(
    mongo_store: Store,
    module: str,
    function: str,
    change: Callable[[str, str], Callable[[Any_], Any_]],
    trip: Trip,
    pair: tuple[str, str],
) -> None:
    owner = pytest.importorskip(module)
    mutant = Mutant(owner, function, change(*pair), trip, f"{function} {pair}")

    assert succeeds(trip, mongo_store)
    assert not mutant.survives(mongo_store)
