"""The members of a replica set whose clocks differ: the primary's clock leaps at a failover."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from msgspec.structs import replace
from pymongo.errors import OperationFailure

from ptsflow.core.model import Status
from ptsflow.errors import LeaseLost
from ptsflow.stores import open_store
from tests.crash import journal as journals
from tests.crash.checks import check_fences, errors, look, run_again
from tests.crash.nest import Nest, Spec
from tests.crash.waiting import until_it_runs
from tests.support.databases import new_database_url
from tests.support.replica_set import Member, ReplicaSet, three_members

pytestmark = [pytest.mark.mongod, pytest.mark.soak, pytest.mark.timeout(600)]

#: How many seconds the clock of each member is ahead.
SHIFTS = (0, 300, -300)


@pytest.fixture(scope="module")
def _members() -> Iterator[ReplicaSet]:
    with three_members(SHIFTS) as made:
        yield made


@pytest.fixture
def members(_members: ReplicaSet) -> ReplicaSet:
    _members.heal()
    return _members


@pytest.fixture
def spec(members: ReplicaSet, journal: Path) -> Spec:
    url = new_database_url(members.url)
    return Spec(workflow="Chain", url=url, journal=str(journal))


def make_primary(members: ReplicaSet, member: Member) -> None:
    """Have that member become the primary."""
    while members.primary() is not member:
        # The others may not have voted for it yet.
        with suppress(OperationFailure):
            member.mongod.command("replSetStepUp", 1)
        time.sleep(0.2)


def test_the_clocks_of_the_members_differ(members: ReplicaSet, spec: Spec) -> None:
    off = []
    for member in members.members:
        make_primary(members, member)
        store = open_store(f"{spec.url}&timeoutMS=60000")
        off.append(round(store.now() / 1000 - time.time(), -1))
        store.close()

    assert off == list(SHIFTS)


@pytest.mark.parametrize("turns", [(0, 1), (0, 2), (1, 2), (2, 1, 0)])
def test_a_run_outlives_a_primary_with_another_clock(
    turns: tuple[int, ...], members: ReplicaSet, nest: Nest, spec: Spec
) -> None:
    journal = Path(spec.journal)
    make_primary(members, members.members[turns[0]])
    pid = nest.start(spec)
    for number, turn in enumerate(turns[1:], 1):
        until_it_runs(journal, 15 * number)
        make_primary(members, members.members[turn])
    code = nest.wait(pid, 120)
    lines = journals.read(journal)

    assert code == 0, errors(spec)
    assert set(journals.starts(lines).values()) == {1}
    assert look(spec.url).names(Status.DONE) == set(look(spec.url).tasks)


@pytest.mark.parametrize("turns", [(0, 1), (0, 2), (1, 2), (2, 1)])
def test_of_two_hosts_one_records_though_the_clock_of_the_lease_leaps(
    turns: tuple[int, int], members: ReplicaSet, nest: Nest, spec: Spec
) -> None:
    """A clock that leaps ahead ends a live lease early: the fence tells the two apart."""
    journal = Path(spec.journal)
    before, after = turns
    make_primary(members, members.members[before])
    first = nest.start(spec)
    until_it_runs(journal, 15)
    second = nest.start(replace(spec, host="elsewhere", wait=60.0))
    make_primary(members, members.members[after])
    codes = [nest.wait(pid, 120) for pid in (first, second)]
    lines = journals.read(journal)

    assert codes in ([0, 0], [LeaseLost.exit_code, 0]), errors(spec)
    assert look(spec.url).tasks["end"].result == "780"
    check_fences([line for line in lines if line.what == "start"])
    # A body that its runner was in, or that it did not get recorded, is begun once more.
    starts = journals.starts(lines)
    assert max(starts.values()) <= 2
    assert sum(starts.values()) <= 82 + spec.jobs


@pytest.mark.parametrize("turns", [(0, 1), (1, 2)])
def test_a_runner_that_died_on_another_host_is_followed_in_time(
    turns: tuple[int, int], members: ReplicaSet, nest: Nest, spec: Spec
) -> None:
    """A clock that leaps back would have the lease of the dead last for minutes."""
    journal = Path(spec.journal)
    before, after = turns
    spec = replace(spec, lease=10.0)
    make_primary(members, members.members[before])
    pid = nest.start(replace(spec, host="elsewhere"))
    until_it_runs(journal, 15)
    os.kill(pid, signal.SIGKILL)
    nest.wait(pid)
    make_primary(members, members.members[after])
    began = time.monotonic()
    run_again(nest, spec)

    assert time.monotonic() - began < 120
