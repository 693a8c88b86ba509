"""`delete`: a container goes with all that it has, and with nobody's work."""

from __future__ import annotations

import sqlite3
import textwrap
from contextlib import closing
from pathlib import Path

import pytest

from tests.cli.calling import Place, appears, flow
from tests.cli.terminal import Terminal

FLOW = """
from ptsflow import TaskHandle, Workflow, step

class Filing(Workflow):
    @step(keep_workdir=True)
    def write(self, task: TaskHandle) -> str:
        (task.workdir / "page").write_text("x")
        print("written")
        return "x" * 100
"""


@pytest.fixture
def filed(stored: Place) -> Place:
    """Return a folder with a workflow that has run, and has files and lines."""
    (stored.folder / "filing.py").write_text(textwrap.dedent(FLOW))
    stored.env["PTSFLOW_WORK"] = str(stored.folder / "work")
    assert stored.call("run", "filing.py", "-q").returncode == 0
    return stored


def test_a_deleted_container_takes_along_all_but_its_history(filed: Place) -> None:
    work = filed.folder / "work"
    assert list(work.rglob("page"))
    ended = filed.call("delete", "Fil", "-y")

    assert ended.returncode == 0
    assert ended.stderr == (
        "Filing: deletes it with 1 task, their results, logs and files\n"
    )
    assert filed.call("list").stdout.count("Filing") == 0
    assert list(work.iterdir()) == []
    assert len(filed.call("history", "--json").stdout.splitlines()) == 1
    if filed.store.startswith("sqlite"):
        assert rows_left(filed.folder / "pts.db") == 0
        assert rows_left(filed.folder / "pts.db.logs") == 0


def rows_left(path: Path) -> int:
    """Return how many rows a file has, but those of the history."""
    with closing(sqlite3.connect(path)) as file:
        names = file.execute(
            "SELECT name FROM sqlite_schema WHERE type = 'table' "
            "AND name NOT IN ('runs', 'sqlite_sequence')"
        ).fetchall()
        counts = [
            file.execute(f"SELECT count(*) FROM {name}").fetchone()  # noqa: S608
            for (name,) in names
        ]
    return sum(count for (count,) in counts)


def test_without_a_terminal_and_without_yes_nothing_is_deleted(place: Place) -> None:
    assert place.call("run", flow("Steady"), "-q").returncode == 0
    ended = place.call("delete", "Steady")

    assert ended.returncode == 2
    assert ended.stderr.splitlines()[-1] == (
        "ptsflow: delete: there is no terminal to ask on; add -y to go ahead"
    )
    assert place.json("status")["status"] == "done"


def test_on_a_terminal_it_asks_and_no_is_no(place: Place) -> None:
    assert place.call("run", flow("Steady"), "-q").returncode == 0
    for answer, left in (("n\n", 1), ("y\n", 0)):
        terminal = Terminal(place, "delete", "Steady")
        terminal.until("Delete it")
        terminal.type(answer)
        terminal.close()

        assert place.call("list").stdout.count("Steady:count=3") == left


def test_an_unknown_name_is_refused_as_by_all_commands(place: Place) -> None:
    assert place.call("run", flow("Steady"), "-q").returncode == 0
    ended = place.call("delete", "Unsteady", "-y")

    assert ended.returncode == 2
    assert ended.stderr.startswith("ptsflow: no container 'Unsteady' in ")


def test_what_a_live_runner_has_is_not_deleted(stored: Place) -> None:
    runner = stored.start(
        *("run", flow("Slow"), "-c", "slow"),
        *("-p", f"pid={stored.folder / 'pid'}", "-p", "gentle=True"),
    )
    appears(stored.folder / "pid")
    ended = stored.call("delete", "slow", "-y")
    stands = stored.json("status")["status"]
    assert stored.call("cancel", "slow").returncode == 0
    runner.communicate(timeout=60)

    assert ended.returncode == 5
    assert stands == "running"
    assert stored.call("delete", "slow", "-y").returncode == 0
    assert stored.call("list").stdout.count("slow") == 0
