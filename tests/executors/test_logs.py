"""What bodies print and log can be read after the run, and while it lasts."""

from __future__ import annotations

import os
import re
import time
from contextlib import closing, redirect_stdout
from pathlib import Path

import pytest

import ptsflow
from ptsflow.core.log_window import KEPT, merged
from ptsflow.core.model import LogLine
from ptsflow.stores import open_store
from tests.executors.flows import Dying, One, Telling, Whose
from tests.support.processes import python


@pytest.fixture
def url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    return f"sqlite:///{tmp_path}/pts.db"


def lines_of(url: str, task: str, attempt: int = 1, name: str = "c") -> list[LogLine]:
    """Return what is kept of an attempt."""
    with closing(open_store(url)) as store:
        record, _ = store.create(name)
        with closing(store.logs()) as logs:
            chunks, _ = logs.read(record.uid, task=task, attempt=attempt)
    return [line for *_, line in merged(chunks)]


def told(lines: list[LogLine]) -> list[tuple[str, str]]:
    return [(line.level, line.text) for line in lines]


@pytest.mark.parametrize("executor", ["thread", "process"])
def test_each_attempt_keeps_what_it_printed_and_logged_in_order(
    executor: str, url: str
) -> None:
    before = time.time() * 1000
    ptsflow.run(Telling(), url, executor=executor, container="c")
    first, second = (lines_of(url, "tells", attempt) for attempt in (1, 2))

    usual = [
        ("", "one line"),
        ("DEBUG", "1 of 2"),
        ("", "error"),
        ("INFO", "by the task"),
    ]
    assert told(first)[:6] == [
        *usual,
        ("ERROR", "it failed"),
        ("ERROR", "Traceback (most recent call last):"),
    ]
    assert told(first)[-1] == ("ERROR", "RuntimeError: no such feed")
    assert told(second) == [*usual, ("", "no end")]
    assert all(before - 1 <= line.at <= time.time() * 1000 for line in first + second)


@pytest.mark.parametrize(
    ("act", "last"),
    [
        pytest.param("kills_itself", [], id="SIGKILL"),
        pytest.param("crashes", [], id="crash"),
        pytest.param("exits", [], id="os._exit"),
        pytest.param(
            "closes_its_output",
            [("ERROR", "without a stream")],
            id="a closed stream",
        ),
    ],
)
def test_nothing_is_lost_with_a_process(
    act: str, last: list[tuple[str, str]], url: str
) -> None:
    ptsflow.run(Dying(act=act), url, container="c")
    lines = told(lines_of(url, "dies"))
    whole = "no endlast words" if act == "exits" else "no end"

    assert lines == [("", "printed"), ("ERROR", "logged"), ("", whole), *last]


CONFIGURED = """
import logging
import sys
from ptsflow import Workflow, step

logging.basicConfig(level=logging.INFO, format="%(levelname)s: %(message)s")
own = logging.getLogger("own")
own.addHandler(logging.StreamHandler(sys.stdout))

class Flow(Workflow):
    @step
    def work(self) -> None:
        logging.getLogger("feed").info("loaded")
        own.warning("slow")
        print("printed")

    @step(executor="process")
    def apart(self) -> None:
        self.work()
"""


def test_what_the_workflows_own_handlers_print_is_shown_and_kept_once(
    url: str, tmp_path: Path
) -> None:
    (tmp_path / "flow.py").write_text(CONFIGURED)
    command = ["run", "flow.py", "-c", "c", "--store", url, "-q"]
    done = python("-m", "ptsflow", *command, cwd=tmp_path)

    kept = [("INFO", "loaded"), ("WARNING", "slow"), ("", "printed")]
    assert told(lines_of(url, "work")) == kept
    assert told(lines_of(url, "apart")) == kept
    assert (done.returncode, done.stdout) == (0, "")
    shown = [re.sub(r"^[0-9:]{8}  ", "", line) for line in done.stderr.splitlines()]
    assert shown[:5] == [
        *("INFO: loaded", "slow", "WARNING: slow"),
        *("work | printed", "apart | printed"),
    ]


@pytest.mark.parametrize("executor", ["thread", "process"])
def test_of_a_flood_the_head_and_the_tail_are_kept(
    executor: str, url: str, tmp_path: Path
) -> None:
    with (tmp_path / "shown").open("w") as shown, redirect_stdout(shown):
        ptsflow.run(One(act="prints_100_mb"), url, executor=executor, container="c")
    lines = lines_of(url, "tested")

    (gap,) = (line.text for line in lines if line.text.startswith("["))
    size = sum(len(line.text) for line in lines)
    assert gap == f"[{1001 - len(lines)} lines were left out here]"
    assert {len(line.text) for line in lines if line.text != gap} == {3999}
    assert 2 * KEPT - 10_000 < size < 2 * KEPT + 20_000
    # What a thread prints is seen where it was seen before.
    seen = (tmp_path / "shown").stat().st_size
    assert seen == (100_000_000 if executor == "thread" else 0)


def test_the_task_says_which_process_ran_it(url: str) -> None:
    report = ptsflow.run(Whose(), url, container="c")
    with closing(open_store(url)) as store:
        record, _ = store.create("c")
        (task,) = store.tasks(record.uid)

    assert task.ran_by == f"{os.uname().nodename}:{report.result('work')}"
