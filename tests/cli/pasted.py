"""Types every command that the command line tells a person to type.

A line that this process has not typed yet is kept together with the folder and the store of the
test, as they are when the line is printed. When the test has ended, the folder and the
store are put back as they were then, and a shell is given the line in another folder.
The command has to do what it is for.
"""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import click
from bson.raw_bson import RawBSONDocument
from pymongo import MongoClient
from pymongo.errors import PyMongoError

from ptsflow.cli.main import commands
from ptsflow.core.model import Status
from ptsflow.errors import PtsflowError
from ptsflow.stores import open_store, store_exists
from tests.support.waiting import PATIENCE, until

BEGINS = f"{sys.executable} -m ptsflow "
_COMMANDS = commands.list_commands(click.Context(commands))
#: A command that is named without the program that this process was begun by.
_NAKED = re.compile(
    rf"(?<!{re.escape(sys.executable)} -m )(?<!\ba )\bptsflow "
    rf"({'|'.join(_COMMANDS)})\b(?!:)"
)
#: A word that stands for something that a person has to find out.
_PLACEHOLDERS = {"NAME", "TASK", "TARGET", "STEP", "URL", "K=V"}
_LABELS = ("next: ", "why: ")
#: Commands that run what is there: a step may fail again, and a run may have a --timeout.
_RUNNING = {"run", "resume"}
#: `resume` without a TARGET lists commands to type, and exits with 2.
_LISTING = "resume --store"
#: Commands that have to change what is stored.
_CHANGING = _RUNNING | {"mark", "reset", "retry"}
#: Seconds that a run has to end by itself, once it has made progress.
_GRACE = 1.0

#: Documents of a database by collection.
_Documents = dict[str, list[RawBSONDocument]]
#: How tasks stand, by container.
_State = dict[str, list[tuple[Status, str, Status, int]]]
#: The kinds of lines that this process has typed.
_typed: set[tuple[str, str]] = set()


@dataclass(frozen=True)
class Printed:
    """A command to type, and what was there when it was printed."""

    line: str
    by: str
    folder: Path
    env: dict[str, str]
    copy: Path
    documents: _Documents

    @property
    def store(self) -> str:
        """The store that the command uses, wherever it is typed."""
        words = shlex.split(self.line)
        return words[words.index("--store") + 1] if "--store" in words else ""

    @property
    def kind(self) -> tuple[str, str]:
        """The command that printed the line, and the line without folders."""
        line = self.line.replace(str(self.folder), "")
        return self.by, re.sub(r"mongodb://\S+", "mongodb:", line)

    @property
    def command(self) -> str:
        """The name of the command; "" where it only tells what can be typed."""
        words = shlex.split(self.line)
        if words[-1] == "--help" or _LISTING in self.line:
            return ""
        return next(word for word in words if word in _COMMANDS)


def typed_commands(text: str) -> Iterator[str]:
    """Yield the commands that lines of output tell a person to type."""
    for line in map(str.strip, text.splitlines()):
        label = next(filter(line.startswith, _LABELS), "")
        if label:
            yield line.removeprefix(label)
        elif BEGINS in line:
            yield line[line.index(BEGINS) :]


def check(text: str) -> None:
    """See that an output names each command as this process was begun."""
    assert not _NAKED.search(text), text


def kept(text: str, by: str, folder: Path, env: dict[str, str]) -> list[Printed]:
    """Return the commands of an output that this process has not typed yet.

    Args:
        text: what a command wrote.
        by: the command.
        folder: where all is that the command read and wrote; it is copied.
        env: the environment of the command.
    """
    copy = folder.parent / f"{folder.name} {uuid4().hex}"
    new = []
    for line in typed_commands(text):
        assert not _PLACEHOLDERS & set(shlex.split(line)), line
        printed = Printed(line, by, folder, dict(env), copy, {})
        if printed.kind in _typed:
            continue
        with contextlib.suppress(PyMongoError):  # The server is gone: nothing to keep.
            printed.documents.update(_documents(printed.store))
            new.append(printed)
    if new:
        _copy(folder, copy)
    return new


