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
