"""The collector while modules are loaded, and afterwards."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest

from ptsflow.host import garbage
from ptsflow.host.garbage import modules_stay


@pytest.fixture
def collections() -> Iterator[list[str]]:
    """Return a list that grows with each collection."""
    begun: list[str] = []

    def note(phase: str, _: object) -> None:
        begun.append(phase)

    gc.callbacks.append(note)
    yield begun
    gc.callbacks.remove(note)


def test_what_was_made_is_not_looked_through_at_once(collections: list[str]) -> None:
    with modules_stay():
        collections.clear()  # There may have been one before.
        made = [[number] for number in range(100_000)]
    made += [[] for _ in range(gc.get_threshold()[0] // 2)]

    assert collections == []
    assert gc.isenabled()


def test_what_is_garbage_goes_with_the_next_whole_collection() -> None:
    class Kept(list[object]):
        pass

    with modules_stay():
        cycle = Kept()
        cycle.append(cycle)
        del cycle
    gc.collect()

    assert not [each for each in gc.get_objects() if type(each) is Kept]


def test_what_somebody_froze_stays_frozen() -> None:
    gc.freeze()
    try:
        frozen = gc.get_freeze_count()
        with modules_stay():
            made = [gc]

        assert gc.get_freeze_count() == frozen
        assert made
    finally:
        gc.unfreeze()


def test_a_process_that_froze_what_it_loaded_does_not_count_it_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(garbage, "_is_frozen", False)
    counts: list[int] = []
    count = gc.get_freeze_count

    def counted() -> int:
        counts.append(count())
        return counts[-1]

    monkeypatch.setattr(gc, "get_freeze_count", counted)
    try:
        with modules_stay():
            pass
        assert len(counts) == 1

        garbage.freeze()
        frozen = count()
        with modules_stay():
            pass
        assert (len(counts), count()) == (1, frozen)
    finally:
        gc.unfreeze()


def test_a_collector_that_was_off_stays_off() -> None:
    gc.disable()
    try:
        with modules_stay():
            pass

        assert not gc.isenabled()
    finally:
        gc.enable()
