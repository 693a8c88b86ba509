"""`ptsflow watch`: a run as other terminals see it, in processes of their own."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

from ptsflow.host.clock import system_clock
from ptsflow.host.process_identity import this_process
from ptsflow.stores import open_store
from tests.cli.calling import Place, appears, flow
from tests.cli.terminal import Terminal
from tests.support.mongod import start_mongod
from tests.support.processes import PTSFLOW, free_port
from tests.support.waiting import PATIENCE, until

#: Seconds in which a busy machine, too, notices something; below the lease.
SOON = 45.0


class Watching:
    """A command that watches, and what it has written so far."""

    def __init__(self, place: Place, *words: str) -> None:
        self._place = place
        self._out, self._err = place.folder / "watch.out", place.folder / "watch.err"
        with self._out.open("w") as out, self._err.open("w") as err:
            self.process = subprocess.Popen(
                [*PTSFLOW, *words],
                cwd=place.folder,
                env=place.env,
                stdout=out,
                stderr=err,
            )

    @property
    def lines(self) -> list[str]:
        """The lines on standard output, without their times."""
        lines = self._out.read_text(encoding="utf-8").splitlines()
        return [re.sub(r"^\d\d:\d\d:\d\d  ", "", line) for line in lines]

    @property
    def messages(self) -> str:
        """What is on standard error."""
        return self._err.read_text(encoding="utf-8")

    def until(self, pattern: str) -> None:
        """Wait until a line of it fits the pattern."""
        until(
            lambda: any(re.search(pattern, line) for line in self.lines),
            seen=lambda: f"{self.lines}\n{self.messages}",
        )

    def end(self) -> int:
        """Return what it exits with."""
        code = self.process.wait(PATIENCE)
        self._place.heard(f"{self.messages}\n" + "\n".join(self.lines), "watch")
        return code


@pytest.fixture
def pid(stored: Place) -> Path:
    return stored.folder / "pid"


def started(place: Place) -> subprocess.Popen[str]:
    """Start a run that lasts until it is told to end; return when its body runs."""
    pid = place.folder / "pid"
    run = place.start("run", flow("Slow"), "-p", f"pid={pid}", "-c", "one")
    appears(pid)
    return run


def end(place: Place) -> None:
    """Tell the run to end."""
    (place.folder / "pid.done").touch()


# -- how it ends ------------------------------------------------------------


def test_it_shows_a_run_to_its_end(stored: Place) -> None:
    run = started(stored)
    watch = Watching(stored, "watch", "on")
    watch.until("one")
    end(stored)
    run.communicate(timeout=PATIENCE)

    assert watch.end() == 0
    first, work, last = watch.lines
    assert first == "one  running  55%"
    assert re.fullmatch(r"work  done in \S+", work)
    assert last == "one  done  100%"
    assert watch.messages == ""


def test_it_waits_for_a_container_that_is_not_there_yet(stored: Place) -> None:
    watch = Watching(stored, "watch", "one", "--wait", "60", "--interval", "100ms")
    time.sleep(1)
    run = started(stored)
    watch.until("running")
    end(stored)
    run.communicate(timeout=PATIENCE)

    assert watch.end() == 0
    assert watch.lines[-1] == "one  done  100%"


def test_a_container_that_a_runner_has_only_just_made_is_not_complete(
    stored: Place,
) -> None:
    with contextlib.closing(open_store(stored.store)) as store:
        made, _ = store.create("one")
        owner = this_process(system_clock)
        claimed = store.claim(made.uid, owner, 600_000)
        assert claimed is not None
        watch = Watching(stored, "watch", "one", "--wait", "60", "--interval", "100ms")
        time.sleep(2)
        seen_of_claimed = watch.lines
        store.release(claimed)
        time.sleep(0.5)
    run = started(stored)
    watch.until("running")
    end(stored)
    run.communicate(timeout=PATIENCE)

    assert seen_of_claimed == []
    assert watch.end() == 0
    assert watch.lines[0].startswith("one  running")


def test_without_a_container_it_says_so(stored: Place) -> None:
    at_once = stored.call("watch", "one")
    began = time.monotonic()
    later = stored.call("watch", "one", "--wait", "1.5s")
    took = time.monotonic() - began

    assert (at_once.returncode, later.returncode) == (4, 4)
    assert took > 1.5
    assert at_once.stderr == later.stderr
    assert at_once.stderr.startswith("ptsflow: ")
    assert at_once.stderr.count("\n") == 1


def test_status_follows_the_latest_container(stored: Place) -> None:
    stored.call("run", flow("Steady"), "-c", "steady")
    run = started(stored)
    watch = Watching(stored, "status", "-f")
    watch.until("one  running")
    end(stored)
    run.communicate(timeout=PATIENCE)

    assert watch.end() == 0
    assert watch.lines[-1] == "one  done  100%"


def test_what_ended_well_is_said_once(stored: Place) -> None:
    stored.call("run", flow("Steady"), "-c", "one")
    ended = stored.call("watch", "one", "--wait", "1h")
    quiet = stored.call("watch", "one", "-q")

    assert ended.returncode == quiet.returncode == 0
    assert re.fullmatch(r"\d\d:\d\d:\d\d  one  done  100%\n", ended.stdout)
    assert (quiet.stdout, quiet.stderr) == ("", "")


@pytest.mark.parametrize("option", ["-q", "--json"])
def test_what_failed_exits_with_1_and_says_what_to_do(
    stored: Place, option: str
) -> None:
    stored.call("run", flow("Broken"), "-p", "flag=none", "-c", "one")
    watch = stored.call("watch", "one", option)
    said, why, then = watch.stderr.splitlines()

    assert watch.returncode == 1
    assert said == "one  failed  33%"
    assert why == f"why: {stored.typed('show', 'one', 'fragile')}"
    assert then.startswith("next: ")


def test_an_interrupted_run_that_goes_on_within_the_wait_is_watched(
    stored: Place,
) -> None:
    flag = stored.folder / "flag"
    stored.call("run", flow("Broken"), "-p", f"flag={flag}", "-c", "one")
    watch = Watching(stored, "watch", "one", "--wait", "60", "--interval", "100ms")
    watch.until("one  failed")
    flag.touch()
    stored.call("run", flow("Broken"), "-p", f"flag={flag}", "-c", "one")

    assert watch.end() == 0
    assert watch.lines[-1] == "one  done  100%"


def test_a_runner_that_is_killed_ends_it(stored: Place) -> None:
    run = started(stored)
    watch = Watching(stored, "watch", "one")
    watch.until("running")
    run.kill()
    killed = time.monotonic()

    assert watch.end() == 1
    assert time.monotonic() - killed < SOON
    assert watch.lines[-1] == "one  killed  55%"
    assert "next: " in watch.messages
    run.communicate()


def test_a_deleted_container_ends_it(stored: Place) -> None:
    (stored.folder / "own.py").write_text(
        "import sys, ptsflow\n"
        "with ptsflow.connect(sys.argv[1]) as client:\n"
        "    box, _ = client.get_or_create_task_container('box')\n"
        "    if sys.argv[2] == 'make':\n"
        "        box.add_task('one')\n"
        "    else:\n"
        "        client.delete_task_container('box')\n"
    )

    def call(what: str) -> None:
        words = [PTSFLOW[0], "own.py", stored.store, what]
        subprocess.run(words, cwd=stored.folder, env=stored.env, check=True)

    call("make")
    watch = Watching(stored, "watch", "box", "--interval", "100ms")
    watch.until("box  pending  0%")
    call("delete")

    assert watch.end() == 4
    assert watch.messages == "ptsflow: container 'box' was deleted\n"


def test_ctrl_c_ends_watching_and_not_the_run(stored: Place) -> None:
    run = started(stored)
    watch = Watching(stored, "watch", "one")
    watch.until("running")
    watch.process.send_signal(signal.SIGINT)

    assert watch.end() == 130
    assert watch.messages == "ptsflow: no longer watching; what runs goes on\n"
    assert run.poll() is None
    assert stored.json("status")["status"] == "running"
    end(stored)
    run.communicate(timeout=PATIENCE)
    assert run.returncode == 0


def test_a_stop_that_was_asked_for_is_a_change(stored: Place) -> None:
    run = started(stored)
    watch = Watching(stored, "watch", "one", "--interval", "100ms")
    watch.until("one  running")
    os.kill(run.pid, signal.SIGSTOP)
    stored.call("cancel", "one")
    watch.until("one  stopping")
    os.kill(run.pid, signal.SIGCONT)
    run.communicate(timeout=PATIENCE)

    assert watch.end() == 0


# -- what it writes ---------------------------------------------------------


def test_json_has_an_object_for_each_change(stored: Place) -> None:
    run = started(stored)
    watch = Watching(stored, "watch", "one", "--json", "--interval", "100ms")
    watch.until("running")
    time.sleep(1)  # Further looks find nothing new.
    end(stored)
    run.communicate(timeout=PATIENCE)

    assert watch.end() == 0
    found = [json.loads(line) for line in watch.lines]
    assert [(each["status"], each["percentage_complete"]) for each in found] in (
        [("running", 55.0), ("done", 100.0)],
        # A look between the last task's end and the run's.
        [("running", 55.0), ("running", 100.0), ("done", 100.0)],
    )
    listed = stored.json("list")
    assert found[-1] == listed


def test_items_have_a_line_for_each_point_and_each_failure(place: Place) -> None:
    (place.folder / "flow.py").write_text(_MANY)
    run = place.start("run", "flow.py:Many", "-c", "many", "-j", "1")
    watch = Watching(place, "watch", "many", "--wait", "60", "--interval", "100ms")
    watch.until("many  running")
    (place.folder / "seen").touch()
    run.communicate(timeout=PATIENCE)

    assert watch.end() == 0
    steps = [line for line in watch.lines if line.startswith("each  ")]
    failures = [line for line in watch.lines if line.startswith("each[")]
    assert 1 <= len(steps) <= 101
    assert steps[-1] == "each  99%  399 done · 1 failed"
    assert len(failures) == 1
    assert failures[0].startswith("each[13]  failed")
    assert "unlucky" in failures[0]


_MANY = """
import time
from pathlib import Path
from ptsflow import Fail, Workflow, step

