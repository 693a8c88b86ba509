"""The store goes away: for a moment, for longer than the lease, or from the start."""

from __future__ import annotations

import time
from pathlib import Path

import apsw
import pytest
from msgspec.structs import replace

from ptsflow.core.model import Status
from ptsflow.errors import LeaseLost, StoreUnavailable
from ptsflow.host.clock import since_boot
from tests.crash import journal as journals
from tests.crash.checks import errors, look, run_again
from tests.crash.nest import Nest, Spec
from tests.crash.server import Server
from tests.crash.waiting import until_it_runs
from tests.stores.mongo.tcp_proxy import TcpProxy

AWAY, LOST = StoreUnavailable.exit_code, LeaseLost.exit_code


@pytest.mark.mongod
def test_a_run_outlives_mongod_being_killed_again_and_again(
    server: Server, nest: Nest, journal: Path
) -> None:
    spec = Spec(workflow="Chain", url=server.url, journal=str(journal))
    pid = nest.start(spec)
    for bodies in (5, 30, 55):
        until_it_runs(journal, bodies)
        server.kill()
        time.sleep(0.1)
        server.start()
    code = nest.wait(pid)
    starts = journals.starts(journals.read(journal))
    after = look(server.url)

    assert code == 0, errors(spec)
    assert set(starts.values()) == {1}
    assert len(starts) == 82
    assert after.tasks["end"].result == "780"
    assert after.names(Status.DONE) == set(after.tasks)


@pytest.mark.mongod
def test_a_run_outlives_connections_that_are_reset_all_the_time(
    server: Server, nest: Nest, journal: Path
) -> None:
    proxy = TcpProxy(server.port)
    url = server.url.replace(str(server.port), str(proxy.port))
    spec = Spec(workflow="Chain", url=url, journal=str(journal))
    pid = nest.start(spec)
    resets = 0
    for bodies in range(2, 80, 2):
        until_it_runs(journal, bodies)
        resets += proxy.reset()
    code = nest.wait(pid)
    proxy.close()
    after = look(server.url)

    assert code == 0, errors(spec)
    assert resets > 30
    assert set(journals.starts(journals.read(journal)).values()) == {1}
    assert after.tasks["end"].result == "780"
    assert after.names(Status.DONE) == set(after.tasks)


@pytest.mark.mongod
def test_nothing_that_mongod_acknowledged_is_lost_when_both_are_killed(
    server: Server, nest: Nest, journal: Path
) -> None:
    spec = Spec(workflow="Chain", url=server.url, journal=str(journal))
    for bodies in (10, 30):
        pid = nest.start(spec)
        until_it_runs(journal, bodies)
        server.kill()
        nest.wait(pid, 0)
        server.start()
        begun = journals.starts(journals.read(journal))
        # A body starts after it was acknowledged that the one before it is done.
        known = {f"load[{n}]" for n in range(40) if begun[f"check[{n}]"]}

        assert known <= look(server.url).names(Status.DONE)
    after = run_again(nest, spec)

    assert after.tasks["end"].result == "780"
    # Two crashes, four bodies at a time.
    assert sum(journals.starts(journals.read(journal)).values()) <= 82 + 2 * 4


@pytest.mark.mongod
def test_a_store_that_is_away_for_longer_than_the_lease_ends_the_run(
    server: Server, nest: Nest, journal: Path
) -> None:
    spec = Spec(workflow="Chain", url=server.url, journal=str(journal), lease=2.0)
    pid = nest.start(spec)
    until_it_runs(journal, 5)
    server.kill()
    killed_at = since_boot()
    code = nest.wait(pid)
    took = since_boot() - killed_at
    server.start()

    assert code == LOST, errors(spec)
    assert took < 60
    run_again(nest, spec)


@pytest.mark.mongod
def test_a_server_that_is_away_at_the_start_is_said(
    server: Server, nest: Nest, journal: Path
) -> None:
    server.kill()
    spec = Spec(workflow="Small", url=server.url, journal=str(journal))
    code = nest.run(spec)

    assert code == AWAY
    assert errors(spec).startswith("StoreUnavailable: MongoDB at 127.0.0.1:")
    assert errors(spec).count("\n") == 1


@pytest.mark.mongod
def test_a_silent_server_does_not_keep_a_runner_beyond_its_lease(
    server: Server, nest: Nest, journal: Path
) -> None:
    spec = Spec(workflow="Chain", url=server.url, journal=str(journal), lease=2.0)
    pid = nest.start(spec)
    until_it_runs(journal, 5)
    assert server._mongod is not None
    server._mongod.freeze()
    frozen_at = since_boot()
    code = nest.wait(pid)
    took = since_boot() - frozen_at
    server._mongod.thaw()

    assert code == LOST, errors(spec)
    assert took < 15
    run_again(nest, spec)


def test_a_file_that_others_hold_for_longer_than_the_lease_ends_the_run(
    nest: Nest, journal: Path, tmp_path: Path
) -> None:
    path = tmp_path / "pts.db"
    spec = Spec(workflow="Chain", url=f"sqlite:///{path}", journal=str(journal))
    pid = nest.start(replace(spec, lease=2.0))
    until_it_runs(journal, 5)
    other = apsw.Connection(str(path))
    other.set_busy_timeout(5000)
    other.execute("BEGIN IMMEDIATE")
    held_at = since_boot()
    code = nest.wait(pid)
    took = since_boot() - held_at
    other.execute("ROLLBACK")
    other.close()

    assert code == LOST, errors(spec)
    assert took < 60
    run_again(nest, spec)


def test_a_file_that_others_hold_for_a_moment_is_waited_for(
    nest: Nest, journal: Path, tmp_path: Path
) -> None:
    path = tmp_path / "pts.db"
    spec = Spec(workflow="Chain", url=f"sqlite:///{path}", journal=str(journal))
    pid = nest.start(spec)
    until_it_runs(journal, 5)
    other = apsw.Connection(str(path))
    other.set_busy_timeout(5000)
    other.execute("BEGIN IMMEDIATE")
    time.sleep(0.5)
    other.execute("ROLLBACK")
    other.close()

    assert nest.wait(pid) == 0, errors(spec)
    assert set(journals.starts(journals.read(journal)).values()) == {1}
