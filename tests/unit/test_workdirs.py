"""Where the folders of tasks are, and which of them go when."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path

import pytest
from msgspec import UNSET
from msgspec.structs import replace

from ptsflow.core import transitions
from ptsflow.core.model import (
    Cause,
    Change,
    ContainerRecord,
    Status,
    TaskRecord,
)
from ptsflow.host import workdirs
from ptsflow.host.workdirs import (
    Workdirs,
    leftovers,
    root_in_cache,
    root_of,
    superfluous,
    task_folder,
)
from tests.support.reports import Reports, handle_of

CONTAINER = ContainerRecord(uid="1", name="nightly", created_at=1_577_836_800_000)
TASK = TaskRecord(name="unpack[songs]", step="unpack", key="songs")
SHORT = frozenset({"unpack"})
#: The root that the store itself names.
OWN = Path("/srv/pts.db.work")


@pytest.fixture(autouse=True)
def work(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Have the folders of all stores in a folder of the test."""
    monkeypatch.setenv(workdirs.VARIABLE, str(tmp_path / "work"))
    return tmp_path / "work"


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def made(held: Workdirs, *tasks: TaskRecord) -> list[Path]:
    """Make the folders of tasks, with a file in each."""
    paths = [Path(held.path_of(task)) for task in tasks]
    for path in paths:
        path.mkdir(parents=True)
        (path / "file").write_text("1")
    return paths


# -- where they are ---------------------------------------------------------------


def test_the_variable_names_the_root_of_all_stores(work: Path) -> None:
    assert root_of(OWN) == work


