"""README's first screen: the two commands, and a workflow that survives `kill -9`."""

from __future__ import annotations

import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

from tests.docs.blocks import blocks_of, environment
from tests.support.processes import ROOT

README = ROOT / "README.md"
FLOW = next(block for block in blocks_of(README) if block.kind == "python").text


def test_the_first_block_is_a_workflow_that_survives_kill_9(tmp_path: Path) -> None:
    (tmp_path / "flow.py").write_text(FLOW, encoding="utf-8")
    command = [sys.executable, "-m", "ptsflow", "run", "flow.py"]
    env = environment(tmp_path)

    first = subprocess.Popen(
        command, cwd=tmp_path, env=env, stderr=subprocess.PIPE, text=True
    )
    assert first.stderr is not None
    started = set[str]()
    for line in first.stderr:
        started.update(re.findall(r"(\S+) +started", line))
        if "load[" in line and "done" in line:
            break
    first.send_signal(signal.SIGKILL)
    first.wait()
    first.stderr.close()
    began = time.monotonic()
    second = subprocess.run(
        command,
        cwd=tmp_path,
        env=env,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert second.returncode == 0, second.stderr
    assert time.monotonic() - began < 50, "a dead runner is taken over at once"
    again = set(re.findall(r"(\S+) +started", second.stderr))
    assert "listing" in started
    assert "listing" not in again
    assert "verify" in again


def test_the_test_command_is_what_ci_runs() -> None:
    lines = [
        line
        for block in blocks_of(README)
        if block.kind == "sh"
        for line in block.text.splitlines()
    ]
    command = next(line for line in lines if "pytest" in line)
    words = shlex.split(command.rpartition("&& ")[2])

    called = f'"$venv/bin/python" {" ".join(words[1:])}\n'
    assert called in (ROOT / ".ci/run").read_text()


def test_the_calls_before_a_commit_are_those_of_ci() -> None:
    text = (ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8")
    calls = re.findall(r"^ +entry: (.+)$", text, re.MULTILINE)

    assert calls == ["ruff check .", "ruff format --check .", "mypy"]
    assert set(calls) <= set((ROOT / ".ci/run").read_text().split("\n    "))


def test_readme_is_short() -> None:
    assert len(README.read_text(encoding="utf-8").splitlines()) <= 250
