"""The fenced blocks of a Markdown file, and what each kind is run as.

| block | is run as |
|---|---|
| python | a script with warnings as errors; `# NAME.py` in its first line names its file |
| sh | a shell script that ends at its first failing command |
| crontab | the command of each line |
| ini | the command of each `ExecStart=` |
| toml | nothing; `# NAME.toml` in its first line names its file |
| text | nothing: a picture |
"""

from __future__ import annotations

import os
import re
import shlex
import sys
from pathlib import Path
from typing import NamedTuple

from tests.support import processes

#: The folder that the examples of cron and systemd are in.
_SERVED = "/srv/feed"
_FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
_NAMED = re.compile(r"# ([\w.]+\.(?:py|toml))\n")
_CRON = re.compile(r"^(?:[\d*/,-]+ ){5}(.*)$", re.MULTILINE)
_EXEC = re.compile(r"^ExecStart=(.*)$", re.MULTILINE)


class Block(NamedTuple):
    """One fenced block."""

    kind: str
    text: str
    #: The line of the file on which the fence begins.
    line: int


def blocks_of(path: Path) -> list[Block]:
    """Return the fenced blocks of a file, in order."""
    text = path.read_text(encoding="utf-8")
    return [
        Block(found[1], found[2], text.count("\n", 0, found.start()) + 1)
        for found in _FENCE.finditer(text)
    ]


def commands_of(block: Block, folder: Path) -> list[list[str]]:
    """Return the commands that a block is run as in a folder, where its file is written.

    Raises:
        ValueError: nobody knows how a block of this kind is run.
    """
    if block.kind in ("python", "toml"):
        named = _NAMED.match(block.text)
        name = named[1] if named else f"block_{block.line}.py"
        (folder / name).write_text(block.text, encoding="utf-8")
        return [] if block.kind == "toml" else [[sys.executable, "-W", "error", name]]
    if block.kind == "sh":
        return [["sh", "-euc", _shortened(block.text)]]
    here = block.text.replace(_SERVED, str(folder))
    if block.kind == "crontab":
        return [["sh", "-c", line.replace(r"\%", "%")] for line in _CRON.findall(here)]
    if block.kind == "ini":
        here = here.replace("ptsflow worker", "ptsflow worker --until-idle")
        return [shlex.split(line.replace("%%", "%")) for line in _EXEC.findall(here)]
    if block.kind == "text":
        return []
    raise ValueError(f"line {block.line}: nobody runs a block of kind {block.kind!r}")


def _shortened(text: str) -> str:
    """Leave out what takes minutes: set-up, most of the packages, the tests themselves."""
    lines = [
        line.rpartition("&& ")[2] if line.startswith("python3 -m venv") else line
        for line in text.splitlines()
    ]
    shorter = "\n".join(lines).replace("-m pytest -n 4", "-m pytest --version")
    return shorter.replace("verify_packages.py", "verify_packages.py -p 'match=py*'")


def environment(folder: Path) -> dict[str, str]:
    """Return an environment in which `python`, `pip` and `ptsflow` are those under test."""
    tools = folder / ".venv" / "bin"
    tools.mkdir(exist_ok=True, parents=True)
    for name, words in (("ptsflow", "-m ptsflow "), ("pip", "-m pip "), ("python", "")):
        launcher = tools / name
        launcher.write_text(f'#!/bin/sh\nexec "{sys.executable}" {words}"$@"\n')
        launcher.chmod(0o755)
    path = os.pathsep.join([str(tools), os.environ["PATH"]])
    return processes.environment(PATH=path)
