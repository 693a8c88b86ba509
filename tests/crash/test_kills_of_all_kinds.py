"""Random workflows, of which everything is killed that can be killed, until they are through.

A runner, its whole process group, one of its processes, and the database. Bodies run in
threads and in processes. The journal is a file that no store sees.
"""

# ruff: noqa: S311 - nothing here is secret.

from __future__ import annotations

import contextlib
import os
import random
import signal
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from msgspec.structs import replace

from ptsflow.core.model import Status
from ptsflow.errors import LeaseLost, StoreUnavailable
from tests.crash import journal as journals
from tests.crash.checks import check_fences, errors, look, run_again
from tests.crash.nest import Nest, Spec
from tests.crash.server import Server
from tests.support.processes import descendants_of, left_of

#: What a round may kill; `database` only where it is one of the test's own.
VICTIMS = ("runner", "group", "process")

Record = Callable[[str, object], None]


@pytest.mark.parametrize("seed", [1, 2])
def test_what_was_recorded_never_runs_again(
    seed: int, nest: Nest, tmp_path: Path
) -> None:
    kill_at_random(seed, f"sqlite:///{tmp_path}/pts.db", nest, tmp_path, rounds=3)


@pytest.mark.mongod
def test_nor_where_the_database_is_killed(
    server: Server, nest: Nest, tmp_path: Path
) -> None:
    kill_at_random(1, server.url, nest, tmp_path, rounds=3, server=server)


@pytest.mark.soak
@pytest.mark.timeout(900)
@pytest.mark.parametrize("seed", range(100))
def test_nor_in_a_thousand_rounds(
    seed: int, nest: Nest, tmp_path: Path, record_property: Record
) -> None:
    url = f"sqlite:///{tmp_path}/pts.db"
    killed = kill_at_random(seed, url, nest, tmp_path, rounds=10)
    record_property("killed", dict(killed))


@pytest.mark.soak
@pytest.mark.mongod
@pytest.mark.timeout(900)
@pytest.mark.parametrize("seed", range(30))
def test_nor_in_three_hundred_with_the_database(
    seed: int, server: Server, nest: Nest, tmp_path: Path, record_property: Record
) -> None:
    killed = kill_at_random(seed, server.url, nest, tmp_path, 10, server)
    record_property("killed", dict(killed))


@pytest.mark.parametrize("count", [6, pytest.param(20, marks=pytest.mark.soak)])
def test_of_many_runners_the_half_that_is_left_does_what_is_left(
    count: int, url: str, nest: Nest, journal: Path
) -> None:
    chance = random.Random(count)
    spec = Spec(workflow="Chain", url=url, journal=str(journal), wait=90.0)
    pids = [nest.start(spec) for _ in range(count)]
    doomed = chance.sample(pids, count // 2)
    for pid in doomed:
        time.sleep(chance.uniform(0, 0.4))
        os.kill(pid, signal.SIGKILL)
    codes = [nest.wait(pid, 90) for pid in pids if pid not in doomed]
    for pid in doomed:
        nest.wait(pid)
    lines = journals.read(journal)
    after = look(url)

    assert codes == [0] * len(codes), errors(spec)
    assert after.tasks["end"].result == "780"
    assert after.names(Status.DONE) == set(after.tasks)
    # Four bodies at a time may have to begin anew for each runner that was killed.
    assert sum(journals.starts(lines).values()) <= 82 + 4 * len(doomed)
    assert overlaps(lines) == []
    check_fences([line for line in lines if line.what == "start"])


def kill_at_random(
    seed: int,
    url: str,
    nest: Nest,
    folder: Path,
    rounds: int,
    server: Server | None = None,
) -> Counter[str]:
    """Kill and run again, round after round; return what was killed how often."""
    chance = random.Random(seed)
    calm = Spec(
        workflow=f"Random{seed}",
        url=f"sqlite:///{folder}/calm.db",
        journal=str(folder / "calm"),
        executor=chance.choice([None, "process"]),
    )
    began_at = time.monotonic()
    assert nest.run(calm) == 0, errors(calm)
    took = time.monotonic() - began_at
    expected = look(calm.url).outcome()
    killed: Counter[str] = Counter()
    for number in range(rounds):
        spec = replace(
            calm,
            url=url,
            journal=str(folder / f"journal{number}"),
            container=f"crash{number}",
        )
        #: How often the body of each task had started when it was known to be done.
        known: dict[str, int] = {}
        for _ in range(chance.randrange(1, 4)):
            killed[kill_once(chance, spec, nest, took, server)] += 1
            recorded = look(spec.url, spec.container).names(Status.DONE)
            starts = journals.starts(journals.read(Path(spec.journal)))
            for name in recorded - known.keys():
                known[name] = starts[name]
        after = run_again(nest, spec)

        lines = journals.read(Path(spec.journal))
        starts = journals.starts(lines)
        assert {name: starts[name] for name in known} == known
        assert after.outcome() == expected
        fences = [line.fence for line in lines if line.what == "start"]
        assert fences == sorted(fences)
        assert overlaps(lines) == []
    return killed


def kill_once(
    chance: random.Random, spec: Spec, nest: Nest, took: float, server: Server | None
) -> str:
    """Start a runner and kill something; return what. No process of it is left."""
    victim = chance.choice((*VICTIMS, "database") if server else VICTIMS)
    runner = nest.start(spec)
    time.sleep(chance.uniform(0, took))
    family = descendants_of(runner)
    if victim == "process" and family:
        with contextlib.suppress(ProcessLookupError):
            os.kill(chance.choice(family), signal.SIGKILL)
    if victim == "database" and server:
        server.kill()
        time.sleep(chance.uniform(0, 0.2))
        server.start()
    if victim in {"process", "database"}:
        time.sleep(chance.uniform(0, took))
        family += descendants_of(runner)
    if victim == "group":
        os.killpg(runner, signal.SIGKILL)
    else:
        os.kill(runner, signal.SIGKILL)
    code = nest.wait(runner)

    right = {-signal.SIGKILL, 0}
    if victim == "database":
        # It was not there when the runner began, or for too long for its lease.
        right |= {StoreUnavailable.exit_code, LeaseLost.exit_code}
    assert code in right, errors(spec)
    assert left_of(family) == []
    return victim


def overlaps(lines: list[journals.Line]) -> list[str]:
    """Return tasks of which a body went on after another body of the task had begun."""
    ended = {
        (x.task, x.pid, x.attempt, x.fence): x.at for x in lines if x.what == "end"
    }
    last: dict[str, float] = {}
    found: list[str] = []
    for line in lines:
        if line.what == "start":
            if line.at < last.get(line.task, 0.0):
                found.append(line.task)
            key = line.task, line.pid, line.attempt, line.fence
            last[line.task] = max(last.get(line.task, 0.0), ended.get(key, 0.0))
    return found
