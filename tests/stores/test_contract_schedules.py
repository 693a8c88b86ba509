"""The schedules of workflows, as every store keeps them."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import apsw
import pytest
from msgspec.structs import replace

from ptsflow.errors import StoreDamaged
from ptsflow.stores import open_store
from ptsflow.stores.base import Store
from tests.stores.making import schedule


def test_there_are_none_at_first(store: Store) -> None:
    assert store.schedules() == []


def test_schedules_are_listed_by_the_names_of_their_workflows(store: Store) -> None:
    for name in ("Feed", "Zoo", "Ape"):
        assert store.swap_schedule(None, schedule(name))

    assert [each.workflow for each in store.schedules()] == ["Ape", "Feed", "Zoo"]


def test_a_schedule_is_swapped_by_who_saw_it_last(store: Store) -> None:
    first, second, third = (schedule(since=number) for number in (1, 2, 3))
    assert store.swap_schedule(None, first)

    assert not store.swap_schedule(None, second)
    assert not store.swap_schedule(third, second)
    assert store.schedules() == [first]
    assert store.swap_schedule(first, second)
    assert not store.swap_schedule(first, third)
    assert store.schedules() == [second]


def test_what_is_kept_already_may_be_kept_again(store: Store) -> None:
    first, second = schedule(since=1), schedule(since=2)
    assert store.swap_schedule(None, first)
    assert store.swap_schedule(None, first)
    assert store.swap_schedule(first, second)
    assert store.swap_schedule(first, second)

    assert store.schedules() == [second]


def test_of_many_at_once_one_swaps(store: Store) -> None:
    first = schedule(since=0)
    assert store.swap_schedule(None, first)

    def swap(number: int) -> bool:
        with closing(store.sibling()) as own:
            return own.swap_schedule(first, replace(first, since=number))

    with ThreadPoolExecutor(8) as pool:
        won = list(pool.map(swap, range(1, 9)))

    assert won.count(True) == 1
    assert store.schedules() == [replace(first, since=won.index(True) + 1)]


@pytest.mark.parametrize(
    "damage",
    [
        "workflow = 'Other'",
        "entry = replace(entry, '5 *', '6 *')",
        "entry = CAST(x'ff' AS TEXT)",
        "checksum = 1",
    ],
)
def test_a_damaged_row_is_told_when_it_is_read(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "pts.db"
    with closing(open_store(f"sqlite:///{path}")) as store:
        store.swap_schedule(None, schedule())
        with closing(apsw.Connection(str(path))) as raw:
            raw.execute(f"UPDATE schedules SET {damage}")  # noqa: S608 - see above

        with pytest.raises(StoreDamaged, match="the schedule of workflow"):
            store.schedules()
