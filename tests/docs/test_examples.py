"""The first examples as a newcomer runs them: copied, killed with -9, run again."""

from __future__ import annotations

import base64
import hashlib
import marshal
import py_compile
import shutil
import subprocess
import warnings
from importlib.util import MAGIC_NUMBER, cache_from_source
from pathlib import Path

import pytest

import ptsflow
from ptsflow.client.task import Task
from ptsflow.core.model import Status
from ptsflow.runner.report import Report
from ptsflow.testing import run_inline
from ptsflow.workflow.loading import load
from ptsflow.workflow.workflow import Workflow
from tests.support.databases import new_database_url
from tests.support.processes import PTSFLOW, ROOT, environment
from tests.support.wording import THEIRS, Message


class Newcomer:
    """Types commands in a folder of their own, with a copy of the examples."""

    def __init__(self, folder: Path, store: str | None = None) -> None:
        self.folder = folder
        self.store = store or f"sqlite:///{folder}/.ptsflow/ptsflow.db"
        shutil.copytree(ROOT / "examples", folder / "examples")
        self.environment = environment()
        if store:
            self.environment["PTSFLOW_STORE"] = store

    def start(self, *words: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [*PTSFLOW, *words],
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def types(self, *words: str) -> str:
        """Run a command that succeeds; return what it says."""
        with self.start(*words) as process:
            _, told = process.communicate(timeout=60)
        assert process.returncode == 0, told
        return told

    def types_and_kills(self, *words: str, after: str) -> None:
        """Run a command, and kill it when a task of the step `after` is done."""
        with self.start(*words) as process:
            assert process.stderr
            told = []
            for line in process.stderr:
                told.append(line)
                if f" {after}[" in line and " done" in line:
                    break
            process.kill()
            process.communicate(timeout=10)
        assert process.returncode == -9, "".join(told)

    def tasks(self, container: str) -> dict[str, Task]:
        with ptsflow.connect(self.store) as client:
            found = client.get_task_container(container)
            assert found
            return {task.name: task for task in found.get_tasks()}


def done(tasks: dict[str, Task]) -> dict[str, Task]:
    return {name: task for name, task in tasks.items() if task.status is Status.DONE}


# ---- hello.py -------------------------------------------------------------------


@pytest.mark.parametrize(
    "kind", ["sqlite", pytest.param("mongod", marks=pytest.mark.mongod)]
)
def test_hello_that_was_killed_does_only_what_is_left(
    tmp_path: Path, kind: str, request: pytest.FixtureRequest
) -> None:
    store = None
    if kind == "mongod":
        store = new_database_url(request.getfixturevalue("mongod_url"))
    newcomer = Newcomer(tmp_path, store)
    hello = ["run", "examples/hello.py", "-j", "1"]

    newcomer.types_and_kills(*hello, after="greet")
    before = newcomer.tasks("Hello")
    told = newcomer.types(*hello)
    after = newcomer.tasks("Hello")
    again = newcomer.types(*hello)

    finished = done(before)
    assert {"people", "greet[Ada]"} <= finished.keys() < done(after).keys()
    assert {name: after[name] for name in finished} == finished
    assert f"started, {len(finished)} tasks done earlier" in told
    assert "nothing was left to do" in again
    assert newcomer.tasks("Hello") == after
    greetings = ["Hello, Ada!", "Hello, Grace!", "Hello, Edsger!", "Hello, Barbara!"]
    assert after["report"].result == "\n".join(greetings)
    assert (tmp_path / ".ptsflow").exists() == (kind == "sqlite")


# ---- verify_packages.py ---------------------------------------------------------


def test_verify_packages_that_was_killed_does_not_read_again_what_it_checked(
    tmp_path: Path,
) -> None:
    newcomer = Newcomer(tmp_path)
    verify = ["run", "examples/verify_packages.py", "-p", "match=py*"]

    newcomer.types_and_kills(*verify, "-j", "1", after="verify")
    finished = done(newcomer.tasks("packages:py*"))
    newcomer.types(*verify)
    after = newcomer.tasks("packages:py*")

    assert 2 <= len(finished) < len(after)
    assert {name: after[name] for name in finished} == finished
    assert after.keys() == done(after).keys()
    lines = (tmp_path / "verify_packages.txt").read_text().splitlines()
    checked = [task.key or "" for task in after.values() if task.step == "verify"]
    titles = [line.split()[0] for line in lines if not line.startswith(" ")]
    assert titles == sorted(checked, key=str.lower)
    assert {"pytest", "pyte"} <= set(checked)
    # The largest first, however they are called.
    assert checked.index("pytest") < checked.index("pyte")


def test_verify_packages_runs_in_processes_of_its_own(tmp_path: Path) -> None:
    newcomer = Newcomer(tmp_path)
    with newcomer.start(
        "run", "examples/verify_packages.py", "-p", "match=pyte"
    ) as run:
        run.communicate(timeout=60)
    with newcomer.start("show", "packages:pyte", "verify[pyte]") as show:
        shown, _ = show.communicate(timeout=60)

    _, _, pid = shown.strip().rpartition(":")
    assert int(pid) != run.pid


def install(folder: Path, record: bytes) -> None:
    """Put a package there with a file of each kind; `record` is its RECORD."""
    info = folder / "odd-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Name: odd\nVersion: 1.0\n")
    (info / "RECORD").write_bytes(record)
    for name in ("good.py", "changed.py", "grown.py"):
        (folder / name).write_text("x = 1\n")
    (folder / "folder.py").mkdir()


