"""The value of a secret parameter is nowhere: not in the store, the logs, or on a screen."""

from __future__ import annotations

import copy
import json
import os
import pickle
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import ptsflow
from ptsflow import Secret, Workflow, step
from ptsflow.errors import DeclarationError, ParameterError
from ptsflow.executors.cluster.messages import RunDescription
from ptsflow.executors.processes.messages import Setting
from ptsflow.testing import run_inline
from ptsflow.workflow.loading import Reference
from ptsflow.workflow.parameters import parse
from tests.cli.calling import Place

#: With what repr, JSON and URLs each spell in their own way.
VALUE = 's3cr3t "va\\lue" ü/&'
#: The part of it that every spelling has.
MARK = "s3cr3t"

FLOW = '''
import logging
import os
import sys
import time
from urllib.parse import quote

from ptsflow import Fail, Finish, RetryLater, Secret, Skip, Workflow, step

if "LOGS" in os.environ:  # The process of the tests may import this file as well.
    logging.basicConfig(level=logging.DEBUG)
    logging.getLogger().addHandler(logging.FileHandler("theirs.log"))


class Leaky(Workflow):
    """Lets its secret out wherever it can."""

    source: str
    token: Secret[str]

    def leak(self, task, where):
        value = self.token.get_secret_value()
        print("printed", value, repr(value), self)
        sys.stderr.write(f"written {quote(value)}\\\\n")
        logging.getLogger("theirs").warning("warned %s", [value])
        logging.getLogger("quiet").debug("debug %s", value)
        task.log.error("logged", exc_info=ValueError(value))
        task.progress(1, 2, f"at {value}")
        try:
            task.checkpoint({"token": value})
        except TypeError as error:
            print(error)
        if where == "skip":
            raise Skip(value)
        if where == "fail":
            raise Fail(f"failed by {value}")
        if where == "later" and task.attempt == 1 and not task.processing_data:
            task.checkpoint(1)
            raise RetryLater(0, value)
        if where == "raise":
            raise ExceptionGroup(value, [ValueError(f"https://x/?t={quote(value, '')}")])
        return f"the token is {value}"

    @step(retry=0, after=())
    def skipped(self, task):
        return self.leak(task, "skip")

    @step(retry=0, after=())
    def failed(self, task):
        return self.leak(task, "fail")

    @step(retry=0, after=())
    def later(self, task):
        return self.leak(task, "later")

    @step(retry=0, after=())
    def raised(self, task):
        return self.leak(task, "raise")

    @step(retry=0, after=(), executor="process")
    def beside(self, task):
        time.sleep(0.3)
        with open(f"/proc/{__import__('os').getppid()}/cmdline") as file:
            print(file.read())
        return self.leak(task, "raise")

    @step(retry=0, after=())
    def returned(self) -> Secret[str]:
        return self.token

    @step(retry=0, after=())
    def used(self) -> int:
        return len(self.token.get_secret_value())
'''.replace("\\\\n", "\\n")


@pytest.fixture
def place(tmp_path: Path) -> Place:
    (tmp_path / "flow.py").write_text(FLOW)
    place = Place(tmp_path)
    place.env |= {"TOKEN": VALUE, "LOGS": "1"}
    return place


def files_with(folder: Path, mark: str) -> Iterator[Path]:
    for path in folder.rglob("*"):
        if (
            path.is_file()
            and path.name != "flow.py"
            and mark.encode() in path.read_bytes()
        ):
            yield path


def test_no_byte_of_store_logs_and_screens_has_the_value(place: Place) -> None:
    run = ["run", "flow.py", "-p", "source=a", "-p", "token=env:TOKEN"]
    shown = [place.call(*run, "-v")]
    for words in ("status --json", "logs Leaky", "show Leaky raised", "reset Leaky -y"):
        shown += [place.call(*words.split())]

    for ended in shown:
        assert MARK not in ended.stdout + ended.stderr
    assert list(files_with(place.folder, MARK)) == []
    assert "warned ['***']" in (place.folder / "theirs.log").read_text()
    assert shown[0].returncode == 1
    assert "printed ***" in shown[0].stderr
    assert "WARNING:theirs:warned ['***']" in shown[0].stderr
    assert "ERROR ValueError: ***" in shown[2].stdout
    results = {t["name"]: t["result"] for t in json.loads(shown[1].stdout)["tasks"]}
    errors = {t["name"]: t["error"] for t in json.loads(shown[1].stdout)["tasks"]}
    assert results["used"] == len(VALUE)
    assert errors["beside"].startswith("ExceptionGroup of ValueError: https://x/?t=***")
    assert "token, which is never stored" in errors["later"]
    assert errors["returned"].endswith(
        "a secret is never stored; take it from the parameter"
    )
    # The command that continues has the secret's source, and can be typed as it is.
    assert (
        "-c Leaky:source=a --stored -p token=env:TOKEN"
        in shown[0].stderr.splitlines()[-1]
    )
    assert "-p token=env:TOKEN" in shown[-1].stderr.splitlines()[-1]