def type_all(printed: list[Printed], elsewhere: Path) -> None:
    """Type each command in another folder, and see that it does what it is for."""
    for each in printed:
        if each.kind not in _typed:
            _typed.add(each.kind)
            with _as_it_was(each):
                _type(each, elsewhere)
    for copy in {each.copy for each in printed}:
        shutil.rmtree(copy)


def _type(printed: Printed, elsewhere: Path) -> None:
    before = _state(printed.store)
    with tempfile.TemporaryFile("w+", encoding="utf-8") as output:
        process = subprocess.Popen(
            ["bash", "-c", printed.line],
            cwd=elsewhere,
            env=printed.env | {"PTSFLOW_STORE": "sqlite:///elsewhere.db"},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        code = _end(process, printed, before)
        after = _state(printed.store)
        output.seek(0)
        told = f"{printed.line}\nexits with {code}:\n{output.read()}"
    usual = 2 if _LISTING in printed.line else 0
    allowed = {0, 1, 124, None} if printed.command in _RUNNING else {usual}
    assert code in allowed, told
    assert (before != after) is (printed.command in _CHANGING), told
    assert before.keys() == after.keys(), told
    assert not any(elsewhere.iterdir()), told


def _end(
    process: subprocess.Popen[bytes], printed: Printed, before: _State
) -> int | None:
    """Return what a command exits with; None if it was ended, as it made progress."""

    def has_progressed() -> bool:
        if process.poll() is not None:
            return True
        time.sleep(0.05)
        return printed.command in _RUNNING and _state(printed.store) != before

    try:
        until(has_progressed, seen=lambda: f"{printed.line}\nneither ends nor goes on")
        return process.wait(_GRACE if printed.command in _RUNNING else PATIENCE)
    except subprocess.TimeoutExpired:
        return None
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


# -- what was there -----------------------------------------------------------


@contextlib.contextmanager
def _as_it_was(printed: Printed) -> Iterator[None]:
    """Put the folder and the store back as they were, for a while."""
    aside = printed.copy.with_suffix(".aside")
    present = _documents(printed.store)
    printed.folder.rename(aside)
    try:
        _copy(printed.copy, printed.folder)
        _put(printed.store, printed.documents)
        yield
    finally:
        shutil.rmtree(printed.folder)
        aside.rename(printed.folder)
        _put(printed.store, present)


def _copy(source: Path, target: Path) -> None:
    """Copy a folder; a program of its own does, for the locks that SQLite has here."""
    subprocess.run(["cp", "-aT", source, target], check=True)


def _state(url: str) -> _State:
    """Return how each container and its tasks stand; nothing if there is no store."""
    try:
        if not url or not store_exists(url):
            return {}
        store = open_store(url, upgrade=False, notice=lambda _: None)
    except PtsflowError:
        return {}
    with contextlib.closing(store):
        return {
            record.name: [
                (record.status, task.name, task.status, task.invoke_count)
                for task in store.tasks(record.uid)
            ]
            for record in store.containers()
        }


def _documents(url: str) -> _Documents:
    """Return what the database of a MongoDB store has."""
    if not url.startswith("mongodb:"):
        return {}
    with MongoClient(url, document_class=RawBSONDocument) as client:
        database = client.get_default_database()
        names = database.list_collection_names()
        return {name: list(database[name].find()) for name in names}


def _put(url: str, documents: _Documents) -> None:
    """Let the database of a MongoDB store have nothing but these."""
    if not url.startswith("mongodb:"):
        return
    with MongoClient(url, document_class=RawBSONDocument) as client:
        database = client.get_default_database()
        for name in database.list_collection_names():
            database[name].delete_many({})
        for name, found in documents.items():
            if found:
                database[name].insert_many(found)