def recorded(name: str, content: bytes) -> bytes:
    digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest())
    return f"{name},sha256={digest.rstrip(b'=').decode()},{len(content)}\n".encode()


def verified(folder: Path, match: str = "odd") -> Report:
    kind = load(str(ROOT / "examples" / "verify_packages.py"), Workflow)
    return run_inline(kind(match=match, report=folder / "report.txt"))


def test_verify_packages_finds_what_was_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = tmp_path / "site"
    install(
        site,
        recorded("good.py", b"x = 1\n")
        + recorded("changed.py", b"x = 2\n")
        + recorded("grown.py", b"x\n")
        + recorded("lost.py", b"x\n")
        + recorded("folder.py", b"x\n")
        + b"strange.py,sha0=abc,1\n"
        + b"cached.pyc,,\n"
        + b"odd-1.0.dist-info/RECORD,,\n",
    )
    monkeypatch.syspath_prepend(site)
    report = verified(tmp_path)

    assert report.ok
    assert (tmp_path / "report.txt").read_text() == (
        "odd 1.0: PROBLEMS, 6 files, 0 with bytecode\n"
        f"    {site}/changed.py: its sha256 is not the recorded one\n"
        f"    {site}/grown.py: has 6 bytes, 2 were recorded\n"
        f"    {site}/lost.py: is missing\n"
        f"    {site}/folder.py: cannot be read: Is a directory\n"
        f"    {site}/strange.py: its hash is of an unknown kind, 'sha0'\n"
    )
    summary = report.result("write_report")
    assert (summary.packages, summary.files, summary.problems) == (1, 6, 5)
    assert summary.bytes == 18


@pytest.mark.parametrize(
    ("record", "problem"),
    [
        pytest.param(b"", "no hashes were recorded", id="empty"),
        pytest.param(
            b"good.py,sha256=abc\n",
            "its RECORD cannot be read: not enough values to unpack "
            "(expected 3, got 2)",
            id="cut",
        ),
        pytest.param(
            b"\xff.py,sha256=abc,1\n",
            "its RECORD cannot be read: 'utf-8' codec can't decode byte 0xff in "
            "position 0: invalid start byte",
            id="not text",
        ),
    ],
)
def test_verify_packages_says_that_it_cannot_check(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, record: bytes, problem: str
) -> None:
    install(tmp_path / "site", record)
    monkeypatch.syspath_prepend(tmp_path / "site")

    assert verified(tmp_path).ok
    assert (tmp_path / "report.txt").read_text() == (
        f"odd 1.0: PROBLEMS, 0 files, 0 with bytecode\n    {problem}\n"
    )


HEADER = MAGIC_NUMBER + bytes(12)


def bytecode(source: str) -> bytes:
    code = compile(source, "elsewhere.py", "exec", dont_inherit=True)
    return HEADER + marshal.dumps(code)


@pytest.mark.parametrize(
    ("source", "content", "problem"),
    [
        pytest.param("x = 1\n", bytecode("x = 1"), "", id="right"),
        pytest.param(
            "x = 1\n",
            bytecode("x = 2"),
            "is not what its source compiles to",
            id="of another source",
        ),
        pytest.param(
            "x = 1\n",
            HEADER + marshal.dumps("x = 1"),
            "is not what its source compiles to",
            id="no code",
        ),
        pytest.param(
            "x = 1\n",
            b"\0" + bytecode("x = 1")[1:],
            "is not of this version of Python",
            id="of another Python",
        ),
        pytest.param(
            "x = 1\n",
            HEADER,
            f"is no bytecode: {THEIRS}",
            id="cut",
        ),
        pytest.param(
            "x = 1\n",
            HEADER + b"rubbish",
            f"is no bytecode: {THEIRS}",
            id="rubbish",
        ),
        pytest.param(
            "x = \n",
            bytecode("x = 1"),
            f"cannot be of its source, which does not compile: {THEIRS}",
            id="of no source",
        ),
    ],
)
def test_verify_packages_compares_bytecode_with_its_source(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    source: str,
    content: bytes,
    problem: str,
) -> None:
    site = tmp_path / "site"
    install(site, recorded("good.py", source.encode()))
    (site / "good.py").write_text(source)
    cached = Path(cache_from_source(site / "good.py"))
    cached.parent.mkdir()
    cached.write_bytes(content)
    monkeypatch.syspath_prepend(site)

    assert verified(tmp_path).ok
    told = f"PROBLEMS, 1 files, 1 with bytecode\n    {cached}: {problem}\n"
    assert (tmp_path / "report.txt").read_text() == Message(
        "odd 1.0: " + (told if problem else "ok, 1 files, 1 with bytecode\n")
    )


def test_verify_packages_takes_bytecode_as_python_made_it_whatever_it_warned_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = tmp_path / "site"
    source = b"pattern = '\\d'\nassert pattern is '\\d', 'a constant'\n"
    install(site, recorded("good.py", source))
    (site / "good.py").write_bytes(source)
    with warnings.catch_warnings(action="ignore"):
        py_compile.compile(str(site / "good.py"), doraise=True)
    monkeypatch.syspath_prepend(site)

    assert verified(tmp_path).ok
    assert (tmp_path / "report.txt").read_text() == (
        "odd 1.0: ok, 1 files, 1 with bytecode\n"
    )


def test_verify_packages_with_nothing_to_check_succeeds(tmp_path: Path) -> None:
    report = verified(tmp_path, match="no-such-package")

    assert report.ok
    assert (tmp_path / "report.txt").read_text() == ""
