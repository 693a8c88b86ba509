"""What the tests of the command line share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.calling import Place
from tests.cli.pasted import type_all
from tests.support.databases import new_database_url, raw_database


@pytest.fixture(scope="session")
def elsewhere(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder in which printed commands are typed."""
    return tmp_path_factory.mktemp("else where")


@pytest.fixture(params=["sqlite", pytest.param("mongod", marks=pytest.mark.mongod)])
def stored(
    request: pytest.FixtureRequest, tmp_path: Path, elsewhere: Path
) -> Iterator[Place]:
    """Return an empty folder with a store of its own, of each kind."""
    place = Place(tmp_path)
    if request.param == "mongod":
        url = new_database_url(request.getfixturevalue("mongod_url"))
        place.env["PTSFLOW_STORE"] = place.store = url
        with raw_database(url):
            yield place
            type_all(place.printed, elsewhere)
    else:
        yield place
        type_all(place.printed, elsewhere)


@pytest.fixture
def place(tmp_path: Path, elsewhere: Path) -> Iterator[Place]:
    """Return an empty folder with a store of its own."""
    place = Place(tmp_path)
    yield place
    type_all(place.printed, elsewhere)
