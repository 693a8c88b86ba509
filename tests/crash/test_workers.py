"""Workers and their runners, killed at random: all that was submitted is done, once."""

# ruff: noqa: S311 - nothing here is secret.

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import pytest

from ptsflow import Workflow, step
from ptsflow.core.insight import RunStatus
from ptsflow.core.model import Status
from ptsflow.runner.options import RunOptions
from ptsflow.runner.planned_run import plan_run
from ptsflow.service.submission import submit
from ptsflow.stores import open_store
from ptsflow.stores.base import Store
from tests.support import journals
from tests.support.processes import PTSFLOW, descendants_of, environment

TARGET = f"{__file__}:Submitted"
JOURNAL = "PTSFLOW_TEST_JOURNAL"


class Submitted(Workflow):
    """Three steps in sequence, each of which notes that it begins."""

    container = "submitted:{number}"
    number: int

    def _note(self, place: int) -> None:
        journals.append(os.environ[JOURNAL], self.number, place)
        time.sleep(0.03)

    @step
    def first(self) -> None:
        self._note(1)

    @step
    def second(self) -> None:
        self._note(2)

    @step
    def third(self) -> None:
        self._note(3)


def test_three_workers_that_are_killed_do_all_that_was_submitted(
    tmp_path: Path,
) -> None:
    url = f"sqlite:///{tmp_path}/pts.db"
    _kill_at_random(url, tmp_path, count=4, most_kills=2, seed=3)


@pytest.mark.soak
@pytest.mark.timeout(3000)
def test_three_workers_that_are_killed_do_two_hundred_containers(
    url: str, tmp_path: Path
) -> None:
    figures = _kill_at_random(url, tmp_path, count=200, most_kills=10_000, seed=5)
    sys.stderr.write(f"{figures}\n")


def _kill_at_random(
    url: str, folder: Path, *, count: int, most_kills: int, seed: int
) -> str:
    """Let three workers do what is submitted while they are killed; return figures."""
    began_at = time.monotonic()
    chance = random.Random(seed)
    journal = folder / "journal"
    env = environment(PTSFLOW_STORE=url, **{JOURNAL: journal})
    with closing(open_store(url)) as store:
        for number in range(count):
            planned = plan_run(Submitted(number=number), RunOptions())
            assert submit(planned, store, notice=print)[1]
        kills = 0
        with _workers(env, folder) as workers:
            while done_of(store) < count:
                time.sleep(chance.uniform(0.1, 2.0))
                for place, worker in enumerate(workers):
                    if worker.poll() is not None:
                        workers[place] = _start(env, folder)
                if kills < most_kills:
                    worker = chance.choice(workers)
                    family = [worker.pid, *descendants_of(worker.pid)]
                    with suppress(ProcessLookupError):
                        os.kill(chance.choice(family), signal.SIGKILL)
                        kills += 1
        idle = [*PTSFLOW, "worker", TARGET, "--until-idle"]
        assert subprocess.run(idle, env=env, cwd=folder, check=False).returncode == 0
        assert store.queue.due(["Submitted"], 1 << 50) == []
        tasks = [
            task for record in store.containers() for task in store.tasks(record.uid)
        ]
        assert [task.status for task in tasks] == [Status.DONE] * (3 * count)
        runs = store.runs(limit=10 * count)
    assert kills >= 2
    bodies = _bodies_in_order(journal, count)
    lost = sum(run.status is RunStatus.LOST for run in runs)
    took = time.monotonic() - began_at
    return (
        f"{count} containers in {took:.0f}s: {kills} kills, {len(runs)} runs, of which "
        f"{lost} died, {bodies} bodies"
    )


def _bodies_in_order(journal: Path, count: int) -> int:
    """Check that no recorded step was begun again; return how many bodies there were."""
    begun: dict[str, list[str]] = defaultdict(list)
    for container, step_number in journals.read(journal):
        begun[container].append(step_number)
    assert len(begun) == count
    # A step begins when the step before it is recorded as done.
    assert {c: p for c, p in begun.items() if p != sorted(p)} == {}
    return sum(map(len, begun.values()))


def done_of(store: Store) -> int:
    return sum(record.status is Status.DONE for record in store.containers())


@contextmanager
def _workers(
    env: dict[str, str], folder: Path
) -> Iterator[list[subprocess.Popen[bytes]]]:
    """Start three workers; at the end all end that still work."""
    workers = [_start(env, folder) for _ in range(3)]
    try:
        yield workers
    finally:
        for worker in workers:
            worker.terminate()
        for worker in workers:
            # One that has only just begun ends by the signal, or while it loads with 143.
            assert worker.wait(60) in (0, 143, -signal.SIGKILL, -signal.SIGTERM)


def _start(env: dict[str, str], folder: Path) -> subprocess.Popen[bytes]:
    with (folder / "said").open("ab") as said:
        return subprocess.Popen(
            [*PTSFLOW, "worker", TARGET],
            env=env,
            cwd=folder,
            stdout=said,
            stderr=said,
        )
