"""Stories of runners in virtual time end as if nothing had happened, whatever did."""

from __future__ import annotations

import pytest

from tests.crash.simulation import main, simulate
from tests.support.processes import python


def test_whatever_strikes_runs_end_as_undisturbed_ones() -> None:
    main(0, 200)


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_whatever_strikes_ten_thousand_stories_end_as_undisturbed_ones() -> None:
    main(0, 10_000)


def test_a_seed_is_one_story() -> None:
    first, again = ([simulate(seed) for seed in range(10)] for _ in range(2))

    assert sum(world.crashes for world in first) > 0
    assert [world.fences for world in first] == [world.fences for world in again]
    assert [world.begun for world in first] == [world.begun for world in again]


MUTANTS_OF_STORIES = ["no_fence", "launch_first", "no_resume", "no_crash_count"]


@pytest.mark.parametrize("mutant", MUTANTS_OF_STORIES)
def test_a_story_ends_otherwise_without_it(mutant: str) -> None:
    words = f"from tests.crash.mutants import MUTANTS; MUTANTS[{mutant!r}]()\n"
    done = python("-c", words + "from tests.crash.simulation import main; main(0, 60)")

    assert "again: python -m tests.crash.simulation " in done.stderr
