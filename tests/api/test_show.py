"""`run(show=True)`: lines, a live screen, or a cell of a notebook; and what a run raises."""

from __future__ import annotations

import contextlib
import os
import pickle
import pty
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import ptsflow
from ptsflow import Fail, Workflow, step
from ptsflow.display.notebook import Cell, Picture
from ptsflow.display.run_state import Board
from ptsflow.errors import RunFailed
from ptsflow.events import Notice, RunEnded, RunEnding
from tests.support.processes import environment, python
from tests.unit.screens import begun, container, task

SCRIPT = """
import time
import ptsflow
from ptsflow import TaskHandle, Workflow, step

class Shown(Workflow):
    @step
    def names(self) -> list[str]:
        return ["a", "<b>"]

    @step(each=names)
    def load(self, name: str, task: TaskHandle) -> None:
        for _ in task.track(range(6)):
            time.sleep(0.2)
        print("said by", name)
        if name == "a":
            raise ptsflow.Fail("a is bad")

if __name__ == "__main__":
    report = ptsflow.run(Shown(), store="memory:", show=True)
    print("out:", report.errors)
"""


class Failing(Workflow):
    @step
    def names(self) -> list[int]:
        return list(range(8))

    @step(each=names)
    def load(self, number: int) -> None:
        raise Fail(f"{number} is bad\nand more")


class Fine(Workflow):
    @step(optional=True)
    def may(self) -> None:
        raise Fail("never mind")


# -- what a report raises ---------------------------------------------------


def test_a_report_names_its_failures_and_raises_them() -> None:
    report = ptsflow.run(Failing(), store="memory:")

    assert list(report.errors) == report.failed == [f"load[{i}]" for i in range(8)]
    assert report.errors["load[3]"].startswith("3 is bad")
    with pytest.raises(RunFailed) as raised:
        report.raise_for_failure()
    assert str(raised.value) == (
        "container 'Failing' failed: load[0]: 0 is bad; load[1]: 1 is bad; "
        "load[2]: 2 is bad; load[3]: 3 is bad; load[4]: 4 is bad; and 3 more"
    )
    assert raised.value.errors == report.errors
    again = pickle.loads(pickle.dumps(raised.value))  # noqa: S301 - made here
    assert (str(again), again.container) == (str(raised.value), "Failing")


def test_a_report_of_a_run_that_is_fine_is_returned() -> None:
    report = ptsflow.run(Fine(), store="memory:")

    assert report.raise_for_failure() is report
    assert report.errors == {"may": "never mind"}


# -- lines and the terminal -------------------------------------------------


@pytest.fixture
def script(tmp_path: Path) -> Path:
    path = tmp_path / "shown.py"
    path.write_text(SCRIPT)
    return path


def test_without_a_terminal_lines_go_to_standard_error(script: Path) -> None:
    ended = subprocess.run(
        [sys.executable, script],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )

    assert ended.stdout == "out: {'load[a]': 'a is bad'}\n"
    assert "  load[a] | said by a\n" in ended.stderr
    assert "  load[<b>]  done in " in ended.stderr
    assert "✘ Shown  failed in " in ended.stderr


def test_nothing_is_shown_unless_asked_for(capfd: pytest.CaptureFixture[str]) -> None:
    ptsflow.run(Fine(), store="memory:")

    assert capfd.readouterr() == ("", "")


def test_on_a_terminal_it_is_live_and_leaves_standard_output_alone(
    script: Path,
) -> None:
    ours, theirs = pty.openpty()
    env = environment(TERM="xterm-256color")
    env.pop("CI", None)
    with subprocess.Popen(
        [sys.executable, script],
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=theirs,
        text=True,
    ) as process:
        os.close(theirs)
        raw = b""
        with contextlib.suppress(OSError):
            while data := os.read(ours, 65_536):
                raw += data
        out = process.stdout.read() if process.stdout else ""
    os.close(ours)

    assert out == "out: {'load[a]': 'a is bad'}\n"
    assert b"\x1b[?25l" in raw
    assert raw.rstrip().rfind(b"\x1b[?25h") > raw.rfind(b"\x1b[?25l")
    assert "load[a] | said by a" in raw.decode()
    assert "✘ " in raw.decode()


#: In a process of its own, where nothing else opens a file or begins a thread.
_COUNTING = """
import os, threading, time
import ptsflow
from ptsflow import Workflow, step

class Fine(Workflow):
    @step
    def work(self) -> None: ...

for _ in range(4):
    ptsflow.run(Fine(), store="memory:", show=True)
    while threading.active_count() > 1:
        time.sleep(0.001)
    print(len(os.listdir("/proc/self/fd")))
"""


def test_its_threads_and_descriptors_end_with_the_run(tmp_path: Path) -> None:
    (tmp_path / "counting.py").write_text(_COUNTING)
    ended = python("counting.py", cwd=tmp_path)

    first, *later = ended.stdout.splitlines()[-4:]
    assert later == [first] * 3, ended.stderr


# -- notebooks --------------------------------------------------------------


class Handle:
    """A cell of a notebook that remembers what it showed."""

    def __init__(self, first: Picture) -> None:
        self.shown = [first]

    def update(self, picture: Picture) -> None:
        self.shown.append(picture)


def test_a_cell_ends_with_the_summary_and_the_last_notices() -> None:
    handles: list[Handle] = []

    def display(picture: Picture) -> Handle:
        handles.append(Handle(picture))
        return handles[0]

    board = Board()
    cell = Cell(board, lambda: 9_000, display)
    for event in (
        begun([task("fetch")], at=0),
        Notice(at=0, text="look: <here>"),
        RunEnded(at=9_000, container=container(), how=RunEnding.FAILED),
    ):
        board(event)
        cell(event)
    cell.close()
    (handle,) = handles
    last = handle.shown[-1]

    assert "ended in 9.0s" in repr(last)
    assert "total" not in repr(last)
    assert "look: &lt;here&gt;" in last._repr_html_()
    assert repr(handle.shown[0]) == "starting"


@pytest.fixture
def kernel() -> Iterator[Any]:
    """Return a client of a real kernel."""
    pytest.importorskip("ipykernel")
    manager_of = pytest.importorskip("jupyter_client.manager")
    manager, client = manager_of.start_new_kernel(kernel_name="python3")
    yield client
    client.stop_channels()
    manager.shutdown_kernel(now=True)


@pytest.mark.filterwarnings("ignore")
def test_in_a_kernel_one_cell_is_drawn_anew(kernel: Any, script: Path) -> None:
    messages: list[dict[str, Any]] = []
    code = script.read_text()
    reply = kernel.execute_interactive(
        code, output_hook=messages.append, timeout=60, allow_stdin=False
    )
    shown = [m for m in messages if m["msg_type"].endswith("display_data")]
    ids = {m["content"]["transient"]["display_id"] for m in shown}
    streams = "".join(
        m["content"]["text"] for m in messages if m["msg_type"] == "stream"
    )
    last = shown[-1]["content"]["data"]

    assert reply["content"]["status"] == "ok", reply
    assert [m["msg_type"] for m in shown[:2]] == ["display_data", "update_display_data"]
    assert len(ids) == 1
    assert 3 <= len(shown) <= 40
    assert "✘ Shown  failed in" in last["text/plain"]
    assert "load[&lt;b&gt;]" in last["text/html"]
    assert "load[a] | said by a\n" in streams
    assert "out: {'load[a]': 'a is bad'}" in streams
