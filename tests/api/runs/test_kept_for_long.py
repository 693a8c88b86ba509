"""With `keep`, a store that is used every hour for months stays as large as a week.

The history stays: up to 2,000 runs of a workflow, some hundred bytes each.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.databases import new_database_url, raw_database
from tests.support.kept import WEEK, sizes_as_hours_pass


@pytest.mark.soak
@pytest.mark.timeout(1_800)
@pytest.mark.parametrize(
    "kind", ["sqlite", pytest.param("mongod", marks=pytest.mark.mongod)]
)
def test_months_of_hours_take_as_much_room_as_a_week(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    url = f"sqlite:///{tmp_path}/pts.db"
    if kind == "mongod":
        url = new_database_url(request.getfixturevalue("mongod_url"))
    week, months, count = sizes_as_hours_pass(url)
    if kind == "mongod":
        with raw_database(url):
            pass

    assert count <= WEEK + 1
    # MongoDB packs a container of 20 KB into 6 KB, so the same history weighs more.
    assert months <= (1.3 if kind == "sqlite" else 1.5) * week
