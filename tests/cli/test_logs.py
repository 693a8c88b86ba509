"""`ptsflow logs`: what bodies printed and logged, also while they run."""

from __future__ import annotations

import json
import re
import time

import pytest

from tests.cli.calling import Place, appears

FLOW = """
import logging, time
from pathlib import Path
from ptsflow import Retry, TaskHandle, Workflow, step

class Talks(Workflow):
    @step
    def names(self) -> list[str]:
        return ["a", "b"]

    @step(each=names, retry=Retry(1, delay=0), limit=1)
    def say(self, name: str, task: TaskHandle) -> None:
        print(f"hello \\x1b[31m{name}")
        logging.warning("careful, %s", name)
        task.log.info("attempt %d", task.attempt)
        if name == "b" and task.attempt == 1:
            raise OSError("away")

    @step
    def last(self) -> None:
        print("waiting")
        Path("waits").touch()
        while not Path("go").exists():
            time.sleep(0.02)
        print("gone")
"""
STAMP = re.compile(r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3} ")
A = [
    r"say[a] hello \x1b[31ma",
    "say[a] WARNING careful, a",
    "say[a] INFO attempt 1",
]
B = [
    r"say[b] hello \x1b[31mb",
    "say[b] WARNING careful, b",
    "say[b] INFO attempt 1",
    r"say[b] (2) hello \x1b[31mb",
    "say[b] (2) WARNING careful, b",
    "say[b] (2) INFO attempt 2",
]


def talk(place: Place, executor: str) -> Place:
    (place.folder / "flow.py").write_text(FLOW)
    (place.folder / "go").touch()
    ended = place.call("run", "flow.py", "-c", "talks", "--executor", executor)
    assert ended.returncode == 0, ended.stderr
    return place


@pytest.fixture(params=["thread", "process"])
def talked(request: pytest.FixtureRequest, stored: Place) -> Place:
    """Return where a run ended whose bodies printed and logged."""
    return talk(stored, str(request.param))


def lines(text: str) -> list[str]:
    """Return lines without the times at which they were printed."""
    assert all(STAMP.match(line) for line in text.splitlines())
    return [STAMP.sub("", line) for line in text.splitlines()]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([], [*A, *B, "last waiting", "last gone"]),
        (["say[a]"], A),
        (["say"], [*A, *B]),
        (["say[b]", "--attempt", "2"], B[3:]),
        (["--tail", "2"], ["last waiting", "last gone"]),
        (["say", "--tail", "0"], []),
    ],
    ids=["all", "a task", "a step", "an attempt", "a tail", "no tail"],
)
def test_what_was_printed_and_logged_is_shown(
    talked: Place, words: list[str], expected: list[str]
) -> None:
    ended = talked.call("logs", "talks", *words)

    assert (ended.returncode, ended.stderr) == (0, "")
    assert lines(ended.stdout) == expected


def test_that_there_is_nothing_is_said(talked: Place) -> None:
    ended = talked.call("logs", "talks", "names")

    assert (ended.returncode, ended.stdout) == (0, "")
    assert ended.stderr == "talks: names: nothing was printed or logged\n"


def test_as_json_each_line_is_an_object(talked: Place) -> None:
    shown = talked.call("logs", "talks", "say[a]", "--json").stdout.splitlines()
    objects = [json.loads(line) for line in shown]

    assert [list(entry) for entry in objects] == [
        ["schema", "at", "task", "attempt", "level", "text"]
    ] * 3
    assert [(e["level"], e["text"]) for e in objects] == [
        (None, "hello \x1b[31ma"),
        ("WARNING", "careful, a"),
        ("INFO", "attempt 1"),
    ]


def test_a_task_that_is_not_there_is_refused(talked: Place) -> None:
    ended = talked.call("logs", "talks", "say[c]")

    assert ended.returncode == 2
    assert ended.stderr == (
        "ptsflow: container 'talks' has no task 'say[c]' (did you mean 'say[a]'?); "
        f"see {talked.typed('show', 'talks')}\n"
    )


@pytest.mark.parametrize("executor", ["thread", "process"])
def test_a_run_is_followed_to_its_end(stored: Place, executor: str) -> None:
    (stored.folder / "flow.py").write_text(FLOW)
    runner = stored.start("run", "flow.py", "-c", "talks", "--executor", executor)
    appears(stored.folder / "waits")
    time.sleep(1)
    follower = stored.start("logs", "talks", "last", "-f")
    assert follower.stdout is not None
    first = follower.stdout.readline()
    (stored.folder / "go").touch()
    rest, _ = follower.communicate(timeout=100)
    runner.communicate(timeout=100)

    assert lines(first + rest) == ["last waiting", "last gone"]
    assert follower.returncode == 0


def test_lines_that_cannot_be_read_do_not_keep_a_run_from_beginning_anew(
    place: Place,
) -> None:
    talked = talk(place, "thread")
    (kept,) = talked.folder.glob("*.logs")
    for beside in talked.folder.glob("*.logs-*"):
        beside.unlink()
    kept.write_bytes(b"no lines at all " * 100)
    anew = talked.call("run", "flow.py", "-c", "talks", "--fresh")

    assert anew.returncode == 0
    assert (
        f"what earlier runs printed cannot be dropped: {kept}: expected the log lines "
        "of a ptsflow store, found no database; move it away to start over\n"
    ) in anew.stderr


def test_logs_go_with_their_container(talked: Place) -> None:
    talked.call("run", "flow.py", "-c", "talks", "--fresh")
    anew = talked.call("logs", "talks", "say[b]").stdout

    assert lines(anew) == B