class Many(Workflow):
    @step
    def numbers(self) -> list[int]:
        while not Path("seen").exists():
            time.sleep(0.02)
        return list(range(400))

    @step(each=numbers, optional=True, retry=0)
    def each(self, number: int) -> int:
        time.sleep(0.005)
        if number == 13:
            raise Fail("unlucky")
        return number
"""


def test_all_containers_have_lines_until_ctrl_c(stored: Place) -> None:
    stored.call("run", flow("Steady"), "-c", "steady")
    stored.call("run", flow("Broken"), "-p", "flag=none", "-c", "broken")
    run = started(stored)
    watch = Watching(stored, "watch", "--interval", "100ms")
    watch.until("steady")
    begun = watch.lines
    end(stored)
    run.communicate(timeout=PATIENCE)
    watch.until("one  done  100%")
    watch.process.send_signal(signal.SIGINT)

    assert watch.end() == 130
    assert begun == ["one  running  55%", "broken  failed  33%", "steady  done  100%"]


# -- a terminal -------------------------------------------------------------


@pytest.mark.parametrize(("columns", "lines"), [(80, 24), (100, 30), (200, 50)])
def test_its_screen_is_the_runner_s(stored: Place, columns: int, lines: int) -> None:
    (stored.folder / "flow.py").write_text(_BUSY)
    words = ["run", "flow.py:Busy", "-c", "busy", "-j", "3", "-p", "until=over"]
    size = {"columns": columns, "lines": lines}
    runner = Terminal(stored, *words, **size)
    watch = Terminal(
        stored, "watch", "busy", "--wait", "60", "--interval", "200ms", **size
    )
    *rows, last = _still(runner)
    seen: list[str] = []

    def agrees() -> bool:
        seen[:] = _still(watch)
        return seen[:-1] == rows

    until(agrees, seen=lambda: f"{rows}\n{seen}")
    watched = seen.pop()
    (stored.folder / "over").touch()

    assert runner.close() == 1
    assert watch.close() == 1
    assert len(rows) == 9
    assert last.endswith("Ctrl-C stops gently")
    assert watched.endswith("Ctrl-C ends watching")
    told = re.compile(r" total  [━╸─]+ ( *\d+%   elapsed #)   ")
    assert told.match(watched)[1] == told.match(last)[1]  # type: ignore[index]
    for name in ("bad date", "✘ load[4]", "waiting for load"):
        assert any(name in row for row in seen), name
    assert "✘ failed" in watch.text
    assert "next: " in watch.text


def _still(terminal: Terminal) -> list[str]:
    """Return the rows of the newest frame of bodies that wait, without lengths of time.

    A frame of `watch` on MongoDB may show counts that were read before its rows; the
    next one shows both as they are.
    """
    terminal.read(0.1)
    terminal.until(r"(2 of 9[\s\S]*){3} total .* Ctrl-C")
    rows = [re.sub(r"\d+(\.\d)?m?s\b", "#", row) for row in terminal.text.splitlines()]
    return [re.sub(" +#", " #", row) for row in rows]


_BUSY = """
import time
from pathlib import Path
from ptsflow import Fail, TaskHandle, Workflow, step

