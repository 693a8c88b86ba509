"""`ptsflow help`: the manual, where a person looks for it."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.cli.calling import Place
from tests.cli.terminal import Terminal
from tests.support.processes import ROOT

TOPICS = sorted((ROOT / "ptsflow" / "manual").glob("*.md"))


def test_help_lists_every_topic_with_what_it_says(place: Place) -> None:
    ended = place.call("help")

    listed = [line.split()[0] for line in ended.stdout.splitlines()]
    assert listed == [path.stem for path in TOPICS]
    assert "cron" not in ended.stdout
    assert "Running unattended" in ended.stdout
    assert (ended.stderr, ended.returncode) == ("", 0)


@pytest.mark.parametrize("path", TOPICS, ids=lambda path: path.stem)
def test_in_a_pipe_a_topic_is_the_text_as_it_was_written(
    place: Place, path: Path
) -> None:
    assert place.call("help", path.stem).stdout == path.read_text(encoding="utf-8")


def test_an_unknown_topic_is_refused_with_those_that_there_are(place: Place) -> None:
    ended = place.call("help", "retrys")

    assert ended.stderr == (
        "ptsflow: help: there is no topic 'retrys' (did you mean 'retries'?); there are "
        f"{', '.join(path.stem for path in TOPICS)}\n"
    )
    assert (ended.stdout, ended.returncode) == ("", 2)


def test_on_a_terminal_a_topic_has_tables_and_links_to_commands(place: Place) -> None:
    terminal = Terminal(place, "help", "cluster", lines=100)

    assert terminal.close() == 0
    assert "| " not in terminal.text, "tables are drawn"
    assert "##" not in terminal.text
    assert "ptsflow help processes" in " ".join(terminal.text.split())
    assert "    @step\n" in terminal.text
    assert b"\x1b[1m" in terminal.raw


def test_the_wheel_has_the_manual(tmp_path: Path) -> None:
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", tmp_path],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )

    (wheel,) = tmp_path.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    assert {f"ptsflow/manual/{path.name}" for path in TOPICS} <= set(names)


FLOW = """
from datetime import date
from enum import Enum
from typing import Literal, Optional

from ptsflow import Secret, Workflow, step

print("printed at the import")

class Mode(Enum):
    FULL = "full"
    DELTA = "delta"

class Daily(Workflow):
    \"\"\"Imports a day.

    All of its tables.
    \"\"\"

    day: date
    tables: list[str] = ["artists", "songs"]
    mode: Mode = Mode.FULL
    kind: Literal["a", "b"] = "a"
    limit: Optional[int] = None
    dry: bool = False
    token: Secret[str] = Secret("s3cr3t")

    @step
    def check(self): pass
"""


def test_help_of_run_tells_of_the_workflow_that_is_named(place: Place) -> None:
    (place.folder / "flow.py").write_text(FLOW)
    ended = place.call("run", "flow.py", "-p", "day=2011-09-30", "--help")

    assert (ended.stderr, ended.returncode) == ("printed at the import\n", 0)
    assert (
        """
Daily:
  Imports a day.

  All of its tables.

Parameters of Daily:
  -p day=     date; must be given
  -p tables=  list[str]; default artists,songs
  -p mode=    one of 'full', 'delta'; default full
  -p kind=    one of 'a', 'b'; default a
  -p limit=   int | None; default none
  -p dry=     bool; default no
  -p token=   Secret[str]; env:VARIABLE or file:PATH; default ***

Options:
"""
        in ended.stdout
    )


def test_help_of_run_is_there_without_a_workflow_too(place: Place) -> None:
    (place.folder / "plain.py").write_text(
        "from ptsflow import Workflow, step\n"
        "class Plain(Workflow):\n"
        "    @step\n"
        "    def check(self): pass\n"
    )
    bare = place.call("run", "--help")
    absent = place.call("run", "absent.py", "-h")
    plain = place.call("run", "plain.py", "--help")

    assert bare.stdout == plain.stdout
    assert "TARGET: absent.py: no such file" in absent.stdout
    for ended in (bare, absent, plain):
        assert (ended.stderr, ended.returncode) == ("", 0)
