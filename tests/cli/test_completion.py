"""What the shell asks when somebody presses Tab."""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path

import pytest

from tests.cli.calling import Place
from tests.support.processes import PTSFLOW

FLOW = """
import sys
from enum import Enum
from typing import Literal

from ptsflow import Secret, Workflow, step

print("printed at the import")
print("and to the other stream", file=sys.stderr)

class Mode(Enum):
    FULL = "full"
    DELTA = "delta"

class Daily(Workflow):
    container = "daily:{day} of [{kind}]"
    day: str = "2011-09-30"
    mode: Mode = Mode.FULL
    kind: Literal["a", "b"] = "a"
    dry: bool = False
    token: Secret[str] | None = None

    @step
    def check(self) -> list[str]:
        return ["songs", "art's"]

    @step(each=check)
    def load(self, table: str) -> str:
        return table
"""
#: Asks `ptsflow` as bash does, and prints a proposal a line.
ASK = r"""
ptsflow() { "${PTSFLOW[@]}" "$@"; }
compopt() { echo "option ${*: -1}"; }
source "$SCRIPT"
_ptsflow_completion ptsflow
printf '%s\n' "${COMPREPLY[@]}"
"""


@pytest.fixture(scope="module")
def script(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the file that a person has the shell read."""
    place = Place(tmp_path_factory.mktemp("script"))
    place.env["_PTSFLOW_COMPLETE"] = "bash_source"
    ended = place.call()
    assert (ended.stderr, ended.returncode) == ("", 0)
    (place.folder / "script").write_text(ended.stdout)
    return place.folder / "script"


@pytest.fixture
def home(tmp_path: Path, script: Path) -> Place:
    place = Place(tmp_path)
    place.env["SCRIPT"] = str(script)
    (tmp_path / "flow.py").write_text(FLOW)
    (tmp_path / "broken.py").write_text("raise OSError('no')\n")
    return place


def proposed(place: Place, line: str) -> list[str]:
    """Return what bash is told at the end of a line; nothing is said beside it."""
    words = re.findall(r"[^\s:=]+|[:=]", line)
    words += [""] if line[-1].isspace() else []
    array = " ".join(map(shlex.quote, words))
    state = (
        f"PTSFLOW=({shlex.join(PTSFLOW)}); COMP_LINE={shlex.quote(line)}; "
        f"COMP_POINT={len(line)}; COMP_WORDS=({array}); COMP_CWORD={len(words) - 1}"
    )
    ended = subprocess.run(
        ["bash", "--norc", "-c", state + ASK],
        cwd=place.folder,
        env=place.env,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.stderr == ""
    return [entry for entry in ended.stdout.split("\n") if entry]


@pytest.mark.parametrize(
    ("line", "answer"),
    [
        ("ptsflow stat", ["status"]),
        ("ptsflow run fl", ["option default"]),
        ("ptsflow run flow.py:", ["Daily"]),
        ("ptsflow graph flow:D", ["Daily"]),
        (
            "ptsflow run flow.py -p ",
            ["option nospace"] * 5 + ["day=", "mode=", "kind=", "dry=", "token="],
        ),
        ("ptsflow run flow.py -p mode=", ["full", "delta"]),
        ("ptsflow resume fl", ["option default"]),
        ("ptsflow resume flow.py:", ["Daily"]),
        ("ptsflow resume flow.py -p mode=", ["full", "delta"]),
        ("ptsflow submit flow.py -p mode=", ["full", "delta"]),
        ("ptsflow worker flow.py:", ["Daily"]),
        ("ptsflow worker flow.py -p mode=", ["full", "delta"]),
        ("ptsflow run flow.py -p token=e", ["option nospace", "env:"]),
        ("ptsflow run flow.py --only ", ["check", "load"]),
        ("ptsflow run flow.py --executor p", ["process"]),
        ("ptsflow --store m", ["option nospace", "mongodb://"]),
        ("ptsflow help st", ["steps", "stores"]),
        ("ptsflow run broken.py -p ", []),
        ("ptsflow status ", []),
        ("ptsflow show absent ", []),
    ],
)
def test_what_is_proposed_before_anything_ran(
    home: Place, line: str, answer: list[str]
) -> None:
    assert proposed(home, line) == answer
    assert not (home.folder / "pts.db").exists()


def test_containers_tasks_and_items_are_proposed_as_they_are_typed(home: Place) -> None:
    assert home.call("run", "flow.py").returncode == 0
    items = ["load\\[songs\\]", "load\\[art\\'s\\]"]
    for line, answer in (
        ("ptsflow status daily:20", ["2011-09-30\\ of\\ \\[a\\]"]),
        ("ptsflow show 'daily:20", ["daily:2011-09-30 of [a]"]),
        ("ptsflow logs daily lo", items),
        ("ptsflow reset daily --step ", ["check", "load", *items]),
        ("ptsflow run flow.py --from lo", ["load", *items]),
        ("ptsflow errors D", ["Daily"]),
        ("ptsflow history D", ["Daily"]),
        ("ptsflow history daily:", ["2011-09-30\\ of\\ \\[a\\]"]),
        ("ptsflow retry --all --workflow D", ["Daily"]),
        ("ptsflow resume flow.py daily:", ["2011-09-30\\ of\\ \\[a\\]"]),
        ("ptsflow run flow.py -p kind=b --only ", ["check", "load"]),
    ):
        assert proposed(home, line) == answer, line


def test_a_store_that_is_away_is_not_waited_for(home: Place) -> None:
    home.env["PTSFLOW_STORE"] = "mongodb://127.0.0.1:1/pts"
    assert proposed(home, "ptsflow status ") == []


def test_an_older_script_of_click_is_still_answered(place: Place) -> None:
    place.env |= {
        "_PTSFLOW_COMPLETE": "bash_complete",
        "COMP_WORDS": "ptsflow stat",
        "COMP_CWORD": "1",
    }
    ended = place.call()

    assert ended.stdout == "plain,status\n"
    assert (ended.stderr, ended.returncode) == ("", 0)


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_other_shells_are_answered_too(home: Place, shell: str) -> None:
    home.env |= {
        "_PTSFLOW_COMPLETE": f"{shell}_complete",
        "COMP_WORDS": "ptsflow run flow.py -p m",
        "COMP_CWORD": "m" if shell == "fish" else "4",
    }
    ended = home.call()

    assert "mode=" in ended.stdout
    assert ended.stderr == ""