class Busy(Workflow):
    until: Path

    @step
    def numbers(self) -> list[int]:
        return list(range(30))

    @step(each=numbers, retry=0)
    def load(self, number: int, task: TaskHandle) -> int:
        if number == 4:
            raise Fail("bad date")
        if number >= 10:
            task.progress(100 * 2 / 9, text="2 of 9")
            while not self.until.exists():
                time.sleep(0.05)
        return number

    @step
    def merge(self, load: list[int]) -> int:
        return sum(load)
"""


def test_a_terminal_shows_all_that_runs_and_ended_last(stored: Place) -> None:
    for number in range(12):
        stored.call("run", flow("Steady"), "-c", f"steady-{number:02}")
    run = started(stored)
    watch = Terminal(stored, "watch", columns=100, lines=30)
    watch.until("Ctrl-C ends watching")
    rows = watch.text.splitlines()
    end(stored)
    run.communicate(timeout=PATIENCE)
    watch.until("✔ done .* one ")
    watch.type("\x03")

    assert watch.close() == 130
    assert rows[1].startswith("▶ running  55%   1/2 ")
    assert [re.findall(r"steady-\d\d", row) for row in rows[2:-1]] == [
        [f"steady-{number:02}"] for number in range(11, 1, -1)
    ]
    assert re.fullmatch(r" 1 run   \d\d:\d\d:\d\d   Ctrl-C ends watching", rows[-1])


def test_the_screen_is_left_as_it_was_found(place: Place) -> None:
    run = started(place)
    watch = Terminal(place, "watch", "one")
    watch.until("at it")
    watch.type("\x03")

    assert watch.close() == 130
    assert "total" not in watch.text
    assert not watch.screen.cursor.hidden
    end(place)
    run.communicate(timeout=PATIENCE)


# -- a store that goes away -------------------------------------------------


def _removed(path: Path) -> None:
    path.unlink()


def _replaced(path: Path) -> None:
    shutil.copy(path, path.with_name("copy"))
    path.with_name("copy").replace(path)


@pytest.mark.parametrize("take", [_removed, _replaced])
@pytest.mark.parametrize("words", [["one"], []], ids=["one", "all"])
def test_a_file_that_was_taken_away_ends_it(
    place: Place, take: object, words: list[str]
) -> None:
    run = started(place)
    watch = Watching(place, "watch", *words, "--interval", "100ms")
    watch.until("one")
    run.send_signal(signal.SIGSTOP)  # It would notice as well.
    assert callable(take)
    take(place.folder / "pts.db")

    assert watch.end() == 6
    assert watch.messages.startswith(
        f"ptsflow: {place.folder}/pts.db: expected the file"
    )
    assert watch.messages.count("\n") == 1
    run.kill()
    run.communicate()


@pytest.mark.mongod
def test_a_server_that_is_away_for_a_while_is_waited_for(
    place: Place, tmp_path: Path
) -> None:
    server = tmp_path / "mongod", free_port()
    mongod = start_mongod(*server)
    place.env["PTSFLOW_STORE"] = place.store = f"{mongod.url}/x?timeoutMS=1000"
    run = started(place)
    watch = Watching(place, "watch", "one", "--interval", "100ms")
    watch.until("one  running")
    mongod.kill()
    until(lambda: "\n" in watch.messages, seen=lambda: watch.messages)
    mongod = start_mongod(*server)
    until(lambda: "again" in watch.messages, seen=lambda: watch.messages)
    end(place)

    assert watch.end() == 0
    away, back = watch.messages.splitlines()
    assert away.startswith(f"waiting for the store: MongoDB at 127.0.0.1:{server[1]}")
    assert back == "the store answers again"
    run.communicate(timeout=PATIENCE)
    place.printed.clear()  # What these say to type needs the server.
    mongod.kill()


# -- refusals ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--values", "-f"], "status: --values goes without --follow"),
        (["-q"], "watch: --quiet goes with NAME; say which container"),
        (["--wait", "5"], "watch: --wait goes with NAME; say which container"),
        (["x", "--interval", "soon"], "--interval: expected a time such as"),
        (["x", "--wait", "-1"], "--wait: expected a time such as"),
    ],
)
def test_options_that_make_no_sense_are_refused(
    place: Place, words: list[str], said: str
) -> None:
    ended = place.call("status" if "-f" in words else "watch", *words)

    assert ended.returncode == 2
    assert ended.stderr.startswith(f"ptsflow: {said}")
    assert ended.stderr.count("\n") == 1
