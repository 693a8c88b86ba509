"""Who may run a container, and what becomes of a runner that lost it."""

from __future__ import annotations

import os
import shutil
import signal
import time
from collections import Counter
from pathlib import Path

import pytest
from msgspec.structs import replace

from ptsflow.core.model import Status
from ptsflow.errors import ContainerBusy, LeaseLost, StoreDamaged
from ptsflow.host.clock import since_boot
from tests.crash import journal as journals
from tests.crash.checks import check_fences, errors, look, run_again
from tests.crash.faulty import Fault
from tests.crash.nest import Nest, Spec
from tests.crash.waiting import until_it_is_stopped, until_it_runs

BUSY, LOST = ContainerBusy.exit_code, LeaseLost.exit_code


@pytest.mark.parametrize("count", [8, 20])
def test_of_runners_that_start_at_once_one_runs_each_body_once(
    count: int, url: str, nest: Nest, journal: Path
) -> None:
    at = since_boot() + 0.3
    spec = Spec(workflow="Small", url=url, journal=str(journal), at=at)
    pids = [nest.start(spec) for _ in range(count)]
    codes = Counter(nest.wait(pid) for pid in pids)
    lines = journals.read(journal)
    bodies = [(line.task, line.attempt) for line in lines if line.what == "start"]

    assert codes[0] >= 1
    assert codes[0] + codes[BUSY] == count, errors(spec)
    assert len(bodies) == len(set(bodies)) == 7
    assert len({line.pid for line in lines}) == 1


def test_runners_that_wait_for_each_other_all_succeed(
    url: str, nest: Nest, journal: Path
) -> None:
    spec = Spec(workflow="Small", url=url, journal=str(journal), wait=30.0)
    pids = [nest.start(spec) for _ in range(4)]
    codes = [nest.wait(pid) for pid in pids]

    assert codes == [0] * 4, errors(spec)
    assert sum(journals.starts(journals.read(journal)).values()) == 7


def test_a_runner_that_waited_for_longer_than_its_lease_still_has_all_of_it(
    url: str, nest: Nest, journal: Path
) -> None:
    holder = Spec(workflow="Gated", url=url, journal=str(journal), lease=2.0)
    first = nest.start(holder)
    until_it_runs(journal, 3)
    second = nest.start(replace(holder, wait=30.0))
    time.sleep(holder.lease + 0.5)
    Path(f"{journal}.gate").touch()

    assert nest.wait(first) == 0
    assert nest.wait(second) == 0, errors(holder)


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("number", [3, 4, 7])
def test_a_frozen_runner_that_was_overtaken_is_refused_when_it_wakes(
    number: int, when: str, url: str, nest: Nest, journal: Path
) -> None:
    # Writes 1 to 3 are create, claim and save; the rest are commits.
    spec = Spec(
        workflow="Small",
        url=url,
        journal=str(journal),
        lease=2.0,
        fault=Fault(number, when, "stop"),
    )
    frozen = nest.start(spec)
    until_it_is_stopped(frozen)
    time.sleep(spec.lease + 0.1)
    overtaker = run_again(nest, replace(spec, lease=60.0))
    recorded = look(url)
    begun = journals.starts(journals.read(journal))
    os.kill(frozen, signal.SIGCONT)
    code = nest.wait(frozen)

    assert code == LOST, errors(spec)
    assert look(url) == recorded == overtaker
    assert journals.starts(journals.read(journal)) == begun, "a body began when it woke"


def test_a_frozen_runner_that_woke_in_time_goes_on(
    url: str, nest: Nest, journal: Path
) -> None:
    spec = Spec(workflow="Small", url=url, journal=str(journal), lease=60.0)
    stopped = replace(spec, fault=Fault(4, "after", "stop"))
    frozen = nest.start(stopped)
    until_it_is_stopped(frozen)
    busy = nest.run(spec)
    os.kill(frozen, signal.SIGCONT)

    assert busy == BUSY
    assert nest.wait(frozen) == 0, errors(spec)
    assert journals.starts(journals.read(journal))["begin"] == 1


def test_a_runner_overtaken_in_the_middle_of_its_bodies_ends_by_itself(
    url: str, nest: Nest, journal: Path
) -> None:
    spec = Spec(workflow="Gated", url=url, journal=str(journal), lease=2.0)
    frozen = nest.start(spec)
    until_it_runs(journal, 3)
    os.kill(frozen, signal.SIGSTOP)
    until_it_is_stopped(frozen)
    time.sleep(spec.lease + 0.1)
    second = nest.start(replace(spec, lease=60.0))
    until_it_runs(journal, 5)
    os.kill(frozen, signal.SIGCONT)
    code = nest.wait(frozen)
    Path(f"{journal}.gate").touch()

    assert code == LOST, errors(spec)
    assert nest.wait(second) == 0
    check_fences([line for line in journals.read(journal) if line.what == "start"])


def test_a_body_that_holds_the_interpreter_beyond_the_lease_is_not_begun_beside_itself(
    url: str, nest: Nest, journal: Path
) -> None:
    spec = Spec(workflow="Held", url=url, journal=str(journal), lease=2.0)
    gate = Path(f"{journal}.gate")
    os.mkfifo(gate)
    held = nest.start(spec)
    until_it_runs(journal, 1)
    time.sleep(spec.lease + 0.1)
    busy = nest.run(spec)
    said = errors(spec)
    waiting = nest.start(replace(spec, wait=60.0))
    gate.open("wb").close()
    second = nest.wait(waiting)
    pids = [line.pid for line in journals.read(journal)]

    assert busy == BUSY
    assert said.splitlines()[-1].endswith(
        f"ContainerBusy: container 'crash': pid {held} on {os.uname().nodename} may "
        "still be in a body of it, though its lease has ended; wait until that has "
        f"ended, or end it: kill -9 {held}"
    )
    assert nest.wait(held) == LOST
    assert second == 0, errors(spec)
    # The first may be gone before its body noted its end.
    assert pids in ([held, held, pids[-1], pids[-1]], [held, pids[-1], pids[-1]])


