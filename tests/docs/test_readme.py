"""Every block of README is run as it stands."""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
PYTHON = [text for kind, text in BLOCKS if kind == "python"]
SHELL = [
    line
    for kind, text in BLOCKS
    if kind == "sh"
    for line in text.splitlines()
    if line.strip()
]


def environment(folder: Path) -> dict[str, str]:
    """Return an environment in which `python` and `ptsflow` are those under test."""
    tools = folder / "bin"
    tools.mkdir(exist_ok=True)
    launcher = tools / "ptsflow"
    launcher.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m ptsflow "$@"\n')
    launcher.chmod(0o755)
    path = os.pathsep.join([str(tools), str(Path(sys.executable).parent)])
    return os.environ | {
        "PATH": path + os.pathsep + os.environ["PATH"],
        "PYTHONPATH": str(ROOT),
    }


@pytest.mark.parametrize("text", PYTHON, ids=[f"block {n}" for n in range(len(PYTHON))])
def test_every_python_block_runs(text: str, tmp_path: Path) -> None:
    (tmp_path / "block.py").write_text(text, encoding="utf-8")

    done = subprocess.run(
        [sys.executable, "-W", "error", "block.py"],
        cwd=tmp_path,
        env=environment(tmp_path),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert done.returncode == 0, done.stderr


def test_the_first_block_is_a_workflow_that_survives_kill_9(tmp_path: Path) -> None:
    (tmp_path / "flow.py").write_text(PYTHON[0], encoding="utf-8")
    command = [sys.executable, "-m", "ptsflow", "run", "flow.py"]
    env = environment(tmp_path)

    first = subprocess.Popen(
        command, cwd=tmp_path, env=env, stderr=subprocess.PIPE, text=True
    )
    assert first.stderr is not None
    for line in first.stderr:
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
    assert time.monotonic() - began < 20, "a dead runner is taken over at once"
    assert "listing" not in re.findall(r"(\S+) +running", second.stderr)


def test_the_shell_blocks_after_the_set_up_run(tmp_path: Path, mongod_url: str) -> None:
    (tmp_path / "flow.py").write_text(PYTHON[0], encoding="utf-8")
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    server = mongod_url.split("//")[1].split("/", maxsplit=1)[0]
    for line in SHELL:
        command = line.rpartition("&& ")[2].replace(".venv/bin/", "")
        if command.endswith("pytest -n 2"):
            command += " --version"
        done = subprocess.run(
            ["sh", "-c", command.replace("//localhost/pts", f"//{server}/readme")],
            cwd=tmp_path,
            env=environment(tmp_path),
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )

        assert done.returncode == 0, f"{command}: {done.stderr}"


def test_the_test_command_is_what_ci_runs() -> None:
    command = next(line for line in SHELL if "pytest" in line)
    words = shlex.split(command.rpartition("&& ")[2])

    assert f"python {' '.join(words[1:])}" in (ROOT / ".ci/run").read_text()
