"""Random workflows, killed at random moments, until they are through."""

# ruff: noqa: S311 - nothing here is secret.

from __future__ import annotations

import os
import random
import signal
import time
from pathlib import Path

import pytest
from msgspec.structs import replace

from tests.crash import journal as journals
from tests.crash.checks import check_fences, look, run_again
from tests.crash.nest import Nest, Spec


@pytest.mark.soak
@pytest.mark.timeout(900)
@pytest.mark.parametrize("seed", range(20))
def test_a_random_workflow_killed_at_random_ends_as_if_it_had_not(
    seed: int, url: str, nest: Nest, tmp_path: Path
) -> None:
    _kill_at_random(seed, url, nest, tmp_path, rounds=15)


@pytest.mark.parametrize("seed", [1, 2])
def test_a_random_workflow_survives_some_kills(
    seed: int, url: str, nest: Nest, tmp_path: Path
) -> None:
    _kill_at_random(seed, url, nest, tmp_path, rounds=4)


def _kill_at_random(
    seed: int, url: str, nest: Nest, tmp_path: Path, rounds: int
) -> None:
    chance = random.Random(seed)
    calm = Spec(
        workflow=f"Random{seed}",
        url=f"sqlite:///{tmp_path}/calm.db",
        journal=str(tmp_path / "calm"),
    )
    began_at = time.monotonic()
    assert nest.run(calm) == 0
    took = time.monotonic() - began_at
    expected = look(calm.url).outcome()
    for number in range(rounds):
        spec = replace(
            calm,
            url=url,
            journal=str(tmp_path / f"journal{number}"),
            container=f"crash{number}",
        )
        for _ in range(chance.randrange(1, 4)):
            pid = nest.start(spec)
            time.sleep(chance.uniform(0, took))
            os.kill(pid, signal.SIGKILL)
            assert nest.wait(pid) in (-signal.SIGKILL, 0)
        after = run_again(nest, spec)

        check_fences(journals.read(Path(spec.journal)))
        assert after.outcome() == expected
