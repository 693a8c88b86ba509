"""Calls the command line in processes of its own."""

from __future__ import annotations

import json
import shlex
import subprocess
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from tests.cli import pasted
from tests.support.processes import PTSFLOW, environment
from tests.support.waiting import until

FLOWS = Path(__file__).with_name("flows.py")


class _Started(subprocess.Popen[str]):
    """A process whose output is heard when it is read to its end."""

    heard: Callable[[str], None]

    def communicate(
        self,
        input: str | None = None,  # noqa: A002 - as subprocess names it
        timeout: float | None = None,
    ) -> tuple[str, str]:
        said = super().communicate(input, timeout)
        self.heard("".join(filter(None, said)))
        return said


class Place:
    """A folder to call `ptsflow` in."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.store = f"sqlite:///{folder}/pts.db"
        self.printed: list[pasted.Printed] = []
        self.env = environment(
            PTSFLOW_STORE=self.store, TZ="UTC", TERM="xterm-256color", PYTHONUTF8=1
        )

    def call(self, *words: str, given: str = "") -> subprocess.CompletedProcess[str]:
        ended = subprocess.run(
            [*PTSFLOW, *words],
            cwd=self.folder,
            env=self.env,
            input=given,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        if not {"help", "--help", "-h"} & {*words, "" if words else "help"}:
            self.heard(ended.stderr + ended.stdout, words[0])
        return ended

    def heard(self, text: str, by: str) -> None:
        """Take in what a command wrote: what it says to type is typed after the test."""
        pasted.check(text)
        self.printed += pasted.kept(text, by, self.folder, self.env)

    def typed(self, *words: str) -> str:
        """Return a command as messages name it."""
        return shlex.join([*PTSFLOW, *words, "--store", self.store])

    def paste(self, line: str, folder: Path) -> subprocess.CompletedProcess[str]:
        """Type a printed command in another folder."""
        return subprocess.run(
            ["bash", "-c", line],
            cwd=folder,
            env=self.env | {"PTSFLOW_STORE": "sqlite:///elsewhere.db"},
            stdin=subprocess.DEVNULL,
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
        process = _Started(
            [*PTSFLOW, *words],
            cwd=self.folder,
            env=self.env,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        process.heard = partial(self.heard, by=words[0])
        return process


def appears(path: Path) -> None:
    """Wait until a file is there, as a process that was started makes it."""
    until(path.exists, seen=lambda: f"{path} did not appear")


def flow(name: str) -> str:
    """Return TARGET of one of the workflows of the tests."""
    return f"{FLOWS}:{name}"
