"""What the store in MongoDB costs."""

from __future__ import annotations

import statistics

import ptsflow
from tests.bench.run import CHAIN, MongoFloor, chain_of
from tests.bench.scale_cases import Case, Place, elapsed


def _list_from_cold(place: Place) -> float:
    store = place.mongodb()
    place.ptsflow("list", "--store", store)
    return 1000 * place.ptsflow("list", "--store", store).seconds


def _chain_against_commits(place: Place) -> float:
    workflow = chain_of(CHAIN)()
    server = place.mongodb()
    floor = MongoFloor(server)
    ratios = []
    for _ in range(3):
        floors = [floor.measure(500)]
        took = elapsed(lambda: ptsflow.run(workflow, store=place.mongodb())) / CHAIN
        floors.append(floor.measure(500))
        ratios.append(took / statistics.mean(floors))
    floor.close()
    return statistics.median(ratios)


CASES = [
    Case(
        "chain-mongodb",
        "a step of a chain of 1,000 on MongoDB, against one durable commit",
        *("x", 1.45),
        _chain_against_commits,
    ),
    Case(
        *("list-mongodb", "ptsflow list on MongoDB, from cold", "ms", 250),
        _list_from_cold,
        rounds=7,
    ),
]
