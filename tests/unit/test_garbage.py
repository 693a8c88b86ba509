"""The collector while modules are loaded, and afterwards."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable, Iterator
from itertools import count
from types import ModuleType

import pytest

from ptsflow import Workflow, run, step
from ptsflow.host import garbage
from ptsflow.host.garbage import modules_stay
from ptsflow.runner.loop import Loop


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Return what loads a module that was not there."""
    names = (f"loaded {number}" for number in count())

    def act() -> None:
        name = next(names)
        monkeypatch.setitem(sys.modules, name, ModuleType(name))

    return act


@pytest.fixture
def collections() -> Iterator[list[str]]:
    """Return a list that grows with each collection."""
    begun: list[str] = []

    def note(phase: str, _: object) -> None:
        begun.append(phase)

    gc.callbacks.append(note)
    yield begun
    gc.callbacks.remove(note)


def test_what_was_made_is_not_looked_through_at_once(
    collections: list[str], load: Callable[[], None]
) -> None:
    with modules_stay():
        load()
        collections.clear()  # There may have been one before.
        made = [[number] for number in range(100_000)]
    made += [[] for _ in range(gc.get_threshold()[0] // 2)]

    assert collections == []
    assert gc.isenabled()


def test_what_is_garbage_goes_with_the_next_whole_collection(
    load: Callable[[], None],
) -> None:
    class Kept(list[object]):
        pass

    with modules_stay():
        load()
        cycle = Kept()
        cycle.append(cycle)
        del cycle
    gc.collect()

    assert not [each for each in gc.get_objects() if type(each) is Kept]


def test_nothing_grows_old_where_nothing_is_loaded() -> None:
    with modules_stay():
        made = [gc]

    assert any(each is made for each in gc.get_objects(generation=0))


class Short(Workflow):
    """One step."""

    number: int

    @step
    def work(self) -> None: ...


def test_what_runs_leave_is_collected_without_a_whole_collection() -> None:
    run(Short(number=0), "memory:")  # it loads what runs need
    gc.collect()
    for number in range(100):
        run(Short(number=number), "memory:")

    assert sum(type(each) is Loop for each in gc.get_objects()) < 60


def test_what_somebody_froze_stays_frozen(load: Callable[[], None]) -> None:
    gc.freeze()
    try:
        frozen = gc.get_freeze_count()
        with modules_stay():
            load()
            made = [gc]

        assert gc.get_freeze_count() == frozen
        assert made
    finally:
        gc.unfreeze()


def test_a_process_that_froze_what_it_loaded_does_not_count_it_again(
    monkeypatch: pytest.MonkeyPatch, load: Callable[[], None]
) -> None:
    monkeypatch.setattr(garbage, "_is_frozen", False)
    counts: list[int] = []
    frozen_count = gc.get_freeze_count

    def counted() -> int:
        counts.append(frozen_count())
        return counts[-1]

    monkeypatch.setattr(gc, "get_freeze_count", counted)
    try:
        with modules_stay():
            load()
        assert len(counts) == 1

        garbage.freeze()
        frozen = frozen_count()
        with modules_stay():
            load()
        assert (len(counts), frozen_count()) == (1, frozen)
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
