"""stdout is for data alone, and that output cannot be written changes nothing."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.cli.calling import Place, appears
from tests.support.processes import PTSFLOW

LOUD = """
import logging, subprocess, sys, threading, time
from ptsflow import Workflow, step

print("imported")

def late():
    while True:
        print("late")
        time.sleep(0.001)

class Loud(Workflow):
    @step(retry=0, after=())
    def thread(self) -> int:
        threading.Thread(target=late, daemon=True).start()
        subprocess.run(["echo", "a program"], check=False)
        logging.getLogger("feed").warning("slow")
        for number in range(500):
            print("thread", end=" ")
            print(number, flush=True)
        return 1

    @step(retry=0, after=())
    def other(self) -> None:
        for number in range(500):
            print("other", end=" ")
            sys.stderr.write(f"to stderr {number}\\n")
            sys.stdout.write(f"{number}\\n")

    @step(retry=0, executor="process", after=())
    def process(self) -> None:
        print("from a process")
        print("error", file=sys.stderr)
"""
QUIET = """
from ptsflow import Workflow, step

class Quiet(Workflow):
    @step
    def fail(self, ) -> None:
        raise LookupError("nothing there")
"""


@pytest.fixture
def loud(place: Place) -> Place:
    (place.folder / "loud.py").write_text(LOUD)
    (place.folder / "quiet.py").write_text(QUIET.replace("@step", "@step(retry=0)"))
    return place


def call(place: Place, line: str) -> subprocess.CompletedProcess[str]:
    """Have a shell call `ptsflow` with streams as the line says."""
    return subprocess.run(
        ["bash", "-c", line.replace("ptsflow", " ".join(PTSFLOW))],
        cwd=place.folder,
        env=place.env,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_json_is_alone_on_stdout_and_lines_on_stderr_are_whole(loud: Place) -> None:
    ended = loud.call("run", "loud.py", "--json")
    shown = [re.sub(r"^[0-9:]{8}  ", "", line) for line in ended.stderr.splitlines()]

    assert (ended.returncode, json.loads(ended.stdout)["status"]) == (0, "done")
    assert [x for x in shown if x.startswith("thread |")] == [
        f"thread | thread {number}" for number in range(500)
    ]
    others = [x for x in shown if x.startswith("other |")]
    # Of two streams of a process no order is known, each has its own.
    errors = [x for x in others if x.startswith("other | to stderr ")]
    assert errors == [f"other | to stderr {number}" for number in range(500)]
    assert [x for x in others if x not in errors] == [
        f"other | other {number}" for number in range(500)
    ]
    assert {"process | from a process", "process | error"} <= set(shown)
    assert {"a program", "slow", "late"} <= set(shown)
    assert shown.count("imported") == 1


def test_what_a_module_prints_when_it_is_imported_is_no_part_of_the_graph(
    loud: Place,
) -> None:
    graph = loud.call("graph", "loud.py", "--format", "mermaid")
    planned = loud.call("run", "loud.py", "-n", "--json")

    assert graph.stdout.startswith("flowchart TD\n")
    assert "imported" in graph.stderr
    assert json.loads(planned.stdout)["container"] == "Loud"


@pytest.mark.parametrize(
    "streams",
    [
        *("2>&-", ">&-", "<&- >&- 2>&-", "2>/dev/full", ">/dev/full 2>&1"),
        *("--json >&-", "--json >/dev/full", "2>&1 | true", "2> >(true) | true"),
    ],
)
def test_streams_that_take_nothing_change_no_outcome(loud: Place, streams: str) -> None:
    run = f"ptsflow run loud.py {streams}; exit ${{PIPESTATUS[0]}}"
    failing = f"ptsflow run quiet.py {streams}; exit ${{PIPESTATUS[0]}}"

    assert (call(loud, run).returncode, call(loud, failing).returncode) == (0, 1)
    assert loud.json("status", "Loud")["counts"]["done"] == 3
    assert "from a process" in loud.call("logs", "Loud").stdout


@pytest.mark.parametrize("encoding", ["idna", "punycode", "utf-16", "utf-7"])
def test_an_encoding_that_is_not_made_for_texts_changes_no_outcome(
    loud: Place, encoding: str
) -> None:
    run = f"PYTHONIOENCODING={encoding} ptsflow run loud.py >out 2>&1; exit $?"
    status = f"PYTHONIOENCODING={encoding} ptsflow status >out 2>&1; exit $?"

    assert (call(loud, run).returncode, call(loud, status).returncode) == (0, 0)


def test_warnings_that_are_errors_stand_in_no_log(loud: Place) -> None:
    call(loud, "PYTHONWARNINGS=error ptsflow run loud.py")

    assert "Warning" not in loud.call("logs", "Loud").stdout


@pytest.mark.parametrize("streams", [">&-", ">/dev/full", "2>&-", "2>/dev/full"])
@pytest.mark.parametrize(
    ("words", "code"),
    [
        *(("status", 0), ("list --json", 0), ("--help", 0), ("--version", 0)),
        *(("errors", 1), ("errors --json", 1), ("history", 0), ("resume", 2)),
        *(("retry --all -n", 0), ("resume quiet.py", 1)),
        *(("graph loud.py", 0), ("status nope", 2), ("statsu", 2), ("help cli", 0)),
    ],
)
def test_what_looks_ends_as_ever(
    loud: Place, words: str, code: int, streams: str
) -> None:
    loud.call("run", "quiet.py")

    assert call(loud, f"ptsflow {words} {streams}").returncode == code


def test_that_data_was_lost_is_said(loud: Place) -> None:
    ended = call(loud, "ptsflow run loud.py --json >/dev/full")

    assert ended.returncode == 0
    assert "ptsflow: standard output cannot be written: " in ended.stderr


FLOOD = """
from pathlib import Path
import sys, time
from ptsflow import Workflow, step

