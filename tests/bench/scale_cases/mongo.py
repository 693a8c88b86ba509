"""What the store in MongoDB costs."""

from __future__ import annotations

import contextlib
import statistics
import time
import tracemalloc
from collections.abc import Callable

import ptsflow
from ptsflow import Workflow, step
from ptsflow.core.model import Change, TaskRecord
from ptsflow.stores import open_store
from tests.bench.bare import BareMongo
from tests.bench.run import CHAIN, MongoFloor, chain_of
from tests.bench.scale_cases import Case, Place, elapsed


def _list_from_cold(place: Place) -> float:
    store = place.mongodb()
    place.ptsflow("list", "--store", store)
    return 1000 * place.ptsflow("list", "--store", store).seconds


def _against_commits(place: Place, measure: Callable[[], float]) -> float:
    """Return the seconds that `measure` returns, in durable commits."""
    floor = MongoFloor(place.mongodb())
    ratios = []
    for _ in range(3):
        floors = [floor.measure(500)]
        took = measure()
        floors.append(floor.measure(500))
        ratios.append(took / statistics.mean(floors))
    floor.close()
    return statistics.median(ratios)


def _chain_against_commits(place: Place) -> float:
    workflow = chain_of(CHAIN)()

    def step() -> float:
        return elapsed(lambda: ptsflow.run(workflow, store=place.mongodb())) / CHAIN

    return _against_commits(place, step)


def _bare_against_commits(place: Place) -> float:
    with contextlib.closing(BareMongo(place.mongodb())) as bare:
        return _against_commits(place, lambda: bare.measure(CHAIN))


class AlmostDone(Workflow):
    """100,000 items and one step after them, which fails."""

    @step
    def numbers(self) -> list[int]:
        """List the items."""
        return list(range(_MANY))

    @step(each=numbers)
    def item(self, number: int) -> None:
        """Do nothing."""

    @step(after=item)
    def last(self) -> None:
        """Note when the body began."""
        _began.append(time.perf_counter())
        raise ptsflow.Fail("so that it can be run again")


_MANY = 100_000
_began: list[float] = []


def _resume(place: Place) -> float:
    store = place.mongodb()
    ptsflow.run(AlmostDone(), store=store, jobs=16)
    started = time.perf_counter()
    ptsflow.run(AlmostDone(), store=store)
    return _began[-1] - started


def _memory_of_a_read(place: Place) -> float:
    store = open_store(place.mongodb())
    uid = store.create("wide")[0].uid
    tasks = (
        TaskRecord(name=f"item[{number}]", step="item", key=f"{number}", version=1)
        for number in range(_MANY)
    )
    store.commit(uid, [Change(None, task) for task in tasks], fence=None)
    tracemalloc.start()
    kept = store.tasks(uid)
    _, peak = tracemalloc.get_traced_memory()
    store.close()
    return peak / len(kept) / 1000


CASES = [
    Case(
        "chain-mongodb",
        "a step of a chain of 1,000 on MongoDB, against one durable commit",
        *("x", 1.45),
        _chain_against_commits,
    ),
    Case(
        "chain-mongodb-bare",
        "the writes of that chain by pymongo alone, against one commit",
        *("x", None),
        _bare_against_commits,
    ),
    Case(
        *("list-mongodb", "ptsflow list on MongoDB, from cold", "ms", 250),
        _list_from_cold,
        rounds=7,
    ),
    Case(
        *("resume-mongodb", "resume of 100,000 on MongoDB, to the first body", "s"),
        *(1.5, _resume),
        timeout=600,
    ),
    Case(
        "read-mongodb",
        "memory to read 100,000 tasks of MongoDB, a task",
        *("kB", 1.2, _memory_of_a_read),
        rounds=1,
    ),
]
