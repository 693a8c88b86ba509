"""What the process exits with where only a fault can bring it about, and the terminal."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from pathlib import Path

import pytest

from ptsflow.cli.common import Common
from ptsflow.cli.main import call
from ptsflow.cli.next_command import command, left_out
from ptsflow.display.next_command import typed
from ptsflow.errors import LeaseLost
from ptsflow.stores.sqlite.store import SqliteStore
from tests.cli.calling import Place, appears, flow
from tests.cli.terminal import Terminal


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Return the URL of a store that this process uses."""
    url = f"sqlite:///{tmp_path}/pts.db"
    monkeypatch.setenv("PTSFLOW_STORE", url)
    monkeypatch.setenv("CI", "1")
    return url


@pytest.mark.usefixtures("store")
def test_a_bug_exits_with_3_and_says_so_in_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError("by\x1bzero")

    monkeypatch.setattr(SqliteStore, "claim", broken)

    code = call(["run", flow("Steady")])

    assert code == 3
    assert capsys.readouterr().err == (
        "ptsflow: this is a bug in ptsflow: ZeroDivisionError: by\\x1bzero; "
        "-v shows where\n"
    )


LOADS_NOTHING = """
import sys
from ptsflow import Workflow, step

class Lost(Workflow):
    fails: bool

    @step(retry=0)
    def path(self) -> None:
        sys.path.clear()
        if self.fails:
            raise OSError("away")
"""


@pytest.mark.parametrize(("fails", "code"), [("no", 0), ("yes", 1)])
def test_the_end_of_a_run_needs_nothing_that_a_body_took_away(
    place: Place, fails: str, code: int
) -> None:
    (place.folder / "lost.py").write_text(LOADS_NOTHING)
    ended = place.call("run", "lost.py", "-p", f"fails={fails}")

    assert ended.returncode == code, ended.stderr
    assert ended.stderr.splitlines()[-1].startswith("next: ")


