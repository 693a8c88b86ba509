"""A body that holds the interpreter in C for three leases: who keeps the lease then."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LEASE = 5
FLOW = f"""
import ctypes, os, time
from pathlib import Path
from ptsflow import TaskHandle, Workflow, step

JOURNAL = Path(__file__).with_name("journal")

def note(what):
    with JOURNAL.open("a") as journal:
        journal.write(f"{{what}} {{time.monotonic_ns()}}\\n")

class Held(Workflow):
    @step
    def before(self) -> str:
        return "done"

    @step
    def hold(self) -> str:
        first = not JOURNAL.exists()
        note("begin")
        if first:  # PyDLL does not let go of the interpreter
            ctypes.PyDLL(None).usleep({3 * LEASE} * 1_000_000)
        note("end")
        return "held"
"""


def run(folder: Path, executor: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "ptsflow", "run", "flow.py", "-q"]
    return subprocess.run(
        [*command, "--executor", executor, "--lease", str(LEASE)],
        cwd=folder,
        env=os.environ
        | {
            "PYTHONPATH": str(ROOT),
            "TMPDIR": str(folder),
            "PTSFLOW_STORE": f"sqlite:///{folder}/pts.db",
        },
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


@pytest.mark.parametrize(("executor", "code"), [("process", 0), ("thread", 75)])
def test_a_body_that_holds_the_interpreter(
    executor: str, code: int, tmp_path: Path
) -> None:
    (tmp_path / "flow.py").write_text(FLOW)
    first = run(tmp_path, executor)
    second = run(tmp_path, executor)
    noted = [
        line.split()[0] for line in (tmp_path / "journal").read_text().splitlines()
    ]

    assert first.returncode == code, first.stderr
    assert ("the lease was lost" in first.stderr) == (code == 75)
    assert second.returncode == 0
    assert noted == ["begin", "end"] * (1 if executor == "process" else 2)
