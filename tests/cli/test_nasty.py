"""No input is answered with a traceback, or with exit 3: one line says what to do."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from ptsflow.cli.main import call

FLOW = """
from ptsflow import Workflow, step

class Named(Workflow):
    name: str = "x"

    @step
    def say(self) -> str:
        return self.name
"""
ODD = b"caf\xe9"
COMMANDS = {
    "run": ["run", "flow.py"],
    "run -n": ["run", "flow.py", "-n"],
    "run --stored": ["run", "flow.py", "-c", "Named", "--stored"],
    "resume": ["resume", "flow.py"],
    "resume nothing": ["resume"],
    "submit": ["submit", "flow.py"],
    "errors": ["errors"],
    "history": ["history", "--steps"],
    "retry all": ["retry", "--all"],
    "status": ["status"],
    "list": ["list"],
    "show": ["show", "Named"],
    "show task": ["show", "Named", "say"],
    "logs": ["logs", "Named"],
    "graph": ["graph", "flow.py"],
    "reset": ["reset", "Named", "-y"],
    "retry": ["retry", "Named"],
    "cancel": ["cancel", "Named"],
    "mark": ["mark", "Named", "say", "done"],
    "delete": ["delete", "Named", "-y"],
    "prune": ["prune", "--older", "1s", "--vacuum", "-y"],
    "store upgrade": ["store", "upgrade"],
    "store info": ["store", "info"],
    "store check": ["store", "check", "--deep", "--repair"],
    "store backup": ["store", "backup", "copy.db"],
    "store copy": ["store", "copy", "sqlite:///a.db", "sqlite:///b.db"],
}
STORES: dict[str, bytes] = {
    "no UTF-8": b"sqlite:///" + ODD + b".db",
    "a loop": b"sqlite:///loop.db",
    "a loop above": b"sqlite:///loop.db/x.db",
    "a folder": b"sqlite:///folder",
    "the root": b"sqlite:////",
    "above the root": b"sqlite:////..",
    "below a file": b"sqlite:///flow.py/pts.db",
    "a text": b"sqlite:///flow.py",
    "a device": b"sqlite:////dev/null",
    "too long": b"sqlite:///" + b"x" * 300,
    "far too long": b"sqlite:///" + b"x/" * 3000,
    "control": b"sqlite:///a\x01b\n.db",
    "nothing": b"",
    "spaces": b"  ",
    "no file": b"sqlite://",
    "no scheme": b"pts",
    "percent": b"sqlite:///%00%ff.db",
    "password": b"mongodb://u:p\x01w@127.0.0.1:1/db?timeoutMS=100",
    "password of two lines": b"mongodb://u:p\nw@127.0.0.1:1/db?timeoutMS=100",
    "password, no UTF-8": b"mongodb://u:" + ODD + b"@127.0.0.1:1/db?timeoutMS=100",
    "port": b"mongodb://127.0.0.1:port/db",
    "bracket": b"mongodb://[::1/db",
    "options": b"mongodb://127.0.0.1:1/db?timeoutMS=x&w=%FF",
    "no host": b"mongodb:///db",
    "odd database": b"mongodb://127.0.0.1:1/a.b$c",
    "SRV": b"mongodb+srv://localhost/db",
    "memory": b"memory:",
}
WORDS: dict[str, list[bytes]] = {
    "odd file": [b"run", ODD + b".py"],
    "odd file there": [b"run", b"odd/" + ODD + b".py"],
    "odd module": [b"run", ODD + b":X"],
    "dots": [b"run", b"..:X"],
    "no module": [b"run", b":Named"],
    "no class": [b"run", b"flow.py:"],
    "odd class": [b"run", b"flow.py:" + ODD],
    "a folder": [b"run", b"folder"],
    "a loop": [b"run", b"loop.py"],
    "a null device": [b"run", b"/dev/null"],
    "not Python": [b"run", b"broken.py"],
    "no text": [b"run", b"binary.py"],
    "exits": [b"run", b"exits.py"],
    "far too long": [b"run", b"x" * 5000 + b".py"],
    "self": [b"run", b"flow.py", b"-p", b"self=1"],
    "cls": [b"run", b"flow.py", b"-p", b"cls=1"],
    "class": [b"run", b"flow.py", b"-p", b"class=1"],
    "odd parameter": [b"run", b"flow.py", b"-p", ODD + b"=1"],
    "odd value": [b"run", b"flow.py", b"-p", b"name=" + ODD],
    "no value": [b"run", b"flow.py", b"-p", b"="],
    "container": [b"run", b"flow.py", b"-c", ODD],
    "long container": [b"run", b"flow.py", b"-c", b"x" * 5000],
    "jobs": [b"run", b"flow.py", b"-j", b"-1"],
    "many jobs": [b"run", b"flow.py", b"-j", b"9" * 30],
    "wait": [b"run", b"flow.py", b"--wait", b"nan"],
    "endless wait": [b"run", b"flow.py", b"--wait", b"inf"],
    "lease": [b"run", b"flow.py", b"--lease", b"nan"],
    "timeout": [b"run", b"flow.py", b"--timeout", ODD],
    "endless timeout": [b"run", b"flow.py", b"--timeout", b"9" * 400],
    "executor": [b"run", b"flow.py", b"--executor", ODD],
    "dask": [b"run", b"flow.py", b"--executor", b"dask://" + ODD],
    "from": [b"run", b"flow.py", b"--from", ODD],
    "only": [b"run", b"flow.py", b"--only", ODD],
    "show": [b"show", ODD],
    "show task": [b"show", b"Named", ODD],
    "logs": [b"logs", b"Named", ODD],
    "logs attempt": [b"logs", b"Named", b"--attempt", b"9" * 30],
    "logs tail": [b"logs", b"Named", b"--tail", b"9" * 30],
    "status": [b"status", b""],
    "reset": [b"reset", b"Named", b"--step", ODD, b"-y"],
    "mark": [b"mark", b"Named", ODD, b"done"],
    "cancel": [b"cancel", ODD],
    "delete": [b"delete", ODD, b"-y"],
    "prune": [b"prune", b"--older", ODD],
    "prune for ever": [b"prune", b"--older", b"9" * 400, b"-y"],
    "prune workflow": [b"prune", b"--older", b"1s", b"--workflow", ODD, b"-n"],
    "graph": [b"graph", b"flow.py", b"--format", ODD],
    "stored": [b"run", b"flow.py", b"-c", ODD, b"--stored"],
    "stored, no name": [b"run", b"flow.py", b"--stored"],
    "errors": [b"errors", ODD],
    "errors since": [b"errors", b"--since", ODD],
    "errors long since": [b"errors", b"--since", b"9" * 400],
    "history": [b"history", ODD],
    "history blank": [b"history", b""],
    "history many": [b"history", b"-n", b"9" * 30],
    "history none": [b"history", b"-n", b"0"],
    "retry": [b"retry", ODD],
    "retry match": [b"retry", b"--all", b"--match", ODD],
    "retry workflow": [b"retry", b"--all", b"--workflow", ODD],
    "resume": [b"resume", ODD],
    "resume named": [b"resume", b"flow.py", ODD],
    "resume blank": [b"resume", b""],
    "resume dots": [b"resume", b"flow.py", b"..:X"],
    "resume odd parameter": [b"resume", b"flow.py", b"-p", b"="],
    "resume timeout": [b"resume", b"flow.py", b"--timeout", b"nan"],
    "resume wait": [b"resume", b"flow.py", b"--wait", b"nan"],
    "submit": [b"submit", ODD],
    "submit at": [b"submit", b"flow.py", b"--at", ODD],
    "submit long at": [b"submit", b"flow.py", b"--at", b"9" * 400],
    "submit far at": [b"submit", b"flow.py", b"--at", b"0001-01-01"],
    "submit priority": [b"submit", b"flow.py", b"--priority", b"9" * 30],
    "worker": [b"worker", ODD],
    "worker nothing": [b"worker"],
    "worker parameter": [b"worker", b"flow.py", b"-p", b"x=1"],
    "worker slots": [b"worker", b"flow.py", b"--slots", b"0"],
    "help": [b"help", ODD],
    "help up": [b"help", b"../README"],
    "command": [ODD],
    "option": [b"--" + ODD],
    "listeners": [b"run", b"flow.py"],
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "flow.py").write_text(FLOW)
    (tmp_path / "broken.py").write_text("class (")
    (tmp_path / "binary.py").write_bytes(bytes(range(256)))
    (tmp_path / "exits.py").write_text("raise SystemExit(3)")
    for name in ("loop.db", "loop.py"):
        (tmp_path / name).symlink_to(name)
    for name in ("folder", "odd", os.fsdecode(ODD)):
        (tmp_path / name).mkdir()
    for place in ("odd/" + os.fsdecode(ODD) + ".py", os.fsdecode(ODD) + "/flow.py"):
        (tmp_path / place).write_text(FLOW)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    return tmp_path


class Command:
    """Calls commands in this process."""

    def __init__(
        self, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        self._capsys = capsys
        self._monkeypatch = monkeypatch

    def check(self, words: Sequence[bytes | str], url: bytes | None = None) -> None:
        """See that a command succeeds, or is refused in one line."""
        self._monkeypatch.delenv("PTSFLOW_STORE", raising=False)
        if url is not None:
            self._monkeypatch.setenv("PTSFLOW_STORE", os.fsdecode(url))
        code = call([os.fsdecode(word) for word in words])
        told = self._capsys.readouterr().err
        assert code in {0, 1, 2, 4, 5, 6}, told
        assert "Traceback" not in told
        if code > 1:
            refusals = [x for x in told.splitlines() if x.startswith("ptsflow")]
            assert len(refusals) == 1, told
            assert told.splitlines()[-1] == refusals[0]


@pytest.fixture
def command(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Command:
    return Command(capsys, monkeypatch)


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize("url", STORES)
def test_any_store_is_opened_or_refused_in_one_line(command: Command, url: str) -> None:
    run = ("run", "flow.py", "--store-wait", "0")
    for words in run, ("status",), ("store", "upgrade"), ("store", "check"):
        command.check(words, STORES[url])


@pytest.mark.usefixtures("folder")
def test_any_words_are_obeyed_or_refused_in_one_line(command: Command) -> None:
    for words in WORDS.values():
        command.check(["run", "flow.py", "-q"])
        command.check(words)


@pytest.mark.parametrize("name", COMMANDS)
def test_a_folder_that_was_removed_is_refused_in_one_line(
    folder: Path, command: Command, name: str
) -> None:
    words = [word.replace("flow.py", f"{folder}/flow.py") for word in COMMANDS[name]]
    for url in (
        None,
        b"sqlite:///pts.db",
        b"sqlite:///" + os.fsencode(folder) + b"/x.db",
    ):
        (folder / "gone").mkdir()
        os.chdir(folder / "gone")
        (folder / "gone").rmdir()
        command.check(words, url)


@pytest.mark.parametrize("name", COMMANDS)
def test_a_folder_whose_name_is_not_utf_8_is_no_bug(
    folder: Path, command: Command, name: str
) -> None:
    os.chdir(folder / os.fsdecode(ODD))
    for url in (None, b"sqlite:///" + os.fsencode(folder) + b"/x.db"):
        command.check(COMMANDS[name], url)


@pytest.fixture
def zone(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], None]]:
    with monkeypatch.context() as patch:

        def set_zone(name: str) -> None:
            patch.setenv("TZ", name)
            time.tzset()

        yield set_zone
    time.tzset()


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(
    "name", ["AAA-25:59BBB", "AAA24BBB", "AAA0BBB-24", ":::", "Nowhere/Land", "\x01"]
)
def test_any_time_zone_is_obeyed_or_refused_in_one_line(
    command: Command, zone: Callable[[str], None], name: str
) -> None:
    command.check(COMMANDS["run"], b"sqlite:///pts.db")
    zone(name)
    for words in COMMANDS.values():
        command.check(words, b"sqlite:///pts.db")


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(
    "name", ["PTSFLOW_WORK", "PTSFLOW_LISTENERS", "TMPDIR", "TERM"]
)
@pytest.mark.parametrize(
    "value", [ODD, b"loop.db", b"/dev/null/x", b"x" * 5000, b"flow.py", b"a\nb:c"]
)
def test_any_environment_is_obeyed_or_refused_in_one_line(
    command: Command, monkeypatch: pytest.MonkeyPatch, name: str, value: bytes
) -> None:
    monkeypatch.setenv(name, os.fsdecode(value))
    monkeypatch.setattr("tempfile.tempdir", None)
    for words in COMMANDS.values():
        command.check(words, b"sqlite:///pts.db")