def test_a_relative_root_is_of_the_folder_in_which_the_run_began(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv(workdirs.VARIABLE, "here")
    monkeypatch.chdir(tmp_path)

    assert root_of(OWN) == tmp_path / "here"


def test_without_the_variable_the_root_is_the_stores_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv(workdirs.VARIABLE)

    assert root_of(OWN) == OWN


def test_a_store_in_memory_has_no_root_whatever_the_variable_says() -> None:
    assert root_of(None) is None


def test_the_root_of_a_server_is_in_the_cache_of_the_user(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    root = root_in_cache("mongodb://host/a")

    assert root == tmp_path / "ptsflow" / "work" / "cebb7ee1"
    assert root != root_in_cache("mongodb://host/b")


@pytest.mark.parametrize(
    "other",
    [
        pytest.param({"uid": "2"}, id="another container"),
        pytest.param({"created_at": 5}, id="of a store that was made anew"),
        pytest.param({"name": "daily"}, id="of another store made at the same time"),
    ],
)
def test_other_containers_have_other_folders(other: dict[str, str]) -> None:
    same = Workdirs(OWN, replace(CONTAINER, status=Status.DONE, fence=7))
    folder = Workdirs(OWN, CONTAINER).path_of(TASK)

    assert same.path_of(TASK) == folder
    assert Workdirs(OWN, replace(CONTAINER, **other)).path_of(TASK) != folder


@pytest.mark.parametrize(
    "key",
    [
        "../../../etc",
        "a/b",
        "/",
        ".",
        "..",
        "\x01",
        "\\0",
        "-" * 32,
        ".gone-",
        "é" * 96,
        "x" * 192,
    ],
)
def test_no_name_comes_from_data(key: str) -> None:
    folder = task_folder(replace(TASK, name=f"unpack[{key}]", key=key))
    step, _, digits = folder.rpartition("-")

    assert step == "unpack"
    assert len(digits) == 32
    assert set(digits) <= set("0123456789abcdef")


def test_the_longest_step_has_room(tmp_path: Path) -> None:
    step = "é" * 100
    folder = tmp_path / task_folder(TaskRecord(name=step, step=step))
    folder.mkdir()

    assert leftovers(names(tmp_path), set()) == [folder.name]


# -- which go ---------------------------------------------------------------------


RUNNING = replace(TASK, status=Status.RUNNING, version=2, attempt=1, invoke_count=1)
DONE = transitions.succeed(RUNNING, now=5, result="1")
SAVED = transitions.save(RUNNING, processing_data="5", attempt=1)
FAILED = transitions.give_up(RUNNING, now=5, error="no")
NEW = replace(TASK, processing_data=None)
BY_ITSELF = transitions.skip(RUNNING, now=5, fence=1, cause=Cause.BODY, why="")
NEEDLESS = transitions.skip(TASK, now=5, fence=1, cause=Cause.FINISH, why="")


@pytest.mark.parametrize(
    ("before", "after", "goes"),
    [
        pytest.param(None, NEW, False, id="inserted"),
        pytest.param(NEW, transitions.start(NEW, now=5, fence=1), False, id="started"),
        pytest.param(RUNNING, SAVED, False, id="saved"),
        pytest.param(RUNNING, DONE, True, id="done"),
        pytest.param(RUNNING, BY_ITSELF, True, id="skipped by its body"),
        pytest.param(TASK, NEEDLESS, False, id="skipped by another"),
        pytest.param(RUNNING, FAILED, False, id="failed"),
        pytest.param(
            RUNNING,
            transitions.retry(RUNNING, now=5, due=6, error="no"),
            False,
            id="to be tried again",
        ),
        pytest.param(FAILED, transitions.reopen(FAILED, fence=1), False, id="reopened"),
        pytest.param(FAILED, transitions.reset(FAILED, fence=1), True, id="reset"),
        pytest.param(SAVED, transitions.reset(SAVED, fence=1), True, id="reset, saved"),
        pytest.param(FAILED, None, True, id="deleted"),
    ],
)
def test_a_folder_goes_when_its_task_is_done_or_begins_anew(
    before: TaskRecord | None, after: TaskRecord | None, *, goes: bool
) -> None:
    assert (before or RUNNING).processing_data in (UNSET, None, "5")
    assert superfluous([Change(before, after)], SHORT) == [task_folder(TASK)] * goes


def test_the_folder_of_a_step_that_keeps_it_goes_only_when_the_task_begins_anew() -> (
    None
):
    again = transitions.reset(DONE, fence=1)

    assert superfluous([Change(RUNNING, DONE)], set()) == []
    assert superfluous([Change(DONE, again)], set()) == [task_folder(TASK)]


@pytest.mark.parametrize(
    "name",
    [
        "mine",
        "unpack",
        "unpack-",
        "unpack-0123",
        "unpack-" + "g" * 32,
        "un pack-" + "0" * 32,
        "-" + "0" * 32,
        "0" * 32,
        ".gone-xyz",
        "..",
    ],
)
def test_what_does_not_have_our_shape_is_left_alone(name: str) -> None:
    assert leftovers([name], set()) == []


# -- on the disk --------------------------------------------------------------------


def test_what_is_committed_lets_its_folder_go() -> None:
    held = Workdirs(OWN, CONTAINER, SHORT)
    other = replace(RUNNING, name="unpack[artists]")
    made(held, RUNNING, other)
    held.settle([Change(RUNNING, DONE)])
    left = names(held.folder)
    notices = held.close()

    assert task_folder(TASK) not in left
    assert names(held.folder) == [task_folder(other)]
    assert notices == []


def test_the_folder_can_be_made_again_at_once() -> None:
    held = Workdirs(OWN, CONTAINER, SHORT)
    made(held, RUNNING)
    held.settle([Change(RUNNING, DONE)])
    (path,) = made(held, RUNNING)
    held.close()

    assert names(path) == ["file"]


def test_a_sweep_takes_what_a_runner_left_that_was_killed() -> None:
    held = Workdirs(OWN, CONTAINER, SHORT)
    failed = replace(FAILED, name="unpack[artists]")
    kept = replace(DONE, name="load", step="load")
    unknown = replace(DONE, name="unpack[gone]")
    paths = made(held, DONE, failed, kept, unknown)
    aside = held.folder / ".gone-0123456789abcdef"
    aside.mkdir()
    (held.folder / "mine").mkdir()
    held.sweep([DONE, failed, kept])
    held.close()

    assert names(held.folder) == sorted([paths[1].name, paths[2].name, "mine"])


def test_an_empty_folder_of_a_container_goes_as_well(work: Path) -> None:
    held = Workdirs(OWN, CONTAINER, SHORT)
    made(held, RUNNING)
    held.settle([Change(RUNNING, DONE)])
    held.close()

    assert names(work) == []


def test_a_link_in_a_folder_is_not_followed(tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "file").write_text("1")
    held = Workdirs(OWN, CONTAINER, SHORT)
    (path,) = made(held, RUNNING)
    (path / "link").symlink_to(precious)
    held.settle([Change(RUNNING, DONE)])

    assert held.close() == []
    assert not path.exists()
    assert names(precious) == ["file"]


def test_a_link_in_place_of_a_folder_is_left_alone_and_told(tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.mkdir()
    held = Workdirs(OWN, CONTAINER, SHORT)
    path = Path(held.path_of(TASK))
    path.parent.mkdir(parents=True)
    path.symlink_to(precious)
    held.settle([Change(RUNNING, DONE)])
    (notice,) = held.close()

    assert notice == (
        f"{path}: expected the folder of a task, found something else; it was left "
        "alone, remove it"
    )
    assert path.is_symlink()


def test_a_link_in_place_of_a_containers_folder_is_not_followed(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    (elsewhere / task_folder(TASK)).mkdir(parents=True)
    held = Workdirs(OWN, CONTAINER, SHORT)
    held.folder.parent.mkdir()
    held.folder.symlink_to(elsewhere)
    held.sweep([])
    held.settle([Change(RUNNING, DONE)])
    held.close()

    assert names(elsewhere) == [task_folder(TASK)]


def test_what_cannot_be_removed_is_told_and_no_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    held = Workdirs(OWN, CONTAINER, SHORT)
    other = replace(RUNNING, name="unpack[artists]")
    first, second = made(held, RUNNING, other)
    rename = Path.rename

    def refuse(path: Path, to: Path) -> Path:
        if path == first:
            raise OSError(errno.EACCES, os.strerror(errno.EACCES))
        return rename(path, to)

    monkeypatch.setattr(Path, "rename", refuse)
    held.sweep([])

    assert held.close() == [
        f"{first}: cannot be removed: {os.strerror(errno.EACCES)}; remove it by hand"
    ]
    assert not second.exists()


def test_what_could_be_set_aside_but_not_removed_is_told_and_goes_with_the_next_run(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(_: Path) -> None:
        raise OSError(errno.EBUSY, os.strerror(errno.EBUSY))

    held = Workdirs(OWN, CONTAINER, SHORT)
    (path,) = made(held, RUNNING)
    with monkeypatch.context() as patched:
        patched.setattr(shutil, "rmtree", refuse)
        held.settle([Change(RUNNING, DONE)])
        (notice,) = held.close()
    (aside,) = held.folder.iterdir()
    later = Workdirs(OWN, CONTAINER, SHORT)
    later.sweep([DONE])

    assert notice == (
        f"{aside}: cannot be removed: Device or resource busy; remove it by hand"
    )
    assert not path.exists()
    assert later.close() == []
    assert not held.folder.exists()


def test_forgetting_a_container_leaves_the_others_and_what_is_not_ours() -> None:
    first = Workdirs(OWN, CONTAINER)
    second = Workdirs(OWN, replace(CONTAINER, uid="2"))
    made(first, TASK)
    made(second, TASK)
    (first.folder / "mine").mkdir()
    notices = workdirs.forget(OWN, CONTAINER)

    assert notices == []
    assert names(first.folder) == ["mine"]
    assert names(second.folder) == [task_folder(TASK)]


def test_of_a_store_in_memory_all_goes_at_the_end(work: Path) -> None:
    held = Workdirs(None, CONTAINER)
    (path,) = made(held, TASK)
    assert path.is_relative_to(work)
    held.close()

    assert names(work) == []


def test_two_runs_in_memory_have_nothing_in_common() -> None:
    one, two = (Workdirs(None, CONTAINER) for _ in range(2))

    assert one.path_of(TASK) != two.path_of(TASK)


def test_no_folder_and_no_thread_is_made_where_no_body_asked(work: Path) -> None:
    held = Workdirs(OWN, CONTAINER, SHORT)
    held.sweep([DONE])
    held.settle([Change(RUNNING, DONE)])

    assert held._thread is None
    assert held.close() == []
    assert not work.exists()


# -- the handle ---------------------------------------------------------------------


def test_a_body_that_is_called_without_a_run_may_be_given_a_folder(
    tmp_path: Path,
) -> None:
    with pytest.raises(RuntimeError) as raised:
        _ = handle_of(Reports(), TASK).workdir
    path = handle_of(Reports(), TASK, folder=f"{tmp_path}/a/b").workdir

    assert path == tmp_path / "a" / "b"
    assert path.is_dir()
    assert str(raised.value) == (
        "task.workdir of unpack[songs]: expected a task of a run, found one that was "
        "made by itself; give TaskHandle a folder="
    )


def test_without_a_run_every_result_is_well() -> None:
    handle_of(Reports(), TASK).refuse_lost_files('"/tmp/x"', "unpack")
