"""Whether paths still lead to the files that were opened."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ptsflow.host.opened_files import OpenedFiles


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path.resolve() / "data"
    folder.mkdir()
    for name in ("store.db", "store.db-wal"):
        (folder / name).write_text(name)
    return folder


@pytest.fixture
def files(folder: Path) -> Iterator[OpenedFiles]:
    files = OpenedFiles(str(folder / "store.db"), str(folder / "store.db-wal"))
    yield files
    files.close()


def replace(folder: Path) -> None:
    (folder / "other").write_text("other")
    (folder / "other").rename(folder / "store.db")


def put_another_folder(folder: Path) -> None:
    folder.rename(folder.with_name("before"))
    folder.mkdir()
    for name in ("store.db", "store.db-wal"):
        (folder / name).write_text(name)


TAKEN: list[Callable[[Path], object]] = [
    replace,
    put_another_folder,
    lambda folder: (folder / "store.db").unlink(),
    lambda folder: (folder / "store.db-wal").unlink(),
    lambda folder: (folder / "store.db").rename(folder / "other"),
    lambda folder: folder.rename(folder.with_name("other")),
]


def made_long_ago(folder: Path) -> None:
    """Let the last change of a name in the folder be an hour past."""
    past = time.time_ns() - 3_600_000_000_000 | 1
    os.utime(folder, ns=(past, past))


@pytest.mark.parametrize("prepare", [lambda _folder: None, made_long_ago])
@pytest.mark.parametrize("take", TAKEN)
def test_what_is_taken_away_is_seen(
    folder: Path,
    files: OpenedFiles,
    take: Callable[[Path], object],
    prepare: Callable[[Path], object],
) -> None:
    prepare(folder)
    assert (files.are_in_place(), files.are_in_place_after_a_write()) == (True, True)

    take(folder)

    assert (files.are_in_place(), files.are_in_place_after_a_write()) == (False, False)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has these handles")
@pytest.mark.parametrize(
    ("age", "asked"), [(3_600_000_000_001, [True, False, False]), (0, [True] * 3)]
)
def test_files_are_asked_only_where_a_name_in_their_folder_may_have_changed(
    folder: Path,
    files: OpenedFiles,
    monkeypatch: pytest.MonkeyPatch,
    age: int,
    asked: list[bool],
) -> None:
    now = time.time_ns()
    os.utime(folder, ns=(now - age, now - age))
    calls: list[str] = []
    ask = os.readlink

    def asking(path: str, *, dir_fd: int) -> str:
        calls.append(path)
        return ask(path, dir_fd=dir_fd)

    found = []
    with monkeypatch.context() as patch:
        patch.setattr(time, "time_ns", lambda: now)
        patch.setattr(os, "readlink", asking)
        for _ in asked:
            calls.clear()
            assert files.are_in_place_after_a_write()
            found.append(bool(calls))
        (folder / "another file").touch()
        calls.clear()
        assert files.are_in_place_after_a_write()

    assert found == asked
    assert calls


def test_a_file_system_that_counts_whole_seconds_is_never_taken_for_quiet(
    folder: Path, files: OpenedFiles
) -> None:
    past = (time.time_ns() // 1_000_000_000 - 3_600) * 1_000_000_000
    os.utime(folder, ns=(past, past))
    assert files.are_in_place_after_a_write()

    (folder / "store.db").unlink()
    os.utime(folder, ns=(past, past))

    assert not files.are_in_place_after_a_write()


def test_a_folder_that_a_link_leads_to_in_its_old_place_is_in_place(
    folder: Path, files: OpenedFiles
) -> None:
    folder.rename(folder.with_name("elsewhere"))
    folder.symlink_to("elsewhere")

    assert (files.are_in_place(), files.are_in_place_after_a_write()) == (True, True)


def test_a_link_that_leads_elsewhere_is_seen(folder: Path) -> None:
    link = folder.with_name("link")
    link.symlink_to(folder)
    files = OpenedFiles(str(link / "store.db"))
    assert files.are_in_place_after_a_write()

    (folder.with_name("new")).mkdir()
    (folder.with_name("new") / "store.db").write_text("another")
    link.unlink()
    link.symlink_to("new")

    assert not files.are_in_place_after_a_write()
    files.close()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has these handles")
def test_no_file_is_asked_for_its_times_after_a_write(
    files: OpenedFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    def asked(path: str) -> os.stat_result:
        assert Path(path).name == "data"
        return os.lstat(path)

    with monkeypatch.context() as patch:
        patch.setattr(os, "stat", asked)
        is_in_place = files.are_in_place_after_a_write()

    assert is_in_place


def test_without_such_handles_the_paths_are_looked_at(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(os, "O_PATH", raising=False)
    files = OpenedFiles(str(folder / "store.db"))
    assert files.are_in_place_after_a_write()

    replace(folder)

    assert not files.are_in_place_after_a_write()
    files.close()


_LOCK = """
import fcntl, sys
with open(sys.argv[1], "r+") as file:
    fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
"""


def test_the_locks_of_the_process_stay(folder: Path) -> None:
    path = folder / "store.db"
    with path.open("r+") as held:
        fcntl.lockf(held, fcntl.LOCK_EX)

        OpenedFiles(str(path)).close()

        another = [sys.executable, "-c", _LOCK, str(path)]
        assert subprocess.run(another, capture_output=True, check=False).returncode


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has these handles")
def test_no_handle_is_left(folder: Path) -> None:
    before = sorted(Path("/proc/self/fd").iterdir())

    OpenedFiles(str(folder / "store.db")).close()

    assert sorted(Path("/proc/self/fd").iterdir()) == before


def test_a_path_that_leads_to_no_file_is_refused(folder: Path) -> None:
    with pytest.raises(FileNotFoundError):
        OpenedFiles(str(folder / "none"))
