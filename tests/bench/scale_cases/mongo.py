"""What the store in MongoDB costs."""

from __future__ import annotations

from tests.bench.scale_cases import Case, Place


def _list_from_cold(place: Place) -> float:
    store = place.mongodb()
    place.ptsflow("list", "--store", store)
    return 1000 * place.ptsflow("list", "--store", store).seconds


CASES = [
    Case(
        *("list-mongodb", "ptsflow list on MongoDB, from cold", "ms", 250),
        _list_from_cold,
        rounds=7,
    ),
]