@pytest.mark.usefixtures("store")
def test_verbose_shows_where_a_bug_is(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError("by zero")

    monkeypatch.setattr(SqliteStore, "claim", broken)

    code = call(["-v", "run", flow("Steady")])

    text = capsys.readouterr().err
    assert code == 3
    assert text.startswith("Traceback (most recent call last):")
    assert text.endswith(
        "ptsflow: this is a bug in ptsflow: ZeroDivisionError: by zero\n"
    )


@pytest.mark.usefixtures("store")
def test_a_lost_lease_exits_with_75_and_running_again_is_the_next_command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def lost(*_: object, **__: object) -> None:
        raise LeaseLost("container 'x': somebody took it")

    monkeypatch.setattr(SqliteStore, "commit", lost)

    code = call(["run", flow("Steady"), "-j", "2"])

    lines = capsys.readouterr().err.splitlines()
    assert code == 75
    assert lines[-2] == "ptsflow: container 'x': somebody took it"
    assert f"run {flow('Steady')} -c Steady:count=3 --stored -j 2 --store" in lines[-1]


def test_a_pipe_that_breaks_loses_no_exit_code(place: Place) -> None:
    codes = []
    for words in (["Steady"], ["Broken", "-p", "flag=no"]):
        process = place.start("run", flow(words[0]), *words[1:], "--json")
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        process.stderr.close()
        codes.append(process.wait(30))

    assert codes == [0, 1]


@pytest.mark.parametrize(
    ("url", "end", "said"),
    [
        pytest.param(
            "sqlite:///x%3Fy.db", "--store sqlite:///{here}/x%3Fy.db", "", id="a file"
        ),
        pytest.param("mongodb://host/db", "--store mongodb://host/db", "", id="mongod"),
        pytest.param(
            "mongodb://me:hush@host/db",
            "list",
            "the store's URL has a password: give it in PTSFLOW_STORE",
            id="password",
        ),
    ],
)
def test_a_command_names_the_store_unless_that_has_a_password(
    url: str, end: str, said: str
) -> None:
    common = Common(store=url)

    assert command(common, ["list"]).endswith(end.format(here=Path.cwd()))
    assert left_out(common) == said


@pytest.mark.parametrize(
    ("word", "typed_as"),
    [
        pytest.param("plain", "plain", id="plain"),
        pytest.param("a b'c", "'a b'\"'\"'c'", id="quotes"),
        pytest.param("a\x1b\n'\\", r"$'a\x1b\n\'\\'", id="controls"),
    ],
)
def test_commands_to_type_next_are_quoted_for_a_shell(word: str, typed_as: str) -> None:
    assert typed([word]) == typed_as
    # `$'...'` is bash's.
    echoed = subprocess.run(
        ["bash", "-c", f"printf %s {typed_as}"], capture_output=True, check=True
    )
    assert echoed.stdout.decode() == word


# -- the terminal -----------------------------------------------------------


def test_the_live_screen_shows_steps_and_leaves_the_summary(place: Place) -> None:
    pid = place.folder / "pid"
    terminal = Terminal(place, "run", flow("Slow"), "-p", f"pid={pid}", "-c", "one")

    terminal.until("at it")
    shown = terminal.until("Ctrl-C stops gently")
    pid.with_suffix(".done").touch()
    code = terminal.close()

    lines = shown.splitlines()
    assert re.match(r"▶ running   55%   one   lease \S+   Slow\(pid=", lines[0])
    assert re.search(r"^ ✔ quick", shown, re.MULTILINE)
    assert re.search(r"^ ▶ work   ━━─+  10%    [\d.]+m?s  at it", shown, re.MULTILINE)
    assert re.search(r"^ total  ━+╸?─+  55%   elapsed", shown, re.MULTILINE)
    assert lines[-1].endswith("Ctrl-C stops gently")
    assert code == 0
    assert "total" not in terminal.text
    assert terminal.text.splitlines()[0].startswith("✔ one  done in")
    shown_next = place.typed("show", "one").split()
    assert "".join(shown_next) in "".join(terminal.text.split())
    assert not terminal.screen.cursor.hidden


def test_ctrl_c_on_the_live_screen_leaves_a_usable_terminal(place: Place) -> None:
    pid = place.folder / "pid"
    words = ["run", flow("Slow"), "-p", f"pid={pid}", "-p", "gentle=no", "-c", "one"]
    terminal = Terminal(place, *words)
    appears(pid)

    os.kill(terminal.pid, signal.SIGINT)
    terminal.until("once more stops at once")
    os.kill(terminal.pid, signal.SIGINT)

    assert terminal.close() == 130
    assert not terminal.screen.cursor.hidden
    assert "· one  stopped in" in terminal.text
    # The command to type next is whole, however narrow the terminal is.
    words = f"-c one --stored --store {place.store}".split()
    assert "".join(words) in "".join(terminal.text.split())


def test_no_color_is_honoured(place: Place) -> None:
    place.env["NO_COLOR"] = "1"

    terminal = Terminal(place, "run", flow("Steady"))

    assert terminal.close() == 0
    assert not re.search(rb"\x1b\[[\d;]*3\d[;m]", terminal.raw)


@pytest.mark.parametrize(
    "setting",
    [
        pytest.param({"TERM": "dumb"}, id="dumb terminal"),
        pytest.param({"CI": "1"}, id="CI"),
    ],
)
def test_there_is_no_live_screen_where_it_would_not_work(
    place: Place, setting: dict[str, str]
) -> None:
    place.env.update(setting)

    terminal = Terminal(place, "run", flow("Steady"))

    assert terminal.close() == 0
    assert b"\x1b[?25l" not in terminal.raw
    assert "numbers  started" in terminal.text


def test_what_bodies_print_stands_above_the_screen(place: Place) -> None:
    (place.folder / "talks.py").write_text(
        "from ptsflow import Workflow, step\n"
        "class Talks(Workflow):\n"
        "    @step\n"
        "    def say(self):\n"
        "        print('[red]said[/red] :smile:')\n"
    )

    terminal = Terminal(place, "run", "talks.py")

    assert terminal.close() == 0
    assert terminal.text.splitlines()[0] == "say | [red]said[/red] :smile:"


def test_reset_asks_on_a_terminal(place: Place) -> None:
    place.call("run", flow("Steady"))

    no = Terminal(place, "reset", "Steady")
    no.until(r"Forget it\? \[y/N\]:")
    os.write(no._fd, b"n\n")
    refused = no.close()
    yes = Terminal(place, "reset", "Steady")
    yes.until(r"Forget it\? \[y/N\]:")
    stands = place.json("status")["status"]
    os.write(yes._fd, b"y\n")

    assert refused == 130
    assert stands == "done"
    assert yes.close() == 0
    assert place.json("status")["status"] == "pending"


def test_lines_are_cut_to_the_terminal(place: Place) -> None:
    place.call("run", flow("Broken"), "-p", "flag=no")

    terminal = Terminal(place, "show", "Broken")

    assert terminal.close() == 0
    task = next(
        line
        for line in terminal.text.splitlines()
        if " fragile " in line and "%" in line
    )
    assert task.endswith("…")


@pytest.mark.parametrize(("name", "code"), [("SIGTERM", 143), ("SIGINT", 130)])
@pytest.mark.parametrize(
    "words",
    [
        ("run", "slow.py"),
        ("run", "slow"),
        ("worker", "slow.py"),
        ("run", flow("Steady")),  # with a listener in that module
    ],
)
def test_a_signal_while_a_module_is_imported_is_no_fault_of_the_module(
    words: tuple[str, str], name: str, code: int, place: Place
) -> None:
    (place.folder / "slow.py").write_text(
        f"import os, signal, time\nos.kill(os.getpid(), signal.{name})\ntime.sleep(60)\n"
    )
    place.env |= {"PYTHONPATH": f"{place.folder}:{place.env['PYTHONPATH']}"}
    if "slow" not in words[1]:
        place.env["PTSFLOW_LISTENERS"] = "slow:make"
    ended = place.call(*words)

    # A worker that is stopped ends well: it has taken nothing yet.
    told = (0, "") if words[0] == "worker" else (code, "ptsflow: stopped")
    assert (ended.returncode, ended.stderr.strip()) == told
