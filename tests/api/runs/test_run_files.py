"""`task.workdir` and `task.output` in real runs."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import pytest

import ptsflow
from ptsflow import Client, Retry, TaskHandle, Workflow, step
from ptsflow.client import admin
from ptsflow.core.model import Status
from ptsflow.events import Event, Notice
from ptsflow.runner.report import Report
from ptsflow.testing import run_inline
from tests.api.conftest import main_stores
from tests.support.processes import PTSFLOW, environment

KEYS = ["../../../etc", "a/b", "..", ".gone-", "\x01", "-" * 40, "é" * 30, "x" * 60]

executors = pytest.mark.parametrize("executor", ["thread", "process"])


def count(folder: Path) -> int:
    """Return how often this was called for the folder."""
    with (folder / "calls").open("a") as calls:
        calls.write(".")
    return len((folder / "calls").read_text())


class Feed(Workflow):
    """Each body tells in `seen` where its folder is."""

    seen: str
    keys: tuple[str, ...] = ("songs",)
    container = "feed"

    @step
    def names(self) -> tuple[str, ...]:
        return self.keys

    @step(each=names, retry=Retry(2, delay=0))
    def unpack(self, name: str, task: TaskHandle) -> int:
        with Path(self.seen).open("a") as seen:
            seen.write(f"{task.workdir}\n")
        if count(task.workdir) < 2:
            raise OSError(f"not yet: {name}")
        return count(task.workdir)


class Keeping(Feed):
    container = "keeping"

    @step(keep_workdir=True)
    def index(self, task: TaskHandle) -> Path:
        path = task.workdir / "index"
        path.write_text(str(count(task.workdir)))
        return path

    @step
    def read(self, index: Path) -> str:
        return index.read_text()


class Failing(Workflow):
    """Fails until `repaired` exists."""

    repaired: str
    container = "failing"

    @step(retry=Retry(0))
    def load(self, task: TaskHandle) -> int:
        calls = count(task.workdir)
        if not Path(self.repaired).exists():
            raise OSError("not yet")
        return calls

    @step
    def report(self, load: int) -> int:
        return load


class Naming(Workflow):
    """Returns a path that is about to go."""

    how: str

    @step(retry=Retry(3, delay=0))
    def load(self, task: TaskHandle) -> object:
        match self.how:
            case "a path":
                return {"files": [task.workdir / "songs"]}
            case "a text":
                return f"file://{task.workdir}/songs"
            case "a relative path":
                return os.path.relpath(task.workdir)
            case _ if task.attempt == 1:
                task.checkpoint(str(task.workdir))
                raise OSError("again")
            case _:
                return task.processing_data


class Writing(Workflow):
    target: str

    @step(retry=Retry(1, delay=0))
    def load(self, task: TaskHandle) -> Path:
        with task.output(self.target) as part:
            part.write_text("half" if task.attempt == 1 else "whole")
            if task.attempt == 1:
                raise OSError("no more")
        return Path(self.target)


@pytest.fixture(autouse=True)
def cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Have nothing of a test in the caches of a user."""
    monkeypatch.delenv("PTSFLOW_WORK", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def seen(tmp_path: Path) -> Path:
    return tmp_path / "seen"


def folders(seen: Path) -> set[Path]:
    return {Path(line) for line in seen.read_text().splitlines()}


def task_folders(tmp_path: Path) -> list[Path]:
    """Return the folders of tasks beside the file of the store."""
    return sorted(tmp_path.glob("pts.db.work/*/*"))


def results(report: Report) -> dict[str, object]:
    return {task.name: task.result for task in report.tasks}


# -- task.workdir -----------------------------------------------------------------


@executors
@main_stores
def test_a_retry_finds_what_the_attempt_before_wrote_and_done_takes_it_away(
    client: Client, name: str, seen: Path, executor: str
) -> None:
    report = ptsflow.run(Feed(seen=str(seen)), client, name, executor=executor)

    assert report.ok
    assert results(report)["unpack[songs]"] == 3
    assert len(seen.read_text().splitlines()) == 2
    assert [path for path in folders(seen) if path.exists()] == []
    assert len(folders(seen)) == 1


def test_the_names_of_items_are_no_names_of_folders(
    client: Client, seen: Path, tmp_path: Path
) -> None:
    root = tmp_path / "pts.db.work"
    report = ptsflow.run(Feed(seen=str(seen), keys=tuple(KEYS)), client)

    assert report.ok
    assert len(folders(seen)) == len(KEYS)
    assert {path.parent.parent for path in folders(seen)} == {root}
    assert all(len(path.name) < 60 for path in folders(seen))
    assert list(root.iterdir()) == []


def test_a_step_that_keeps_it_hands_on_its_files_until_the_container_goes(
    client: Client, seen: Path, tmp_path: Path
) -> None:
    read = ptsflow.run(Keeping(seen=str(seen)), client).result("read")
    ptsflow.run(Keeping(seen=str(seen)), client)
    kept = task_folders(tmp_path)
    client.delete_task_container("keeping")

    assert read == "1"
    assert [path.name.partition("-")[0] for path in kept] == ["index"]
    assert list(tmp_path.glob("pts.db.work/*")) == []


def test_the_next_run_finds_what_the_last_one_left(
    client: Client, tmp_path: Path
) -> None:
    flow = Failing(repaired=str(tmp_path / "repaired"))
    first = ptsflow.run(flow, client)
    left = task_folders(tmp_path)
    Path(flow.repaired).touch()
    second = ptsflow.run(flow, client)

    assert (first.ok, second.ok) == (False, True)
    assert len(left) == 1
    assert second.result("load") == 2
    assert task_folders(tmp_path) == []


@pytest.mark.parametrize("how", ["reset", "from_step", "fresh"])
def test_a_task_that_begins_anew_finds_nothing(
    client: Client, seen: Path, how: str
) -> None:
    flow = Keeping(seen=str(seen))
    ptsflow.run(flow, client)
    record = client.store.container("keeping")
    assert record is not None
    if how == "reset":
        admin.reset(client.store, record, step="index", with_downstream=True)
    report = ptsflow.run(
        flow,
        client,
        fresh=how == "fresh",
        from_step="index" if how == "from_step" else None,
    )

    assert report.result("read") == "1"


def test_a_failed_task_that_was_reset_finds_nothing(
    client: Client, tmp_path: Path
) -> None:
    flow = Failing(repaired=str(tmp_path / "repaired"))
    ptsflow.run(flow, client)
    record = client.store.container("failing")
    assert record is not None
    admin.reset(client.store, record)
    left = task_folders(tmp_path)
    Path(flow.repaired).touch()
    report = ptsflow.run(flow, client)

    assert left == []
    assert report.result("load") == 1


def test_what_a_runner_left_that_was_killed_goes_with_the_next_run(
    client: Client, seen: Path
) -> None:
    flow = Feed(seen=str(seen))
    ptsflow.run(flow, client)
    (left,) = folders(seen)
    left.mkdir(parents=True)
    report = ptsflow.run(flow, client)

    assert report.ok
    assert len(seen.read_text().splitlines()) == 2
    assert not left.exists()


def test_what_cannot_be_removed_is_told_and_the_run_is_well(
    client: Client, seen: Path, tmp_path: Path
) -> None:
    flow = Feed(seen=str(seen))
    ptsflow.run(flow, client)
    (left,) = folders(seen)
    left.parent.mkdir(parents=True)
    left.symlink_to(tmp_path)
    events: list[Event] = []
    report = ptsflow.run(flow, client, listeners=[events.append])
    (notice,) = (event.text for event in events if isinstance(event, Notice))

    assert report.ok
    assert notice == (
        f"{left}: expected the folder of a task, found something else; it was left "
        "alone, remove it"
    )


@executors
@pytest.mark.parametrize(
    "how", ["a path", "a text", "a relative path", "from a checkpoint"]
)
def test_a_result_that_names_what_is_about_to_go_fails_and_is_not_tried_again(
    client: Client, executor: str, how: str
) -> None:
    report = ptsflow.run(Naming(how=how), client, executor=executor)
    (task,) = report.tasks

    assert task.status is Status.FAILED
    assert task.error == (
        "the result of step load names a file in task.workdir, which is deleted when "
        "the task is done; add keep_workdir=True to the step, or write it elsewhere "
        "with task.output(...)"
    )
    assert task.invoke_count == 1 + (how == "from a checkpoint")


def test_in_memory_it_goes_at_the_end_whatever_the_end(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PTSFLOW_WORK", str(tmp_path))
    report = run_inline(Failing(repaired=str(tmp_path / "repaired")))

    assert not report.ok
    assert list(tmp_path.iterdir()) == []


def test_a_run_whose_bodies_do_not_ask_makes_no_folder(
    client: Client, tmp_path: Path
) -> None:
    assert ptsflow.run(Writing(target=str(tmp_path / "out")), client).ok

    assert not (tmp_path / "pts.db.work").exists()


# -- task.output --------------------------------------------------------------------


@executors
def test_a_retry_writes_the_whole_of_what_an_attempt_wrote_half(
    client: Client, tmp_path: Path, executor: str
) -> None:
    target = tmp_path / "out" / "songs.csv"
    report = ptsflow.run(Writing(target=str(target)), client, executor=executor)

    assert report.ok
    assert target.read_text() == "whole"
    assert list(target.parent.iterdir()) == [target]


KILLED = """
import os, signal
from pathlib import Path
from ptsflow import Retry, Workflow, step

class Killed(Workflow):
    @step(retry=Retry(5, delay=0))
    def load(self, task) -> str:
        with task.output("out/songs.csv") as part, part.open("w") as file:
            for number in range(1000):
                print(number, file=file, flush=True)
                if number == 500 and not (task.workdir / "tried").exists():
                    (task.workdir / "tried").touch()
                    os.kill(os.getpid(), signal.SIGKILL)
        return "well"
"""


@pytest.mark.parametrize("there", ["", "before"])
@executors
def test_a_target_is_whole_or_as_it_was_when_its_writer_is_killed(
    tmp_path: Path, executor: str, there: str
) -> None:
    (tmp_path / "flow.py").write_text(KILLED)
    target = tmp_path / "out" / "songs.csv"
    if there:
        target.parent.mkdir()
        target.write_text(there)
    command = [*PTSFLOW, "run", "flow.py", "-q"]
    env = environment(TMPDIR=tmp_path, PTSFLOW_STORE="sqlite:///pts.db")
    codes = []
    if executor == "thread":
        killed = subprocess.run(command, cwd=tmp_path, env=env, check=False)
        codes.append(killed.returncode)
        beside = [path.name for path in target.parent.iterdir() if path != target]
        assert [name[:11] for name in beside] == [".songs.csv."]
        assert (target.read_text() if there else "") == there
        assert target.exists() == bool(there)
    command += ["--executor", executor]
    ended = subprocess.run(command, cwd=tmp_path, env=env, check=False)

    assert [*codes, ended.returncode] == [*[-signal.SIGKILL] * len(codes), 0]
    assert target.read_text() == "".join(f"{number}\n" for number in range(1000))
    assert list(target.parent.iterdir()) == [target]
    assert task_folders(tmp_path) == []
