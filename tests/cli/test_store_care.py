"""`store info`, `store check`, `store backup` and `store copy`."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing

import pytest

from tests.cli.calling import Place, appears, flow


@pytest.fixture
def done(stored: Place) -> Place:
    """Return a folder with a workflow that has run."""
    assert stored.call("run", flow("Steady"), "-q").returncode == 0
    return stored


def test_info_says_what_is_there(done: Place) -> None:
    shown = done.call("store", "info").stdout
    found = done.json("store", "info")

    assert "containers" in shown
    assert "layout 3" in shown
    assert (found["containers"], found["tasks"], found["leased"]) == (1, 5, [])
    assert found["by_status"]["done"] == 1
    assert found["layout"] == 3
    assert sum(found["bytes"].values()) > 0


def test_a_sound_store_is_said_to_be_so(done: Place) -> None:
    for words in ((), ("--deep",), ("--repair",)):
        ended = done.call("store", "check", *words)

        assert (ended.returncode, ended.stdout) == (0, "")
        assert ended.stderr.endswith(": is sound\n")


def test_a_live_run_is_no_fault(done: Place) -> None:
    runner = done.start(
        *("run", flow("Slow"), "-c", "slow"),
        *("-p", f"pid={done.folder / 'pid'}", "-p", "gentle=True"),
    )
    appears(done.folder / "pid")
    ended = done.call("store", "check", "--deep")
    done.call("cancel", "slow")
    runner.communicate(timeout=60)

    assert (ended.returncode, ended.stdout) == (0, "")


def test_findings_are_told_and_repaired(place: Place) -> None:
    assert place.call("run", flow("Steady"), "-q").returncode == 0
    with closing(sqlite3.connect(place.folder / "pts.db")) as file:
        file.execute("DROP INDEX open_tasks")
        file.execute("INSERT INTO payloads (id, text) VALUES (4000, '1')")
        file.commit()
    found = place.call("store", "check")
    lines = place.call("store", "check", "--json").stdout.splitlines()
    repaired = place.call("store", "check", "--repair")

    assert found.returncode == 1
    assert "finding: missing index: " in found.stdout
    assert "finding: payload without task: there are 1 of these\n" in found.stdout
    assert found.stderr.endswith(": 2 findings; --repair mends\n")
    assert [json.loads(line)["repairable"] for line in lines] == [True, True]
    assert repaired.returncode == 0
    assert "repaired: made index open_tasks\n" in repaired.stderr
    assert place.json("status")["status"] == "done"


def test_damage_is_told_and_left_alone(place: Place) -> None:
    assert place.call("run", flow("Steady"), "-q").returncode == 0
    with closing(sqlite3.connect(place.folder / "pts.db")) as file:
        file.execute("UPDATE tasks SET status = 'pending'")
        file.execute("DROP INDEX open_tasks")
        file.commit()
    ended = place.call("store", "check", "--repair")

    assert ended.returncode == 6
    assert "damage: check value: the row of task" in ended.stdout
    assert "repaired" not in ended.stderr
    assert place.call("store", "check").stdout == ended.stdout


def test_a_store_that_is_not_there_is_no_sound_one(place: Place) -> None:
    for words in (("check",), ("info",), ("backup", "copy.db")):
        ended = place.call("store", *words)

        assert ended.returncode == 2
        assert ended.stderr.startswith("ptsflow: there is no store at ")


def test_a_backup_is_whole_while_a_run_goes_on(place: Place) -> None:
    assert place.call("run", flow("Steady"), "-q").returncode == 0
    runner = place.start(
        *("run", flow("Slow"), "-c", "slow"),
        *("-p", f"pid={place.folder / 'pid'}", "-p", "gentle=True"),
    )
    appears(place.folder / "pid")
    ended = place.call("store", "backup", "copy.db")
    again = place.call("store", "backup", "copy.db")
    place.call("cancel", "slow")
    runner.communicate(timeout=60)
    url = f"sqlite:///{place.folder}/copy.db"
    checked = place.call("store", "check", "--deep", "--store", url)
    listed = place.call("list", "--store", url)

    assert ended.returncode == 0
    assert again.returncode == 2
    assert "found one; name another" in again.stderr
    (line,) = checked.stdout.splitlines()
    assert line.startswith("finding: running task without lease: container 'slow'")
    assert "Steady" in listed.stdout
    assert "slow" in listed.stdout
    assert (place.folder / "copy.db").stat().st_mode & 0o77 == 0


def test_a_store_is_copied_and_copied_back(stored: Place) -> None:
    assert stored.call("run", flow("Steady"), "-q").returncode == 0
    copy = f"sqlite:///{stored.folder}/copy.db"
    dry = stored.call("store", "copy", stored.store, copy, "-n")
    there = (stored.folder / "copy.db").exists()
    copied = stored.call("store", "copy", stored.store, copy)
    again = stored.json("store", "copy", stored.store, copy)
    status = stored.json("status", "--store", copy)
    runs = stored.call("history", "--json", "--store", copy).stdout.splitlines()

    assert dry.stderr.endswith(": would copy 1 container: Steady:count=3\n")
    assert not there
    assert copied.returncode == 0
    assert copied.stderr.startswith("copied 1 container to ")
    assert again["there"] == ["Steady:count=3"]
    assert status["status"] == "done"
    assert len(runs) == 1
    assert stored.call("store", "copy", copy, copy).returncode == 2


def test_what_cannot_be_copied_makes_the_exit_code(place: Place) -> None:
    copy = f"sqlite:///{place.folder}/copy.db"
    assert place.call("run", flow("Steady"), "-q").returncode == 0
    assert place.call("run", flow("Steady"), "-q", "--store", copy).returncode == 0
    other = place.call("store", "copy", place.store, copy)
    runner = place.start(
        *("run", flow("Slow"), "-c", "slow"),
        *("-p", f"pid={place.folder / 'pid'}", "-p", "gentle=True"),
    )
    appears(place.folder / "pid")
    live = place.call("store", "copy", place.store, copy, "--name", "slow")
    place.call("cancel", "slow")
    runner.communicate(timeout=60)

    assert other.returncode == 4
    assert other.stderr.startswith("Steady:count=3: left: container 'Steady:count=3'")
    assert live.returncode == 5
    assert live.stderr.startswith("slow: left: container 'slow' is run by pid ")
