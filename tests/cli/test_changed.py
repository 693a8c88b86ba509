"""Code that changed since it ran: said by `run -n` and `status`, run by `--changed`."""

from __future__ import annotations

import os
import re
import time

from tests.cli.calling import Place

FLOW = """
from ptsflow import Workflow, step

class Sums(Workflow):
    @step
    def numbers(self) -> list[int]:
        return [1, 2, 3]

    @step(each=numbers)
    def double(self, number: int) -> int:
        return number * 2

    @step
    def total(self, double: list[int]) -> int:
        return sum(double)

    @step(after=())
    def other(self) -> str:
        return "kept"
"""
TRIPLED = FLOW.replace("number * 2", "number * 3")


def times(place: Place) -> list[str]:
    """Return the lines of `show` that tell when something happened to the container."""
    shown = place.call("show", "sums").stdout.splitlines()
    return [
        line
        for line in shown
        if line.split()[:1] in (["created"], ["started"], ["ended"])
    ]


def changed(place: Place, code: str) -> None:
    file = place.folder / "flow.py"
    place.call("run", "flow.py", "-c", "sums")
    file.write_text(code)
    # Python would take the compiled file of code of the same size and second.
    os.utime(file, (0, file.stat().st_mtime + 10))


def test_a_run_says_what_changed_and_runs_nothing_again(place: Place) -> None:
    (place.folder / "flow.py").write_text(FLOW)
    changed(place, TRIPLED)
    dry = place.call("run", "flow.py", "-c", "sums", "-n").stdout
    ran = place.call("run", "flow.py", "-c", "sums")
    shown = place.json("show", "sums")
    page = place.call("status", "sums").stdout

    reason = "done: its code changed since it ran; --changed runs it again"
    *rows, usual = dry.splitlines()
    assert usual.startswith("usually takes ")
    assert [re.split("  +", line)[1:] for line in rows] == [
        ["numbers", "done: its result is kept"],
        ["double[1], double[2], double[3]", reason],
        ["total", "done: its result is kept"],
        ["other", "done: its result is kept"],
    ]
    assert "nothing was left to do" in ran.stderr
    assert shown["changed"] == ["double"]
    assert page.splitlines()[-1] == (
        " changed since it ran: double; --changed runs it again"
    )
    told, next_line = ran.stderr.splitlines()[-2:]
    assert told == "  changed since it ran: double; --changed runs it again"
    again = place.paste(next_line.removeprefix("next: "), place.folder)
    assert (again.returncode, place.json("show", "sums")["changed"]) == (0, [])


def test_a_run_with_nothing_to_do_leaves_the_times_of_its_container(
    stored: Place,
) -> None:
    (stored.folder / "flow.py").write_text(FLOW)
    stored.call("run", "flow.py", "-c", "sums")
    before = times(stored)
    time.sleep(1.1)
    changed(stored, TRIPLED)
    stored.call("run", "flow.py", "-c", "sums")
    after = times(stored)
    stored.call("run", "flow.py", "-c", "sums", "--changed")

    assert before == after
    assert len(after) == 3
    assert times(stored) != after


def test_changed_runs_them_and_what_depends_on_them(place: Place) -> None:
    (place.folder / "flow.py").write_text(FLOW)
    changed(place, TRIPLED)
    dry = place.call("run", "flow.py", "-c", "sums", "-n", "--changed").stdout
    ran = place.call("run", "flow.py", "-c", "sums", "--changed")
    tasks = {task["name"]: task for task in place.json("status", "sums")["tasks"]}
    again = place.call("run", "flow.py", "-c", "sums", "--changed")

    rows = [re.split("  +", line) for line in dry.splitlines()[:-1]]
    actions = {name: row[0] for row in rows for name in row[1].split(", ")}
    assert actions["numbers"] == actions["other"] == "skip"
    assert actions["double[1]"] == actions["total"] == "run"
    assert ran.returncode == 0
    assert tasks["total"]["result"] == 18
    assert tasks["other"]["invoke_count"] == 1
    assert "nothing was left to do" in again.stderr
    assert place.json("show", "sums")["changed"] == []


def test_a_comment_is_no_change(place: Place) -> None:
    (place.folder / "flow.py").write_text(FLOW)
    changed(place, FLOW.replace("return sum", "# All of them.\n        return sum"))
    place.call("run", "flow.py", "-c", "sums")

    assert place.json("show", "sums")["changed"] == []
