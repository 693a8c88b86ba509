"""The database of a run is dropped under it."""

from __future__ import annotations

from pathlib import Path

import pytest
from pymongo.database import Database

from ptsflow.errors import StoreDamaged
from ptsflow.host.clock import since_boot
from tests.crash import journal as journals
from tests.crash.checks import errors
from tests.crash.nest import Nest, Spec
from tests.crash.waiting import until_it_runs
from tests.support.databases import Raw, new_database_url, raw_database

pytestmark = pytest.mark.mongod

_ALL = ["the database", "ptsflow_containers", "ptsflow_tasks", "ptsflow_payloads"]


def _drop(database: Database[Raw], what: str) -> None:
    if what == "the database":
        database.client.drop_database(database)
    else:
        database.drop_collection(what)


@pytest.mark.parametrize("what", _ALL)
@pytest.mark.parametrize("workflow", ["Chain", "Gated"])
def test_a_run_ends_with_one_line_when_its_database_is_dropped(
    mongod_url: str, nest: Nest, journal: Path, what: str, workflow: str
) -> None:
    url = new_database_url(mongod_url)
    spec = Spec(workflow=workflow, url=url, journal=str(journal), lease=2.0)
    with raw_database(url) as database:
        database.list_collection_names()  # Connected, so that dropping takes no time.
        pid = nest.start(spec)
        until_it_runs(journal, 3)
        _drop(database, what)
        dropped_at = since_boot()
        code = nest.wait(pid)
        took = since_boot() - dropped_at

    assert code == StoreDamaged.exit_code
    assert errors(spec).startswith("StoreDamaged: store 'mongodb://")
    assert errors(spec).count("\n") == 1
    assert took < 30
    # Chain has 82 bodies.
    assert len(journals.starts(journals.read(journal))) < 60
