"""A flipped bit in a SQLite file is told, or changes nothing of what is read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path
from random import Random

import pytest

import ptsflow
from ptsflow.errors import StoreError
from ptsflow.stores.sqlite.store import SqliteStore
from tests.crash import flips


class Flips:
    """A store, and what became of it with one bit flipped."""

    def __init__(self, folder: Path) -> None:
        self.content = flips.make(folder / "made.db")
        self.path = folder / "flipped" / "pts.db"
        self.path.parent.mkdir()
        with closing(SqliteStore(f"sqlite:///{folder}/made.db")) as store:
            self.names = {
                each.uid: [task.name for task in store.tasks(each.uid)][:6]
                for each in store.containers()
            }
        self.expected = flips.read(folder / "made.db", self.names)
        self.seen: Counter[str] = Counter()

    def sample(self, count: int) -> list[int]:
        return Random(5).sample(range(len(self.content) * 8), count)  # noqa: S311 - no secret.

    def restore(self, bit: int) -> None:
        for left in self.path.parent.glob("pts.db-*"):
            left.unlink()
        self.path.write_bytes(flips.flipped(self.content, bit))

    def read(self, bits: Iterable[int]) -> None:
        for bit in bits:
            self.restore(bit)
            found = flips.read(self.path, self.names)
            assert flips.changed(found, self.expected) == [], bit
            is_told = any(isinstance(each, flips.Told) for each in found.values())
            self.seen["told" if is_told else "unchanged"] += 1

    def run(self, bits: Iterable[int]) -> None:
        for bit in bits:
            self.restore(bit)
            flips.BEGAN.clear()
            try:
                report = ptsflow.run(flips.Flipped(), f"sqlite:///{self.path}")
            except StoreError:
                self.seen["told"] += 1
                assert flips.BEGAN in ([], ["join"]), bit
            else:
                self.seen["done"] += 1
                assert report.result("join") == flips.EXPECTED, bit
                assert flips.BEGAN == ["join"], bit


@pytest.fixture
def store(tmp_path: Path) -> Flips:
    return Flips(tmp_path)


def test_a_flipped_bit_is_told_or_what_is_read_is_unchanged(store: Flips) -> None:
    store.read(store.sample(60))

    assert store.seen.keys() == {"told", "unchanged"}


def test_no_flipped_bit_has_a_recorded_step_run_again(store: Flips) -> None:
    store.run(store.sample(25))

    assert store.seen.keys() == {"told", "done"}


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_every_eleventh_flipped_bit_is_told_or_changes_nothing(store: Flips) -> None:
    bits = range(0, len(store.content) * 8, 11)
    store.read(bits)
    print(len(bits), dict(store.seen))  # noqa: T201 - the figures of the soak.


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_no_thirtieth_flipped_bit_has_a_recorded_step_run_again(store: Flips) -> None:
    bits = range(0, len(store.content) * 8, 31)
    store.run(bits)
    print(len(bits), dict(store.seen))  # noqa: T201 - the figures of the soak.
