"""`list` of many containers and `show` of many tasks: the newest, and what matters first."""

from __future__ import annotations

import json

import pytest
from msgspec.structs import replace

import ptsflow
from ptsflow.core.model import Owner, Status
from ptsflow.stores import open_store
from tests.cli.calling import Place
from tests.cli.terminal import Terminal

OWNER = Owner(id="o", host="vm", boot="b", pid=1, started=1, since=0)
WIDE = """
from ptsflow import Workflow, step

class Feed(Workflow):
    @step
    def load(self) -> None: pass

class Late(Feed): pass

class Wide(Workflow):
    size: int

    @step
    def numbers(self) -> list[int]:
        return list(range(self.size))

    @step(each=numbers, retry=0)
    def each(self, number: int) -> None:
        if number % 100 == 7:
            raise OSError("no")
"""


@pytest.fixture
def many(stored: Place) -> Place:
    """Return a store with 205 containers, of which 3 of two workflows have failed."""
    (stored.folder / "wide.py").write_text(WIDE)
    store = open_store(stored.store)
    hour = 3_600_000
    for number in range(205):
        made, _ = store.create(f"n{number:03}")
        held = store.claim(made.uid, OWNER, 60_000)
        assert held is not None
        failed = number in (1, 2, 204)
        workflow = "Late" if number == 204 else "Feed"
        held = replace(
            held,
            workflow=workflow,
            params="{}",
            target=f"{stored.folder}/wide.py:{workflow}",
            status=Status.FAILED if failed else Status.DONE,
            started_at=store.now() - (205 - number) * hour,
        )
        assert store.release(held)
    store.close()
    return stored


def names(place: Place, *words: str) -> list[str]:
    ended = place.call("list", "--json", *words)
    assert ended.returncode == 0, ended.stderr
    return [json.loads(line)["container"] for line in ended.stdout.splitlines()]


def test_in_a_pipe_and_as_json_there_are_all(many: Place) -> None:
    every = [f"n{number:03}" for number in range(205)]

    assert names(many) == every
    assert len(many.call("list").stdout.splitlines()) == 206
    assert names(many, "--limit", "2") == ["n203", "n204"]


def test_a_terminal_shows_the_newest_and_says_how_many_more_there_are(
    many: Place,
) -> None:
    terminal = Terminal(many, "list", lines=250)

    assert terminal.close() == 0
    assert "n005" in terminal.text
    assert "n004" not in terminal.text
    assert "5 older ones: --limit 0 shows all" in terminal.text
    # What is not shown is continued too.
    typed = "".join(many.typed("resume", f"{many.folder}/wide.py:Feed").split())
    assert f"next:{typed}" in "".join(terminal.text.split())


def test_only_what_is_asked_for(many: Place) -> None:
    with ptsflow.connect(many.store) as client:
        container, _ = client.get_or_create_task_container("theirs")
        container.add_task("t", is_complete=True, has_failed=True)

    assert names(many, "--failed") == ["n001", "n002", "n204", "theirs"]
    assert names(many, "--failed", "--workflow", "Feed") == ["n001", "n002"]
    assert many.call("list", "--workflow", "Fed").returncode == 4
    assert many.call("list", "--since", "soon").returncode == 2


def test_since_is_about_what_was_made_began_or_ended(many: Place) -> None:
    assert len(names(many, "--since", "1h")) == 205, "all were made just now"
    assert names(many, "--since", "1ms") == []


@pytest.fixture
def wide(stored: Place) -> Place:
    """Return a folder where a workflow with 301 tasks has run."""
    (stored.folder / "wide.py").write_text(WIDE)
    assert stored.call("run", "wide.py:Wide", "-p", "size=300", "-q").returncode == 1
    return stored


def test_of_a_big_container_counts_and_what_matters_are_shown(wide: Place) -> None:
    ended = wide.call("show", "Wide")

    lines = [line.split() for line in ended.stdout.splitlines()]
    assert ["300", "each", "297", "done", "·", "3", "failed"] in lines
    assert ["1", "numbers", "1", "done"] in lines
    failed = lines[lines.index(["failed"]) : lines.index(["slowest"])]
    assert {row[6] for row in failed if row[:1] == ["✘"]} == {
        *("each[7]", "each[107]", "each[207]")
    }
    assert len(lines[lines.index(["slowest"]) :]) == 14
    assert lines[-1] == [
        "--all",
        "shows",
        "all",
        "tasks,",
        "--failed",
        "those",
        "that",
        "failed",
    ]
    assert "-c Wide:size=300 --stored" in ended.stderr
    assert "show Wide:size=300 'each[7]'" in ended.stderr


def test_all_and_failed_show_all_and_those_that_failed(wide: Place) -> None:
    whole = wide.call("show", "Wide", "--all").stdout
    failed = wide.call("show", "Wide", "--failed").stdout.splitlines()

    assert all(f"each[{number}]" in whole for number in range(300))
    assert len(failed) == 4
    assert len(wide.json("show", "Wide")["tasks"]) == 301
    assert [t["name"] for t in wide.json("show", "Wide", "--failed")["tasks"]] == [
        *("each[7]", "each[107]", "each[207]")
    ]
    assert wide.call("show", "Wide", "each[7]", "--failed").returncode == 2


def test_of_a_step_with_many_items_some_are_shown(wide: Place) -> None:
    ended = wide.call("show", "Wide", "each")

    assert len(ended.stdout.splitlines()) == 201
    assert ended.stderr.startswith("100 more; show --failed")
