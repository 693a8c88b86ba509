"""Checks every command that the command line tells a person to type.

Each is taken as printed, and read as a shell and the command line read it in another
folder: the program, the store and the container that it names have to be there.
"""

from __future__ import annotations

import re
import shlex
import sys
from pathlib import Path

import click

from ptsflow.cli.main import commands
from ptsflow.core.model import ContainerRecord
from ptsflow.errors import PtsflowError
from ptsflow.stores import open_store, store_exists
from ptsflow.workflow.loading import load
from ptsflow.workflow.workflow import Workflow

_CONTEXT = click.Context(commands)
BEGINS = f"{sys.executable} -m ptsflow "
#: A command that is named without the program that this process was begun by.
_NAKED = re.compile(
    rf"(?<!{re.escape(sys.executable)} -m )(?<!\ba )\bptsflow "
    rf"({'|'.join(commands.list_commands(_CONTEXT))})\b(?!:)"
)
#: A word that stands for something that a person has to find out.
_PLACEHOLDERS = {"NAME", "TASK", "TARGET", "STEP", "URL", "K=V"}


def typed_commands(text: str) -> list[str]:
    """Return the commands that lines of output tell a person to type."""
    return [
        line[line.index("cd ") if " cd " in line else line.index(BEGINS) :].strip()
        for line in text.splitlines()
        if BEGINS in line
    ]


def check(text: str) -> None:
    """Check every command that is in an output."""
    assert not _NAKED.search(text), text
    for line in typed_commands(text):
        _check(line)


def _check(line: str) -> None:
    words = shlex.split(line.rpartition(" && ")[2])
    assert words[:3] == [sys.executable, "-m", "ptsflow"], line
    assert not _PLACEHOLDERS & set(words), line
    if words[-1] == "--help":
        return
    given = _read(words[3:])
    if words[3] == "help":
        return
    if "://" in line and "@" not in line:
        url = given.get("store") or ""
        assert re.match(r"sqlite:////|mongodb:|memory:", url), line
    if words[3] == "run" and line.startswith(BEGINS):
        place = words[4].rpartition(":")[0] or words[4]
        assert Path(place).is_absolute() or place.isidentifier(), line
        assert issubclass(load(words[4], Workflow), Workflow)
    elif words[3] in {"show", "mark", "reset", "status", "cancel", "retry"}:
        _check_names(given, line)


def _read(words: list[str]) -> dict[str, str]:
    """Return the options and arguments as the command line reads them."""
    found: dict[str, str] = {}
    context = click.Context(commands, resilient_parsing=False)
    name, command, rest = commands.resolve_command(context, words)
    assert command is not None
    while isinstance(command, click.Group):
        name, command, rest = command.resolve_command(context, rest)
        assert command is not None
    made = command.make_context(name, list(rest), parent=context)
    found |= {key: value for key, value in made.params.items() if value is not None}
    common = made.find_object(object)
    return found | {"store": getattr(common, "store", "")}


def _check_names(given: dict[str, str], line: str) -> None:
    url = given["store"]
    if not url.startswith("sqlite:"):
        return
    assert store_exists(url), line
    try:
        store = open_store(url, upgrade=False, notice=lambda _: None)
    except PtsflowError:
        return  # A damaged store is asked for by the test.
    try:
        record = store.container(given["name"])
        assert isinstance(record, ContainerRecord), line
        task = given.get("task") or given.get("step")
        known = {t.name for t in store.tasks(record.uid)}
        known |= {step.name for step in record.plan}
        assert task is None or task in known, line
    finally:
        store.close()
