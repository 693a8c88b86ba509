"""Progress bars of libraries are progress of their task, and not lines without end."""

from __future__ import annotations

import pytest

from tests.cli.calling import Place

# As tqdm draws two bars, one below the other.
FLOW = """
import sys, time
from ptsflow import TaskHandle, Workflow, step

def draw(text):
    sys.stderr.write(text)
    sys.stderr.flush()

class Bars(Workflow):
    @step(retry=0, parallel=True)
    def rows(self) -> None:
        draw("\\rrows:   0%|          | 0/4")
        for done in range(1, 4):
            for share in range(0, 101, 5):
                draw("\\n")
                draw(f"\\rinner: {share:3}%|###  | {share}/100")
                draw("\\x1b[A")
            draw(f"\\rrows: {25 * done:3}%|###       | {done}/4")
            time.sleep(0.3)
        raise ValueError("bad row")

    @step(retry=0, parallel=True)
    def own(self, task: TaskHandle) -> None:
        task.progress(10, 100, "by itself")
        draw("\\r 50% of it")
        time.sleep(0.3)
        draw("\\r100% of it\\n")
        raise ValueError("no more")
"""


@pytest.mark.parametrize("executor", ["thread", "process"])
def test_a_progress_bar_is_progress_unless_the_body_reports_its_own(
    place: Place, executor: str
) -> None:
    (place.folder / "bars.py").write_text(FLOW)

    ended = place.call("run", "bars.py", "--executor", executor)
    tasks = {task["name"]: task for task in place.json("status")["tasks"]}
    logged = place.call("logs", "Bars").stdout

    assert ended.returncode == 1
    assert tasks["rows"]["percentage_complete"] == 75.0
    assert tasks["rows"]["status_text"] == "rows 3/4"
    assert tasks["own"]["status_text"] == "by itself"
    for text in (ended.stderr, logged):
        assert "100% of it" in text
        assert "3/4" in text
        assert "2/4" not in text
        assert "inner" not in text