class Flood(Workflow):
    @step
    def fill(self) -> None:
        for number in range(20_000):
            print("x" * 100)
        Path("full").touch()
        time.sleep(SECONDS)
"""


@pytest.mark.parametrize("how", ["ends", "timeout", "SIGTERM", "cancel"])
def test_a_stderr_that_nobody_reads_makes_a_run_neither_deaf_nor_wait(
    place: Place, how: str
) -> None:
    seconds = "0" if how == "ends" else "60"
    (place.folder / "flood.py").write_text(FLOOD.replace("SECONDS", seconds))
    reading, writing = os.pipe()
    words = ["run", "flood.py", "--timeout", "3" if how == "timeout" else "60"]
    process = subprocess.Popen(
        [*PTSFLOW, *words],
        cwd=place.folder,
        env=place.env,
        stdout=writing,
        stderr=writing,
    )
    os.close(writing)
    appears(place.folder / "full")
    if how == "SIGTERM":
        for _ in range(2):
            process.send_signal(signal.SIGTERM)
            time.sleep(0.5)
    if how == "cancel":
        place.call("cancel", "Flood", "--now")
    code = process.wait(30)
    os.close(reading)

    wanted = {"ends": 0, "timeout": 124, "SIGTERM": 143, "cancel": 143}
    assert code == wanted[how]


def test_a_descriptor_that_was_closed_is_not_taken_by_the_store(place: Place) -> None:
    flow = place.folder / "flow.py"
    flow.write_text(
        "import os\n"
        "from pathlib import Path\n"
        "from ptsflow import Workflow, step\n"
        "class Looks(Workflow):\n"
        "    @step\n"
        "    def look(self) -> list[str]:\n"
        "        return [os.readlink(f'/proc/self/fd/{n}') for n in (0, 1, 2)]\n"
    )
    call(place, "ptsflow run flow.py <&- >&- 2>&-")
    shown = place.json("show", "Looks", "look")

    assert {Path(name) for name in shown["result"]} == {Path(os.devnull)}
