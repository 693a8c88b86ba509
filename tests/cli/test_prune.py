"""`prune`: old containers go, and nothing else does."""

from __future__ import annotations

import sqlite3
import time
from contextlib import closing

import pytest

from ptsflow.core.insight import ScheduleRecord
from ptsflow.stores import open_store
from tests.cli.calling import Place, appears, flow

HOURS = ("2011-09-30T12", "2011-09-30T13", "2011-09-30T14")


@pytest.fixture
def old(stored: Place) -> Place:
    """Return a folder in which three hours have been imported, more than a moment ago."""
    for hour in HOURS:
        ended = stored.call("run", flow("Hourly"), "-q", "-p", f"hour={hour}")
        assert ended.returncode == 0, ended.stderr
    time.sleep(0.1)
    return stored


def containers(place: Place) -> str:
    return place.call("list").stdout


def test_what_is_old_is_deleted_and_its_history_stays(old: Place) -> None:
    kept = old.call("prune", "--older", "1d", "-y")
    dry = old.call("prune", "--older", "0.05", "-n")
    asked = old.call("prune", "--older", "0.05")
    before = containers(old)
    pruned = old.json("prune", "--older", "0.05", "--keep", "1", "-y")
    names = [f"hourly:20110930T{hour[-2:]}" for hour in HOURS]

    assert kept.stderr == "nothing is old enough\n"
    assert dry.stderr == f"would delete 3 containers: {', '.join(names)}\n"
    assert asked.returncode == 2
    assert asked.stderr.splitlines()[-1] == (
        "ptsflow: prune: there is no terminal to ask on; add -y to go ahead"
    )
    assert all(name in before for name in names)
    assert pruned == {"schema": 1, "deleted": names[:2], "dry_run": False}
    assert [name in containers(old) for name in names] == [False, False, True]
    assert len(old.call("history", "--json").stdout.splitlines()) == 3


def test_what_failed_stays_unless_it_is_meant(place: Place) -> None:
    ended = place.call("run", flow("Broken"), "-q", "-p", "flag=no")
    assert ended.returncode == 1
    time.sleep(0.1)

    assert "nothing" in place.call("prune", "--older", "0.05", "-y").stderr
    assert place.call("prune", "--older", "0.05", "--failed", "-y").returncode == 0
    assert "Broken" not in containers(place)


def test_what_a_schedule_may_still_catch_up_with_stays(old: Place) -> None:
    schedule = ScheduleRecord(
        workflow="Hourly", cron="0 * * * *", catch_up_ms=10**9, again_ms=1, since=1
    )
    with closing(open_store(old.store)) as store:
        assert store.swap_schedule(None, schedule)
    ended = old.call("prune", "--older", "0.05", "-y")

    assert ended.stderr == "nothing is old enough\n"


def test_an_unknown_workflow_is_refused(old: Place) -> None:
    ended = old.call("prune", "--older", "1d", "--workflow", "Dayly", "-y")

    assert ended.returncode == 4
    assert ended.stderr.startswith("ptsflow: no container is of a workflow 'Dayly'")


def test_a_live_run_is_left_and_no_vacuum_is_made_beside_it(old: Place) -> None:
    runner = old.start(
        *("run", flow("Slow"), "-c", "slow"),
        *("-p", f"pid={old.folder / 'pid'}", "-p", "gentle=True"),
    )
    appears(old.folder / "pid")
    refused = old.call("prune", "--older", "0.01", "--failed", "--vacuum", "-y")
    pruned = old.call("prune", "--older", "0.01", "--failed", "-y")
    stands = old.json("status", "slow")["status"]
    assert old.call("cancel", "slow").returncode == 0
    runner.communicate(timeout=60)

    assert refused.returncode == 5
    assert pruned.returncode == 0
    assert stands == "running"
    assert "hourly" not in containers(old)


def test_vacuum_makes_the_file_smaller(place: Place) -> None:
    assert place.call("run", flow("Steady"), "-q").returncode == 0
    file = place.folder / "pts.db"
    with closing(sqlite3.connect(file)) as other:
        other.execute("CREATE TABLE filler (text TEXT)")
        other.execute("INSERT INTO filler VALUES (hex(randomblob(1000000)))")
        other.commit()
        other.execute("DROP TABLE filler")
        other.commit()
    before = file.stat().st_size
    ended = place.call("prune", "--older", "1d", "--vacuum", "-y")

    assert ended.returncode == 0
    assert "were given back to the file system" in ended.stderr
    assert file.stat().st_size < before / 2
    assert place.call("status").returncode == 0