@pytest.mark.parametrize("kind", ["sqlite"])
def test_a_runner_whose_body_read_the_file_of_the_store_still_keeps_others_out(
    url: str, nest: Nest, journal: Path
) -> None:
    """To close the file in the runner's process drops the locks that SQLite has on it."""
    spec = Spec(workflow="Reads", url=url, journal=str(journal))
    first = nest.start(spec)
    until_it_runs(journal, 2)
    # The others close the file, and take themselves for the last that had it open.
    busy = [nest.run(spec) for _ in range(2)]
    Path(f"{journal}.gate").touch()
    code = nest.wait(first)

    assert busy == [BUSY] * 2
    assert code in {0, StoreDamaged.exit_code}, errors(spec)
    run_again(nest, spec)
    assert journals.starts(journals.read(journal))["begin"] == 1


@pytest.mark.parametrize("kind", ["sqlite"])
def test_no_body_is_begun_beside_itself_though_the_store_was_removed(
    url: str, nest: Nest, journal: Path
) -> None:
    # The runner does not look, so it hears of that as it records the end of a body.
    spec = Spec(workflow="Gated", url=url, journal=str(journal), look=60.0)
    first = nest.start(spec)
    until_it_runs(journal, 3)
    shutil.rmtree(Path(url.removeprefix("sqlite:///")).parent)
    busy = nest.run(spec)
    begun = journals.starts(journals.read(journal))
    Path(f"{journal}.gate").touch()

    assert busy == BUSY, errors(spec)
    assert begun == {"begin": 1, "patient": 1, "obedient": 1}
    assert nest.wait(first) == StoreDamaged.exit_code
    assert nest.run(spec) == 0, errors(spec)


def test_a_killed_runner_is_taken_over_at_once_on_the_same_host(
    url: str, nest: Nest, journal: Path
) -> None:
    spec = Spec(workflow="Gated", url=url, journal=str(journal), lease=60.0)
    first = nest.start(spec)
    until_it_runs(journal, 3)
    # Not waited for: what is left of it is a zombie.
    os.kill(first, signal.SIGKILL)
    killed_at = since_boot()
    second = nest.start(spec)
    until_it_runs(journal, 5)
    taken = max(line.at for line in journals.read(journal)) - killed_at
    Path(f"{journal}.gate").touch()

    assert nest.wait(second) == 0, errors(spec)
    assert nest.wait(first) == -signal.SIGKILL
    assert taken < spec.lease / 2
    assert journals.starts(journals.read(journal)) == {
        "begin": 1,
        "patient": 2,
        "obedient": 2,
        "end": 1,
    }


def test_a_runner_killed_on_another_host_is_waited_for_until_its_lease_ends(
    url: str, nest: Nest, journal: Path
) -> None:
    spec = Spec(
        workflow="Small",
        url=url,
        journal=str(journal),
        lease=3.0,
        host="elsewhere",
        fault=Fault(5, "after", "kill"),
    )
    code = nest.run(spec)
    killed = look(url)
    after = run_again(nest, replace(spec, host="here"))
    again = [task.last_invoked_at for task in after.tasks.values()]

    assert code == -signal.SIGKILL
    assert killed.container is not None
    assert max(filter(None, again)) >= (killed.container.leased_till or 0) > 0


def test_a_live_runner_on_another_host_is_not_waited_for(
    url: str, nest: Nest, journal: Path
) -> None:
    spec = Spec(
        workflow="Gated", url=url, journal=str(journal), lease=24.0, host="elsewhere"
    )
    first = nest.start(spec)
    until_it_runs(journal, 3)
    began_at = since_boot()
    code = nest.run(replace(spec, host="here"))
    took = since_boot() - began_at
    Path(f"{journal}.gate").touch()

    assert code == BUSY
    assert took < spec.lease
    assert nest.wait(first) == 0


@pytest.mark.mongod
@pytest.mark.parametrize("kind", ["mongod"])
def test_a_clock_that_is_wrong_gives_no_lease_away(
    url: str, nest: Nest, journal: Path
) -> None:
    spec = Spec(
        workflow="Gated", url=url, journal=str(journal), lease=3.0, host="elsewhere"
    )
    first = nest.start(replace(spec, mutant="plain"))
    until_it_runs(journal, 3)
    wrong = nest.mutant or "skewed"
    code = nest.run(replace(spec, host="here", mutant=wrong), seconds=30)
    Path(f"{journal}.gate").touch()

    assert code == BUSY
    assert nest.wait(first) == 0


def test_a_step_that_kills_its_process_fails_when_its_budget_is_used_up(
    url: str, nest: Nest, journal: Path
) -> None:
    spec = Spec(workflow="Bomb", url=url, journal=str(journal))
    codes = [nest.run(spec) for _ in range(4)]
    after = look(url)

    assert codes == [-signal.SIGKILL] * 3 + [1]
    assert journals.starts(journals.read(journal)) == {"begin": 1, "explode": 3}
    assert after.tasks["explode"].status is Status.FAILED
    assert after.tasks["explode"].error == "the runner died while it ran (attempt 3)"
    assert after.container is not None
    assert after.container.status is Status.FAILED
