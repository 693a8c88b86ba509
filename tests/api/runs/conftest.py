"""Runs are tried on SQLite, and the main cases on MongoDB as well."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterator

import pytest

from ptsflow.stores import open_store
from tests.api.runs.flows import Counting


@pytest.fixture
def kind(request: pytest.FixtureRequest) -> str:
    """Name SQLite, unless the test says otherwise."""
    return str(getattr(request, "param", "sqlite"))


@pytest.fixture
def ran() -> list[str]:
    """Hold the names of the bodies that ran since it was last cleared."""
    return []


@pytest.fixture
def counting(url: str) -> Iterator[Counting]:
    with contextlib.closing(open_store(url)) as store:
        yield Counting(store, Counter())
