"""A run outlives what happens to a replica set of three: every step is done once."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pymongo
import pytest
from msgspec.structs import replace

from ptsflow.core.model import Status
from ptsflow.errors import ContainerBusy, LeaseLost
from ptsflow.host.clock import since_boot
from ptsflow.stores import open_store
from ptsflow.stores.store_wait import StoreWait
from tests.crash import journal as journals
from tests.crash.checks import check_fences, errors, look, run_again
from tests.crash.nest import Nest, Spec
from tests.crash.waiting import until_it_runs
from tests.support.databases import Raw, new_database_url
from tests.support.replica_set import ReplicaSet

pytestmark = pytest.mark.mongod

#: Of runs whose primary is frozen for longer, in seconds. Fourteen seconds after a freeze,
#: or some thirty on a busy machine, the two others have elected a primary and no longer
#: wait for the oplog of the old one.
_LEASE = 60.0

Act = Callable[[ReplicaSet], None]


@pytest.fixture
def spec(replica_set: ReplicaSet, journal: Path) -> Spec:
    url = new_database_url(replica_set.url)
    return Spec(workflow="Chain", url=url, journal=str(journal))


def _check_all_done_once(spec: Spec) -> None:
    """Each step of `Chain` was begun once, and is done, as the outside journal says."""
    lines = journals.read(Path(spec.journal))
    starts = journals.starts(lines)
    after = look(spec.url, spec.container)

    assert {name: n for name, n in starts.items() if n != 1} == {}
    assert len(starts) == 82
    assert after.tasks["end"].result == "780"
    assert after.names(Status.DONE) == set(after.tasks)
    check_fences(lines)


def _step_down(replica_set: ReplicaSet) -> None:
    replica_set.step_down()


def _kill_the_primary(replica_set: ReplicaSet) -> None:
    primary = replica_set.primary()
    primary.kill()
    time.sleep(6)
    primary.revive()


def _freeze_the_primary(replica_set: ReplicaSet) -> None:
    primary = replica_set.primary()
    primary.mongod.freeze()
    time.sleep(_LEASE + 2)
    primary.revive()


def _cut_off_the_primary(replica_set: ReplicaSet) -> None:
    others = replica_set.secondaries()
    for member in others:
        member.mongod.freeze()
    time.sleep(8)
    for member in others:
        member.revive()


def _cut_off_the_primary_for_good(replica_set: ReplicaSet) -> None:
    """What the old primary writes alone is rolled back when it comes back."""
    old, others = replica_set.primary(), replica_set.secondaries()
    for member in others:
        member.kill()
    with pymongo.MongoClient[Raw](old.mongod.url, directConnection=True, w=1) as client:
        client.alone.marks.insert_one({})
    time.sleep(1)
    old.kill()
    for member in others:
        member.revive()
    replica_set.primary()
    old.revive()
    replica_set.heal()
    with pymongo.MongoClient[Raw](replica_set.url) as client:
        assert client.alone.marks.count_documents({}) == 0


def test_a_run_outlives_a_primary_that_steps_down(
    nest: Nest, replica_set: ReplicaSet, spec: Spec
) -> None:
    pid = nest.start(spec)
    until_it_runs(Path(spec.journal), 10)
    replica_set.step_down()

    assert nest.wait(pid, 90) == 0, errors(spec)
    _check_all_done_once(spec)


@pytest.mark.soak
def test_a_store_is_opened_while_the_members_elect(
    replica_set: ReplicaSet, spec: Spec
) -> None:
    replica_set.primary().kill()
    store = open_store(spec.url, wait=StoreWait(60))
    _, is_new = store.create("feed")
    store.close()

    assert is_new


@pytest.mark.soak
@pytest.mark.parametrize(
    "act",
    [
        _step_down,
        _kill_the_primary,
        _cut_off_the_primary,
        _cut_off_the_primary_for_good,
    ],
)
@pytest.mark.parametrize("bodies", [1, 20, 60])
def test_a_run_outlives_every_fault_of_the_primary(
    nest: Nest, replica_set: ReplicaSet, spec: Spec, act: Act, bodies: int
) -> None:
    pid = nest.start(spec)
    until_it_runs(Path(spec.journal), bodies)
    act(replica_set)

    assert nest.wait(pid, 90) == 0, errors(spec)
    replica_set.heal()
    _check_all_done_once(spec)


@pytest.mark.soak
def test_a_run_outlives_a_primary_that_is_frozen_for_longer_than_the_lease(
    nest: Nest, replica_set: ReplicaSet, spec: Spec
) -> None:
    pid = nest.start(replace(spec, lease=_LEASE))
    until_it_runs(Path(spec.journal), 20)
    _freeze_the_primary(replica_set)

    assert nest.wait(pid, 180) == 0, errors(spec)
    replica_set.heal()
    _check_all_done_once(spec)


@pytest.mark.soak
@pytest.mark.parametrize("act", [_kill_the_primary, _cut_off_the_primary_for_good])
@pytest.mark.parametrize("pause", [0.0, 0.3, 2.5])
def test_a_runner_that_dies_with_its_primary_is_continued(
    nest: Nest, replica_set: ReplicaSet, spec: Spec, act: Act, pause: float
) -> None:
    journal = Path(spec.journal)
    for bodies in (5, 40):
        pid = nest.start(spec)
        until_it_runs(journal, bodies)
        killer = threading.Timer(pause, os.kill, (pid, signal.SIGKILL))
        killer.start()
        act(replica_set)
        killer.join()
        assert nest.wait(pid, 90) in {0, -signal.SIGKILL}, errors(spec)
    after = run_again(nest, spec)

    assert after.tasks["end"].result == "780"
    # Four bodies at a time, two crashes.
    assert sum(journals.starts(journals.read(journal)).values()) <= 82 + 2 * 4
    check_fences(journals.read(journal))


@pytest.mark.soak
def test_a_primary_that_is_cut_off_for_longer_than_the_lease_ends_the_run(
    nest: Nest, replica_set: ReplicaSet, spec: Spec
) -> None:
    pid = nest.start(replace(spec, lease=4.0))
    until_it_runs(Path(spec.journal), 10)
    _cut_off_the_primary(replica_set)
    code = nest.wait(pid, 90)
    replica_set.heal()

    assert code == LeaseLost.exit_code, errors(spec)
    run_again(nest, spec)
    check_fences(journals.read(Path(spec.journal)))


@pytest.mark.soak
@pytest.mark.parametrize("act", [_freeze_the_primary, _cut_off_the_primary])
def test_no_other_host_begins_a_body_by_what_an_old_primary_says(
    nest: Nest, replica_set: ReplicaSet, spec: Spec, act: Act
) -> None:
    """The old primary wakes, and for a moment knows of no newer one."""
    journal = Path(spec.journal)
    spec = replace(spec, workflow="Gated", lease=_LEASE)
    pid = nest.start(spec)
    until_it_runs(journal, 3)
    act(replica_set)
    code = nest.run(replace(spec, host="elsewhere"), 90)
    assert code == ContainerBusy.exit_code, errors(spec)
    Path(f"{journal}.gate").touch()

    assert nest.wait(pid, 90) == 0, errors(spec)
    assert set(journals.starts(journals.read(journal)).values()) == {1}


@pytest.mark.soak
def test_many_runs_outlive_a_primary_that_steps_down_every_three_seconds(
    nest: Nest, replica_set: ReplicaSet, spec: Spec
) -> None:
    end, rounds = since_boot() + 45, 0
    while since_boot() < end:
        rounds += 1
        each = replace(
            spec, container=f"crash{rounds}", journal=f"{spec.journal}{rounds}"
        )
        pid = nest.start(each)
        until_it_runs(Path(each.journal), 10)
        replica_set.step_down()
        assert nest.wait(pid, 90) == 0, errors(each)
        _check_all_done_once(each)

    assert rounds >= 3