def test_a_run_that_is_resumed_needs_the_secret_again_and_takes_any_value(
    place: Place,
) -> None:
    run = ["run", "flow.py", "-p", "source=a", "--only", "used"]
    (place.folder / "token").write_text("another one\r\n")
    assert place.call(*run, "-p", "token=env:TOKEN").returncode == 0

    without = place.call(*run)
    assert without.returncode == 4
    assert without.stderr == (
        "ptsflow: Leaky: the secret parameter token is missing, which every run needs, as "
        "it is never stored; give -p token=env:VARIABLE or -p token=file:PATH\n"
    )
    ended = place.call(*run, "-p", "token=file:token")
    assert ended.returncode == 0
    assert "s3cr3t" not in place.json("status", "Leaky")["params"].values()
    # What was done is not done again.
    (task,) = [t for t in place.json("status", "Leaky")["tasks"] if t["name"] == "used"]
    assert (task["invoke_count"], task["result"]) == (1, len(VALUE))


def test_the_file_of_a_secret_is_found_from_another_folder(place: Place) -> None:
    (place.folder / "token").write_text(VALUE)
    run = [
        "run",
        "flow.py",
        "-p",
        "source=a",
        "--only",
        "used",
        "-p",
        "token=file:token",
    ]
    said = place.call(*run).stderr.splitlines()[-1]
    told = place.call("status", "Leaky").stderr.splitlines()[-1]

    assert f"-p token=file:{place.folder / 'token'} " in said
    assert f"-p token=file:{place.folder / 'token'} " in told


@pytest.mark.parametrize(
    ("given", "why"),
    [
        (MARK, "the value of a secret does not stand on the command line"),
        ("env:ABSENT", "the variable ABSENT is not set"),
        ("env:EMPTY", "the variable EMPTY is empty"),
        ("file:absent", "the file absent cannot be read: No such file or directory"),
        ("file:.", "the file . cannot be read: Is a directory"),
        ("file:latin", "the file latin is not UTF-8"),
        ("env:LATIN", "the variable LATIN is not UTF-8"),
    ],
)
def test_a_secret_that_is_not_there_is_refused_without_showing_what_was_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: str, why: str
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("EMPTY", "")
    monkeypatch.setenv("LATIN", os.fsdecode(b"\xe9"))
    Path("latin").write_bytes(b"\xe9")
    with pytest.raises(ParameterError) as refused:
        parse(given, Secret[str], "Leaky: the parameter token")

    line = str(refused.value)
    assert line.startswith(f"Leaky: the parameter token: {why}")
    assert line.endswith("give -p token=env:VARIABLE or -p token=file:PATH")
    assert MARK not in line
    assert refused.value.exit_code == 4


class Holds(Workflow):
    """A secret beside a list, so that each attempt gets parameters of its own."""

    names: list[str]
    token: Secret[str]
    other: Secret[str] | None = None

    @step
    def read(self) -> list[object]:
        return [len(self.token.get_secret_value()), self.other is None]

    @step(executor="process")
    def read_beside(self) -> list[object]:
        return [len(self.token.get_secret_value()), self.other is None]


def test_a_secret_is_given_from_python_as_a_text_or_a_secret(tmp_path: Path) -> None:
    work = Holds(names=["a"], token=VALUE)
    assert work == work  # noqa: PLR0124 - and comparing shows nothing
    assert Holds(names=["a"], token=Secret(VALUE)).token == work.token
    assert run_inline(work).result("read") == [len(VALUE), True]
    report = ptsflow.run(work, store=f"sqlite:///{tmp_path}/pts.db")

    assert report.ok, report.failed
    assert report.result("read_beside") == [len(VALUE), True]
    assert report.container == "Holds:names=['a']"
    assert list(files_with(tmp_path, MARK)) == []


