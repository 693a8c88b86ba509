"""The system grants a run fewer threads than it asks for: no run ends in exit 3 by that."""

from __future__ import annotations

import pytest

from tests.cli.calling import Place
from tests.support.processes import python

FLOW = """
from ptsflow import TaskHandle, Workflow, step

class Small(Workflow):
    @step
    def load(self, task: TaskHandle) -> int:
        (task.workdir / "rows").write_text("x")
        print("loading")
        return 1
"""

#: Refuses the threads of a name, then runs ptsflow.
REFUSING = """
import sys, threading
start, refused = threading.Thread.start, sys.argv.pop(1)
def granted(thread):
    if thread.name.startswith(refused):
        raise RuntimeError("can't start new thread")
    start(thread)
threading.Thread.start = granted
from ptsflow.cli.main import main
sys.exit(main())
"""


@pytest.mark.parametrize(
    ("thread", "code", "said"),
    [
        ("ptsflow-lease", 75, "ptsflow: no thread can be started for the lease: "),
        ("ptsflow-0", 75, "ptsflow: no thread can be started for a body: "),
        ("ptsflow-out", 0, ""),
        ("ptsflow-logs", 0, ""),
        ("ptsflow-workdirs", 0, "done"),
    ],
)
def test_a_run_that_is_granted_no_thread(
    place: Place, thread: str, code: int, said: str
) -> None:
    (place.folder / "small.py").write_text(FLOW)
    words = ("-c", REFUSING, thread, "run", "small.py", "--store", "sqlite:///t.db")
    done = python(*words, cwd=place.folder, seconds=30)

    assert done.returncode == code, done.stderr
    assert said in done.stderr
    assert "bug" not in done.stderr
    place.heard(done.stderr, "run")
    again = python(*words[:2], "none", *words[3:], cwd=place.folder)
    assert again.returncode == 0, again.stderr
