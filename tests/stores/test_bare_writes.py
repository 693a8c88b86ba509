"""What the benchmarks write by a driver alone is what the stores write."""

from __future__ import annotations

from pathlib import Path

import pytest

from ptsflow.core.model import Status
from ptsflow.stores import open_store
from tests.bench.bare import BareMongo, BareSqlite


def test_a_chain_that_apsw_alone_writes_is_sound_and_done(tmp_path: Path) -> None:
    took = BareSqlite(tmp_path).measure(5)

    (path,) = tmp_path.glob("*.db")
    store = open_store(f"sqlite:///{path}")
    (container,) = store.containers()
    tasks = store.tasks(container.uid)
    store.close()
    assert took > 0
    # The last one is started, and not ended.
    assert [task.status for task in tasks] == [Status.DONE] * 4 + [Status.RUNNING]


@pytest.mark.mongod
def test_a_chain_that_pymongo_alone_writes_swaps_each_task(mongod_url: str) -> None:
    bare = BareMongo(mongod_url)
    took = bare.measure(5)
    bare.close()

    assert took > 0