class Prints(Workflow):
    """Prints its secret in a thread of the caller's process."""

    token: Secret[str]

    @step
    def show(self) -> None:
        print("shown:", self.token.get_secret_value())  # noqa: T201


def test_what_a_body_prints_in_the_caller_s_process_is_without_the_value(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert ptsflow.run(Prints(token=VALUE), store="memory:").ok

    assert capsys.readouterr().out == "shown: ***\n"


def test_no_text_of_a_secret_or_of_what_holds_it_has_the_value() -> None:
    secret = Secret(VALUE)
    work = Holds(names=[], token=secret)
    setting = Setting("c", {"token": VALUE})
    described = RunDescription("1", Reference("m", None, "C"), setting, [])
    for text in (
        repr(described),
        *(repr(secret), str(secret), f"{secret:>20}", "%s" % secret),  # noqa: UP031
        *(repr(work), str(work.parameters), repr(setting)),
    ):
        assert MARK not in text
    assert copy.deepcopy(secret) == pickle.loads(pickle.dumps(secret)) == secret  # noqa: S301
    assert len({secret, Secret(VALUE), Secret("x")}) == 2
    assert secret != VALUE


@pytest.mark.parametrize("value", [5, b"bytes", "", None])
def test_what_is_no_text_is_refused_without_showing_it(value: object) -> None:
    with pytest.raises(
        ParameterError, match="the parameter token: Secret: expected a text"
    ):
        Holds(names=[], token=value)


@pytest.mark.parametrize(
    "hint", ["list[Secret[str]]", "Secret[int]", "Secret[str] | int"]
)
def test_a_secret_that_is_not_one_text_is_refused_where_it_is_declared(
    hint: str,
) -> None:
    names = {"__annotations__": {"token": hint}, "__module__": __name__}
    with pytest.raises(DeclarationError, match="a secret parameter is one text"):
        type("Wrong", (Workflow,), names)


def test_a_template_that_names_a_secret_is_refused() -> None:
    with pytest.raises(DeclarationError, match="names the secret token"):

        class Named(Workflow):
            container = "x:{token}"
            token: Secret[str]


def test_a_secret_may_be_added_to_a_class_and_its_plain_value_is_forgotten(
    place: Place,
) -> None:
    (place.folder / "flow.py").write_text(
        FLOW.replace("token: Secret[str]", "token: str")
    )
    flow = ["run", "flow.py", "-c", "kept", "-p", "source=a", "--only", "skipped"]
    place.call(*flow, "-p", "token=plain")
    (place.folder / "flow.py").write_text(FLOW)
    place.call(*flow, "-p", "token=env:TOKEN")

    assert place.json("status", "kept")["params"]["token"] == "env:TOKEN"  # noqa: S105


def test_passwords_of_urls_among_parameters_are_shown_nowhere(place: Place) -> None:
    (place.folder / "flow.py").write_text(
        "from ptsflow import Workflow, step\n"
        "class Load(Workflow):\n"
        "    source: str\n"
        "    @step\n"
        "    def load(self) -> int:\n"
        "        return len(self.source)\n"
    )
    url = "ftp://bob:s3cr3t@host/feed"
    ran = place.call("run", "flow.py", "-p", f"source={url}")
    looked = place.call("reset", "Load", "-y")
    line = looked.stderr.splitlines()[-1].removeprefix("next: ")
    again = place.paste(line, place.folder)
    other = place.call("run", "flow.py", "-p", "source=ftp://bob:0ther@host/feed")

    for ended in (ran, looked, again, other):
        assert MARK not in ended.stdout + ended.stderr
        assert "0ther" not in ended.stderr
    assert (ran.returncode, again.returncode, other.returncode) == (0, 0, 4)
    status = place.json("status")
    assert status["container"] == "Load:source=ftp://bob:***@host/feed"
    assert status["params"] == {"source": "ftp://bob:***@host/feed"}
    assert status["tasks"][0]["result"] == len(url)


if sys.platform != "linux":
    pytest.skip("command lines are read in /proc", allow_module_level=True)
