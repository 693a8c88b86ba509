"""Calls the command line in processes of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

FLOWS = Path(__file__).with_name("flows.py")
ROOT = Path(__file__).parents[2]


class Place:
    """A folder to call `ptsflow` in."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.store = f"sqlite:///{folder}/pts.db"
        self.env = {
            name: value
            for name, value in os.environ.items()
            if name
            not in {
                "CI",
                "COLUMNS",
                "LINES",
                "NO_COLOR",
                "FORCE_COLOR",
                "PTSFLOW_LISTENERS",
                "PTSFLOW_STORE",
                "PYTHONUNBUFFERED",
            }
        } | {
            "PYTHONPATH": str(ROOT),
            "PTSFLOW_STORE": self.store,
            "TZ": "UTC",
            "TERM": "xterm-256color",
            "PYTHONUTF8": "1",
        }

    def call(self, *words: str, given: str = "") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "ptsflow", *words],
            cwd=self.folder,
            env=self.env,
            input=given,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def json(self, *words: str) -> dict[str, Any]:
        ended = self.call(*words, "--json")
        assert ended.returncode == 0, ended.stderr
        loaded: dict[str, Any] = json.loads(ended.stdout)
        return loaded

    def start(self, *words: str) -> subprocess.Popen[str]:
        """Start a command, and leave it running."""
        return subprocess.Popen(
            [sys.executable, "-m", "ptsflow", *words],
            cwd=self.folder,
            env=self.env,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )


def appears(path: Path) -> None:
    """Wait until a file is there, as a process that was started makes it."""
    until = time.monotonic() + 30
    while not path.exists():
        assert time.monotonic() < until, f"{path} did not appear"
        time.sleep(0.02)


def flow(name: str) -> str:
    """Return TARGET of one of the workflows of the tests."""
    return f"{FLOWS}:{name}"
