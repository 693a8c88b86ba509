"""The live screen in a terminal: stopped, killed, resized, and written over."""

from __future__ import annotations

import os
import re
import shlex
import signal
from pathlib import Path

import pytest

from tests.cli.calling import Place, appears, flow
from tests.cli.terminal import Terminal
from tests.support.processes import PTSFLOW

CALLS = """
import subprocess, sys
from ptsflow import TaskHandle, Workflow, step

class Calls(Workflow):
    @step
    def calls(self, task: TaskHandle) -> None:
        subprocess.run(["sh", "-c", "echo of a program; echo its error >&2"], check=True)
        sys.stdout.flush()
        subprocess.run(["sh", "-c", "echo to a stream"], stdout=sys.stdout, check=True)
        import os
        child = os.fork()
        if child == 0:
            print("of a fork", flush=True)
            os._exit(0)
        os.waitpid(child, 0)
        print("\\x1b[32min colour\\x1b[0m")
"""


def typed_run(pid: Path) -> str:
    """Return a command that runs until it is told to end, as it is typed."""
    words = ["run", flow("Slow"), "-p", f"pid={pid}", "-c", "one"]
    return shlex.join([*PTSFLOW, *words]) + "\n"


@pytest.fixture
def pid(place: Place) -> Path:
    return place.folder / "pid"


def test_ctrl_z_leaves_the_terminal_and_fg_draws_again(place: Place, pid: Path) -> None:
    terminal = Terminal(place)
    terminal.until(r"\$\Z")
    terminal.type(typed_run(pid))
    terminal.until("Ctrl-C stops gently")
    assert terminal.screen.cursor.hidden

    terminal.type("\x1a")
    stopped = terminal.until(r"Stopped[\s\S]*\$\Z")
    was_hidden = terminal.screen.cursor.hidden
    terminal.type("fg\n")
    terminal.until("Ctrl-C stops gently")
    pid.with_suffix(".done").touch()
    ended = terminal.until(r"✔ one  done in")
    terminal.type("exit\n")

    assert "total" not in stopped
    assert not was_hidden
    assert "total" not in ended
    assert terminal.close() == 0


def test_the_command_after_kill_9_shows_the_cursor(place: Place, pid: Path) -> None:
    terminal = Terminal(place)
    terminal.until(r"\$\Z")
    terminal.type(typed_run(pid))
    appears(pid)
    terminal.until("Ctrl-C stops gently")
    os.kill(int(pid.read_text()), signal.SIGKILL)
    killed = terminal.until("Killed")
    assert terminal.screen.cursor.hidden

    terminal.type(shlex.join([*PTSFLOW, "status"]) + "\n")
    terminal.until("killed   55%")

    assert re.search(r" total .*\n(.*)Killed", killed), "the shell goes on below"
    assert not terminal.screen.cursor.hidden
    terminal.type("exit\n")
    terminal.close()


def test_in_the_background_nothing_is_drawn(place: Place, pid: Path) -> None:
    terminal = Terminal(place)
    terminal.until(r"\$\Z")
    terminal.type(typed_run(pid).rstrip("\n") + " &\n")
    appears(pid)
    terminal.type("echo still $((40 + 2))\n")
    shown = terminal.until("still 42")
    pid.with_suffix(".done").touch()
    terminal.until("done in")
    terminal.type("exit\n")

    assert "total" not in shown
    assert b"\x1b[?25l" not in terminal.raw
    terminal.close()


def test_after_a_resize_the_frame_is_whole(place: Place, pid: Path) -> None:
    words = ["run", flow("Slow"), "-p", f"pid={pid}", "-c", "one"]
    terminal = Terminal(place, *words)
    terminal.until("at it")
    for columns, lines in ((60, 24), (60, 4), (200, 50), (80, 24)):
        terminal.resize(columns, lines)
        terminal.raw = b""
        while terminal.raw.count(b" total ") < 3:
            assert terminal.read(0.1)

        rows = [row for row in terminal.text.split("\n") if row]
        assert len(rows) == min(4, lines - 1)
        assert rows[-1].startswith(" total ")
        assert rows[-1].endswith("Ctrl-C stops gently")
    pid.with_suffix(".done").touch()
    assert terminal.close() == 0


def test_what_programs_write_stands_above_the_frame_with_the_task(place: Place) -> None:
    (place.folder / "calls.py").write_text(CALLS)

    terminal = Terminal(place, "run", "calls.py")
    assert terminal.close() == 0

    lines = terminal.text.splitlines()
    said = lines[: lines.index(next(x for x in lines if "done in" in x))]
    assert sorted(said) == [
        "calls | in colour",
        "calls | its error",
        "calls | of a fork",
        "calls | of a program",
        "calls | to a stream",
    ]
    assert b"\x1b[32min colour" in terminal.raw


def test_enter_leaves_no_line_of_the_frame_behind(place: Place, pid: Path) -> None:
    words = ["run", flow("Slow"), "-p", f"pid={pid}", "-c", "one"]
    terminal = Terminal(place, *words, lines=8)
    terminal.until("at it")
    for _ in range(3):
        terminal.type("\n")
        terminal.raw = b""
        while terminal.raw.count(b" total ") < 2:
            assert terminal.read(0.1)
    pid.with_suffix(".done").touch()
    assert terminal.close() == 0

    kept = ["".join(row[x].data for x in row) for row in terminal.screen.history.top]
    assert not [row for row in kept if "running" in row]
